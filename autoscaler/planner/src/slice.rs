//! What comes and goes together: a single node, or all the hosts of a slice. And who goes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::score::{Use, utilisation};

use crate::snapshot::{Group, Node, State};
use crate::world::{Ledger, Seat, World};

/// When a node goes: not yet running first, then the longest idle, then the least used (`_sort_nodes_for_termination`).
type Departure = (bool, Reverse<u64>, Use);

/// Splits seats into units of removal, the first to go first. A slice goes when the last of its hosts would.
pub(crate) fn departures(world: &World<'_>, seats: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut units = units(world, seats);
    units.sort_by_cached_key(|unit| {
        unit.iter()
            .map(|&seat| departure(world, &world.seats[seat]))
            .max()
    });
    units
}

fn departure(world: &World<'_>, seat: &Seat<'_>) -> Departure {
    let load = world.load(seat);
    (
        load.running,
        Reverse(seat.idle_milliseconds),
        utilisation(&load.total, &load.free[Ledger::Demand as usize]),
    )
}

/// Units in the order of their first members.
///
/// A host of a slice without a name is in no unit: nobody could say what else would go with it.
fn units(world: &World<'_>, seats: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    let mut by_slice: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for index in seats {
        let seat = &world.seats[index];
        let hosts = seat.group.map_or(1, |group| world.groups[group].hosts);
        let slice = seat.node.and_then(|node| node.slice.as_deref());
        match (hosts, seat.group, slice) {
            (0 | 1, ..) => units.push(vec![index]),
            (_, Some(group), Some(slice)) => {
                let unit = *by_slice.entry((group, slice)).or_insert_with(|| {
                    units.push(Vec::new());
                    units.len() - 1
                });
                units[unit].push(index);
            }
            _ => {}
        }
    }
    units
}

/// Nodes that Ray has given up and that may go: a slice only once it has lost all its hosts, since one of them may yet be restarted.
pub(crate) fn lost<'a>(nodes: &'a [Node], groups: &[Group]) -> Vec<&'a Node> {
    let lost = |node: &Node| matches!(node.state, State::Lost);
    if !nodes.iter().any(lost) {
        return Vec::new();
    }
    let shared: BTreeSet<&str> = groups
        .iter()
        .filter(|group| group.hosts > 1)
        .map(|group| group.name.as_str())
        .collect();
    let alive = nodes.iter().filter(|node| !lost(node));
    let alive: BTreeSet<_> = alive.map(|node| (&node.group, &node.slice)).collect();
    let whole = |node: &&Node| {
        !shared.contains(node.group.as_str())
            || (node.slice.is_some() && !alive.contains(&(&node.group, &node.slice)))
    };
    nodes.iter().filter(|node| lost(node)).filter(whole).collect()
}
