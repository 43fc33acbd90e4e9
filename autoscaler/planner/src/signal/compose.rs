//! What all signals of a group come to.
//!
//! One rule: Ray's demand and Targets propose, and the highest wins; Floors, Caps and Guards bound it; the behavior shapes it. Targets and
//! Floors raise the minimum of a group, Caps lower its maximum, and the stages of Ray do the rest, so removal goes the way it always goes. What
//! is not known never shrinks a group: it has at least the replicas that it has.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::behavior::{Behavior, HeldBy, History};
use super::{Milli, Proposals, Replicas, Target, Tolerance, Undecided, propose};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::snapshot::{Group, Policy, Role as NodeRole, Snapshot, State};

/// What a policy wants of one group, as far as it is known now. Numbers are replicas.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The group.
    pub group: String,
    /// What comes of it is only told.
    pub recommends: bool,
    /// It keeps the replicas it has.
    pub paused: bool,
    /// The fewest, besides the group's own minimum.
    pub min: Option<u64>,
    /// The most, besides the group's own maximum.
    pub max: Option<u64>,
    /// What says how many there should be.
    pub signals: Vec<Signal>,
    /// How fast the number may change; `None` as fast as it likes.
    pub behavior: Option<Behavior>,
    /// How far a value may be from its target.
    pub tolerance: Tolerance,
    /// How long none of the conditions has to hold before the Targets ask for nothing.
    pub cooldown_milliseconds: u64,
}

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What it is called.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    /// What it says.
    pub reading: Reading,
}

/// What a signal is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It proposes replicas.
    Target(Target),
    /// The fewest replicas.
    Floor,
    /// The most replicas, even against a Floor.
    Cap,
    /// While it is on, nothing changes in these directions.
    Guard {
        /// Above which value it is on.
        above: Milli,
        /// Towards fewer replicas.
        shrink: bool,
        /// Towards more.
        grow: bool,
    },
    /// While none is on, Targets propose nothing.
    Activate {
        /// Above which value it is on.
        above: Milli,
    },
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A value.
    Value(Milli),
    /// So many replicas outright; for a condition, that it is on.
    Replicas(u64),
    /// Nothing, at this time.
    Silent,
    /// Nobody knows.
    Unknown,
}

/// What became of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The group.
    pub group: String,
    /// Replicas asked for until now.
    pub from: u64,
    /// Replicas to ask for.
    pub to: u64,
    /// What decided.
    pub by: Factor,
    /// How many replicas each signal stands for, in the order of the wish; `None` where it stands for none.
    pub proposals: Vec<(String, Option<u64>)>,
}

/// What decides how many replicas there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Factor {
    /// What Ray asks for, and what is idle.
    Demand,
    /// The fewest there may be.
    Minimum,
    /// The most there may be.
    Maximum,
    /// A signal.
    Signal(String),
    /// A signal that is not known.
    Unknown(String),
    /// None of the conditions holds.
    Inactive,
    /// The policy is paused.
    Paused,
    /// The behavior.
    Behavior(HeldBy),
}

/// What is remembered of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    history: History,
    /// When a condition held last; at first, when it was first looked at.
    active_at: Option<u64>,
    /// When it was looked at last, and how many replicas were asked for then, before anything was decided.
    last: Option<(u64, u64)>,
}

/// How many replicas there may be, and why.
struct Bounds {
    /// The group's own minimum and maximum, which nothing leads out of.
    own: (u64, u64),
    min: u64,
    max: u64,
    min_by: Factor,
    max_by: Factor,
    /// The Targets have come to no number.
    undecided: bool,
}

/// Decides as [`crate::plan`] does, with what policies want of some groups besides. `now` is in milliseconds.
///
/// What the policies come to that only recommend is told as if they were followed.
pub fn plan(
    snapshot: &Snapshot,
    memory: &Memory,
    policy: &Policy,
    wishes: &[Wish],
    now: u64,
) -> (Plan, Vec<Composed>) {
    let followed = || wishes.iter().filter(|wish| !wish.recommends);
    let (mut plan, composed) = follow(snapshot, memory, policy, followed(), now);
    if followed().count() == wishes.len() {
        return (plan, composed);
    }
    let (mut other, all) = follow(snapshot, memory, policy, wishes, now);
    other.memory.signals.append(&mut plan.memory.signals);
    plan.memory.signals = other.memory.signals;
    let told = all.into_iter().map(|told| {
        let mut followed = composed.iter().filter(|followed| followed.group == told.group);
        followed.next().cloned().unwrap_or(told)
    });
    (plan, told.collect())
}

fn follow<'w>(
    snapshot: &Snapshot,
    memory: &Memory,
    policy: &Policy,
    wishes: impl IntoIterator<Item = &'w Wish>,
    now: u64,
) -> (Plan, Vec<Composed>) {
    let mut bounded = snapshot.clone();
    let mut pasts = BTreeMap::new();
    let mut composed = Vec::new();
    let mut bounds = Vec::new();
    for wish in wishes {
        let Some(index) = group_of(snapshot, &wish.group) else {
            continue;
        };
        let group = &snapshot.groups[index];
        let mut past = memory.signals.get(&group.name).cloned().unwrap_or_default();
        past.see(wish, group.replicas, now);
        let replicas = replicas(snapshot, group);
        let proposals: Vec<_> = wish
            .signals
            .iter()
            .map(|signal| signal.proposal(replicas, wish))
            .collect();
        let found = bounds_of(group, wish, &proposals, &mut past, now);
        bound(&mut bounded.groups[index], &found);
        composed.push(Composed {
            group: group.name.clone(),
            from: group.replicas,
            to: group.replicas,
            by: Factor::Demand,
            proposals: wish
                .signals
                .iter()
                .map(|signal| signal.name.clone())
                .zip(proposals)
                .collect(),
        });
        bounds.push((wish, index, found));
        pasts.insert(group.name.clone(), past);
    }

    let decide = |bounded: &Snapshot| {
        let mut plan = crate::plan(bounded, memory, policy);
        if snapshot.age_milliseconds >= policy.unsure_after_milliseconds {
            plan.ask_for_what_stays(snapshot);
        }
        plan
    };
    let mut plan = decide(&bounded);
    let mut shaped = false;
    for ((wish, index, found), composed) in bounds.iter_mut().zip(&mut composed) {
        let group = &snapshot.groups[*index];
        let asked = asked(&plan, group);
        composed.to = asked;
        composed.by = found.decided(asked);
        let (Some(behavior), Some(past), false) = (&wish.behavior, pasts.get_mut(&group.name), wish.paused)
        else {
            continue;
        };
        if found.undecided && asked == group.replicas {
            // That nothing is known is nothing that was asked for.
            past.history.begin(now, group.replicas);
            continue;
        }
        let allowed = behavior.shape(&mut past.history, now, group.replicas, asked);
        if let Some(held_by) = allowed.held_by
            && found.hold(asked, allowed.replicas)
        {
            composed.by = Factor::Behavior(held_by);
            bound(&mut bounded.groups[*index], found);
            shaped = true;
        }
    }
    if shaped {
        // What one group may not have now, another may: so everything is decided again, within what is allowed.
        plan = decide(&bounded);
        for ((_, index, _), composed) in bounds.iter().zip(&mut composed) {
            composed.to = asked(&plan, &snapshot.groups[*index]);
        }
    }
    for decision in &mut plan.decisions {
        let composed = composed.iter().find(|composed| composed.group == decision.group);
        decision.by = composed.map(|composed| composed.by.clone());
    }
    plan.memory.signals = pasts;
    (plan, composed)
}

fn group_of(snapshot: &Snapshot, name: &str) -> Option<usize> {
    let mut groups = snapshot.groups.iter();
    groups.position(|group| group.name == name && group.role == NodeRole::Worker && !group.suspended)
}

fn replicas(snapshot: &Snapshot, group: &Group) -> Replicas {
    let nodes = || snapshot.nodes.iter().filter(|node| node.group == group.name);
    let there = nodes().count() as u64;
    let ready = nodes()
        .filter(|node| matches!(node.state, State::Running(_)))
        .count() as u64;
    let hosts = group.hosts.max(1);
    Replicas {
        wanted: group.replicas,
        there: there / hosts,
        ready: ready / hosts,
    }
}

fn asked(plan: &Plan, group: &Group) -> u64 {
    let mut decisions = plan.decisions.iter();
    let decision = decisions.find(|decision| decision.group == group.name);
    decision.map_or(group.replicas, |decision| decision.to)
}

fn bound(group: &mut Group, bounds: &Bounds) {
    let hosts = group.hosts.max(1);
    group.min = bounds.min.saturating_mul(hosts);
    group.max = bounds.max.saturating_mul(hosts);
}

fn bounds_of(group: &Group, wish: &Wish, proposals: &[Option<u64>], past: &mut Past, now: u64) -> Bounds {
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

    /// What made it this number.
    fn decided(&self, replicas: u64) -> Factor {
        if replicas >= self.max {
            self.max_by.clone()
        } else if replicas <= self.min {
            self.min_by.clone()
        } else {
            Factor::Demand
        }
    }

    /// Lets no more change than is allowed; false where the group's own bounds leave no choice.
    fn hold(&mut self, asked: u64, allowed: u64) -> bool {
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

impl Signal {
    /// How many replicas it stands for.
    fn proposal(&self, replicas: Replicas, wish: &Wish) -> Option<u64> {
        match (self.role, self.reading) {
            (_, Reading::Silent | Reading::Unknown) | (Role::Guard { .. } | Role::Activate { .. }, _) => None,
            (_, Reading::Replicas(replicas)) => Some(replicas),
            (Role::Target(target), Reading::Value(value)) => {
                Some(propose(replicas, value, target, wish.tolerance))
            }
            (Role::Floor, Reading::Value(value)) => Some(value.ceil()),
            (Role::Cap, Reading::Value(value)) => Some(value.floor()),
        }
    }
}

impl Reading {
    /// Whether a condition holds; `None` where nobody knows.
    fn is_above(self, threshold: Milli) -> Option<bool> {
        match self {
            Self::Value(value) => Some(value > threshold),
            Self::Replicas(_) => Some(true),
            Self::Silent => Some(false),
            Self::Unknown => None,
        }
    }
}

impl Past {
    fn see(&mut self, wish: &Wish, wanted: u64, now: u64) {
        // What has changed since is what was done then.
        if let (Some(behavior), Some((at, before))) = (&wish.behavior, self.last) {
            self.history.done(behavior, at, before, wanted);
        }
        self.last = Some((now, wanted));
    }

    /// Whether Targets may propose anything: there are no conditions, one holds, is not known, or held a moment ago.
    fn is_active(&mut self, wish: &Wish, now: u64) -> bool {
        let mut conditions = wish.signals.iter().filter_map(|signal| match signal.role {
            Role::Activate { above } => Some(signal.reading.is_above(above)),
            _ => None,
        });
        let Some(first) = conditions.next() else {
            return true;
        };
        let on = first != Some(false) || conditions.any(|condition| condition != Some(false));
        if on || self.active_at.is_none() {
            self.active_at = Some(now);
        }
        let since = now.saturating_sub(self.active_at.unwrap_or(now));
        on || since < wish.cooldown_milliseconds
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demand => formatter.write_str("Ray's demand"),
            Self::Minimum => formatter.write_str("the minimum"),
            Self::Maximum => formatter.write_str("the maximum"),
            Self::Signal(name) => write!(formatter, "signal {name}"),
            Self::Unknown(name) => write!(formatter, "signal {name}, which is not known"),
            Self::Inactive => formatter.write_str("no Activate signal that is on"),
            Self::Paused => formatter.write_str("the policy, which is paused"),
            Self::Behavior(held_by) => formatter.write_str(match held_by {
                HeldBy::UpStabilized => "scaleUp of the behavior, since fewer were asked for a moment ago",
                HeldBy::DownStabilized => "scaleDown of the behavior, since more were asked for a moment ago",
                HeldBy::UpLimit => "scaleUp of the behavior, which adds no more for now",
                HeldBy::DownLimit => "scaleDown of the behavior, which takes away no more for now",
            }),
        }
    }
}
