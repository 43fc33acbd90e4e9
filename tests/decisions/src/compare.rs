//! Both decisions about a problem, and where they differ.

use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::problems::Problem;
use crate::ray::Ray;

/// A problem about which the two disagree.
#[derive(Debug)]
pub struct Difference {
    /// What is decided about.
    pub problem: Problem,
    /// Ray's decision, or the error that it raised.
    pub theirs: Value,
    /// Ours.
    pub ours: Value,
}

/// Asks both about each problem; those they disagree about, the smallest first.
pub fn compare(problems: Vec<Problem>) -> Result<Vec<Difference>> {
    let theirs = Ray::make()?.ask(problems.iter().map(|problem| &problem.json))?;
    ensure!(
        theirs.len() == problems.len(),
        "Ray answers {} of {} problems",
        theirs.len(),
        problems.len()
    );
    let mut differences = Vec::new();
    for (problem, theirs) in problems.into_iter().zip(theirs) {
        let text = problem.json.to_string();
        let ours =
            rayward_autoscaler::simulate(&text).with_context(|| format!("{}: {text}", problem.name))?;
        let mut ours: Value = serde_json::from_str(&ours)?;
        let theirs = without_order(theirs);
        if ["launch", "terminate", "infeasible"]
            .iter()
            .any(|part| theirs.get(part) != without_order(ours.clone()).get(part))
        {
            for ours_alone in ["version", "decisions"] {
                ours.as_object_mut()
                    .context("a decision is an object")?
                    .shift_remove(ours_alone);
            }
            differences.push(Difference {
                problem,
                theirs,
                ours,
            });
        }
    }
    differences.sort_by_key(|difference| difference.problem.json.to_string().len());
    Ok(differences)
}

/// What goes is a set.
fn without_order(mut decision: Value) -> Value {
    if let Some(Value::Array(terminate)) = decision.get_mut("terminate") {
        terminate.sort_by_key(Value::to_string);
    }
    decision
}

impl fmt::Display for Difference {
    /// The problem as `simulate` takes it, and what each decides.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n{}", self.problem.name, self.problem.json)?;
        writeln!(formatter, "    Ray     {}", self.theirs)?;
        write!(formatter, "    Rayward {}", self.ours)
    }
}
