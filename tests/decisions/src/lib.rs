//! Compares what Rayward and Ray decide about the same clusters. Ray speaks for itself: [`Ray`] runs its own scheduler, as published. What is
//! asked is a problem of `rayward-autoscaler simulate`, and both answer in its form.

mod compare;
mod problems;
mod ray;
pub mod speed;

pub use compare::{Difference, Report, compare};
pub use problems::{Problem, SHAPES, Shape, improvements, random, written};
pub use ray::Ray;
