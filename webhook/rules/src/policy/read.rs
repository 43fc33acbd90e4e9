//! Reads a policy, and finds everything that is wrong with it at once, each with its place.

use std::fmt;

use ray::path::Pointer;
use serde_json::Value;

use super::spec::PolicySpec;

/// Something wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, from the top of the object.
    pub path: Pointer,
    /// What is wrong with it.
    pub problem: String,
    /// How to fix it.
    pub hint: String,
}

impl Problem {
    pub(super) fn new(path: Pointer, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            path,
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

/// `spec.rules[0].code: no rule has the code "RW-X1" (...)`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path.field(), self.problem, self.hint)
    }
}

pub(super) fn spec(json: &Value) -> Result<PolicySpec, Vec<Problem>> {
    let read = serde_path_to_error::deserialize(json);
    let spec: PolicySpec = read.map_err(|error| {
        let path = error
            .path()
            .iter()
            .fold(Pointer::root().key("spec"), |path, segment| {
                use serde_path_to_error::Segment;
                match segment {
                    Segment::Seq { index } => path.index(*index),
                    Segment::Map { key } => path.key(key.clone()),
                    Segment::Enum { .. } | Segment::Unknown => path,
                }
            });
        let hint = "`kubectl explain rayadmissionpolicies.spec` shows every field";
        vec![Problem::new(path, error.inner().to_string(), hint)]
    })?;
    let problems = spec.problems();
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}
