//! End-to-end and house-rule tests, and what they share with the benchmarks.
//!
//! - [`autoscalers`]: Ray's own autoscaler and ours before the same demands, as tables
//! - [`bench`]: what benchmarks in a world do alike
//! - [`fleet`]: a thousand RayClusters under one autoscaler, as a table
//! - [`load`]: a client that calls as the API server does, and takes the time
//! - [`process`]: what processes use
//! - [`side_by_side`]: our webhook, KubeRay's and an echo under the same load, as a table
//! - [`work`]: what the parts of an answer cost by themselves

pub mod autoscalers;
pub mod bench;
pub mod fleet;
pub mod load;
pub mod process;
pub mod side_by_side;
pub mod work;
