//! What a cluster is made of: a head and groups of workers, with a container each, under names that tell them apart.

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::keys;
use ray::label;
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
            passes: "/spec/workerGroupSpecs/0/groupName: Big-gpus.v2",
        },
        check: Check::Workers(group_name_is_a_label_value),
    },
    Rule {
        code: "RW-G040",
        summary: "the name of a worker group has upper-case letters",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay names the pods in lower case, so that the names of two groups may meet there, and a network policy cannot name the group at all.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/groupName: GPU",
            passes: "/spec/workerGroupSpecs/0/groupName: gpus",
        },
        check: Check::Workers(group_name_is_in_lower_case),
    },
    Rule {
        code: "RW-G041",
        summary: "pods cannot be named after a worker group",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The name of each pod contains that of its group, and the API server refuses pods with such a name: the group never has one.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/groupName: big_gpus",
            passes: "/spec/workerGroupSpecs/0/groupName: big-gpus",
        },
        check: Check::Cluster(pods_can_be_named_after_groups),
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
            .at(group.containers_path().clone())
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
    if group.name.is_empty() || !label::is_label_value(&group.name) {
        findings
            .at(group.path.key("groupName"))
            .problem(format!(
                "\"{}\" cannot be a label of the group's pods",
                group.name
            ))
            .hint("use at most 63 letters, digits, hyphens and dots, with a letter or digit at both ends");
    }
}

fn group_name_is_in_lower_case(group: &WorkerGroup, findings: &mut Findings) {
    if group.name.contains(|c: char| c.is_ascii_uppercase()) {
        let lower = group.name.to_ascii_lowercase();
        findings
            .at(group.path.key("groupName"))
            .problem(format!(
                "the pods of \"{}\" will be named after \"{lower}\"",
                group.name
            ))
            .hint(format!("call the group \"{lower}\""));
    }
}

/// Groups whose names cannot even be labels have been told so already.
fn pods_can_be_named_after_groups(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let own = subject.object.metadata.name.as_deref();
    // A cluster whose own name is the trouble, or not known yet, stands aside.
    let name = own.filter(|name| label::is_dns_label(name)).unwrap_or("cluster");
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| label::is_label_value(&group.name)) {
        let pod = group.pod_name_prefix(name) + "xxxxx";
        if !label::is_dns_subdomain(&pod) {
            findings
                .at(group.path.key("groupName"))
                .problem(format!("no pod of the group can be called \"{pod}\""))
                .hint("use lower-case letters, digits and hyphens");
        }
    }
}
