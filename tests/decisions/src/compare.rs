//! Both decisions about problems, and where they differ.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::problems::Problem;
use crate::ray::Ray;

/// What came of asking both.
#[derive(Debug, Default)]
pub struct Report {
    /// How many problems there were.
    pub problems: usize,
    /// What Ray decided, in how many of them. A problem counts for each that applies.
    pub decided: BTreeMap<&'static str, usize>,
    /// Where we differ, the smallest problems first.
    pub differences: Vec<Difference>,
}

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

/// What can be decided -> where a decision says so, and what it says then.
const DECISIONS: [(&str, &str, &str); 7] = [
    ("launch", "/launch", ""),
    ("end an idle node", "/terminate", r#""cause":"idle""#),
    (
        "end one above the maximum of its type",
        "/terminate",
        r#""cause":"maxPerType""#,
    ),
    ("end one above maxNodes", "/terminate", r#""cause":"maxNodes""#),
    ("no place for a request", "/infeasible/requests", ""),
    ("no place for a gang", "/infeasible/gangs", ""),
    ("no place for the constraint", "/infeasible/constraint", ""),
];

/// Asks both about each problem.
pub fn compare(problems: Vec<Problem>) -> Result<Report> {
    let theirs = Ray::make()?.ask(problems.iter().map(|problem| &problem.json))?;
    ensure!(
        theirs.len() == problems.len(),
        "Ray answers {} of {} problems",
        theirs.len(),
        problems.len()
    );
    let mut report = Report {
        problems: problems.len(),
        decided: DECISIONS.map(|(what, ..)| (what, 0)).into(),
        ..Report::default()
    };
    for (problem, theirs) in problems.into_iter().zip(theirs) {
        for (what, at, said) in DECISIONS {
            if theirs.pointer(at).is_some_and(|part| says(part, said)) {
                *report.decided.entry(what).or_default() += 1;
            }
        }
        let (theirs, ours) = (comparable(theirs), comparable(ours(&problem)?));
        if theirs != ours {
            report.differences.push(Difference {
                problem,
                theirs,
                ours,
            });
        }
    }
    let size = |difference: &Difference| difference.problem.json.to_string().len();
    report.differences.sort_by_key(size);
    Ok(report)
}

fn ours(problem: &Problem) -> Result<Value> {
    let text = problem.json.to_string();
    let decision =
        rayward_autoscaler::simulate(&text).with_context(|| format!("{}: {text}", problem.name))?;
    Ok(serde_json::from_str(&decision)?)
}

fn says(part: &Value, said: &str) -> bool {
    let nothing = match part {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        other => other == false,
    };
    !nothing && part.to_string().contains(said)
}

/// Without what only we say. What goes is a set.
fn comparable(mut decision: Value) -> Value {
    if let Some(fields) = decision.as_object_mut() {
        fields.retain(|key, _| key != "version" && key != "decisions");
    }
    if let Some(Value::Array(terminate)) = decision.get_mut("terminate") {
        terminate.sort_by_key(|termination| termination["id"].to_string());
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
