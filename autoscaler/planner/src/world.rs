//! The cluster while a plan is being made: the nodes there are, those to be launched, and what has been placed on each.

use std::collections::BTreeSet;

use crate::load::{Asked, Load, LoadId, Loads};
use crate::plan::{Cause, Reason};
use crate::slice;
use crate::snapshot::{Group, Node, Policy, Role, Snapshot, State};

/// What the stages pass on to each other. The order of the seats decides ties.
pub(crate) struct World<'a> {
    pub(crate) groups: &'a [Group],
    pub(crate) seats: Vec<Seat<'a>>,
    pub(crate) loads: Loads<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) idle_milliseconds_max: u64,
    /// Nothing may go, since what is known is too old.
    pub(crate) holds: bool,
    /// Nothing may go that Ray is not asked about, since what is known is not of this moment.
    pub(crate) is_unsure: bool,
    max_nodes: u64,
    /// The group of each node that is no seat and keeps its place in it.
    taken: Vec<usize>,
    /// What a fresh node of each group would be.
    fresh: Vec<LoadId>,
}

/// A node that work can be placed on.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// The index of its group; `None` for a running node of a group that is no more.
    pub(crate) group: Option<usize>,
    pub(crate) fate: Fate,
    /// The node it stands for; `None` for one that is to be launched.
    pub(crate) node: Option<&'a Node>,
    pub(crate) load: LoadId,
    /// It waits in vain; whether it goes if nothing needs it.
    pub(crate) stuck: Option<bool>,
    pub(crate) idle_milliseconds: u64,
}

/// What becomes of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Launch(Reason),
    Terminate(Cause),
}

/// Work that waits takes what is free; `request_resources` asks for totals. The two do not compete.
#[derive(Clone, Copy)]
pub(crate) enum Ledger {
    Demand = 0,
    Constraint = 1,
}

impl<'a> World<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, policy: &'a Policy) -> Self {
        let groups = snapshot.groups.as_slice();
        let workers = groups.iter().filter(|group| group.role == Role::Worker);
        let max_nodes = workers.fold(1, |sum: u64, group| sum.saturating_add(group.max));
        let asked = Asked::of(&snapshot.demand);
        let mut loads = Loads::new(&asked);
        let fresh: Vec<LoadId> = groups
            .iter()
            .map(|group| loads.id(fresh(group, &asked)))
            .collect();
        let lost: BTreeSet<&str> = slice::lost(&snapshot.nodes, groups)
            .into_iter()
            .map(|node| node.id.as_str())
            .collect();
        let works = |node: &&Node| matches!(node.state, State::Leaving { works: true });
        let taken = snapshot.nodes.iter().filter(works);
        let taken = taken.filter_map(|node| groups.iter().position(|group| group.name == node.group));
        let there = snapshot
            .nodes
            .iter()
            .filter(|node| !lost.contains(node.id.as_str()));
        let seats = there
            .filter_map(|node| seat(node, groups, &asked, &fresh, &mut loads, policy))
            .collect();
        Self {
            groups,
            seats,
            loads,
            policy,
            idle_milliseconds_max: snapshot.idle_milliseconds_max,
            holds: snapshot.age_milliseconds > policy.stale_after_milliseconds,
            is_unsure: policy.is_unsure(snapshot.age_milliseconds),
            max_nodes: snapshot.max_nodes.unwrap_or(max_nodes),
            taken: taken.collect(),
            fresh,
        }
    }

    /// A node that is to be launched.
    pub(crate) fn fresh(&self, group: usize, reason: Reason) -> Seat<'a> {
        Seat {
            group: Some(group),
            fate: Fate::Launch(reason),
            node: None,
            load: self.fresh[group],
            stuck: None,
            idle_milliseconds: 0,
        }
    }

    /// What is placed on a seat, and what is left of it.
    pub(crate) fn load(&self, seat: &Seat<'_>) -> &Load {
        &self.loads[seat.load]
    }

    /// Indices of the seats that stay.
    pub(crate) fn staying(&self) -> impl Iterator<Item = usize> {
        (0..self.seats.len()).filter(|&index| !self.seats[index].terminated())
    }

    /// How many seats of a group stay.
    pub(crate) fn count(&self, group: usize) -> u64 {
        self.staying()
            .filter(|&seat| self.seats[seat].group == Some(group))
            .count() as u64
    }

    /// Whether a group is the last choice for work.
    pub(crate) fn passes_over(&self, group: usize) -> bool {
        self.policy.pass_over && self.groups[group].passed_over
    }

    /// How many more nodes `max_nodes` allows. One chosen to go still takes its place until it is gone.
    pub(crate) fn room(&self) -> u64 {
        self.max_nodes.saturating_sub(self.seats.len() as u64)
    }

    /// How many seats the maximum of a group leaves.
    pub(crate) fn most(&self, group: usize) -> u64 {
        let taken = self.taken.iter().filter(|&&taken| taken == group);
        self.groups[group].max.saturating_sub(taken.count() as u64)
    }

    /// How many more nodes the maximum of each group allows.
    pub(crate) fn rooms(&self) -> Vec<u64> {
        let mut rooms: Vec<u64> = (0..self.groups.len()).map(|group| self.most(group)).collect();
        for group in self.seats.iter().filter_map(|seat| seat.group) {
            rooms[group] = rooms[group].saturating_sub(1);
        }
        rooms
    }

    pub(crate) fn max_nodes(&self) -> u64 {
        self.max_nodes
    }

    /// Takes back every removal that what is known is too old for. A slice stays as a whole.
    pub(crate) fn hold_if_stale(&mut self) {
        let slice = |seat: &Seat<'a>| Some((seat.group, seat.node?.slice.as_deref()?));
        let undrained = |seat: &Seat<'a>| seat.terminated() && !self.loads[seat.load].running;
        let unsure: BTreeSet<_> = self
            .seats
            .iter()
            .filter(|seat| self.is_unsure && undrained(seat))
            .filter_map(slice)
            .collect();
        let stays = |seat: &Seat<'a>| {
            self.holds
                || (self.is_unsure && undrained(seat))
                || slice(seat).is_some_and(|slice| unsure.contains(&slice))
        };
        let stay: Vec<bool> = self.seats.iter().map(stays).collect();
        for (seat, _) in self.seats.iter_mut().zip(stay).filter(|(_, stays)| *stays) {
            if seat.terminated() {
                seat.fate = Fate::Keep;
            }
        }
    }

    /// Takes back launches for some reasons, the last ones first and whole replicas only, until no more than `count` nodes of the group stay.
    pub(crate) fn postpone_above(&mut self, group: usize, count: u64, reasons: &[Reason]) {
        let hosts = self.groups[group].hosts.max(1);
        let excess = self.count(group).saturating_sub(count).next_multiple_of(hosts);
        let may_wait = |seat: &Seat<'_>| {
            seat.group == Some(group)
                && matches!(seat.fate, Fate::Launch(reason) if reasons.contains(&reason))
        };
        let launched: Vec<usize> = (0..self.seats.len())
            .filter(|&index| may_wait(&self.seats[index]))
            .collect();
        let kept = launched
            .len()
            .saturating_sub(usize::try_from(excess).unwrap_or(usize::MAX));
        let postponed: BTreeSet<usize> = launched[kept..].iter().copied().collect();
        let mut index = 0..;
        self.seats
            .retain(|_| index.next().is_none_or(|index| !postponed.contains(&index)));
    }

    /// Puts the seats into another order.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        self.seats = order.iter().map(|&index| self.seats[index]).collect();
    }
}

/// The seat of a node; none for one that takes no more work, or that will come as something we know nothing of. A host of a slice that
/// lives on will be restarted, so it counts as on its way.
fn seat<'a>(
    node: &'a Node,
    groups: &[Group],
    asked: &Asked<'_>,
    fresh: &[LoadId],
    loads: &mut Loads<'_>,
    policy: &Policy,
) -> Option<Seat<'a>> {
    let group = groups.iter().position(|group| group.name == node.group);
    let mut stuck = None;
    let (load, idle_milliseconds) = match &node.state {
        State::Running(running) => {
            let (total, free) = asked.amounts(&running.total, &running.available);
            let load = Load {
                free: [free, total.clone()],
                labels: asked.labels(&running.labels),
                total,
                priority: group.map_or(0, |group| groups[group].priority),
                running: true,
                ..Load::default()
            };
            (loads.id(load), running.idle_milliseconds)
        }
        State::Pending | State::Lost => (fresh[group?], 0),
        State::Stuck { may_go } => {
            stuck = policy.pass_over.then_some(*may_go);
            (fresh[group?], 0)
        }
        State::Leaving { .. } => return None,
    };
    Some(Seat {
        group,
        fate: Fate::Keep,
        node: Some(node),
        load,
        stuck,
        idle_milliseconds,
    })
}

/// A fresh node of a group.
fn fresh(group: &Group, asked: &Asked<'_>) -> Load {
    let resources = group.resources.clone().unwrap_or_default();
    let (total, free) = asked.amounts(&resources, &resources);
    Load {
        free: [free, total.clone()],
        labels: asked.labels(&group.labels),
        total,
        priority: group.priority,
        ..Load::default()
    }
}

impl<'a> Seat<'a> {
    /// The name of its group, also of one that is no more.
    pub(crate) fn group_name(&self, groups: &'a [Group]) -> &'a str {
        let named = self.group.map(|group| groups[group].name.as_str());
        named
            .or_else(|| self.node.map(|node| node.group.as_str()))
            .unwrap_or_default()
    }

    pub(crate) fn terminated(&self) -> bool {
        matches!(self.fate, Fate::Terminate(_))
    }
}
