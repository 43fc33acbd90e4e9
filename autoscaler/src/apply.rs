//! Carries a plan out: drains through the GCS what should go, then writes `replicas` and `workersToDelete` in one guarded patch.
//!
//! The order makes it safe to be killed in between. A node that was drained and not yet listed is dead to Ray while its Pod lives: the next
//! observation finds it given up, and the next plan lists it. A patch that was written is in the RayCluster, where the next observation
//! counts it. Nothing else is remembered.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use planner::signal::Removals;
use planner::{Cause, Decision, Plan, Termination};
use ray::cluster::WorkerGroup;
use ray::keys;
use serde_json::{Value, json};

use crate::cluster::{Cluster, View};
use crate::gcs::{DrainReason, Drained, Gcs, GcsError, RayNode, Status};
use crate::observe::Observation;
use crate::removals;

/// Drains wait for their nodes, so a few are asked at once.
const DRAINS_AT_ONCE: usize = 16;

/// What was drained, what refused.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    /// Nodes that stay for now, whatever the plan says.
    kept: BTreeSet<String>,
}

/// What is to be written to one worker group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GroupChange {
    pub(crate) decision: Decision,
    index: usize,
    /// To write, if it differs from what is there.
    replicas: Option<u64>,
    /// Pods that go now.
    pub(crate) removed: Vec<String>,
    /// What has gone with them, where that is to be kept.
    removals: Option<Removals>,
}

/// Drains the nodes that are to go and still live, as long as we may write. The hosts of a slice go only if all of them may.
pub(crate) async fn drain(
    gcs: &Gcs,
    plan: &Plan,
    observation: &Observation<'_>,
    may_write: impl Fn() -> bool + Copy,
) -> Drains {
    let asked: Vec<_> = plan
        .terminate
        .iter()
        .map(|termination| drain_one(gcs.clone(), termination, observation, may_write))
        .collect();
    Drains::of(plan, stream::iter(asked).buffered(DRAINS_AT_ONCE).collect().await)
}

async fn drain_one(
    mut gcs: Gcs,
    termination: &Termination,
    observation: &Observation<'_>,
    may_write: impl Fn() -> bool,
) -> Answer {
    let (node, reason) = drain_of(termination, observation)?;
    if !may_write() {
        return Some(Ok(Drained::Rejected(
            "the cluster is not ours any more".to_owned(),
        )));
    }
    let message = format!("{}: {}", termination.group, termination.cause);
    let answer = gcs.drain(node, reason, &message).await;
    Some(answer.map(|answer| for_now(reason, answer)))
}

/// What is asked of a node that is to go. One without a live raylet needs no drain. One above a maximum that is busy is told to finish: once it
/// has, it is given up, and goes then.
pub(crate) fn drain_of<'a>(
    termination: &Termination,
    observation: &Observation<'a>,
) -> Option<(&'a RayNode, DrainReason)> {
    let node = *observation.ray_nodes.get(termination.id.as_str())?;
    let reason = if termination.cause == Cause::Idle || node.status == Status::Idle {
        DrainReason::Idle
    } else {
        DrainReason::Preemption
    };
    Some((node, reason))
}

/// What an answer means for now: who was told to finish stays until it has.
pub(crate) fn for_now(reason: DrainReason, answer: Drained) -> Drained {
    match reason {
        DrainReason::Idle => answer,
        DrainReason::Preemption => Drained::Rejected("it finishes its work first".to_owned()),
    }
}

/// What became of one drain; nothing where none was needed.
pub(crate) type Answer = Option<Result<Drained, GcsError>>;

impl Drains {
    /// Sums up the answers, one for each node that is to go.
    pub(crate) fn of(plan: &Plan, answers: Vec<Answer>) -> Self {
        let mut drains = Self::default();
        for (termination, answer) in plan.terminate.iter().zip(answers) {
            match answer {
                None => continue,
                Some(Ok(Drained::Accepted)) => {
                    drains.accepted.insert(termination.id.clone());
                    continue;
                }
                Some(Ok(Drained::Rejected(reason))) => {
                    drains.rejected += 1;
                    tracing::debug!(node = termination.id, reason, "drain rejected");
                }
                Some(Err(error)) => {
                    drains.failed += 1;
                    tracing::warn!(node = termination.id, error = %error, "drain failed");
                }
            }
            drains.keep(termination, plan);
        }
        drains
    }

    /// Nobody goes that was not asked: since the head told of a node that it was dead, so much time has passed that it may be back and at work.
    pub(crate) fn keep_undrained(&mut self, plan: &Plan) {
        for termination in &plan.terminate {
            if !self.accepted.contains(&termination.id) {
                self.keep(termination, plan);
            }
        }
    }

    fn keep(&mut self, termination: &Termination, plan: &Plan) {
        let slice = plan.terminate.iter().filter(|other| {
            other.id == termination.id
                || (other.slice.is_some()
                    && other.slice == termination.slice
                    && other.group == termination.group)
        });
        self.kept.extend(slice.map(|host| host.id.clone()));
    }
}

/// What is to be written, now that some nodes may have refused to go.
pub(crate) fn changes(cluster: &Cluster, view: &View, plan: &Plan, drains: &Drains) -> Vec<GroupChange> {
    let groups = cluster.spec.worker_groups.iter();
    groups
        .filter_map(|group| change(group, view, plan, drains))
        .collect()
}

fn change(group: &WorkerGroup, view: &View, plan: &Plan, drains: &Drains) -> Option<GroupChange> {
    let decision = plan
        .decisions
        .iter()
        .find(|decision| decision.group == group.name)?;
    let hosts = u64::try_from(group.hosts()).unwrap_or(1);
    let going = plan
        .terminate
        .iter()
        .filter(|termination| termination.group == group.name);
    let (kept, gone): (Vec<_>, Vec<_>) = going.partition(|termination| drains.kept.contains(&termination.id));
    // What refused to go may be above the maximum for now: then asking for no more than the maximum deletes nothing.
    let replicas = decision.to + (kept.len() as u64).div_ceil(hosts);
    let max = u64::try_from(group.max_replicas.unwrap_or(i32::MAX)).unwrap_or(0);
    let replicas = replicas.min(max.max(decision.to));
    let gone: Vec<_> = gone
        .into_iter()
        .filter(|gone| view.pods.contains_key(&gone.id))
        .collect();
    let counted = gone.iter().filter(|gone| gone.cause != Cause::Stuck).count() as u64;
    let tally = plan.tallies.get(&group.name).filter(|_| counted > 0);
    let change = GroupChange {
        decision: Decision {
            to: replicas,
            ..decision.clone()
        },
        index: group.index,
        replicas: (replicas != decision.from).then_some(replicas),
        removals: tally.and_then(|tally| tally.and(counted.div_ceil(hosts))),
        removed: gone.iter().map(|gone| gone.id.clone()).collect(),
    };
    (change.replicas.is_some() || !change.removed.is_empty()).then_some(change)
}

/// One patch for the whole cluster, which fails as a whole if the RayCluster is not the one that was looked at.
///
/// Of a `scaleStrategy`, only the list of Pods to delete is ours. It is written with the Pods of it that still exist and those that go now. A list
/// whose Pods are all gone is emptied: the operator never does that, and would delete a Pod that happens to get a listed name.
///
/// What goes is also noted in an annotation, where a policy counts it.
pub(crate) fn patch(cluster: &Cluster, view: &View, changes: &[GroupChange]) -> Option<Patch> {
    let mut guards = vec![test(
        &["metadata", "resourceVersion"],
        json!(cluster.metadata.resource_version),
    )];
    let mut edits = Vec::new();
    for group in &cluster.spec.worker_groups {
        let change = changes.iter().find(|change| change.index == group.index);
        let listed = to_delete(group, view, change);
        let replicas = change.and_then(|change| change.replicas);
        if replicas.is_none() && listed.is_none() {
            continue;
        }
        let index = group.index.to_string();
        let path = |field| ["spec", "workerGroupSpecs", &index, field];
        guards.push(test(&path("groupName"), json!(group.name)));
        if let Some(replicas) = replicas {
            edits.push(add(&path("replicas"), json!(replicas)));
        }
        if let Some(listed) = listed {
            let strategy = path("scaleStrategy");
            edits.push(if group.has_scale_strategy {
                add(&[&strategy[..], &["workersToDelete"]].concat(), json!(listed))
            } else {
                add(&strategy, json!({ "workersToDelete": listed }))
            });
        }
    }
    edits.extend(note(cluster, changes));
    if edits.is_empty() {
        return None;
    }
    guards.append(&mut edits);
    Some(Patch(guards))
}

/// What has gone of each group, with what goes now.
fn note(cluster: &Cluster, changes: &[GroupChange]) -> Option<PatchOperation> {
    let counted = |change: &GroupChange| Some((change.decision.group.clone(), change.removals.clone()?));
    let counted: Vec<_> = changes.iter().filter_map(counted).collect();
    let mut all = removals::read(&cluster.metadata).filter(|_| !counted.is_empty())?;
    all.extend(counted);
    all.retain(|name, _| cluster.spec.worker_groups.iter().any(|group| group.name == *name));
    let annotation = removals::written(&all);
    let annotations = ["metadata", "annotations"];
    Some(if cluster.metadata.annotations.is_empty() {
        add(&annotations, json!({ keys::REMOVED: annotation }))
    } else {
        add(&[&annotations[..], &[keys::REMOVED]].concat(), json!(annotation))
    })
}

/// The list to be written, if it has to be.
fn to_delete(group: &WorkerGroup, view: &View, change: Option<&GroupChange>) -> Option<Vec<String>> {
    let removed = change.map_or(&[][..], |change| &change.removed);
    let there = group
        .workers_to_delete
        .iter()
        .filter(|name| view.pods.contains_key(*name));
    let mut list: Vec<String> = there.cloned().collect();
    let emptied = list.is_empty() && !group.workers_to_delete.is_empty();
    let fresh: Vec<String> = removed
        .iter()
        .filter(|name| !list.contains(name))
        .cloned()
        .collect();
    let grown = !fresh.is_empty();
    list.extend(fresh);
    (emptied || grown).then_some(list)
}

fn test(path: &[impl AsRef<str>], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(path),
        value,
    })
}

fn add(path: &[impl AsRef<str>], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: pointer(path),
        value,
    })
}

fn pointer(path: &[impl AsRef<str>]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().map(AsRef::as_ref))
}
