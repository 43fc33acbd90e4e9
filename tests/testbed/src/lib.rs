//! The real world on one machine: Kubernetes, KubeRay, Prometheus and Ray as plain processes.
//!
//! A program that uses it calls [`dispatch`] first thing in `main`, then [`enter`], which starts the program again inside network, mount and process
//! namespaces of its own, then [`Testbed::start`]. A test binary leaves the latter two to [`run_tests`]. When the program ends, however it
//! ends, the kernel takes everything with it.
//!
//! Ports and addresses are fixed, because each run has a network of its own; nothing of it can be reached from outside unless it is
//! published ([`Testbed::publish_kubeconfig`]).
#![allow(clippy::print_stderr)] // Its users are programs for people.

mod apply;
mod control_plane;
pub mod demo;
mod echo;
mod eventually;
mod harness;
mod identity;
mod inside;
mod maker;
mod namespace;
mod operator;
mod options;
mod outside;
pub mod podlet;
mod prerequisites;
mod probe;
mod process;
mod program;
mod progress;
mod prometheus;
mod rayward;
mod role;
mod service_proxy;
mod shell;
mod testbed;
mod wire;

pub use apply::{Applied, Refusal, documents};
pub use control_plane::API_SERVER_PORT;
pub use harness::{Test, run_tests};
pub use identity::Identity;
pub use inside::{BRIDGE, BRIDGE_ADDRESS, Inside, enter};
pub use namespace::{Namespace, Output};
pub use options::{Options, default_ray_version};
pub use podlet::NodeSpec;
pub use progress::{Event, Progress, print_lines};
pub use prometheus::{GUARDED_PROMETHEUS_PORT, PROMETHEUS_PORT, Prometheus};
pub use role::{Role, dispatch};
pub use shell::Shell;
pub use testbed::{Part, Testbed};
