//! What Floors, Caps, Guards, Targets and the group itself leave open: how many replicas there may be, and what says so.

use super::compose::{Factor, Past, Reading, Role, Wish};
use super::{Proposals, Undecided};
use crate::plan::Plan;
use crate::snapshot::Group;

/// How many replicas there may be, and why.
pub(super) struct Bounds {
    /// The group's own minimum and maximum, which nothing leads out of.
    own: (u64, u64),
    pub(super) min: u64,
    pub(super) max: u64,
    min_by: Factor,
    max_by: Factor,
    /// The Targets have come to no number.
    pub(super) undecided: bool,
}

/// What signals, the group and the policy allow.
pub(super) fn bounds_of(
    group: &Group,
    wish: &Wish,
    proposals: &[Option<u64>],
    past: &mut Past,
    now: u64,
) -> Bounds {
    let hosts = group.hosts.max(1);
    let (own_min, own_max) = ((group.min / hosts).min(group.max / hosts), group.max / hosts);
    let mut bounds = Bounds {
        own: (own_min, own_max),
        min: own_min,
        max: own_max,
        min_by: Factor::Minimum,
        max_by: Factor::Maximum,
        undecided: false,
    };
    if wish.paused {
        bounds.raise(group.replicas, Factor::Paused);
        bounds.lower(group.replicas, Factor::Paused);
        return bounds;
    }
    bounds.raise(wish.min.unwrap_or(0), Factor::Minimum);
    bounds.lower(wish.max.unwrap_or(u64::MAX), Factor::Maximum);
    let signals = || wish.signals.iter().zip(proposals);

    if past.is_active(wish, now) {
        let (targets, decided) = targets(wish, proposals, group.replicas);
        bounds.undecided = decided.is_none();
        bounds.raise(decided.unwrap_or(group.replicas), targets);
    } else {
        bounds.min_by = Factor::Inactive;
    }
    for (signal, proposal) in signals() {
        let named = || Factor::Signal(signal.name.clone());
        match (signal.role, proposal) {
            (Role::Floor, Some(replicas)) => bounds.raise(*replicas, named()),
            (Role::Floor, None) if signal.reading == Reading::Unknown => {
                bounds.raise(group.replicas, Factor::Unknown(signal.name.clone()));
            }
            (Role::Cap, Some(replicas)) => bounds.lower(*replicas, named()),
            _ => {}
        }
    }
    bounds.min = bounds.min.min(bounds.max);
    for (signal, _) in signals() {
        let Role::Guard { above, shrink, grow } = signal.role else {
            continue;
        };
        match signal.reading.is_above(above) {
            Some(true) => {
                let named = || Factor::Signal(signal.name.clone());
                if shrink {
                    bounds.keep(group.replicas, named());
                }
                if grow {
                    bounds.lower(group.replicas, named());
                }
            }
            Some(false) => {}
            None => bounds.keep(group.replicas, Factor::Unknown(signal.name.clone())),
        }
    }
    bounds.min = bounds.min.min(bounds.max);
    bounds
}

/// What the Targets ask for together, and which of them decided; the present replicas, where that cannot be said.
fn targets(wish: &Wish, proposals: &[Option<u64>], wanted: u64) -> (Factor, Option<u64>) {
    let targets: Vec<_> = wish
        .signals
        .iter()
        .zip(proposals)
        .filter(|(signal, _)| matches!(signal.role, Role::Target(_)) && signal.reading != Reading::Silent)
        .collect();
    let activated = wish
        .signals
        .iter()
        .any(|signal| matches!(signal.role, Role::Activate { .. }));
    let least = u64::from(activated);
    if targets.is_empty() {
        return (Factor::Minimum, Some(0));
    }
    let all: Proposals = targets.iter().map(|(_, proposal)| **proposal).collect();
    let name = |of: &dyn Fn(&Option<u64>) -> bool| {
        let found = targets.iter().find(|(_, proposal)| of(proposal));
        found.map(|(signal, _)| signal.name.clone()).unwrap_or_default()
    };
    match all.decide(wanted) {
        Ok(highest) => {
            let by = name(&|proposal| *proposal == Some(highest));
            (Factor::Signal(by), Some(highest.max(least)))
        }
        Err(Undecided::NoneKnown | Undecided::ShrinksOnPartialKnowledge) => {
            (Factor::Unknown(name(&Option::is_none)), None)
        }
    }
}

impl Bounds {
    fn raise(&mut self, min: u64, by: Factor) {
        let min = min.min(self.own.1);
        if min > self.min {
            self.min = min;
            self.min_by = by;
        }
    }

    fn lower(&mut self, max: u64, by: Factor) {
        let max = max.max(self.own.0);
        if max < self.max {
            self.max = max;
            self.max_by = by;
        }
    }

    /// At least so many, whatever a Cap says.
    fn keep(&mut self, replicas: u64, by: Factor) {
        self.raise(replicas, by);
        self.max = self.max.max(self.min);
    }

    /// How many replicas a plan gives the group, or would if it had known these bounds.
    pub(super) fn asked(&self, plan: &Plan, group: &Group, wish: &Wish) -> u64 {
        let mut decisions = plan.decisions.iter();
        let decision = decisions.find(|decision| decision.group == group.name);
        let asked = decision.map_or(group.replicas, |decision| decision.to);
        if wish.recommends {
            asked.clamp(self.min, self.max)
        } else {
            asked
        }
    }

    /// What made it this number.
    pub(super) fn decided(&self, replicas: u64) -> Factor {
        if replicas >= self.max {
            self.max_by.clone()
        } else if replicas <= self.min {
            self.min_by.clone()
        } else {
            Factor::Demand
        }
    }

    /// Lets no more change than is allowed; false where the group's own bounds leave no choice.
    pub(super) fn hold(&mut self, asked: u64, allowed: u64) -> bool {
        let allowed = allowed.clamp(self.own.0, self.own.1);
        if allowed > asked {
            self.min = self.min.max(allowed);
            self.max = self.max.max(self.min);
        } else {
            self.max = self.max.min(allowed);
            self.min = self.min.min(self.max);
        }
        allowed != asked
    }
}
