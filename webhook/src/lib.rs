//! Admission webhook for Ray on Kubernetes. One straight line: bytes -> decode -> parse -> defaults or checks -> judge -> patch ->
//! encode, with IO at the two ends only. What is checked and defaulted is in the `rules` crate.
//!
//! - [`args`]: the command line; [`serve`]: how the service is put together, from start to drain
//! - [`server`]: the routes and what guards them; [`connection`]: what a connection may do; [`admin`]: probes and metrics
//! - [`admit`]: bytes in, bytes out; [`review`]: the envelope they travel in; [`clusters`]: what we know of clusters besides;
//!   [`usage`]: what the objects of a namespace have together; [`operator`]: what we know of KubeRay; [`policy`]: what platform teams want
//! - [`check`]: the rules without an API server; [`rewrite`]: the defaults without one; [`known`]: what these know of the world;
//!   [`source`]: the manifests that they read; [`output`]: where they write
//! - [`crd`]: the definitions of our own kinds; [`scaling_policy`]: the one that the autoscaler follows; [`surroundings`]: what is around one
//! - [`registration`]: our webhook configurations; [`metrics`]: what is counted

pub mod admin;
pub mod admit;
pub mod args;
pub mod audit;
pub mod check;
pub mod clusters;
pub mod connection;
pub mod crd;
pub mod events;
pub mod known;
pub mod list;
pub mod metrics;
pub mod operator;
pub mod output;
pub mod policy;
pub mod registration;
pub mod review;
pub mod rewrite;
pub mod scaling_policy;
pub mod serve;
pub mod server;
pub mod source;
mod surroundings;
pub mod usage;

pub use args::Args;
