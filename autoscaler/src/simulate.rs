//! `simulate`: one scheduling problem in, what the planner decides out. No cluster, no clock, nothing remembered: the same input gives the
//! same bytes.

mod cluster;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use planner::{Memory, Policy};

/// The flags of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// The problem as JSON; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to tell the decision.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// How a decision is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Sentences for people.
    Text,
    /// For programs; stable.
    Json,
}

/// Reads a problem, decides, and prints the decision.
pub(crate) fn run(args: &Simulate) -> Result<()> {
    let (name, text) = input(&args.file)?;
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

fn decide(text: &str, format: Format) -> Result<String, read::Misfit> {
    let snapshot = read::problem(text)?;
    let plan = planner::plan(&snapshot, &Memory::default(), &Policy::default());
    Ok(match format {
        Format::Text => write::text(&snapshot, &plan),
        Format::Json => write::json(&snapshot, &plan),
    })
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
