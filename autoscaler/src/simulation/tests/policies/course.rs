//! What a behavior allows, told from outside: by what was asked for and by how many replicas there were, not by what the planner remembers of it.

use std::ops::RangeInclusive;

use planner::signal::behavior::{Behavior, Change, Scaling, Select};

/// What became of one group.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// At each decision, what Targets asked for, and how many replicas there were.
    asked: Vec<(u64, u64, u64)>,
    /// How many replicas there were before each change.
    changed: Vec<(u64, u64)>,
    /// Which way it went since all is constant.
    turned: Option<bool>,
}

/// One decision, or what may be decided: from how many replicas to how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) now: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Replicas that have Pods.
    pub(super) there: u64,
    /// The group's own minimum and maximum, which no behavior leads out of.
    pub(super) own: (u64, u64),
}

impl Course {
    /// What is asked for at this decision.
    pub(super) fn ask(&mut self, step: &Step, asked: u64) {
        self.asked.push((step.now, asked.min(step.own.1), step.from));
    }

    pub(super) fn done(&mut self, step: &Step) {
        if step.from != step.to {
            self.changed.push((step.now, step.from));
        }
    }

    /// How many replicas the windows allow: no fewer than the most, no more than the fewest that were asked for within them. To ask for fewer than there are may
    /// have come to as many as there are, since some had yet to idle.
    pub(super) fn stabilized(&self, behavior: &Behavior, step: &Step) -> RangeInclusive<u64> {
        let within = |window: u64| self.asked.iter().filter(move |(at, ..)| step.now - at < window);
        let most = within(behavior.down.stabilization_milliseconds).map(|(_, asked, _)| *asked);
        let fewest =
            within(behavior.up.stabilization_milliseconds).map(|(_, asked, there)| *asked.max(there));
        let least = most.max().unwrap_or(0).min(step.own.1);
        least..=fewest.min().unwrap_or(u64::MAX).max(step.own.0)
    }

    /// How many replicas the policies allow.
    pub(super) fn limited(&self, behavior: &Behavior, step: &Step) -> RangeInclusive<u64> {
        let least = self.furthest(&behavior.down, step, false).min(step.own.1);
        least..=self.furthest(&behavior.up, step, true).max(step.own.0)
    }

    fn furthest(&self, scaling: &Scaling, step: &Step, up: bool) -> u64 {
        let reached = scaling.policies.iter().map(|policy| {
            let within = |(at, _): &&(u64, u64)| step.now - at < policy.period_milliseconds;
            let began = self.changed.iter().find(within);
            let began = began.map_or(step.from, |(_, before)| *before);
            match (policy.change, up) {
                (Change::Pods(pods), true) => began + u64::from(pods),
                (Change::Pods(pods), false) => began.saturating_sub(pods.into()),
                (Change::Percent(percent), true) => (began * u64::from(100 + percent)).div_ceil(100),
                (Change::Percent(percent), false) => began * u64::from(100_u32.saturating_sub(percent)) / 100,
            }
        });
        let reached = match (scaling.select, up) {
            (Select::Disabled, _) => None,
            (Select::Max, true) | (Select::Min, false) => reached.max(),
            (Select::Min, true) | (Select::Max, false) => reached.min(),
        };
        let reached = reached.unwrap_or(step.from);
        if up {
            reached.max(step.from)
        } else {
            reached.min(step.from)
        }
    }

    /// From now on everything stays as it is.
    pub(super) fn calm(&mut self) {
        self.turned = None;
    }

    /// Whether it now goes the other way than before.
    pub(super) fn turns_back(&mut self, step: &Step) -> bool {
        let up = step.to > step.from;
        step.to != step.from && self.turned.replace(up).is_some_and(|before| before != up)
    }
}
