//! Every admission rule and default, as values: an object and the facts around it in, findings and edits out. Pure; how requests
//! arrive and what is done with the answers is the webhook's affair.
//!
//! [`defaults`] and [`check`] read the object through the `ray` crate, [`judge`] asks the policy what findings are to mean, and
//! [`edit::to_patch`] turns edits into RFC 6902. The rules themselves are rows in the tables under `check/` and `defaults/`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod audit;
mod check;
mod defaults;
pub mod edit;
mod effective;
mod example;
mod expression;
mod facts;
mod finding;
pub mod pod;
pub mod policy;
mod ratchet;
mod request;
mod rule;
pub mod scaling_policy;
#[cfg(test)]
mod tests;
mod usage;
mod verdict;

pub use check::check;
pub use defaults::{defaults, uninject};
pub use edit::Edit;
pub use example::{Case, Example};
pub use facts::{Facts, Gate, GateState, Gates, GatesError, Operator, Operators, UnknownOperator};
pub use finding::{CUSTOM, Code, Finding, label};
pub use policy::{Policies, Policy};
pub use request::{NAMESPACE_NAME, Operation, Request};
pub use rule::{Action, Rule, Source, table};
pub use usage::Usage;
pub use verdict::{BREAK_GLASS, TOLD_MAX, Verdict, judge};
