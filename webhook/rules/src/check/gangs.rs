//! Labels by which Volcano, `YuniKorn` and others schedule the pods of a cluster together. Which of them is asked is the operator's
//! own affair (`--batch-scheduler`); these labels mean something to one of them only.

use ray::object::{Kind, Object};
use ray::path::Pointer;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// The kinds whose labels the operator looks at.
const KINDS: &[Kind] = &[Kind::Cluster, Kind::Job];

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P321",
        summary: "a scheduler is chosen by a label that nobody reads",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "From version 1.4 on KubeRay takes one scheduler for all clusters, from its own configuration.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {ray.io/scheduler-name: volcano}",
            passes: "/metadata/labels: {volcano.sh/queue-name: team-a}",
        },
        check: Check::Object(scheduler_is_not_a_label),
    },
    Rule {
        code: "RW-P322",
        summary: "gang scheduling is turned on by a label that says no",
        action: Action::Warn,
        kinds: KINDS,
        why: "KubeRay looks whether the label is there, not at its value.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {ray.io/gang-scheduling-enabled: 'false'}",
            passes: "/metadata/labels: {ray.io/gang-scheduling-enabled: 'true'}",
        },
        check: Check::Object(gangs_are_meant),
    },
    Rule {
        code: "RW-P323",
        summary: "a RayJob wants a gang for a cluster that is there already",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "The pods of a gang are those of the job's rayClusterSpec; without one KubeRay reports an error under Volcano and does nothing \
            for the job, and fails under YuniKorn.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {volcano.sh/queue-name: team-a}, /spec/rayClusterSpec: null, \
                /spec/clusterSelector: {ray.io/cluster: shared}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}}",
        },
        check: Check::Object(gangs_have_a_cluster),
    },
    Rule {
        code: "RW-P324",
        summary: "one of YuniKorn's two labels is missing",
        action: Action::Warn,
        kinds: KINDS,
        why: "YuniKorn takes the pods together by the application, and puts them into the queue; with one of the two it makes up the other.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {yunikorn.apache.org/queue: root.team-a}",
            passes: "/metadata/labels: {yunikorn.apache.org/queue: root.team-a, yunikorn.apache.org/app-id: demo-1}",
        },
        check: Check::Object(yunikorn_has_both_labels),
    },
    Rule {
        code: "RW-P325",
        summary: "Volcano cannot read what it is told of the network",
        action: Action::Warn,
        kinds: KINDS,
        why: "The tier is a number and goes with a mode: without the mode it is passed over; if it is no number, KubeRay makes no PodGroup, and \
            no pod is ever started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {volcano.sh/network-topology-mode: hard, volcano.sh/network-topology-highest-tier-allowed: rack}",
            passes: "/metadata/labels: {volcano.sh/network-topology-mode: hard, volcano.sh/network-topology-highest-tier-allowed: '1'}",
        },
        check: Check::Object(topology_is_readable),
    },
];

pub(super) const VOLCANO_QUEUE: &str = "volcano.sh/queue-name";
pub(super) const YUNIKORN_QUEUE: &str = "yunikorn.apache.org/queue";
pub(super) const YUNIKORN_APPLICATION: &str = "yunikorn.apache.org/app-id";
pub(super) const GANG: &str = "ray.io/gang-scheduling-enabled";
pub(super) const PRIORITY_CLASS: &str = "ray.io/priority-class-name";
const SCHEDULER: &str = "ray.io/scheduler-name";
const TOPOLOGY_MODE: &str = "volcano.sh/network-topology-mode";
const TOPOLOGY_TIER: &str = "volcano.sh/network-topology-highest-tier-allowed";

fn scheduler_is_not_a_label(subject: &Subject<'_>, findings: &mut Findings) {
    if let Some(scheduler) = label(subject.object, SCHEDULER) {
        findings
            .at(path(SCHEDULER))
            .problem("KubeRay does not read this label any more")
            .hint(format!(
                "start the operator with --batch-scheduler={scheduler} and leave the label out"
            ));
    }
}

fn gangs_are_meant(subject: &Subject<'_>, findings: &mut Findings) {
    let value = label(subject.object, GANG).unwrap_or("true");
    if !value.eq_ignore_ascii_case("true") {
        findings
            .at(path(GANG))
            .problem(format!(
                "says \"{value}\", and turns gang scheduling on all the same"
            ))
            .hint("leave the label out, or say \"true\"");
    }
}

fn gangs_have_a_cluster(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(job) = subject.object.job() else { return };
    let by = [GANG, VOLCANO_QUEUE, TOPOLOGY_MODE]
        .into_iter()
        .find(|key| label(subject.object, key).is_some());
    if let Some(by) = by.filter(|_| !job.cluster_selector.is_empty()) {
        findings
            .at(job.path.key("clusterSelector"))
            .problem(format!(
                "the label {by} asks for a gang, and the job makes no pods of a cluster"
            ))
            .hint("leave the label out, or describe the cluster in rayClusterSpec");
    }
}

fn yunikorn_has_both_labels(subject: &Subject<'_>, findings: &mut Findings) {
    let has = |key| label(subject.object, key).is_some();
    let (there, missing) = match (has(YUNIKORN_APPLICATION), has(YUNIKORN_QUEUE)) {
        (true, false) => (YUNIKORN_APPLICATION, YUNIKORN_QUEUE),
        (false, true) => (YUNIKORN_QUEUE, YUNIKORN_APPLICATION),
        _ => return,
    };
    findings
        .at(path(there))
        .problem(format!("goes together with {missing}, which is not there"))
        .hint("set both");
}

fn topology_is_readable(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(tier) = label(subject.object, TOPOLOGY_TIER) else {
        return;
    };
    let has_mode = label(subject.object, TOPOLOGY_MODE).is_some();
    if tier.parse::<i64>().is_err() {
        findings
            .at(path(TOPOLOGY_TIER))
            .problem(format!("\"{tier}\" is not a number"))
            .hint("write the highest tier of the network that the pods may span, such as \"1\"");
    } else if !has_mode {
        findings
            .at(path(TOPOLOGY_TIER))
            .problem(format!("without {TOPOLOGY_MODE} it has no effect"))
            .hint("set the mode to hard or soft");
    }
}

fn label<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.metadata.labels.get(key).map(String::as_str)
}

fn path(key: &'static str) -> Pointer {
    Pointer::root().key("metadata").key("labels").key(key)
}
