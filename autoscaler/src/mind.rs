//! A look at a cluster up to the plan, in the order in which the service and the simulation take it: observe, tell what waits in vain, plan. Pure.

use jiff::Timestamp;
use planner::{Memory, Plan, Snapshot};

use crate::cluster::{Cluster, View};
use crate::gcs::Report;
use crate::observe::{Observation, observe};
use crate::patience::{Patience, Waits};

/// What is kept from one look to the next to decide by. All of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Mind {
    session: String,
    memory: Memory,
    patience: Patience,
}

/// What a look came to.
pub(crate) struct Thought<'a, T> {
    pub(crate) observation: Observation<'a>,
    pub(crate) waits: Waits,
    pub(crate) plan: Plan,
    /// What the planner says besides.
    pub(crate) besides: T,
}

impl Mind {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }

    /// Whether the head is another than before. It knows nothing of what the old one said.
    pub(crate) fn enter(&mut self, report: &Report) -> bool {
        let is_new = self.session != report.session;
        if is_new {
            self.session.clone_from(&report.session);
            self.memory = Memory::default();
        }
        is_new
    }

    pub(crate) fn consider<'a, T>(
        &mut self,
        cluster: &Cluster,
        view: &'a View,
        report: &'a Report,
        age_milliseconds: u64,
        now: Timestamp,
        plan: impl FnOnce(&Snapshot, &Memory) -> (Plan, T),
    ) -> Thought<'a, T> {
        let mut observation = observe(cluster, view, report, age_milliseconds);
        let waits = self.patience.judge(cluster, view, &observation.snapshot, now);
        waits.mark(&mut observation.snapshot, view);
        let (mut plan, besides) = plan(&observation.snapshot, &self.memory);
        self.memory = std::mem::take(&mut plan.memory);
        Thought {
            observation,
            waits,
            plan,
            besides,
        }
    }
}
