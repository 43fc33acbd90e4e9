//! Autoscaler for Ray on Kubernetes: one process for all clusters.
//!
//! Each cluster has a loop of its own ([`tick`]): observe, plan, apply, record. Everything that a tick needs is in the RayCluster, its Pods
//! and the GCS of its head, so the process may be killed at any instant, and one slow head delays no other cluster. What to do is decided in
//! the crate `planner`; here is the IO around it. [`simulate`] asks the planner the same about a cluster that is only written down.

mod admin;
mod adoption;
mod announce;
mod apply;
mod args;
mod backtest;
mod beside;
mod cluster;
mod clusters;
mod condition;
mod credentials;
mod demand_metrics;
mod explain;
mod explanation;
mod gcs;
#[cfg(test)]
mod hostile;
mod journal;
mod lease;
mod metrics;
mod mind;
mod observe;
mod ownership;
mod pace;
mod patience;
mod ray_metrics;
mod record;
mod recording;
mod removals;
mod shadow;
mod signal_metrics;
mod signals;
mod simulate;
mod simulation;
#[cfg(test)]
mod tests;
mod tick;
mod vacancy;
mod waiting;
mod watch;

/// What we are called where Kubernetes keeps who did what.
const NAME: &str = "rayward-autoscaler";

pub use args::Args;
pub use backtest::backtest;
pub use simulate::{read_problem, simulate};
