//! What a live cluster is asked to do over time, written down as a scenario that `simulate` plays. Pure; who asks the head is in [`command`].
//!
//! A head says what waits and what is free, not when a task began or ended. So each look is compared with the one before: what waits and what runs, of
//! each kind, came and went in the order of its coming. Tasks that come and go between two looks are seen only as far as they waited. What
//! runs is told by what is taken from nodes, in kinds of tasks that have been seen to wait; the rest of a node is one task of its own.

pub(crate) mod command;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use planner::{Batch, Gang, Request};
use ray::resources::{Amount, Resources};
use serde_json::{Value, json};

use crate::gcs::{RayNode, Report, Status};
use crate::simulate::{gang_json, request_json};

/// What Ray reserves on nodes for a placement group, after the name of the resource and before that of the group.
const GROUP_INFIX: &str = "_group_";
/// The label of a node that holds a part of a placement group, before the name of the group.
const GROUP_LABEL: &str = "_PG_";

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Recording {
    cluster: Value,
    /// By kind.
    tasks: BTreeMap<Request, Tasks>,
    /// By Ray's name of the placement group.
    gangs: BTreeMap<String, Placing>,
    constraint: Option<Vec<Batch>>,
    /// By when it came and how long it ran.
    steps: BTreeMap<(u64, Option<u64>), Step>,
    constraints: Vec<(u64, Vec<Batch>)>,
    seconds: u64,
}

/// Equal tasks: since when so many wait, and so many run, the oldest first.
#[derive(Debug, Default)]
struct Tasks {
    waiting: VecDeque<Cohort>,
    running: VecDeque<Cohort>,
}

#[derive(Clone, Copy, Debug)]
struct Cohort {
    came: u64,
    began: u64,
    count: u64,
}

#[derive(Debug)]
struct Placing {
    gang: Gang,
    came: u64,
    began: Option<u64>,
}

/// What came at one time and ran for one time.
#[derive(Debug, Default)]
struct Step {
    tasks: BTreeMap<Request, u64>,
    gangs: Vec<Gang>,
}

impl Recording {
    /// Of a RayCluster as the API server serves it.
    pub(crate) fn new(cluster: &Value) -> Self {
        let mut spec = cluster["spec"].clone();
        for group in spec["workerGroupSpecs"].as_array_mut().into_iter().flatten() {
            // Its Pods are not in the scenario.
            if let Some(group) = group.as_object_mut() {
                group.remove("scaleStrategy");
            }
        }
        let metadata = &cluster["metadata"];
        Self {
            cluster: json!({
                "apiVersion": cluster["apiVersion"], "kind": "RayCluster",
                "metadata": { "name": metadata["name"], "namespace": metadata["namespace"] },
                "spec": spec,
            }),
            tasks: BTreeMap::new(),
            gangs: BTreeMap::new(),
            constraint: None,
            steps: BTreeMap::new(),
            constraints: Vec::new(),
            seconds: 0,
        }
    }

    /// What the head says so many seconds after the beginning.
    pub(crate) fn look(&mut self, report: &Report, second: u64) {
        self.seconds = second;
        self.look_at_gangs(report, second);
        let mut counts: BTreeMap<Request, (u64, u64)> = BTreeMap::new();
        for batch in &report.demand.requests {
            counts.entry(batch.request.clone()).or_default().0 += batch.count;
        }
        for known in counts.keys() {
            self.tasks.entry(known.clone()).or_default();
        }
        for node in report.nodes.iter().filter(|node| node.status != Status::Dead) {
            for (request, count) in self.runs_on(node) {
                counts.entry(request).or_default().1 += count;
            }
        }
        for request in counts.keys() {
            self.tasks.entry(request.clone()).or_default();
        }
        let mut ended = Vec::new();
        for (request, tasks) in &mut self.tasks {
            let (waiting, running) = counts.get(request).copied().unwrap_or_default();
            let gone = tasks.look(waiting, running, second);
            ended.extend(gone.into_iter().map(|cohort| (request.clone(), cohort)));
        }
        for (request, cohort) in ended {
            let seconds = (second - cohort.began).max(1);
            self.keep(request, cohort, Some(seconds));
        }
        if report.demand.constraint != self.constraint {
            self.constraint.clone_from(&report.demand.constraint);
            let asked = self.constraint.clone().unwrap_or_default();
            self.constraints.push((second, asked));
        }
    }

    fn keep(&mut self, request: Request, cohort: Cohort, seconds: Option<u64>) {
        let step = self.steps.entry((cohort.came, seconds)).or_default();
        *step.tasks.entry(request).or_default() += cohort.count;
    }

    /// A placement group is known by its name: it waits, then some node carries its label, then none does.
    fn look_at_gangs(&mut self, report: &Report, second: u64) {
        let waiting: BTreeMap<&str, &Gang> = report
            .demand
            .gangs
            .iter()
            .map(|gang| (name_of(gang), gang))
            .collect();
        for (name, gang) in &waiting {
            self.gangs.entry((*name).to_owned()).or_insert_with(|| Placing {
                gang: Gang::clone(gang),
                came: second,
                began: None,
            });
        }
        let labels = report.nodes.iter().flat_map(|node| node.labels.keys());
        let placed: Vec<&str> = labels
            .filter_map(|label| label.strip_prefix(GROUP_LABEL))
            .collect();
        let mut gone = Vec::new();
        for (name, placing) in &mut self.gangs {
            if waiting.contains_key(name.as_str()) {
                continue;
            }
            if placed.contains(&name.as_str()) {
                placing.began.get_or_insert(second);
            } else {
                gone.push(name.clone());
            }
        }
        for placing in gone.iter().filter_map(|name| self.gangs.remove(name)) {
            let seconds = (second - placing.began.unwrap_or(second)).max(1);
            let step = self.steps.entry((placing.came, Some(seconds))).or_default();
            step.gangs.push(placing.gang);
        }
    }

    /// What is taken from a node, in kinds of tasks that are known: the hardest to place first.
    fn runs_on(&self, node: &RayNode) -> Vec<(Request, u64)> {
        let mut taken = taken(node);
        let mut kinds: Vec<&Request> = self.tasks.keys().collect();
        kinds.sort_by_cached_key(|kind| {
            let amounts = &kind.resources;
            let sum: Amount = amounts.iter().map(|(_, amount)| *amount).sum();
            Reverse((amounts.len(), sum))
        });
        let mut runs = Vec::new();
        for kind in kinds {
            let count = taken.times(&kind.resources).unwrap_or(0);
            if count > 0 {
                taken.take(&kind.resources, count);
                runs.push((kind.clone(), count));
            }
        }
        let rest: Resources = taken
            .iter()
            .filter(|(_, amount)| **amount > Amount::ZERO)
            .map(|(name, amount)| (name.clone(), *amount))
            .collect();
        if !rest.is_empty() {
            let request = Request {
                resources: rest,
                ..Request::default()
            };
            runs.push((request, 1));
        }
        runs
    }

    /// The scenario. Whatever still waits or runs does so for ever. `start_seconds`: what Pods took from made to running, at least and at most.
    pub(crate) fn scenario(mut self, start_seconds: Option<(u64, u64)>) -> Value {
        for (request, tasks) in std::mem::take(&mut self.tasks) {
            for cohort in tasks.waiting.into_iter().chain(tasks.running) {
                self.keep(request.clone(), cohort, None);
            }
        }
        for placing in std::mem::take(&mut self.gangs).into_values() {
            let step = self.steps.entry((placing.came, None)).or_default();
            step.gangs.push(placing.gang);
        }
        let steps = self.steps.iter().map(|(&(came, seconds), step)| {
            let mut json = json!({ "atSecond": came });
            if let Some(seconds) = seconds {
                json["runSeconds"] = seconds.into();
            }
            if !step.tasks.is_empty() {
                json["requests"] = step.tasks.iter().map(counted).collect();
            }
            if !step.gangs.is_empty() {
                json["gangs"] = step.gangs.iter().map(gang_json).collect();
            }
            json
        });
        let constraints = self.constraints.iter().map(|(second, batches)| {
            let asked = batches
                .iter()
                .map(|batch| counted((&batch.request, &batch.count)));
            json!({ "atSecond": second, "constraint": asked.collect::<Vec<_>>() })
        });
        let mut demand: Vec<Value> = steps.chain(constraints).collect();
        demand.sort_by_key(|step| step["atSecond"].as_u64());
        let mut scenario = json!({
            "scenario": 1, "seconds": self.seconds.max(1), "rayCluster": self.cluster, "demand": demand,
        });
        if let Some((least, most)) = start_seconds {
            scenario["startSeconds"] = json!([least, most]);
        }
        scenario
    }
}

impl Tasks {
    /// So many wait now, and so many run; those that ended are returned.
    fn look(&mut self, waiting: u64, running: u64, second: u64) -> Vec<Cohort> {
        let waited = sum(&self.waiting);
        if waiting > waited {
            self.waiting.push_back(Cohort {
                came: second,
                began: second,
                count: waiting - waited,
            });
        }
        for cohort in first(&mut self.waiting, waited.saturating_sub(waiting)) {
            self.running.push_back(Cohort {
                began: second,
                ..cohort
            });
        }
        let ran = sum(&self.running);
        if running > ran {
            self.running.push_back(Cohort {
                came: second,
                began: second,
                count: running - ran,
            });
        }
        first(&mut self.running, ran.saturating_sub(running))
    }
}

fn sum(cohorts: &VecDeque<Cohort>) -> u64 {
    cohorts.iter().map(|cohort| cohort.count).sum()
}

/// Takes the first so many out.
fn first(cohorts: &mut VecDeque<Cohort>, mut count: u64) -> Vec<Cohort> {
    let mut taken = Vec::new();
    while count > 0
        && let Some(oldest) = cohorts.front_mut()
    {
        let part = oldest.count.min(count);
        taken.push(Cohort {
            count: part,
            ..*oldest
        });
        oldest.count -= part;
        count -= part;
        if oldest.count == 0 {
            cohorts.pop_front();
        }
    }
    taken
}

/// Ray's name of a placement group, which its details begin with.
fn name_of(gang: &Gang) -> &str {
    gang.details.split(':').next().unwrap_or_default()
}

/// What is taken from a node by tasks and actors: neither by placement groups nor by objects.
fn taken(node: &RayNode) -> Resources {
    let is_plain = |name: &str| {
        !name.starts_with("node:") && !name.contains(GROUP_INFIX) && name != "object_store_memory"
    };
    let reserved = |name: &str| -> Amount {
        let groups = node.total.iter().filter_map(|(other, amount)| {
            let group = other.strip_prefix(name)?.strip_prefix(GROUP_INFIX)?;
            // The same again is listed by bundle.
            (!group.contains('_')).then_some(*amount)
        });
        groups.sum()
    };
    let plain = node.total.iter().filter(|(name, _)| is_plain(name));
    plain
        .map(|(name, total)| {
            let used = *total - node.available.get(name).unwrap_or_default();
            (name.clone(), used - reserved(name))
        })
        .filter(|(_, amount)| *amount > Amount::ZERO)
        .collect()
}

fn counted((request, count): (&Request, &u64)) -> Value {
    let mut json = request_json(request);
    json["count"] = (*count).into();
    json
}
