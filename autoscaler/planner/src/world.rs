//! The cluster while a plan is being made: the nodes there are, those to be launched, and what has been placed on each.

use std::collections::BTreeMap;
use std::rc::Rc;

use ray::resources::Resources;

use crate::demand::Request;
use crate::plan::{Cause, Reason};
use crate::slice;
use crate::snapshot::{Group, Node, Policy, Role, Snapshot, State};

/// What the stages pass on to each other. The order of the seats decides ties.
pub(crate) struct World<'a> {
    pub(crate) groups: &'a [Group],
    pub(crate) seats: Vec<Seat<'a>>,
    pub(crate) policy: &'a Policy,
    pub(crate) idle_milliseconds_max: u64,
    /// Nothing may go, since what is known is too old.
    pub(crate) holds: bool,
    max_nodes: u64,
}

/// A node that work can be placed on.
#[derive(Clone)]
pub(crate) struct Seat<'a> {
    /// The index of its group; `None` for a running node of a group that is no more.
    pub(crate) group: Option<usize>,
    pub(crate) fate: Fate,
    /// The node it stands for; `None` for one that is to be launched.
    pub(crate) node: Option<&'a Node>,
    pub(crate) running: bool,
    /// It waits in vain; whether it goes if nothing needs it.
    pub(crate) stuck: Option<bool>,
    pub(crate) total: Resources,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) idle_milliseconds: u64,
    /// What is free, one for each ledger.
    pub(crate) free: [Resources; 2],
    /// What was placed here, one for each ledger, equal requests once.
    pub(crate) placed: [Vec<Rc<Request>>; 2],
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
        let lost = slice::lost(&snapshot.nodes, groups);
        let is_lost = |node: &Node| lost.iter().any(|lost| std::ptr::eq(*lost, node));
        let max_nodes = workers.fold(1, |sum: u64, group| sum.saturating_add(group.max));
        Self {
            groups,
            seats: snapshot
                .nodes
                .iter()
                .filter(|node| !is_lost(node))
                .filter_map(|node| Seat::of(node, groups, policy))
                .collect(),
            policy,
            idle_milliseconds_max: snapshot.idle_milliseconds_max,
            holds: snapshot.age_milliseconds > policy.stale_after_milliseconds,
            max_nodes: snapshot.max_nodes.unwrap_or(max_nodes),
        }
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

    /// How many more nodes the maximum of a group allows.
    pub(crate) fn room_of(&self, group: usize) -> u64 {
        let there = self.seats.iter().filter(|seat| seat.group == Some(group)).count() as u64;
        self.groups[group].max.saturating_sub(there)
    }

    pub(crate) fn max_nodes(&self) -> u64 {
        self.max_nodes
    }

    /// Takes back every removal, where what is known is too old for one.
    pub(crate) fn hold_if_stale(&mut self) {
        for seat in self
            .seats
            .iter_mut()
            .filter(|seat| self.holds && seat.terminated())
        {
            seat.fate = Fate::Keep;
        }
    }

    /// Takes back launches for work, the last ones first and whole replicas only, until no more than `count` nodes of the group stay.
    pub(crate) fn postpone_above(&mut self, group: usize, count: u64) {
        let hosts = self.groups[group].hosts.max(1);
        let excess = self.count(group).saturating_sub(count).next_multiple_of(hosts);
        let for_work = |seat: &Seat<'_>| {
            seat.group == Some(group) && matches!(seat.fate, Fate::Launch(Reason::Demand | Reason::Gang))
        };
        let launched: Vec<usize> = (0..self.seats.len())
            .filter(|&index| for_work(&self.seats[index]))
            .collect();
        let kept = launched
            .len()
            .saturating_sub(usize::try_from(excess).unwrap_or(usize::MAX));
        for &index in launched[kept..].iter().rev() {
            self.seats.remove(index);
        }
    }

    /// Puts the seats into another order.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        let mut seats: Vec<Option<Seat<'a>>> =
            std::mem::take(&mut self.seats).into_iter().map(Some).collect();
        self.seats = order.iter().filter_map(|&index| seats[index].take()).collect();
    }
}

impl<'a> Seat<'a> {
    /// The seat of a node; none for one that takes no more work, or that will come as something we know nothing of. A host of a slice that
    /// lives on will be restarted, so it counts as on its way.
    fn of(node: &'a Node, groups: &'a [Group], policy: &Policy) -> Option<Self> {
        let group = groups.iter().position(|group| group.name == node.group);
        match &node.state {
            State::Running(running) => Some(Self {
                group,
                fate: Fate::Keep,
                node: Some(node),
                running: true,
                stuck: None,
                total: running.total.clone(),
                labels: running.labels.clone(),
                idle_milliseconds: running.idle_milliseconds,
                free: [running.available.clone(), running.total.clone()],
                placed: Default::default(),
            }),
            State::Pending | State::Lost => Some(Self {
                node: Some(node),
                fate: Fate::Keep,
                ..Self::launched(group?, groups, Reason::Demand)
            }),
            State::Stuck { may_go } => Some(Self {
                node: Some(node),
                fate: Fate::Keep,
                stuck: policy.pass_over.then_some(*may_go),
                ..Self::launched(group?, groups, Reason::Demand)
            }),
            State::Leaving => None,
        }
    }

    /// A fresh node of a group.
    pub(crate) fn launched(index: usize, groups: &[Group], reason: Reason) -> Self {
        let group = &groups[index];
        let total = group.resources.clone().unwrap_or_default();
        Self {
            group: Some(index),
            fate: Fate::Launch(reason),
            node: None,
            running: false,
            stuck: None,
            free: [total.clone(), total.clone()],
            total,
            labels: group.labels.clone(),
            idle_milliseconds: 0,
            placed: Default::default(),
        }
    }

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

    /// Whether anything was placed here, of either ledger.
    pub(crate) fn needed(&self) -> bool {
        self.placed.iter().any(|requests| !requests.is_empty())
    }
}
