//! Demand in, plan and reasons out. Pure.
//!
//! [`plan`] is the whole story: the stages of Ray's v2 scheduler (Ray `autoscaler/v2/scheduler.py`) in Ray's order, so that the same cluster
//! gets the same decision. What differs on purpose: amounts are fixed point, equal requests stay one entry with a count, the hosts of a slice
//! come and go together, a node on its way out is no capacity, and input that is too old never removes anything.
//!
//! Who reads clusters and who carries a plan out is not here; time is a number in the snapshot.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod candidates;
mod demand;
mod explain;
mod fit;
mod idle;
mod limits;
mod load;
mod memory;
mod obstacle;
mod pack;
mod plan;
mod score;
pub mod signal;
mod slice;
mod snapshot;
#[cfg(test)]
mod tests;
mod world;

pub use demand::{Batch, Demand, Gang, Label, Operator, Request, Selector, Term};
pub use memory::Memory;
pub use obstacle::Obstacle;
pub use plan::{Cause, Decision, Infeasible, Plan, Reason, Termination};
pub use snapshot::{Group, Node, Policy, Role, Running, Snapshot, State, Upscaling};

use world::World;

/// Decides how many nodes each group should have, and which of those there are should go.
pub fn plan(snapshot: &Snapshot, memory: &Memory, policy: &Policy) -> Plan {
    let mut world = World::new(snapshot, policy);

    limits::raise_to_minimum(&mut world);
    limits::lower_to_maximum(&mut world);
    limits::lower_to_max_nodes(&mut world);

    let constraint = pack::constraint(&mut world, snapshot.demand.constraint.as_deref());
    let gangs = pack::gangs(&mut world, &snapshot.demand.gangs);
    let requests = pack::requests(&mut world, &snapshot.demand.requests);

    idle::terminate(&mut world);

    world.hold_if_stale();
    let memory = memory.confirm(&mut world, snapshot);
    limits::slow_down(&mut world, snapshot.upscaling);
    Plan::new(
        &world,
        snapshot,
        Infeasible {
            requests,
            gangs,
            constraint,
        },
        memory,
    )
}
