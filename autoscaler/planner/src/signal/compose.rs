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
use super::bounds::{Bounds, bounds_of};
use super::disruption::{Disruption, Kept};
use super::{Milli, Replicas, Target, Tolerance, propose};
use crate::memory::Memory;
use crate::plan::{Cause, Plan};
use crate::snapshot::{Group, Policy, Role as NodeRole, Snapshot, State};

/// What a policy wants of one group, as far as it is known now. Numbers are replicas.
#[derive(Clone, Debug, Default)]
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
    /// How much may go at a time.
    pub disruption: Option<Disruption>,
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
    /// The disruption budget.
    Disruption(Kept),
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

/// Decides as [`crate::plan`] does, with what policies want of some groups besides. `now` is in milliseconds.
///
/// Policies that only recommend bind nothing. What they come to is told of the same decision: what it gives their group, within what they allow.
/// What a group would then leave to others, or take from them, is not counted.
pub fn plan(
    snapshot: &Snapshot,
    memory: &Memory,
    policy: &Policy,
    wishes: &[Wish],
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
        if !wish.recommends {
            bound(&mut bounded.groups[index], &found);
        }
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
        if policy.is_unsure(snapshot.age_milliseconds) {
            plan.ask_for_what_stays(snapshot);
        }
        plan
    };
    let mut plan = decide(&bounded);
    let mut shaping = Shaping::new(&pasts, bounds.len(), now);
    // What one group may not have now, another may: so everything is decided again, within what is allowed, and each round holds one group more, or
    // holds it on its other side.
    while shaping.shape(&plan, snapshot, &mut bounded, &mut bounds, &mut composed) {
        plan = decide(&bounded);
    }
    let pasts = shaping.pasts;
    if withhold(&mut plan, snapshot, &mut bounded, &bounds, &mut composed, now) {
        // What stays can take work, so less of it may be needed elsewhere.
        plan = decide(&bounded);
        withhold(&mut plan, snapshot, &mut bounded, &bounds, &mut composed, now);
    }
    for ((wish, index, found), composed) in bounds.iter().zip(&mut composed) {
        let group = &snapshot.groups[*index];
        composed.to = found.asked(&plan, group, wish);
        if wish.recommends {
            continue;
        }
        let disruption = wish.disruption.as_ref();
        if let Some(tally) = disruption.and_then(|disruption| disruption.tally(&group.removed, now)) {
            plan.tallies.insert(group.name.clone(), tally);
        }
        let mut decisions = plan.decisions.iter_mut();
        if let Some(decision) = decisions.find(|decision| decision.group == composed.group) {
            decision.by = Some(composed.by.clone());
        }
    }
    plan.memory.signals = pasts;
    (plan, composed)
}

/// How fast groups may change, while their plan is still made.
struct Shaping<'p> {
    /// As they were before anything was asked for now, and with what is asked for.
    before: &'p BTreeMap<String, Past>,
    pasts: BTreeMap<String, Past>,
    /// Groups that have been told how few they may have, and how many.
    held: Vec<[bool; 2]>,
    now: u64,
}

impl<'p> Shaping<'p> {
    fn new(before: &'p BTreeMap<String, Past>, groups: usize, now: u64) -> Self {
        Self {
            before,
            pasts: before.clone(),
            held: vec![[false; 2]; groups],
            now,
        }
    }

    /// Holds what a plan would have change too fast; whether that asks for another plan.
    fn shape(
        &mut self,
        plan: &Plan,
        snapshot: &Snapshot,
        bounded: &mut Snapshot,
        bounds: &mut [(&Wish, usize, Bounds)],
        composed: &mut [Composed],
    ) -> bool {
        let mut again = false;
        for (((wish, index, found), composed), held) in bounds.iter_mut().zip(composed).zip(&mut self.held) {
            let group = &snapshot.groups[*index];
            let asked = found.asked(plan, group, wish);
            let way = usize::from(asked > group.replicas);
            if held[way] || (held[1] && asked == group.replicas) {
                continue;
            }
            composed.by = found.decided(asked);
            let (Some(behavior), Some(before), false) =
                (&wish.behavior, self.before.get(&group.name), wish.paused)
            else {
                continue;
            };
            let mut past = before.clone();
            if found.undecided && asked == group.replicas {
                // That nothing is known is nothing that was asked for.
                past.history.begin(self.now, group.replicas);
            } else {
                let allowed = behavior.shape(&mut past.history, self.now, group.replicas, asked);
                if let Some(held_by) = allowed.held_by
                    && found.hold(asked, allowed.replicas)
                {
                    composed.by = Factor::Behavior(held_by);
                    held[way] = true;
                    if !wish.recommends {
                        bound(&mut bounded.groups[*index], found);
                        again = true;
                    }
                }
            }
            self.pasts.insert(group.name.clone(), past);
        }
        again
    }
}

/// Lets nothing go that may not yet, and has it stay in the next plan; whether there was anything.
fn withhold(
    plan: &mut Plan,
    snapshot: &Snapshot,
    bounded: &mut Snapshot,
    bounds: &[(&Wish, usize, Bounds)],
    composed: &mut [Composed],
    now: u64,
) -> bool {
    let mut any = false;
    for ((wish, index, _), composed) in bounds.iter().zip(composed) {
        let own = &snapshot.groups[*index];
        let disruption = wish.disruption.as_ref().filter(|_| !wish.recommends);
        let kept = disruption.and_then(|disruption| disruption.withhold(plan, snapshot, own, now));
        let Some(kept) = kept else { continue };
        composed.by = Factor::Disruption(kept);
        let there = snapshot.nodes.iter().filter(|node| node.group == own.name);
        let there = there.filter(|node| !matches!(node.state, State::Leaving { .. } | State::Lost));
        let going = plan.terminate.iter().filter(|going| going.group == own.name);
        let going = going.filter(|going| going.cause != Cause::Lost);
        let staying = (there.count() as u64).saturating_sub(going.count() as u64);
        let group = &mut bounded.groups[*index];
        group.min = group.min.max(staying.min(own.max));
        group.max = group.max.max(group.min);
        any = true;
    }
    any
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

fn bound(group: &mut Group, bounds: &Bounds) {
    let hosts = group.hosts.max(1);
    group.min = bounds.min.saturating_mul(hosts);
    group.max = bounds.max.saturating_mul(hosts);
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
    pub(super) fn is_above(self, threshold: Milli) -> Option<bool> {
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
        self.put_back(now);
        // What has changed since is what was done then.
        if let (Some(behavior), Some((at, before))) = (&wish.behavior, self.last) {
            self.history.done(behavior, at, before, wanted);
        }
        self.last = Some((now, wanted));
    }

    /// Nothing was later than now. What the clock was put back by would else be waited for once more.
    fn put_back(&mut self, now: u64) {
        self.history.put_back(now);
        self.active_at = self.active_at.map(|at| at.min(now));
        self.last = self.last.map(|(at, wanted)| (at.min(now), wanted));
    }

    /// Whether Targets may propose anything: there are no conditions, one holds, is not known, or held a moment ago.
    pub(super) fn is_active(&mut self, wish: &Wish, now: u64) -> bool {
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
            Self::Disruption(kept) => kept.fmt(formatter),
            Self::Behavior(held_by) => formatter.write_str(match held_by {
                HeldBy::UpStabilized => "scaleUp of the behavior, since fewer were asked for a moment ago",
                HeldBy::DownStabilized => "scaleDown of the behavior, since more were asked for a moment ago",
                HeldBy::UpLimit => "scaleUp of the behavior, which adds no more for now",
                HeldBy::DownLimit => "scaleDown of the behavior, which takes away no more for now",
            }),
        }
    }
}
