//! The `rayward-webhook` program.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use rayward_webhook::Args;

/// A review is read into thousands of small values, which are made in one thread and may end in another: a quarter of the service's time with the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    certs::install_provider()?;
    Args::parse().run().await
}
