//! Compares what Rayward and Ray decide about the same clusters. Ray speaks for itself: [`Ray`] runs its own scheduler, as published. What is
//! asked is a problem of `rayward-autoscaler simulate`, and both answer in its form. So does the HorizontalPodAutoscaler of Kubernetes, [`Hpa`], about
//! policies that ask for what it could be asked for.

mod compare;
mod hpa;
mod problems;
mod ray;
pub mod speed;

pub use compare::{Difference, Report, compare};
pub use hpa::{Course, Hpa};
pub use problems::{Problem, SHAPES, Shape, improvements, random, written};
pub use ray::Ray;
