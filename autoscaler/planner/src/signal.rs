//! What measured values ask of a worker group, computed as the HorizontalPodAutoscaler of Kubernetes computes it (`autoscaling/v2`, controller
//! `pkg/controller/podautoscaler`), so that whoever knows that one knows this one.
//!
//! [`propose`] turns values into a number of replicas, [`behavior`] says how fast the number may follow, and [`plan`] puts all together with
//! what Ray asks for. Numbers are replicas, not hosts; values are thousandths, as in Kubernetes.

pub mod behavior;
mod bounds;
mod compose;
mod disruption;
mod propose;
#[cfg(test)]
mod tests;

pub(crate) use compose::Past;
pub use compose::{Composed, Factor, Reading, Role, Signal, Wish, plan};
pub use disruption::{Disruption, Kept, Removals, Tally};
pub use propose::{Milli, Proposals, Replicas, Target, Tolerance, Undecided, propose};
