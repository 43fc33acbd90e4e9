//! The `rayward-autoscaler` program.

use clap::Parser;
use rayward_autoscaler::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    certs::install_provider()?;
    Args::parse().run().await
}
