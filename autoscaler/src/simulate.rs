//! `simulate`: a cluster that is written down in, what is decided about it out. One scheduling problem, or a scenario over time. No cluster, no
//! clock, nothing remembered: the same input gives the same bytes.

pub(crate) mod chart;
mod cluster;
mod read;
#[cfg(test)]
mod tests;
mod timeline;
mod write;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use planner::{Memory, Policy};
use ray::path::Pointer;

use crate::backtest::{self, Backtest};

pub(crate) use cluster::read_cluster;
pub(crate) use read::{Bundles, Misfit, Seconds, Shape, batches, gangs, version};
pub(crate) use write::{gang as gang_json, request as request_json};

/// The flags of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// A problem as JSON, or a scenario as YAML or JSON; - is standard input. With --policy, a RayCluster, or nothing.
    #[arg(value_name = "FILE", required_unless_present = "policy")]
    file: Option<PathBuf>,
    #[command(flatten)]
    backtest: Backtest,
    /// How to tell the decision.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// How a decision is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Sentences for people.
    Text,
    /// For programs; stable.
    Json,
    /// A chart; of a scenario.
    Svg,
}

/// Reads a problem, decides, and prints the decision.
pub(crate) async fn run(args: &Simulate) -> Result<()> {
    let Some(file) = args.file.as_ref().filter(|_| args.backtest.policy.is_empty()) else {
        let told = backtest::run(&args.backtest, args.file.as_deref(), args.format).await?;
        return print(&told);
    };
    let (name, text) = input(file)?;
    let decision = decide(&text, args.format).with_context(|| format!("cannot simulate {name}"))?;
    print(&decision)
}

/// The decision about a problem, both as JSON: `simulate --format json` without files.
pub fn simulate(problem: &str) -> Result<String> {
    Ok(decide(problem, Format::Json)?)
}

/// What the planner sees of a problem.
pub fn read_problem(problem: &str) -> Result<planner::Snapshot> {
    Ok(read::problem(problem)?)
}

fn decide(text: &str, format: Format) -> Result<String, Misfit> {
    if let Some(scenario) = timeline::scenario(text)? {
        let timeline = timeline::Timeline::of(&scenario)?;
        return Ok(match format {
            Format::Text => timeline.text(),
            Format::Json => timeline.json(),
            Format::Svg => timeline.svg(),
        });
    }
    let snapshot = read::problem(text)?;
    let plan = planner::plan(&snapshot, &Memory::default(), &Policy::default());
    match format {
        Format::Text => Ok(write::text(&snapshot, &plan)),
        Format::Json => Ok(write::json(&snapshot, &plan)),
        Format::Svg => Err(Misfit::new(
            &Pointer::root(),
            "one problem makes no chart: write a scenario, or choose text or json",
        )),
    }
}

fn input(file: &Path) -> Result<(String, String)> {
    if file.as_os_str() == "-" {
        let text = io::read_to_string(io::stdin().lock()).context("read standard input")?;
        return Ok(("standard input".to_owned(), text));
    }
    let name = file.display().to_string();
    let text = fs::read_to_string(file).with_context(|| format!("read {name}"))?;
    Ok((name, text))
}

/// Whoever stops reading has seen enough.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}
