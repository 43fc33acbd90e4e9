//! Rayward and Ray decide the same about every cluster, but for what `docs/decisions.md` lists.

use anyhow::{Result, ensure};
use decisions::{Problem, SHAPES, compare, improvements, random, written};
use insta::assert_snapshot;

/// Of each shape.
const PROBLEMS: u64 = 220;

/// Decide the same, and everything that can be decided at least once; or show the smallest problems about which they do not.
fn agree(problems: Vec<Problem>) -> Result<()> {
    let report = compare(problems)?;
    eprintln!("{} problems: {:#?}", report.problems, report.decided);
    let shown: Vec<String> = report
        .differences
        .iter()
        .take(5)
        .map(ToString::to_string)
        .collect();
    ensure!(
        shown.is_empty(),
        "{} of {} decisions differ:\n\n{}",
        report.differences.len(),
        report.problems,
        shown.join("\n\n")
    );
    let never: Vec<_> = report.decided.iter().filter(|(_, times)| **times == 0).collect();
    ensure!(never.is_empty(), "Ray was never made to decide {never:?}");
    Ok(())
}

#[test]
fn rayward_decides_as_ray_where_one_phase_is_looked_at() -> Result<()> {
    agree(written()?)
}

#[test]
fn rayward_decides_as_ray_about_clusters_at_random() -> Result<()> {
    let of_shape = |shape| (0..PROBLEMS).map(move |seed| random(shape, seed));
    agree(SHAPES.iter().flat_map(of_shape).collect())
}

/// Where we decide otherwise on purpose: what Ray decides, and what we do.
#[test]
fn improvements_are_differences() -> Result<()> {
    let problems = improvements()?;
    let mut differences = compare(problems.clone())?.differences;
    differences.sort_by(|left, right| left.problem.name.cmp(&right.problem.name));
    let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_snapshot!(told.join("\n"), @"");
    ensure!(
        differences.len() == problems.len(),
        "{} of {} are no improvement any more",
        problems.len() - differences.len(),
        problems.len()
    );
    let page = include_str!("../../../docs/decisions.md");
    for problem in problems {
        ensure!(
            page.contains(&problem.name),
            "docs/decisions.md does not name {}",
            problem.name
        );
    }
    Ok(())
}
