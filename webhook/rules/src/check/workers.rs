//! How many workers a group has, and which of them go. Absent bounds are no mistake: the CRD fills them in, which is why KubeRay's rule C6 cannot fire.

use ray::cluster::{ClusterSpec, WorkerGroup};
use ray::object::Kind;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_BOUNDS: &str = "KubeRay records an event and from then on does nothing for the cluster: pods that die are not \
    replaced, and it does not scale.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C007",
        summary: "minReplicas is negative",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_BOUNDS,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/minReplicas: -1",
            passes: "/spec/workerGroupSpecs/0/minReplicas: 0",
        },
        check: Check::Workers(min_is_not_negative),
    },
    Rule {
        code: "RW-C008",
        summary: "maxReplicas is negative",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_BOUNDS,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/maxReplicas: -1, /spec/workerGroupSpecs/0/minReplicas: -1}",
            passes: "{/spec/workerGroupSpecs/0/maxReplicas: 0, /spec/workerGroupSpecs/0/replicas: 0}",
        },
        check: Check::Workers(max_is_not_negative),
    },
    Rule {
        code: "RW-C009",
        summary: "minReplicas is above maxReplicas",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_BOUNDS,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/minReplicas: 4, /spec/workerGroupSpecs/0/maxReplicas: 3}",
            passes: "{/spec/workerGroupSpecs/0/minReplicas: 3, /spec/workerGroupSpecs/0/maxReplicas: 3}",
        },
        check: Check::Workers(min_is_not_above_max),
    },
    Rule {
        code: "RW-G004",
        summary: "numOfHosts is less than one",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay multiplies the replicas by it before it corrects it, so that the group never has a pod.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/numOfHosts: 0",
            passes: "/spec/workerGroupSpecs/0/numOfHosts: 1",
        },
        check: Check::Workers(hosts_are_positive),
    },
    Rule {
        code: "RW-G005",
        summary: "replicas is outside its bounds",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay quietly takes the nearest bound, while the status goes on to count with the number that was asked for.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/replicas: 11",
            passes: "/spec/workerGroupSpecs/0/replicas: 10",
        },
        check: Check::Workers(replicas_are_within_bounds),
    },
    Rule {
        code: "RW-G034",
        summary: "replicas is negative",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay quietly takes minReplicas instead, while the status goes on to count with the negative number.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/replicas: -1",
            passes: "/spec/workerGroupSpecs/0/replicas: 0",
        },
        check: Check::Workers(replicas_are_not_negative),
    },
    Rule {
        code: "RW-G006",
        summary: "workersToDelete names a pod that is not of the group",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay deletes whatever pod of the namespace has that name, also one of another cluster.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/scaleStrategy: {workersToDelete: [demo-gpu-worker-abcde]}",
            passes: "/spec/workerGroupSpecs/0/scaleStrategy: {workersToDelete: [demo-cpu-worker-abcde]}",
        },
        check: Check::Cluster(pods_to_delete_are_of_the_group),
    },
];

fn min_is_not_negative(group: &WorkerGroup, findings: &mut Findings) {
    not_negative(group, "minReplicas", group.min_replicas, findings);
}

fn max_is_not_negative(group: &WorkerGroup, findings: &mut Findings) {
    not_negative(group, "maxReplicas", group.max_replicas, findings);
}

fn replicas_are_not_negative(group: &WorkerGroup, findings: &mut Findings) {
    not_negative(group, "replicas", group.replicas, findings);
}

fn not_negative(group: &WorkerGroup, field: &'static str, value: Option<i32>, findings: &mut Findings) {
    if let Some(value) = value.filter(|value| *value < 0) {
        findings
            .at(group.path.key(field))
            .problem(format!("group \"{}\" cannot have {value} workers", group.name))
            .hint("use 0 or more");
    }
}

fn min_is_not_above_max(group: &WorkerGroup, findings: &mut Findings) {
    let (Some(min), Some(max)) = (group.min_replicas, group.max_replicas) else {
        return;
    };
    if min > max {
        findings
            .at(group.path.key("minReplicas"))
            .problem(format!("{min} is above maxReplicas, which is {max}"))
            .hint("lower minReplicas or raise maxReplicas");
    }
}

fn hosts_are_positive(group: &WorkerGroup, findings: &mut Findings) {
    if let Some(hosts) = group.num_of_hosts.filter(|hosts| *hosts < 1) {
        findings
            .at(group.path.key("numOfHosts"))
            .problem(format!("a replica of {hosts} hosts has no pod"))
            .hint("use 1, or the number of hosts of a slice");
    }
}

/// Negative replicas have a rule of their own, and so have bounds that contradict each other.
fn replicas_are_within_bounds(group: &WorkerGroup, findings: &mut Findings) {
    let Some(replicas) = group.replicas.filter(|replicas| *replicas >= 0) else {
        return;
    };
    let (min, max) = (
        group.min_replicas.unwrap_or(0),
        group.max_replicas.unwrap_or(i32::MAX),
    );
    if min <= max && !(min..=max).contains(&replicas) {
        findings
            .at(group.path.key("replicas"))
            .problem(format!(
                "{replicas} is not within {min} and {max}; there will be {}",
                replicas.clamp(min, max)
            ))
            .hint("choose a number within minReplicas and maxReplicas, or change those");
    }
}

/// Of the clusters of jobs and services only the beginning of the name is known.
fn pods_to_delete_are_of_the_group(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let metadata = &subject.object.metadata;
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| !group.workers_to_delete.is_empty()) {
        let prefix = match (&metadata.name, &metadata.generate_name) {
            (Some(name), _) if subject.object.kind() == Kind::Cluster => group.pod_name_prefix(name),
            (Some(name), _) => format!("{name}-"),
            (None, Some(prefix)) => prefix.clone(),
            (None, None) => continue,
        };
        let list = group.path.key("scaleStrategy").key("workersToDelete");
        for (index, pod) in group.workers_to_delete.iter().enumerate() {
            if !pod.starts_with(&prefix) {
                findings
                    .at(list.index(index))
                    .problem(format!("\"{pod}\" is no pod of group \"{}\"", group.name))
                    .hint(format!("take it out; the names of its pods begin with {prefix}"));
            }
        }
    }
}
