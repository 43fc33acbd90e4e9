//! Changes of a RayService that serves: some it does not carry over to its cluster.

use ray::object::Kind;
use ray::path::Pointer;

use super::{at, clusters, condition, is_true, kept_groups};
use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::ratchet::same_cluster_but_for;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-T005",
        summary: "a change of a RayService does not reach its cluster",
        action: Action::Warn,
        kinds: &[Kind::Service],
        why: "KubeRay makes a new cluster for a changed one, unless upgradeStrategy says None; and it does not count bounds and \
            replicas as a change, so that the cluster that serves keeps those it began with.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterConfig/workerGroupSpecs/0/maxReplicas: 20, old: {}}",
            passes: "{/spec/rayClusterConfig/workerGroupSpecs/0/maxReplicas: 20, \
                /spec/rayClusterConfig/workerGroupSpecs/0/rayStartParams: {num-cpus: '1'}, old: {}}",
        },
        check: Check::Change(changes_reach_the_cluster),
    },
    Rule {
        code: "RW-T009",
        summary: "a service is to run again before it has stopped",
        action: Action::Warn,
        kinds: &[Kind::Service],
        why: "KubeRay finishes what it began: it deletes all clusters of the service before it makes a new one.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/suspend: false, old: {/spec/suspend: true, /status/conditions: [{type: Suspending, status: 'True'}]}}",
            passes: "{/spec/suspend: false, old: {/spec/suspend: true, /status/conditions: [{type: Suspended, status: 'True'}]}}",
        },
        check: Check::Change(suspending_ends),
    },
    Rule {
        code: "RW-T017",
        summary: "a service is corrected that KubeRay has given up",
        action: Action::Warn,
        kinds: &[Kind::Service],
        why: "Nothing leads out of a timeout while it starts: KubeRay does not look at the service again, however right it becomes.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterDeletionDelaySeconds: 5, \
                old: {/status/conditions: [{type: Ready, status: 'False', reason: InitializingTimeout}]}}",
            passes: "{/spec/rayClusterDeletionDelaySeconds: 5, \
                old: {/status/conditions: [{type: Ready, status: 'False', reason: Initializing}]}}",
        },
        check: Check::Change(corrections_come_in_time),
    },
];

fn changes_reach_the_cluster(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    /// What counts as no change.
    const SCALE: &[&str] = &["replicas", "scaleStrategy", "minReplicas", "maxReplicas"];
    let Some((cluster, before)) = clusters(new, old) else {
        return;
    };
    let (now, was) = (at(new, &cluster.path), at(old, &before.path));
    if !same_cluster_but_for(now, was, SCALE) {
        if new.json["spec"]["upgradeStrategy"]["type"] == "None" {
            findings
                .at(cluster.path.clone())
                .problem("the cluster that serves stays as it is, since upgradeStrategy.type is None")
                .hint("choose NewCluster, or delete the RayCluster when it suits you");
        }
        return;
    }
    for (group, was) in kept_groups(cluster, before) {
        let (now, was) = (at(new, &group.path), at(old, &was.path));
        for field in ["minReplicas", "maxReplicas"] {
            if now[field] != was[field] {
                findings
                    .at(group.path.key(field))
                    .problem("the cluster that serves keeps the bound it has")
                    .hint("change it in the RayCluster that serves, too");
            }
        }
    }
}

fn suspending_ends(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let suspended = |service: &Subject<'_>| service.json["spec"]["suspend"] == true;
    if suspended(old) && !suspended(new) && is_true(condition(old, "Suspending")) {
        findings
            .at(Pointer::root().key("spec").key("suspend"))
            .problem("KubeRay is still deleting the clusters, and finishes that first")
            .hint("wait for the condition Suspended to see all of them gone");
    }
}

fn corrections_come_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let ready = condition(old, "Ready");
    let given_up =
        ready.is_some_and(|ready| ready["status"] == "False" && ready["reason"] == "InitializingTimeout");
    if given_up && new.json["spec"] != old.json["spec"] {
        findings
            .at(Pointer::root().key("spec"))
            .problem("KubeRay has given this service up for good, and does not look at it again")
            .hint("delete the RayService and create it anew");
    }
}
