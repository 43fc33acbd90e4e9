//! `cargo bench -p tests --bench fleet`: a thousand RayClusters under one process of our autoscaler, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a minute that it works; with `-- --clusters N` the fleet has so many.
#![allow(clippy::print_stdout, clippy::print_stderr)] // It is what it is for.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testbed::{Inside, Test, Testbed};
use tests::fleet::{self, Effort};

fn main() -> ExitCode {
    testbed::dispatch();
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if !given("--bench") {
        return testbed::run_tests(
            vec![Test::world("bench::a_fleet_is_scaled", a_fleet_is_scaled)],
            fleet::options(),
        );
    }
    let mut effort = if given("--quick") {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--clusters")
        .skip(1);
    if let Some(clusters) = arguments.next().and_then(|clusters| clusters.parse().ok()) {
        effort.clusters = clusters;
        effort.demanding = effort.demanding.min(clusters);
    }
    match testbed::enter().and_then(|inside| tokio::runtime::Runtime::new()?.block_on(bench(inside, effort)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(inside: Inside, effort: Effort) -> Result<()> {
    let testbed = Testbed::start(inside, fleet::options(), testbed::print_lines())
        .await
        .context("bring up the testbed")?;
    println!("{}", fleet::run(&testbed, effort).await?.markdown());
    Ok(())
}

async fn a_fleet_is_scaled(testbed: &Testbed) -> Result<()> {
    let text = fleet::run(testbed, Effort::QUICK).await?.markdown();
    let rows = text.lines().filter(|line| line.starts_with("| ")).count();
    ensure!(rows == 10, "there are {rows} rows:\n{text}");
    Ok(())
}
