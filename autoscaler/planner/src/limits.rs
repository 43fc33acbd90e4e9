//! Bounds on how many nodes there are: the minimum and maximum of each group, and the maximum of the cluster.

use std::collections::BTreeSet;

use crate::plan::{Cause, Reason};
use crate::slice;
use crate::snapshot::Upscaling;
use crate::world::{Fate, World};

/// Launches what is missing to the minimum of each group, as far as the cluster's maximum goes once every group is down to its own. New nodes
/// come before all others.
pub(crate) fn raise_to_minimum(world: &mut World<'_>) {
    let above = |group: usize| {
        if world.groups[group].is_ours() {
            world.count(group).saturating_sub(world.groups[group].max)
        } else {
            0
        }
    };
    let surplus: u64 = (0..world.groups.len()).map(above).sum();
    let mut room = world
        .max_nodes()
        .saturating_sub((world.seats.len() as u64).saturating_sub(surplus));
    let mut launched = Vec::new();
    for index in 0..world.groups.len() {
        let group = &world.groups[index];
        if !group.is_ours() {
            continue;
        }
        let hosts = group.hosts.max(1);
        let missing = group
            .min
            .min(world.most(index))
            .saturating_sub(world.count(index))
            .div_ceil(hosts);
        let replicas = missing.min(room / hosts);
        room -= replicas * hosts;
        launched.extend((0..replicas * hosts).map(|_| world.fresh(index, Reason::Minimum)));
    }
    launched.append(&mut world.seats);
    world.seats = launched;
}

/// Marks what is above the maximum of its group. Seats are regrouped by group, in order of first appearance, those that go at the front.
pub(crate) fn lower_to_maximum(world: &mut World<'_>) {
    let all = world.groups;
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, seat) in world.seats.iter().enumerate() {
        let name = seat.group_name(all);
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, seats)) => seats.push(index),
            None => groups.push((name, vec![index])),
        }
    }
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for (_, seats) in groups {
        let group = world.seats[seats[0]].group.map(|group| &all[group]);
        let bounded = group.filter(|group| group.is_ours());
        let surplus = bounded.map_or(0, |group| (seats.len() as u64).saturating_sub(group.max));
        let (gone, left) = choose(world, seats, surplus);
        going.extend(gone);
        staying.extend(left);
    }
    mark(world, &going, Cause::Maximum);
    going.append(&mut staying);
    world.reorder(&going);
}

/// Marks what is above the maximum of the cluster.
pub(crate) fn lower_to_max_nodes(world: &mut World<'_>) {
    let (gone, staying): (Vec<_>, Vec<_>) =
        (0..world.seats.len()).partition(|&seat| world.seats[seat].terminated());
    let surplus = (staying.len() as u64).saturating_sub(world.max_nodes());
    if surplus == 0 {
        return;
    }
    let (going, left) = choose(world, staying, surplus);
    mark(world, &going, Cause::MaxNodes);
    let order: Vec<usize> = gone.into_iter().chain(going).chain(left).collect();
    world.reorder(&order);
}

/// Takes back what would have too many nodes of a group on their way at once; the next plans launch it. No minimum waits.
pub(crate) fn slow_down(world: &mut World<'_>, upscaling: Upscaling) {
    if upscaling == Upscaling::Unbounded {
        return;
    }
    for group in 0..world.groups.len() {
        let seats = world.staying().map(|seat| &world.seats[seat]);
        let seats = seats.filter(|seat| seat.group == Some(group));
        let running = seats.filter(|seat| world.load(seat).running).count() as u64;
        let on_their_way = running.max(world.groups[group].hosts.max(1));
        let reasons = [Reason::Constraint, Reason::Gang, Reason::Demand];
        world.postpone_above(group, running + on_their_way, &reasons);
    }
}

/// Those that go and those that stay. Only where something goes is the order of the rest changed: to that of departure, those not ours last.
fn choose(world: &World<'_>, seats: Vec<usize>, surplus: u64) -> (Vec<usize>, Vec<usize>) {
    if surplus == 0 {
        return (Vec::new(), seats);
    }
    let ours = |seat: &usize| {
        world.seats[*seat]
            .group
            .is_some_and(|group| world.groups[group].is_ours())
    };
    let (candidates, mut others): (Vec<usize>, Vec<usize>) = seats.into_iter().partition(ours);
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for unit in slice::departures(world, candidates.iter().copied()) {
        if (going.len() as u64) < surplus {
            going.extend(unit);
        } else {
            staying.extend(unit);
        }
    }
    let whole: BTreeSet<usize> = going.iter().chain(&staying).copied().collect();
    staying.extend(candidates.into_iter().filter(|seat| !whole.contains(seat)));
    staying.append(&mut others);
    (going, staying)
}

fn mark(world: &mut World<'_>, seats: &[usize], cause: Cause) {
    for &seat in seats {
        world.seats[seat].fate = Fate::Terminate(cause);
    }
}
