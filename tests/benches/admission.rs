//! `cargo bench -p tests --bench admission`: our webhook beside KubeRay's and an echo, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a few seconds that it works.
#![allow(clippy::print_stdout, clippy::print_stderr)] // It is what it is for.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use mimalloc::MiMalloc;
use testbed::{Inside, Options, Test, Testbed};
use tests::side_by_side::{self, Effort};

/// The one of the service, which runs in this very program here.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    testbed::dispatch();
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if !given("--bench") {
        return testbed::run_tests(
            vec![Test::world("bench::everybody_answers", everybody_answers)],
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

/// The API server, the operator and one replica of our webhook: nothing that would take their time.
fn options() -> Options {
    Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        webhook_replicas: 1,
        autoscaler_replicas: 0,
        ..Options::default()
    }
}

async fn bench(inside: Inside, effort: Effort) -> Result<()> {
    let testbed = Testbed::start(inside, options(), testbed::print_lines())
        .await
        .context("bring up the testbed")?;
    println!("{}", side_by_side::run(&testbed, effort).await?.markdown());
    Ok(())
}

async fn everybody_answers(testbed: &Testbed) -> Result<()> {
    let text = side_by_side::run(testbed, Effort::QUICK).await?.markdown();
    let rows = text.lines().filter(|line| line.starts_with("| ")).count();
    ensure!(rows > 12, "only {rows} rows:\n{text}");
    Ok(())
}
