//! What was decided, and why.

use std::collections::BTreeMap;

use crate::demand::{Batch, Gang};
use crate::memory::Memory;
use crate::signal::{Factor, Tally};
use crate::slice;
use crate::snapshot::{Group, Role, Snapshot};
use crate::world::{Fate, World};

/// A plan. An empty one is the normal case.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// How many nodes to launch, by group; only groups with at least one.
    pub launch: BTreeMap<String, u64>,
    /// Which nodes go, in the order chosen. The hosts of a slice follow each other.
    pub terminate: Vec<Termination>,
    /// What found no place in this plan, for whatever reason.
    pub infeasible: Infeasible,
    /// For each group that changes, from what to what and why; in the order of the RayCluster.
    pub decisions: Vec<Decision>,
    /// What was taken away of groups before, where a policy counts it. What goes now is to be kept with it.
    pub tallies: BTreeMap<String, Tally>,
    /// To be handed to the next plan.
    pub memory: Memory,
}

/// One node that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// The node.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The slice that it is a host of, where a replica has several.
    pub slice: Option<String>,
    /// Why it goes.
    pub cause: Cause,
    /// How long it has been idle.
    pub idle_milliseconds: u64,
}

/// Why a node goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Idle for longer than allowed, and not needed.
    Idle,
    /// More nodes than its group may have.
    Maximum,
    /// More nodes than the cluster may have.
    MaxNodes,
    /// Ray has given it up; only its Pod is left.
    Lost,
    /// It has waited in vain, and is not needed.
    Stuck,
}

/// Why a node comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The group's minimum.
    Minimum,
    /// `request_resources`.
    Constraint,
    /// A placement group.
    Gang,
    /// Tasks and actors.
    Demand,
}

/// What found no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infeasible {
    /// Tasks and actors, equal ones together.
    pub requests: Vec<Batch>,
    /// Placement groups.
    pub gangs: Vec<Gang>,
    /// The whole of `request_resources`.
    pub constraint: bool,
}

/// What becomes of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The group.
    pub group: String,
    /// Replicas asked for until now.
    pub from: u64,
    /// Replicas to ask for, once all that should go has gone.
    pub to: u64,
    /// New nodes, by reason.
    pub launched: BTreeMap<Reason, u64>,
    /// Going nodes, by cause, with the longest idleness among them.
    pub terminated: Vec<(Cause, u64)>,
    /// What decided, where a policy has a say.
    pub by: Option<Factor>,
}

impl Plan {
    pub(crate) fn new(
        world: &World<'_>,
        snapshot: &Snapshot,
        infeasible: Infeasible,
        memory: Memory,
    ) -> Self {
        let terminate = terminations(world, snapshot);
        let mut launch = BTreeMap::new();
        let mut decisions = Vec::new();
        for (index, group) in snapshot
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.role == Role::Worker)
        {
            let mut launched = BTreeMap::new();
            for seat in world.seats.iter().filter(|seat| seat.group == Some(index)) {
                if let Fate::Launch(reason) = seat.fate {
                    *launched.entry(reason).or_default() += 1;
                }
            }
            let mut terminated: Vec<(Cause, u64)> = Vec::new();
            for termination in terminate
                .iter()
                .filter(|termination| termination.group == group.name)
            {
                match terminated
                    .iter_mut()
                    .find(|(cause, _)| *cause == termination.cause)
                {
                    Some((_, count)) => *count += 1,
                    None => terminated.push((termination.cause, 1)),
                }
            }
            let coming: u64 = launched.values().sum();
            let going: u64 = terminated.iter().map(|(_, count)| count).sum();
            let there = snapshot
                .nodes
                .iter()
                .filter(|node| node.group == group.name)
                .count() as u64;
            let nodes = (there + coming)
                .saturating_sub(going)
                .clamp(group.min.min(group.max), group.max);
            let to = if group.suspended {
                group.replicas
            } else {
                nodes.div_ceil(group.hosts.max(1))
            };
            if coming > 0 {
                launch.insert(group.name.clone(), coming);
            }
            if coming + going > 0 || to != group.replicas {
                decisions.push(Decision {
                    group: group.name.clone(),
                    from: group.replicas,
                    to,
                    launched,
                    terminated,
                    by: None,
                });
            }
        }
        Self {
            launch,
            terminate,
            infeasible,
            decisions,
            tallies: BTreeMap::new(),
            memory,
        }
    }

    /// Nodes of a group do not go after all, which makes so many replicas more.
    pub(crate) fn keep(&mut self, nodes: &[Termination], group: &Group, replicas: u64) {
        let mut decisions = self.decisions.iter_mut();
        let Some(decision) = decisions.find(|decision| decision.group == group.name) else {
            return;
        };
        for (cause, count) in &mut decision.terminated {
            *count -= nodes.iter().filter(|node| node.cause == *cause).count() as u64;
        }
        decision.terminated.retain(|(_, count)| *count > 0);
        let most = decision.to.max(group.max / group.hosts.max(1));
        decision.to = (decision.to + replicas).min(most);
        self.decisions.retain(|decision| {
            decision.from != decision.to || !decision.launched.is_empty() || !decision.terminated.is_empty()
        });
    }
}

impl Plan {
    /// What may not go on old news is asked for as before, whatever a policy allows.
    pub(crate) fn ask_for_what_stays(&mut self, snapshot: &Snapshot) {
        for group in &snapshot.groups {
            let mut decisions = self.decisions.iter_mut();
            let Some(decision) = decisions.find(|decision| decision.group == group.name) else {
                continue;
            };
            let nodes = snapshot.nodes.iter().filter(|node| node.group == group.name);
            let going: u64 = decision.terminated.iter().map(|(_, count)| count).sum();
            let hosts = group.hosts.max(1);
            let staying = (nodes.count() as u64).saturating_sub(going).div_ceil(hosts);
            let least = staying.min(group.replicas).min(group.max / hosts);
            decision.to = decision.to.max(least);
        }
        self.decisions.retain(|decision| {
            decision.to != decision.from || !decision.launched.is_empty() || !decision.terminated.is_empty()
        });
    }
}

fn terminations(world: &World<'_>, snapshot: &Snapshot) -> Vec<Termination> {
    let lost = if world.holds || world.is_unsure {
        Vec::new()
    } else {
        slice::lost(&snapshot.nodes, &snapshot.groups)
    };
    let lost = lost.into_iter().map(|node| (node, Cause::Lost, 0));
    let chosen = world.seats.iter().filter_map(|seat| match seat.fate {
        Fate::Terminate(cause) => Some((seat.node?, cause, seat.idle_milliseconds)),
        Fate::Keep | Fate::Launch(_) => None,
    });
    let terminations = lost
        .chain(chosen)
        .map(|(node, cause, idle_milliseconds)| Termination {
            id: node.id.clone(),
            group: node.group.clone(),
            slice: node.slice.clone(),
            cause,
            idle_milliseconds,
        });
    terminations.collect()
}
