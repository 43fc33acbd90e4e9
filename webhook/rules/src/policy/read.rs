//! Reads a policy, and finds everything that is wrong with it at once, each with its place.

use std::collections::BTreeMap;
use std::fmt;

use ray::path::{Pointer, Step};
use ray::schema::meant;
use serde_json::Value;

use super::merge;
use super::spec::PolicySpec;
use crate::expression;

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

/// Reads a spec. What can be read is looked at even where something else cannot, so that nobody has to ask twice.
pub(super) fn spec(json: &Value) -> Result<PolicySpec, Vec<Problem>> {
    let place = Pointer::root().key("spec");
    let mut legible = Legible {
        json: json.clone(),
        left: BTreeMap::new(),
    };
    let mut problems = Vec::new();
    let spec: PolicySpec = loop {
        let error = match serde_path_to_error::deserialize(&legible.json) {
            Ok(spec) => break spec,
            Err(error) => error,
        };
        let at = ray::pointer_of(error.path());
        let found = at.resolve(&legible.json).unwrap_or(&Value::Null);
        let message = ray::misfit(&error.inner().to_string(), found);
        problems.push(misfit(legible.original(&at), message));
        if !legible.leave_out(&at) {
            break PolicySpec::default();
        }
    };
    problems.extend(
        spec.problems(&Pointer::root())
            .into_iter()
            .map(|problem| Problem {
                path: legible.original(&problem.path),
                ..problem
            }),
    );
    problems.extend(merge::twins(json, &Pointer::root()).into_iter().map(|place| {
        let hint = "leave one of them out: only the first would be heard";
        Problem::new(place, "there is another one above it", hint)
    }));
    problems.sort_by(|one, other| one.path.cmp(&other.path));
    // What was left out because it could not be read is missing, too.
    problems.dedup_by(|later, first| later.path == first.path);
    for problem in &mut problems {
        problem.path = place.join(&problem.path);
    }
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}

/// What is left of a spec without the parts that do not fit.
struct Legible {
    json: Value,
    /// Which of the items of a list are left, by the place of the list in the whole spec.
    left: BTreeMap<Pointer, Vec<usize>>,
}

impl Legible {
    /// Where in the whole spec something is.
    fn original(&self, place: &Pointer) -> Pointer {
        place
            .steps()
            .into_iter()
            .fold(Pointer::root(), |original, step| match step {
                Step::Index(index) => {
                    let left = self.left.get(&original);
                    original.index(left.map_or(*index, |left| left[*index]))
                }
                Step::Key(_) => original.step(step.clone()),
            })
    }

    /// Takes a field away, or the item of a list that cannot do without it. False when nothing can be taken away any more.
    fn leave_out(&mut self, place: &Pointer) -> bool {
        let Some((parent, step)) = place.split_last() else {
            return false;
        };
        let original = self.original(parent);
        match (step, parent.resolve_mut(&mut self.json)) {
            (Step::Key(key), Some(Value::Object(fields))) if fields.contains_key(key.as_ref()) => {
                fields.remove(key.as_ref());
                true
            }
            (Step::Index(index), Some(Value::Array(items))) => {
                let all = || (0..items.len()).collect();
                self.left.entry(original).or_insert_with(all).remove(*index);
                items.remove(*index);
                true
            }
            _ => self.leave_out(parent),
        }
    }
}

/// What does not fit, in words for people who write policies.
fn misfit(path: Pointer, message: String) -> Problem {
    let mut words = message.split('`').skip(1).step_by(2);
    match words.next() {
        Some(field) if message.starts_with("unknown field") => {
            let hint = match meant(field, words.clone()) {
                Some(meant) => format!("perhaps `{meant}` is meant"),
                None => format!("there are {}", words.collect::<Vec<_>>().join(", ")),
            };
            Problem::new(path, "there is no such field", hint)
        }
        Some(field) if message.starts_with("missing field") => {
            Problem::new(path.key(field.to_owned()), "it is missing", "it has to be said")
        }
        _ if message.ends_with("found false") => {
            let hint = "if Off is meant, put it in quotes: without them YAML reads it as false";
            Problem::new(path, message, hint)
        }
        _ if message.starts_with(expression::COMPLAINT) => {
            let hint = "write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion";
            Problem::new(path, message, hint)
        }
        _ => {
            let hint = "`kubectl explain rayadmissionpolicies --recursive` shows what every field takes";
            Problem::new(path, message, hint)
        }
    }
}
