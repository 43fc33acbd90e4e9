//! The `rayward-webhook` program.

fn main() {}
