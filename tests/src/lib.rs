//! End-to-end and house-rule tests, and what they share with the benchmarks.
//!
//! - [`load`]: a client that calls as the API server does, and takes the time
//! - [`side_by_side`]: our webhook, KubeRay's and an echo under the same load, as a table
//! - [`work`]: what the parts of an answer cost by themselves
//! - [`fleet`]: a thousand RayClusters under one autoscaler, as a table

pub mod fleet;
pub mod load;
mod process;
pub mod side_by_side;
pub mod work;
