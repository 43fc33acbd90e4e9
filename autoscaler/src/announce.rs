//! What a head is told of our doings, so that `ray status` and the dashboard show them as they would show those of Ray's own autoscaler. Pure.

use jiff::Timestamp;
use planner::{Gang, State};

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
    let impossible = infeasible.requests.iter().map(|batch| &batch.request);
    let hopeless = |gang: &&Gang| {
        gang.requests()
            .iter()
            .any(|request| !snapshot.could_hold(request))
    };
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
        impossible: impossible
            .filter(|request| !snapshot.could_hold(request))
            .cloned()
            .collect(),
        impossible_gangs: infeasible.gangs.iter().filter(hopeless).cloned().collect(),
        impossible_constraint: constraint.cloned().unwrap_or_default(),
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
