//! What Ray asked for, as far as it was measured: how much of each resource was used or waited for, at each time. Pure.
//!
//! Nobody measures in which pieces, so it is taken for pieces of one unit, which go where there is room: first onto nodes that work already, so
//! that what is left may idle. What runs was measured with the nodes of then, and goes on for as long as it did then, whatever nodes there are now.

use std::collections::{BTreeMap, BTreeSet};

use planner::{Batch, Group, Node, Request, Role, Running, Snapshot, State};
use ray::keys;
use ray::resources::{Amount, Resources};

use super::{Point, Series};

/// Every node has it, so that it says nothing about what else a node is for.
const CPU: &str = "CPU";
/// Counted in bytes, and mostly by nobody.
const BYTES: [&str; 2] = ["memory", "object_store_memory"];
/// Of one node, or one kind of accelerator: not asked for by the unit.
const SPECIAL: [&str; 2] = ["node:", "accelerator_type:"];
/// The head of the replay.
const HEAD: &str = "head";

/// How much was used or waited for, by resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work(pub(crate) BTreeMap<String, Series>);

/// How much of it is asked for at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// Used or waited for.
    pub(crate) all: Resources,
    /// What no node has room for.
    pub(crate) unmet: Resources,
}

/// The resources of which a replay has to know how much was asked for.
pub(super) fn resources(groups: &[Group]) -> BTreeSet<String> {
    let offered = groups.iter().filter_map(|group| group.resources.as_ref());
    let offered = offered.flat_map(Resources::iter).filter(|(name, amount)| {
        let is_special = SPECIAL.iter().any(|special| name.starts_with(special));
        **amount > Amount::ZERO && !BYTES.contains(&name.as_str()) && !is_special
    });
    offered.map(|(name, _)| name.clone()).collect()
}

/// The head, on which some of the work may have run.
pub(super) fn head(groups: &[Group]) -> Option<Node> {
    let head = groups.iter().find(|group| group.role == Role::Head)?;
    let total = head.resources.clone()?;
    Some(Node {
        id: HEAD.to_owned(),
        group: keys::HEAD_GROUP.to_owned(),
        slice: None,
        created: None,
        state: State::Running(Running {
            available: total.clone(),
            total,
            labels: head.labels.clone(),
            idle_milliseconds: 0,
        }),
    })
}

impl Work {
    /// What was asked for at a time; nothing, where that is not known.
    pub(super) fn at(&self, now: i64) -> Option<Resources> {
        let amounts = self.0.iter().map(|(name, series)| match series.at(now)? {
            (_, Point::Value(value)) => Some((name.clone(), Amount::from_f64(value)?.max(Amount::ZERO))),
            (_, Point::Several(_)) => None,
        });
        amounts.collect()
    }
}

/// Gives work to the nodes that run; the planner is told what is left. Whoever has some is not idle.
pub(super) fn place(all: Resources, snapshot: &mut Snapshot) -> Asked {
    let mut names: Vec<&String> = all.iter().map(|(name, _)| name).collect();
    // What few nodes have goes first, and CPUs are then used beside it.
    names.sort_by_key(|name| (*name == CPU, *name));
    let mut unmet = Resources::new();
    for name in names {
        let mut left = all.held(name);
        let mut nodes: Vec<&mut Running> = snapshot.nodes.iter_mut().filter_map(running).collect();
        nodes.sort_by_key(|node| (node.available == node.total, wasted(node, name)));
        for node in nodes {
            let taken = node.available.held(name).min(left);
            if taken > Amount::ZERO {
                node.available
                    .take(&[(name.as_str(), taken)].into_iter().collect(), 1);
                node.idle_milliseconds = 0;
                left -= taken;
            }
        }
        if left > Amount::ZERO {
            unmet.set(name.as_str(), left);
        }
    }
    let groups = &snapshot.groups;
    let requests = unmet.iter().flat_map(|(name, left)| pieces(name, *left, groups));
    snapshot.demand.requests = requests.collect();
    Asked { all, unmet }
}

fn running(node: &mut Node) -> Option<&mut Running> {
    match &mut node.state {
        State::Running(running) => Some(running),
        _ => None,
    }
}

/// How many other resources of a node work on one of them would keep from being used.
fn wasted(node: &Running, name: &str) -> usize {
    let others = node
        .total
        .iter()
        .filter(|(other, _)| *other != name && *other != CPU);
    others
        .filter(|(other, _)| !BYTES.contains(&other.as_str()))
        .count()
}

/// Pieces of one unit, or of all that a node has of it where that is less; and one for the rest.
fn pieces(name: &str, amount: Amount, groups: &[Group]) -> impl Iterator<Item = Batch> {
    let offered = groups.iter().filter_map(|group| group.resources.as_ref());
    let most = offered.map(|resources| resources.held(name)).max();
    let piece = most.unwrap_or(Amount::ONE).min(Amount::ONE);
    let count = amount.times(piece).unwrap_or(0);
    let batch = |amount, count| Batch {
        request: Request {
            resources: [(name, amount)].into_iter().collect(),
            ..Request::default()
        },
        count,
    };
    let mut whole = Resources::new();
    whole.set(name, amount);
    whole.take(&[(name, piece)].into_iter().collect(), count);
    let rest = whole.held(name);
    [batch(piece, count), batch(rest, 1)].into_iter().filter(|batch| {
        batch.count > 0
            && batch
                .request
                .resources
                .iter()
                .all(|(_, amount)| *amount > Amount::ZERO)
    })
}
