//! How much of a group may go at a time. What goes for reasons of its own is not held up, and counts.

use std::fmt;

use super::behavior::Change;
use crate::plan::{Cause, Plan, Termination};
use crate::snapshot::{Group, Node, Snapshot, State};

/// As many as keep a tally short, whatever happens.
const REMOVALS_MAX: usize = 50;

/// How much may go at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// So many replicas within the window.
    pub max_removed: Option<Change>,
    /// How long a replica that is gone counts.
    pub window_milliseconds: u64,
    /// How old a Pod has to be before it may go.
    pub min_age_milliseconds: u64,
}

/// What was taken away of a group, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// The oldest first: when, in milliseconds since 1970, and how many replicas.
    pub list: Vec<(u64, u64)>,
    /// Nobody can say what it was.
    pub unknown: bool,
}

/// What still counts of them now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    removals: Removals,
    now: u64,
}

/// Why something does not go yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As many as may go have gone.
    UsedUp,
    /// It is too young.
    Young,
    /// It is not known how many have gone.
    Unknown,
}

impl Disruption {
    /// Takes back what would go too fast, and says why.
    pub(super) fn withhold(
        &self,
        plan: &mut Plan,
        snapshot: &Snapshot,
        group: &Group,
        now: u64,
    ) -> Option<Kept> {
        let mut budget = Budget::new(self, snapshot, group, now);
        let mut why = None;
        let (mut going, mut staying) = (Vec::new(), Vec::new());
        let one_slice = |one: &Termination, next: &Termination| {
            one.slice.is_some() && one.slice == next.slice && one.group == next.group
        };
        for unit in plan.terminate.chunk_by(one_slice) {
            match budget.keeps(unit) {
                Some(kept) => {
                    why = why.or(Some(kept));
                    staying.extend_from_slice(unit);
                }
                None => going.extend_from_slice(unit),
            }
        }
        plan.terminate = going;
        let replicas = (staying.len() as u64).div_ceil(group.hosts.max(1));
        plan.keep(&staying, group, replicas);
        why
    }

    /// What has gone, as far as it is to be remembered.
    pub(super) fn tally(&self, removals: &Removals, now: u64) -> Option<Tally> {
        self.max_removed?;
        let counts = |(at, _): &(u64, u64)| now.saturating_sub(*at) < self.window_milliseconds;
        Some(Tally {
            removals: Removals {
                list: removals.list.iter().copied().filter(counts).collect(),
                unknown: removals.unknown,
            },
            now,
        })
    }
}

impl Tally {
    /// With so many replicas that go now; nothing where it is not known what went before.
    pub fn and(&self, replicas: u64) -> Option<Removals> {
        let mut removals = self.removals.clone();
        removals.list.push((self.now, replicas));
        while removals.list.len() > REMOVALS_MAX {
            // Both are told as the later one: it counts for longer.
            let (_, earlier) = removals.list.remove(0);
            removals.list[0].1 += earlier;
        }
        (!removals.unknown).then_some(removals)
    }

    fn replicas(&self) -> u64 {
        self.removals.list.iter().map(|(_, replicas)| replicas).sum()
    }
}

/// What may still go, while a plan is gone through.
struct Budget<'a> {
    disruption: &'a Disruption,
    group: &'a Group,
    nodes: Vec<&'a Node>,
    /// Replicas, where they are counted.
    left: Option<u64>,
    /// Nodes above the group's own maximum, which go first.
    above: u64,
    now: u64,
}

impl<'a> Budget<'a> {
    fn new(disruption: &'a Disruption, snapshot: &'a Snapshot, group: &'a Group, now: u64) -> Self {
        let of_group = snapshot.nodes.iter().filter(|node| node.group == group.name);
        let nodes: Vec<&Node> = of_group.collect();
        let count = |is: fn(&Node) -> bool| nodes.iter().filter(|node| is(node)).count() as u64;
        // Those that Ray lets go of are listed for deletion, and so counted, only when they are gone.
        let going = count(|node| matches!(node.state, State::Leaving { .. } | State::Lost));
        let made = count(|node| node.created.is_some());
        let hosts = group.hosts.max(1);
        let tally = disruption.tally(&group.removed, now);
        let left = tally.zip(disruption.max_removed).map(|(tally, max)| {
            let gone = tally.replicas();
            let most = match max {
                Change::Pods(replicas) => replicas.into(),
                Change::Percent(percent) => ((made / hosts + gone) * u64::from(percent)).div_ceil(100),
            };
            most.saturating_sub(gone + going.div_ceil(hosts))
        });
        Self {
            disruption,
            group,
            left,
            above: (nodes.len() as u64 - going).saturating_sub(group.max),
            nodes,
            now,
        }
    }

    /// Why the nodes of a replica have to stay, if so; if not, they count.
    fn keeps(&mut self, unit: &[Termination]) -> Option<Kept> {
        let first = &unit[0];
        if first.group != self.group.name
            || matches!(first.cause, Cause::Lost | Cause::Stuck | Cause::MaxNodes)
        {
            return None;
        }
        if first.cause == Cause::Maximum && self.above > 0 {
            self.above = self.above.saturating_sub(unit.len() as u64);
            self.left = self.left.map(|left| left.saturating_sub(1));
            return None;
        }
        let is_going = |node: &&&Node| unit.iter().any(|going| going.id == node.id);
        let created = self.nodes.iter().filter(is_going).filter_map(|node| node.created);
        // A replica of which there is no Pod yet is only asked for no more.
        let youngest = created.max()?;
        if self.now.saturating_sub(youngest) < self.disruption.min_age_milliseconds {
            return Some(Kept::Young);
        }
        let left = self.left.as_mut()?;
        if self.group.removed.unknown {
            return Some(Kept::Unknown);
        }
        if *left == 0 {
            return Some(Kept::UsedUp);
        }
        *left -= 1;
        None
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UsedUp => "the disruption budget, which is used up for now",
            Self::Young => "the disruption budget, since what would go is too young",
            Self::Unknown => "the disruption budget, since the annotation rayward.dev/removed cannot be read",
        })
    }
}
