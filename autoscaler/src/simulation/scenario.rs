//! What happens to a cluster over time, as it is written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use planner::Batch;
use ray::path::Pointer;
use serde::Deserialize;
use serde_json::Value;

use super::faults::Faults;
use super::head::{GangTask, Head, Task};
use crate::simulate::{Bundles, Misfit, Seconds, Shape, batches, gangs};

/// A RayCluster, and what it is asked to do when.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(rename = "scenario", deserialize_with = "crate::simulate::version")]
    _version: (),
    ray_cluster: Value,
    /// How long it is looked at.
    pub(crate) seconds: u64,
    /// How long a Pod takes from made to running.
    #[serde(default)]
    start_seconds: Start,
    #[serde(default)]
    demand: Vec<Step>,
    /// What a node of a group costs.
    #[serde(default)]
    pub(crate) price_per_hour: BTreeMap<String, f64>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    faults: Faults,
}

/// Always the same time, or any between two.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Start {
    Always(u64),
    Between(u64, u64),
}

/// What is asked for at one time.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    #[serde(default)]
    at_second: u64,
    /// Once more every so many seconds.
    every_seconds: Option<u64>,
    /// All that waits and runs is withdrawn first.
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    requests: Vec<Shape>,
    #[serde(default)]
    gangs: Vec<Bundles>,
    /// How long each of them takes; for ever if it does not say.
    run_seconds: Option<Seconds>,
    /// What `request_resources` asks for from now on.
    constraint: Option<Vec<Shape>>,
}

/// A step, at its time.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at_milliseconds: u64,
    cancel: bool,
    tasks: Vec<Task>,
    gangs: Vec<GangTask>,
    constraint: Option<Vec<Batch>>,
}

impl Default for Start {
    /// A node that is there, and an image that has to be pulled.
    fn default() -> Self {
        Self::Always(20)
    }
}

impl Scenario {
    pub(super) fn ray_cluster(&self) -> &Value {
        &self.ray_cluster
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    pub(super) fn start_milliseconds(&self) -> (u64, u64) {
        let (from, to) = match self.start_seconds {
            Start::Always(seconds) => (seconds, seconds),
            Start::Between(from, to) => (from.min(to), from.max(to)),
        };
        (from * 1000, to * 1000)
    }

    /// All that happens while it is looked at.
    pub(super) fn events(&self) -> Result<Vec<Event>, Misfit> {
        let mut events = Vec::new();
        for (index, step) in self.demand.iter().enumerate() {
            let event = step.event(&Pointer::root().key("demand").index(index))?;
            let times = (step.at_second..=self.seconds).step_by(step.period());
            let times = times.take(if step.every_seconds.is_some() {
                usize::MAX
            } else {
                1
            });
            events.extend(times.map(|second| Event {
                at_milliseconds: second * 1000,
                ..event.clone()
            }));
        }
        Ok(events)
    }
}

impl Step {
    fn period(&self) -> usize {
        usize::try_from(self.every_seconds.unwrap_or(1))
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn event(&self, at: &Pointer) -> Result<Event, Misfit> {
        let milliseconds = self.run_seconds.map(Seconds::milliseconds);
        let tasks = batches(self.requests.clone()).into_iter().map(|batch| Task {
            request: Arc::new(batch.request),
            count: batch.count,
            milliseconds,
        });
        let gangs = gangs(self.gangs.clone(), &at.key("gangs"))?
            .into_iter()
            .map(|gang| GangTask { gang, milliseconds });
        Ok(Event {
            at_milliseconds: 0,
            cancel: self.cancel,
            tasks: tasks.collect(),
            gangs: gangs.collect(),
            constraint: self.constraint.clone().map(batches),
        })
    }
}

impl Event {
    pub(super) fn happen(self, head: &mut Head, now: u64) {
        if self.cancel {
            head.cancel(now);
        }
        self.tasks.into_iter().for_each(|task| head.submit(task));
        self.gangs.into_iter().for_each(|gang| head.submit_gang(gang));
        if self.constraint.is_some() {
            head.constrain(self.constraint);
        }
    }
}
