//! The `rayward-autoscaler` program.

fn main() {}
