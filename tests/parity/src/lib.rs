//! Compares what Rayward and KubeRay say to the same objects. KubeRay speaks for itself: [`Oracle`] runs its CRDs and its validators, each
//! version as published. What is said to objects that are already stored, and what the operator does later, is not compared here.

mod answers;
mod cases;
mod compare;
mod mutate;
mod oracle;

pub use answers::answers;
pub use cases::{Case, cases, cases_of};
pub use compare::{Disagreement, Kind, Report, compare_all};
pub use oracle::{Answer, Oracle, Verdict};
