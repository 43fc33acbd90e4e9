//! Rayward and Ray decide the same about every cluster, but for what `docs/decisions.md` lists.

use anyhow::{Result, ensure};
use decisions::{Course, Hpa, Problem, SHAPES, compare, improvements, random, written};
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

/// Of metrics, some of which are missing at times.
const COURSES: u64 = 400;

#[test]
fn targets_are_followed_as_a_horizontal_pod_autoscaler_would() -> Result<()> {
    let courses: Vec<Course> = (0..COURSES).map(Course::random).collect();
    let told = Hpa::make()?.ask(&courses)?;
    let mut changes = 0;
    let mut differences = Vec::new();
    for (seed, (course, theirs)) in courses.iter().zip(told).enumerate() {
        let ours = course.played()?;
        changes += theirs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        if ours != theirs {
            differences.push(format!(
                "seed {seed}:\n    theirs {theirs:?}\n    ours   {ours:?}\n{course:?}"
            ));
        }
    }
    eprintln!("{COURSES} courses with {changes} changes");
    ensure!(
        differences.is_empty(),
        "{} of {COURSES} courses differ:\n\n{}",
        differences.len(),
        differences[..differences.len().min(3)].join("\n\n")
    );
    ensure!(changes > 500, "little has happened");
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
    assert_snapshot!(told.join("\n"), @r#"
    a-leaving-node-is-no-capacity
    {"nodeTypes":{"small":{"max":5,"resources":{"CPU":4}}},"nodes":[{"id":"a","status":"leaving","type":"small"}],"requests":[{"count":4,"resources":{"CPU":1}}],"version":1}
        Ray     {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{},"terminate":[]}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":1},"terminate":[]}
    a-minimum-above-max-nodes-is-raised-as-far-as-that
    {"maxNodes":3,"nodeTypes":{"small":{"max":5,"min":4,"resources":{"CPU":4}}},"version":1}
        Ray     {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{},"terminate":[{"cause":"maxNodes","id":""},{"cause":"maxNodes","id":""},{"cause":"maxNodes","id":""},{"cause":"maxNodes","id":""}]}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":3},"terminate":[]}
    a-node-above-a-maximum-takes-no-work
    {"nodeTypes":{"large":{"max":5,"resources":{"CPU":8}},"small":{"max":1,"resources":{"CPU":4}}},"nodes":[{"available":{"CPU":4},"id":"a","status":"running","total":{"CPU":4},"type":"small"},{"available":{"CPU":4},"id":"b","idleMilliseconds":5000,"status":"running","total":{"CPU":4},"type":"small"}],"requests":[{"count":8,"resources":{"CPU":1}}],"version":1}
        Ray     {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{},"terminate":[{"cause":"maxPerType","id":"b"}]}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"large":1},"terminate":[{"cause":"maxPerType","id":"b"}]}
    a-node-of-an-unknown-type-is-used-and-left-alone
    {"nodeTypes":{"small":{"max":5,"resources":{"CPU":4}}},"nodes":[{"available":{"CPU":2},"id":"a","idleMilliseconds":900000,"status":"running","total":{"CPU":4},"type":"gone"}],"requests":[{"count":4,"resources":{"CPU":1}}],"version":1}
        Ray     {"error":"KeyError('gone')"}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":1},"terminate":[]}
    tenths-share-a-node
    {"nodeTypes":{"small":{"max":5,"resources":{"CPU":1}}},"requests":[{"count":3,"resources":{"CPU":0.3}},{"resources":{"CPU":0.1}}],"version":1}
        Ray     {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":2},"terminate":[]}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":1},"terminate":[]}
    the-head-is-left-to-the-operator
    {"nodeTypes":{"head":{"kind":"head","max":1,"resources":{"CPU":8}},"small":{"max":5,"resources":{"CPU":4}}},"requests":[{"resources":{"CPU":8}}],"version":1}
        Ray     {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"head":1},"terminate":[]}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[{"count":1,"resources":{"CPU":8}}]},"launch":{},"terminate":[]}
    two-values-of-one-label-do-not-share-a-node
    {"nodeTypes":{"small":{"max":5,"resources":{"CPU":4}}},"requests":[{"antiAffinity":{"label":"rack","value":"1"},"resources":{"CPU":1}},{"antiAffinity":{"label":"rack","value":"2"},"resources":{"CPU":1}}],"version":1}
        Ray     {"error":"AssertionError('Label rack already exists with value 1, cannot set to 2')"}
        Rayward {"infeasible":{"constraint":false,"gangs":[],"requests":[]},"launch":{"small":2},"terminate":[]}
    "#);
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
