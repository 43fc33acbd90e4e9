//! Makes what tests need from other people's sources, once, and keeps it in the user's cache folder. What is made and what it is used for
//! is the affair of those who ask.

mod cache;
mod go;
mod making;
mod ray_environment;

pub use cache::Cache;
pub use go::{GoBuild, copy_folder};
pub use making::{Making, dying_with_us};
pub use ray_environment::ray_environment;
