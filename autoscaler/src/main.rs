//! The `rayward-autoscaler` program.

use std::process::ExitCode;

use clap::Parser;
use rayward_autoscaler::Args;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    certs::install_provider()?;
    Args::parse().run().await
}
