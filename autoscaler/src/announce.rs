//! What a head is told of our doings, so that `ray status` and the dashboard show them as they would show those of Ray's own autoscaler. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use planner::{Batch, Gang, Infeasible, Snapshot, State};

use crate::gcs::{Announcement, Failed, Starting};
use crate::record::Record;

/// What `ray status` is to show.
pub(crate) fn announcement(record: &Record<'_>, now: Timestamp) -> Announcement {
    let snapshot = &record.observation.snapshot;
    let pending = snapshot
        .nodes
        .iter()
        .filter(|node| matches!(node.state, State::Pending | State::Stuck { .. }));
    let (starting, requested): (Vec<_>, Vec<_>) = pending
        .map(|node| (node, record.view.pods.get(&node.id)))
        .partition(|(_, pod)| pod.is_some());
    let starting = starting.into_iter().filter_map(|(node, pod)| {
        let pod = pod?;
        Some(Starting {
            group: node.group.clone(),
            pod: pod.name.clone(),
            ip: pod.ip,
            details: pod.waiting.as_ref().map(ToString::to_string).unwrap_or_default(),
        })
    });
    // What this very plan launches is in the RayCluster now, and among the nodes from the next look on.
    let launched = record.changes.iter().flat_map(|change| {
        let group = &change.decision.group;
        let count = record.plan.launch.get(group).copied().unwrap_or(0);
        (0..count).map(|_| group.clone())
    });
    let infeasible = &record.plan.infeasible;
    let impossible = impossible(infeasible, snapshot).map(|batch| batch.request.clone());
    let constraint = snapshot.demand.constraint.as_ref();
    let constraint = constraint.filter(|batches| {
        let held = batches.iter().all(|batch| snapshot.could_hold(&batch.request));
        infeasible.constraint && !held
    });
    Announcement {
        report_version: record.report.version,
        unix_milliseconds: now.as_millisecond(),
        requested: requested
            .into_iter()
            .map(|(node, _)| node.group.clone())
            .chain(launched)
            .collect(),
        starting: starting.collect(),
        failed: failed(record),
        impossible: impossible.collect(),
        impossible_gangs: impossible_gangs(infeasible, snapshot).cloned().collect(),
        impossible_constraint: constraint.cloned().unwrap_or_default(),
    }
}

/// Requests that no node could ever hold.
fn impossible<'a>(infeasible: &'a Infeasible, snapshot: &Snapshot) -> impl Iterator<Item = &'a Batch> {
    let batches = infeasible.requests.iter();
    batches.filter(|batch| !snapshot.could_hold(&batch.request))
}

/// Gangs with a bundle that no node could ever hold.
fn impossible_gangs<'a>(infeasible: &'a Infeasible, snapshot: &Snapshot) -> impl Iterator<Item = &'a Gang> {
    let hopeless = |gang: &&Gang| {
        let requests = gang.requests();
        requests.iter().any(|request| !snapshot.could_hold(request))
    };
    infeasible.gangs.iter().filter(hopeless)
}

/// What was said to be hopeless, so that it is said once.
#[derive(Debug, Default)]
pub(crate) struct Hopeless(BTreeSet<String>);

impl Hopeless {
    /// What is hopeless and was not at the last look. How many of a kind there are is no news.
    pub(crate) fn news(&mut self, infeasible: &Infeasible, snapshot: &Snapshot) -> Option<String> {
        let requests =
            impossible(infeasible, snapshot).map(|batch| (batch.request.to_string(), batch.to_string()));
        let gangs = impossible_gangs(infeasible, snapshot)
            .map(|gang| (gang.details.clone(), format!("placement group {gang}")));
        let hopeless: BTreeMap<String, String> = requests.chain(gangs).collect();
        let known = std::mem::replace(&mut self.0, hopeless.keys().cloned().collect());
        let news: Vec<String> = hopeless
            .into_iter()
            .filter(|(kind, _)| !known.contains(kind))
            .map(|(_, told)| told)
            .collect();
        (!news.is_empty()).then(|| news.join(", "))
    }
}

fn failed(record: &Record<'_>) -> Vec<Failed> {
    let stuck = |group: &str| {
        let nodes = record.observation.snapshot.nodes.iter();
        let stuck = nodes.filter(|node| node.group == group && matches!(node.state, State::Stuck { .. }));
        stuck.count() as u64
    };
    let passes = record.waits.passes.iter();
    let failed = passes.map(|(group, pass)| Failed {
        group: group.clone(),
        count: stuck(group).max(1),
        reason: pass.message.clone(),
        unix_seconds: pass.since.as_second(),
    });
    failed.collect()
}
