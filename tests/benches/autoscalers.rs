//! `cargo bench -p tests --bench autoscalers`: Ray's own autoscaler and ours before the same demands, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a minute that it works.
#![allow(clippy::print_stdout, clippy::print_stderr)] // It is what it is for.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use mimalloc::MiMalloc;
use testbed::{Inside, Options, Test, Testbed};
use tests::autoscalers::{self, Effort};

/// The one of the service, which runs in this very program here.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    testbed::dispatch();
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if !given("--bench") {
        return testbed::run_tests(
            vec![Test::world("bench::both_meet_a_demand", both_meet_a_demand)],
            options(),
        );
    }
    let effort = if given("--quick") {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    match testbed::enter().and_then(|inside| tokio::runtime::Runtime::new()?.block_on(bench(inside, effort)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Options {
    Options {
        webhook_replicas: 1,
        audit: true,
        ..Options::default()
    }
}

async fn bench(inside: Inside, effort: Effort) -> Result<()> {
    let testbed = Testbed::start(inside, options(), testbed::print_lines())
        .await
        .context("bring up the testbed")?;
    println!("{}", autoscalers::run(&testbed, effort).await?.markdown());
    Ok(())
}

async fn both_meet_a_demand(testbed: &Testbed) -> Result<()> {
    let text = autoscalers::run(testbed, Effort::QUICK).await?.markdown();
    let rows = text.lines().filter(|line| line.starts_with("| ")).count();
    ensure!(rows == 8, "{rows} rows in\n{text}");
    println!("{text}");
    Ok(())
}
