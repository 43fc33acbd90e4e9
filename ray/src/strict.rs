//! Strict reading of our own kinds. A field that does not fit is told with its place; what fits is read and looked at all the same, so that
//! nobody has to ask twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::path::{Pointer, Step};
use crate::schema::meant;

/// Something wrong with an object of ours.
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
    /// Something wrong at a place.
    pub fn new(path: Pointer, problem: impl Into<String>, hint: impl Into<String>) -> Self {
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

/// Reads a spec. `misfit` puts what serde says of a place into words, `problems` looks at what could be read, and `apart` is what was found by
/// other means; their places are within the spec.
pub fn spec<T: DeserializeOwned + Default>(
    json: &Value,
    misfit: impl Fn(Pointer, String) -> Problem,
    problems: impl FnOnce(&T) -> Vec<Problem>,
    apart: Vec<Problem>,
) -> Result<T, Vec<Problem>> {
    let place = Pointer::root().key("spec");
    let mut legible = Legible {
        json: json.clone(),
        left: BTreeMap::new(),
    };
    let mut all = apart;
    let spec: T = loop {
        let error = match serde_path_to_error::deserialize(&legible.json) {
            Ok(spec) => break spec,
            Err(error) => error,
        };
        let at = crate::pointer_of(error.path());
        let found = at.resolve(&legible.json).unwrap_or(&Value::Null);
        let message = crate::misfit(&error.inner().to_string(), found);
        all.push(misfit(legible.original(&at), message));
        if !legible.leave_out(&at) {
            break T::default();
        }
    };
    all.extend(problems(&spec).into_iter().map(|problem| Problem {
        path: legible.original(&problem.path),
        ..problem
    }));
    all.sort_by(|one, other| one.path.cmp(&other.path));
    // What was left out because it could not be read is missing, too.
    all.dedup_by(|later, first| later.path == first.path);
    for problem in &mut all {
        problem.path = place.join(&problem.path);
    }
    if all.is_empty() { Ok(spec) } else { Err(all) }
}

/// What does not fit, in words for people who write such objects; `hint` where nothing better is known.
pub fn misfit(path: Pointer, message: String, hint: &str) -> Problem {
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
        _ => Problem::new(path, message, hint),
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
