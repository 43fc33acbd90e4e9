//! The `rayward-webhook` program.

use clap::Parser;
use rayward_webhook::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    certs::install_provider()?;
    Args::parse().run().await
}
