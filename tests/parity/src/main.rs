//! `parity` prints where Rayward and KubeRay disagree, over all objects or one of yours.
#![allow(clippy::print_stdout, clippy::print_stderr)] // For people.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use parity::{Oracle, Report, cases, cases_of};
use rules::Operator;

/// Where Rayward and KubeRay disagree.
#[derive(Parser)]
struct Args {
    /// Only disagreements about rules whose code begins so, such as RW-C0; several with commas.
    #[arg(long, value_delimiter = ',')]
    codes: Vec<String>,
    /// Only this version of KubeRay: 1.4, 1.5 or 1.6.
    #[arg(long)]
    kuberay_version: Option<Operator>,
    /// Compare the objects of these files instead.
    files: Vec<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let report = report(&args)?;
    let asked = |codes: &[&str]| {
        args.codes.is_empty()
            || codes
                .iter()
                .any(|code| args.codes.iter().any(|prefix| code.starts_with(prefix)))
    };
    let open: Vec<_> = report
        .open()
        .into_iter()
        .filter(|found| asked(&found.codes))
        .collect();
    for disagreement in &open {
        println!("{disagreement}\n");
    }
    let objects: Vec<_> = report
        .objects
        .iter()
        .map(|(operator, objects)| format!("{objects} objects against KubeRay {operator}"))
        .collect();
    println!(
        "{}: {} verdicts compared, {} disagreements",
        objects.join(", "),
        report.verdicts,
        open.len()
    );
    for (by, times) in &report.theirs {
        println!("    KubeRay {times:>8} {by}");
    }
    println!(
        "of what the schema refuses, {} we refuse too",
        report.schema_ours_too
    );
    if args.files.is_empty() && args.kuberay_version.is_none() {
        println!("unfit: {:?}", report.unfit);
        println!("never heard: {:?}", report.never_heard());
    }
    Ok(if open.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(args: &Args) -> Result<Report> {
    let only = |operator: &Operator| args.kuberay_version.is_none_or(|only| only == *operator);
    let operators: Vec<_> = Oracle::OPERATORS.into_iter().filter(only).collect();
    parity::compare_all(&operators, |oracle| match args.files.as_slice() {
        [] => cases(oracle.samples()?),
        files => cases_of(files),
    })
}
