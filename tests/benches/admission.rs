//! `cargo bench -p tests --bench admission`: our webhook beside KubeRay's and an echo, as tables in Markdown. `-- --quick` shows in a few
//! seconds that it works.
#![allow(clippy::print_stdout, clippy::print_stderr)] // It is what it is for.

use std::process::ExitCode;

use anyhow::{Context, Result};
use testbed::{Inside, Options, Testbed};
use tests::side_by_side::{self, Effort};

fn main() -> ExitCode {
    testbed::dispatch();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    match testbed::enter().and_then(|inside| tokio::runtime::Runtime::new()?.block_on(run(inside, effort))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(inside: Inside, effort: Effort) -> Result<()> {
    let options = Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        webhook_replicas: 1,
        autoscaler: false,
        ..Options::default()
    };
    let testbed = Testbed::start(inside, options, testbed::print_lines())
        .await
        .context("bring up the testbed")?;
    let report = side_by_side::run(&testbed, effort).await?;
    println!("{}", report.markdown());
    Ok(())
}
