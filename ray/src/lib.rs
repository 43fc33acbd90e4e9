//! The shared vocabulary: Ray's objects, quantities, images and start parameters as we read them. Pure.
//!
//! One parser, two callers: what the webhook's rules admit, the autoscaler's planner can plan, because both read objects through
//! this crate. We never write back what was read here; changes are made to the original JSON.
//!
//! - A **cluster** has one **head** and **groups** of like workers.
//! - A **replica** of a group is one pod, or a **slice** of several **hosts** that come and go together.
//! - A **demand** is what tasks, actors and placement groups wait for; a placement group is made of **bundles**.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod accelerator;
pub mod autoscaler_mode;
pub mod cluster;
pub mod cron_job;
pub mod duration;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod hash;
pub mod image;
pub mod job;
pub mod keys;
pub mod label;
mod maker;
pub mod object;
pub mod options;
pub mod path;
pub mod promql;
pub mod quantity;
mod read;
pub mod resources;
pub mod scaling_policy;
pub mod schedule;
pub mod schema;
pub mod service;
pub mod start_params;
pub mod strict;
pub mod tpu;
pub mod version;

pub use maker::{maker, part_of};
pub use read::{misfit, pointer_of};
