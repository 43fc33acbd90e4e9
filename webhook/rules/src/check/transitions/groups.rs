//! Worker groups that come, go, move or change their shape under a cluster that runs.

use ray::cluster::{ClusterSpec, WorkerGroup};
use ray::object::Kind;

use super::{by_name, cluster, clusters, kept_groups, runs};
use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-T006",
        summary: "a worker group goes while it has workers",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay only looks at the groups that there are: the pods of one that is gone run on until somebody deletes them, \
            and cost what they cost.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/1/groupName: tpu, old: {}}",
            passes: "{/spec/workerGroupSpecs/1/groupName: tpu, old: {/spec/workerGroupSpecs/1/replicas: 0}}",
        },
        check: Check::Change(groups_go_empty),
    },
    Rule {
        code: "RW-G027",
        summary: "a worker group with workers goes, or groups move, while the cluster is autoscaled",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: "The pods of a group that is gone go on as nodes of a type that no autoscaler knows: Ray's own stops over them, so that \
            nothing scales any more, and nobody ever deletes them. It also patches groups by their place in the list, so one that \
            moves at the wrong moment gets the workers of another.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/1/groupName: tpu, old: {/spec/enableInTreeAutoscaling: true}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/1/groupName: tpu, \
                old: {/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/1/replicas: 0}}",
        },
        check: Check::Change(autoscaled_groups_stay),
    },
    Rule {
        code: "RW-T018",
        summary: "the number of hosts of a slice changes under its workers",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay deletes every running slice that has fewer hosts than it should, and leaves those with more as they are.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::MultiHostIndexing.on()),
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/numOfHosts: 4, old: {/spec/workerGroupSpecs/0/numOfHosts: 2}}",
            passes: "{/spec/workerGroupSpecs/0/numOfHosts: 4, old: {/spec/workerGroupSpecs/0/numOfHosts: 2, /spec/workerGroupSpecs/0/replicas: 0}}",
        },
        check: Check::Change(slices_keep_their_hosts),
    },
];

fn groups_go_empty(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((new, old)) = clusters(new, old).filter(|(_, old)| !old.is_autoscaled()) else {
        return;
    };
    for group in gone_with_workers(new, old) {
        findings
            .at(new.path.key("workerGroupSpecs"))
            .problem(format!(
                "group \"{}\" goes while it has {}: its pods stay",
                group.name,
                workers(group)
            ))
            .hint("set its replicas to 0 first, or delete the pods yourself");
    }
}

/// Groups that a cluster with an autoscaler loses are refused; those that change places are only warned of.
fn autoscaled_groups_stay(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((new, old)) = clusters(new, old) else {
        return;
    };
    if !new.is_autoscaled() || !old.is_autoscaled() {
        return;
    }
    let place = new.path.key("workerGroupSpecs");
    for group in gone_with_workers(new, old) {
        findings
            .at(place.clone())
            .problem(format!(
                "group \"{}\" goes or gets another name while it has {}",
                group.name,
                workers(group)
            ))
            .hint("set its minReplicas and maxReplicas to 0, and remove it when its pods are gone");
    }
    if let Some(group) = moved(new, old) {
        findings
            .at(place)
            .problem(format!(
                "group \"{}\" no longer stands behind the same groups as before",
                group.name
            ))
            .only(Action::Warn)
            .hint("keep the order, and add new groups at the end");
    }
}

fn slices_keep_their_hosts(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((new, old)) = clusters(new, old).filter(|(new, old)| runs(old) && !cluster::is_replaced(new))
    else {
        return;
    };
    for (group, before) in kept_groups(new, old) {
        if group.hosts() != before.hosts() && before.desired_replicas() > 0 {
            findings
                .at(group.path.key("numOfHosts"))
                .problem(format!("slices of {} hosts run, and none of them becomes one of {}", before.hosts(), group.hosts()))
                .hint("set replicas to 0 first, or add a group of the new shape and remove this one when it is empty");
        }
    }
}

fn gone_with_workers<'a>(
    new: &'a ClusterSpec,
    old: &'a ClusterSpec,
) -> impl Iterator<Item = &'a WorkerGroup> {
    let now = by_name(new);
    let live = runs(old);
    let gone = by_name(old).into_values();
    gone.filter(move |group| live && group.desired_replicas() > 0 && !now.contains_key(group.name.as_str()))
}

fn workers(group: &WorkerGroup) -> String {
    match i64::from(group.desired_replicas()) * i64::from(group.hosts()) {
        1 => "1 worker".to_owned(),
        several => format!("{several} workers"),
    }
}

/// The first group that was there before and now stands behind others than then. Groups that went do not count: whoever is left has
/// moved up, but in order.
fn moved<'a>(new: &'a ClusterSpec, old: &ClusterSpec) -> Option<&'a WorkerGroup> {
    let now = by_name(new);
    let left = old
        .worker_groups
        .iter()
        .filter(|group| now.contains_key(group.name.as_str()));
    let mut pairs = left.zip(&new.worker_groups);
    let (_, group) = pairs.find(|(expected, group)| expected.name != group.name)?;
    Some(group)
}
