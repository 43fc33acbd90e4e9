//! Nodes that nobody has used for too long, that nothing was placed on, and that no minimum keeps (`_enforce_idle_termination`). Nodes that wait in
//! vain go the same way.

use crate::plan::Cause;
use crate::slice;
use crate::world::{Fate, Seat, World};

/// Marks idle nodes, the longest idle first.
pub(crate) fn terminate(world: &mut World<'_>) {
    let mut counts: Vec<u64> = (0..world.groups.len()).map(|group| world.count(group)).collect();
    let mut order: Vec<usize> = (0..world.seats.len())
        .filter(|&seat| world.seats[seat].terminated())
        .collect();
    for unit in slice::departures(world, world.staying().collect::<Vec<_>>()) {
        let idle = unit.iter().all(|&seat| may_go(world, &world.seats[seat]));
        let group = unit.first().and_then(|&seat| world.seats[seat].group);
        let size = unit.len() as u64;
        match group {
            Some(group) if idle && counts[group] >= world.groups[group].min + size => {
                counts[group] -= size;
                let stuck = unit.iter().any(|&seat| world.seats[seat].stuck.is_some());
                let cause = if stuck { Cause::Stuck } else { Cause::Idle };
                for &seat in &unit {
                    world.seats[seat].fate = Fate::Terminate(cause);
                }
                order.extend(unit);
            }
            _ => {}
        }
    }
    order.extend(world.staying());
    world.reorder(&order);
}

/// Ours, idle for longer than its limit or waiting in vain, and without anything placed on it in this plan.
fn may_go(world: &World<'_>, seat: &Seat<'_>) -> bool {
    let Some(group) = seat.group.map(|group| &world.groups[group]) else {
        return false;
    };
    let limit = group.idle_milliseconds_max.unwrap_or(world.idle_milliseconds_max);
    let load = world.load(seat);
    let unused = load.running && seat.idle_milliseconds > limit || seat.stuck == Some(true);
    group.is_ours() && unused && !load.needed()
}
