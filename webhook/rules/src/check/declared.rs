//! What a group declares of its resources and labels: in one place only, and in words that Kubernetes understands.

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::label;
use ray::object::Kind;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_RESOURCES: &str = "KubeRay would have to choose between the two. It refuses to: it records an event and does nothing more \
    for the object.";
const WHY_LABELS_PARAM: &str = "KubeRay makes the flag itself, of the labels of the group. It records an event and does nothing more \
    for the object.";
const WHY_LABELS: &str =
    "The labels become labels of the pods, which Kubernetes would refuse, so KubeRay refuses the object.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C002",
        summary: "the head's resources are declared twice",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_RESOURCES,
        source: Source::KubeRay("validateRayGroupResources"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/resources: {CPU: '1'}, /spec/headGroupSpec/rayStartParams: {num-cpus: '1'}}",
            passes: "{/spec/headGroupSpec/resources: {CPU: '1'}, /spec/headGroupSpec/rayStartParams: {num-cpus: ''}}",
        },
        check: Check::Cluster(head_resources_are_declared_once),
    },
    Rule {
        code: "RW-C003",
        summary: "the head's labels are a start parameter",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_LABELS_PARAM,
        source: Source::KubeRay("validateRayGroupLabels"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/rayStartParams: {labels: zone=a}",
            passes: "/spec/headGroupSpec/labels: {zone: a}",
        },
        check: Check::Cluster(head_labels_are_no_start_parameter),
    },
    Rule {
        code: "RW-C004",
        summary: "a label of the head is not in Kubernetes' syntax",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_LABELS,
        source: Source::KubeRay("validateRayGroupLabels"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/labels: {zone: eu/west}",
            passes: "/spec/headGroupSpec/labels: {example.com/zone: eu-west}",
        },
        check: Check::Cluster(head_labels_are_labels),
    },
    Rule {
        code: "RW-C010",
        summary: "a worker group's resources are declared twice",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_RESOURCES,
        source: Source::KubeRay("validateRayGroupResources"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/resources: {CPU: '1'}, /spec/workerGroupSpecs/0/rayStartParams: {resources: '{}'}}",
            passes: "{/spec/workerGroupSpecs/0/resources: {CPU: '1'}, /spec/workerGroupSpecs/0/rayStartParams: {object-store-memory: '100000000'}}",
        },
        check: Check::Workers(worker_resources_are_declared_once),
    },
    Rule {
        code: "RW-C011",
        summary: "a worker group's labels are a start parameter",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_LABELS_PARAM,
        source: Source::KubeRay("validateRayGroupLabels"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/rayStartParams: {labels: ''}",
            passes: "/spec/workerGroupSpecs/0/labels: {}",
        },
        check: Check::Workers(worker_labels_are_no_start_parameter),
    },
    Rule {
        code: "RW-C012",
        summary: "a label of a worker group is not in Kubernetes' syntax",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_LABELS,
        source: Source::KubeRay("validateRayGroupLabels"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/labels: {market type: spot}",
            passes: "/spec/workerGroupSpecs/0/labels: {market-type: ''}",
        },
        check: Check::Workers(worker_labels_are_labels),
    },
];

fn head_resources_are_declared_once(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    resources_are_declared_once(&cluster.head, findings);
}

fn worker_resources_are_declared_once(group: &WorkerGroup, findings: &mut Findings) {
    resources_are_declared_once(group, findings);
}

/// An empty parameter is none.
fn resources_are_declared_once(group: &dyn NodeGroup, findings: &mut Findings) {
    const PARAMS: [&str; 4] = ["num-cpus", "num-gpus", "memory", "resources"];
    if group.resources().is_empty() {
        return;
    }
    let params = group.start_params();
    let is_set = |param: &str| params.raw.get(param).is_some_and(|value| !value.is_empty());
    for param in PARAMS.into_iter().filter(|param| is_set(param)) {
        findings
            .at(params.path.key(param))
            .problem("the group's `resources` already say what it has")
            .hint("leave out either this or those");
    }
}

fn head_labels_are_no_start_parameter(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    labels_are_no_start_parameter(&cluster.head, findings);
}

fn worker_labels_are_no_start_parameter(group: &WorkerGroup, findings: &mut Findings) {
    labels_are_no_start_parameter(group, findings);
}

fn labels_are_no_start_parameter(group: &dyn NodeGroup, findings: &mut Findings) {
    let params = group.start_params();
    if params.raw.contains_key("labels") {
        findings
            .at(params.path.key("labels"))
            .problem("KubeRay takes no labels from the start parameters")
            .hint(format!(
                "write them as a map in {}",
                group.path().key("labels").field()
            ));
    }
}

fn head_labels_are_labels(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    labels_are_labels(&cluster.head, findings);
}

fn worker_labels_are_labels(group: &WorkerGroup, findings: &mut Findings) {
    labels_are_labels(group, findings);
}

fn labels_are_labels(group: &dyn NodeGroup, findings: &mut Findings) {
    for (key, value) in group.labels() {
        let place = || group.path().key("labels").key(key.clone());
        if !label::is_qualified_name(key) {
            findings
                .at(place())
                .problem(format!("\"{key}\" cannot be the name of a label"))
                .hint(
                    "use at most 63 letters, digits, `-`, `_` and `.`, perhaps behind a domain and a slash",
                );
        }
        if !label::is_label_value(value) {
            findings
                .at(place())
                .problem(format!("\"{value}\" cannot be the value of a label"))
                .hint(
                    "use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
                );
        }
    }
}
