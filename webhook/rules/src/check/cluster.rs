//! What a cluster is made of: a head and groups of workers, with a container each, under names that tell them apart.

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::keys;
use ray::object::Kind;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_NO_CONTAINER: &str = "KubeRay runs Ray in the first container of a pod. Without one it records an event and \
    does nothing more for the object.";
const WHY_SAME_NAME: &str = "KubeRay finds the pods of a group by its name. Of two groups with one name, each takes the \
    other's pods for its own, and Ray's autoscaler sees only one.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C001",
        summary: "the head has no container",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_NO_CONTAINER,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers: []",
            passes: "/spec/headGroupSpec/template/spec/containers: [{name: head, image: rayproject/ray:2.60.0}]",
        },
        check: Check::Cluster(head_has_a_container),
    },
    Rule {
        code: "RW-C005",
        summary: "a worker group has no container",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_NO_CONTAINER,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec: {}",
            passes: "/spec/workerGroupSpecs/0/template/spec: {containers: [{name: worker, image: rayproject/ray:2.60.0}]}",
        },
        check: Check::Workers(workers_have_a_container),
    },
    Rule {
        code: "RW-M009",
        summary: "two worker groups of a RayCluster have the same name",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: WHY_SAME_NAME,
        source: Source::KubeRay("RayClusterWebhook.validateWorkerGroups"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/1/groupName: cpu",
            passes: "/spec/workerGroupSpecs/1/groupName: cpu-2",
        },
        check: Check::Cluster(group_names_are_unique),
    },
    Rule {
        code: "RW-G001",
        summary: "two worker groups of a cluster template have the same name",
        action: Action::Deny,
        kinds: &[Kind::Job, Kind::Service, Kind::CronJob],
        why: WHY_SAME_NAME,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayJob, /spec/rayClusterSpec/workerGroupSpecs/1/groupName: cpu}",
            passes: "{kind: RayJob, /spec/rayClusterSpec/workerGroupSpecs/1/groupName: gpu2}",
        },
        check: Check::Cluster(group_names_are_unique),
    },
    Rule {
        code: "RW-G002",
        summary: "a worker group has the name of the head",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Pods are told apart by the name of their group, and the head's is always \"headgroup\": the head would be \
            counted, and deleted, as a worker.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/groupName: headgroup",
            passes: "/spec/workerGroupSpecs/0/groupName: head-group",
        },
        check: Check::Workers(group_name_is_not_the_heads),
    },
    Rule {
        code: "RW-G003",
        summary: "the name of a worker group is not a label value",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The name becomes a label of each pod, and the API server refuses pods with such a label.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/groupName: big gpus",
            passes: "/spec/workerGroupSpecs/0/groupName: big_gpus.v2",
        },
        check: Check::Workers(group_name_is_a_label_value),
    },
];

fn head_has_a_container(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    container_present(&cluster.head, "the head", findings);
}

fn workers_have_a_container(group: &WorkerGroup, findings: &mut Findings) {
    container_present(group, &format!("group \"{}\"", group.name), findings);
}

fn container_present(group: &dyn NodeGroup, who: &str, findings: &mut Findings) {
    if group.ray_container().is_none() {
        findings
            .at(group.containers_path())
            .problem(format!("{who} has no container to run Ray in"))
            .hint("add one; the first in the list runs Ray");
    }
}

fn group_names_are_unique(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for (group, twin) in cluster.duplicate_groups() {
        findings
            .at(group.path.key("groupName"))
            .problem(format!(
                "\"{}\" is also the name of group {}",
                group.name, twin.index
            ))
            .hint("give each group a name of its own");
    }
}

fn group_name_is_not_the_heads(group: &WorkerGroup, findings: &mut Findings) {
    if group.name == keys::HEAD_GROUP {
        findings
            .at(group.path.key("groupName"))
            .problem("this is the name of the head's own group")
            .hint("give the group another name");
    }
}

fn group_name_is_a_label_value(group: &WorkerGroup, findings: &mut Findings) {
    const CHARS_MAX: usize = 63;
    let edge = |c: char| c.is_ascii_alphanumeric();
    let well_formed = group.name.starts_with(edge)
        && group.name.ends_with(edge)
        && group
            .name
            .chars()
            .all(|c| edge(c) || matches!(c, '-' | '_' | '.'));
    if !well_formed || group.name.len() > CHARS_MAX {
        findings
            .at(group.path.key("groupName"))
            .problem(format!("\"{}\" cannot be a label of the group's pods", group.name))
            .hint("use at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both ends");
    }
}
