//! Rayward and Ray decide the same about every cluster that either of them might be asked about, but for what `docs/decisions.md` lists.

use anyhow::{Result, ensure};
use decisions::{Problem, SHAPES, compare, random, written};

/// Of each shape.
const PROBLEMS: u64 = 250;

/// Decides the same, or shows the smallest problems about which it does not.
fn agree(problems: Vec<Problem>) -> Result<()> {
    let asked = problems.len();
    let differences = compare(problems)?;
    let shown: Vec<String> = differences.iter().take(5).map(ToString::to_string).collect();
    ensure!(
        differences.is_empty(),
        "{} of {asked} decisions differ:\n\n{}",
        differences.len(),
        shown.join("\n\n")
    );
    Ok(())
}

#[test]
fn rayward_decides_as_ray_where_a_phase_is_looked_at_alone() -> Result<()> {
    agree(written()?)
}

#[test]
fn rayward_decides_as_ray_about_clusters_at_random() -> Result<()> {
    let shape = |shape| (0..PROBLEMS).map(move |seed| random(shape, seed));
    agree(SHAPES.iter().flat_map(shape).collect())
}
