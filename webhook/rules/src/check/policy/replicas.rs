//! How many workers a cluster may have.

use ray::cluster::{ClusterSpec, WorkerGroup};

use super::{ROW, author};
use crate::finding::Findings;
use crate::policy::Replicas;
use crate::rule::{Check, Example, Rule, Subject};

const WHY: &str = "A platform team has said how large a cluster may get.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-A107",
        summary: "a worker group may have more replicas than the policy allows",
        why: WHY,
        example: Example {
            fires: "{policy: {replicas: {maxPerGroup: 10}}, /spec/workerGroupSpecs/0/maxReplicas: 11}",
            passes: "{policy: {replicas: {maxPerGroup: 10}}, /spec/workerGroupSpecs/0/maxReplicas: 10}",
        },
        check: Check::Cluster(groups_stay_small),
        ..ROW
    },
    Rule {
        code: "RW-A108",
        summary: "a cluster may have more workers than the policy allows",
        why: WHY,
        example: Example {
            fires: "{policy: {replicas: {maxPodsPerCluster: 20}}, /spec/workerGroupSpecs/0/numOfHosts: 2}",
            passes: "{policy: {replicas: {maxPodsPerCluster: 30}}, /spec/workerGroupSpecs/0/numOfHosts: 2}",
        },
        check: Check::Cluster(clusters_stay_small),
        ..ROW
    },
];

fn groups_stay_small(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(most) = bound(subject, |replicas| replicas.max_per_group) else {
        return;
    };
    let author = author(subject, &["replicas", "maxPerGroup"]);
    let replicas_max = |group: &WorkerGroup| i64::from(group.max_replicas.unwrap_or(i32::MAX));
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| replicas_max(group) > most) {
        findings
            .at(group.path.key("maxReplicas"))
            .problem(format!(
                "group \"{}\" may have {} replicas, and the policy {author} allows {most}",
                group.name,
                replicas_max(group)
            ))
            .by(author)
            .hint(format!("let it be {most} at most"));
    }
}

fn clusters_stay_small(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(most) = bound(subject, |replicas| replicas.max_pods_per_cluster) else {
        return;
    };
    let count = cluster
        .worker_groups
        .iter()
        .map(pods_max)
        .fold(0, i64::saturating_add);
    if count > most {
        let author = author(subject, &["replicas", "maxPodsPerCluster"]);
        findings
            .at(cluster.path.key("workerGroupSpecs"))
            .problem(format!(
                "the cluster may have {count} workers, and the policy {author} allows {most}"
            ))
            .by(author)
            .hint("lower maxReplicas of its groups");
    }
}

fn bound(subject: &Subject<'_>, most: impl Fn(&Replicas) -> Option<u32>) -> Option<i64> {
    subject
        .policy
        .spec
        .replicas
        .as_ref()
        .and_then(most)
        .map(i64::from)
}

/// The most pods that a group may have. The operator keeps to `maxReplicas` whoever asks for more, and whether or not the cluster scales.
pub(super) fn pods_max(group: &WorkerGroup) -> i64 {
    let replicas = group.max_replicas.unwrap_or(i32::MAX).max(0);
    i64::from(replicas) * i64::from(group.hosts())
}
