//! Policies, where they meet the world: what they mean is in the `rules` crate.
//!
//! - [`definition`]: the kind in Kubernetes; [`watch`]: policies and namespaces as they are now, and what policies are told in their status
//! - [`files`]: policies in files, for the offline commands; [`explain`]: which policy says what about an object;
//!   [`quota`]: what makes the bounds of namespaces hard

pub mod definition;
pub mod explain;
pub mod files;
pub mod quota;
pub mod watch;
