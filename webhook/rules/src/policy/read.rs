//! Reads a policy, and finds everything that is wrong with it at once, each with its place.

use ray::path::Pointer;
use ray::strict;
use serde_json::Value;

use super::merge;
use super::spec::PolicySpec;
use crate::expression;

pub use ray::strict::Problem;

/// Reads a spec.
pub(super) fn spec(json: &Value) -> Result<PolicySpec, Vec<Problem>> {
    let twins = merge::twins(json, &Pointer::root()).into_iter().map(|place| {
        let hint = "leave one of them out: only the first would be heard";
        Problem::new(place, "there is another one above it", hint)
    });
    let problems = |spec: &PolicySpec| spec.problems(&Pointer::root());
    strict::spec(json, misfit, problems, twins.collect())
}

/// What does not fit, in words for people who write policies.
fn misfit(path: Pointer, message: String) -> Problem {
    let hint = if message.ends_with("found false") {
        "if Off is meant, put it in quotes: without them YAML reads it as false"
    } else if message.starts_with(expression::COMPLAINT) {
        "write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion"
    } else {
        "`kubectl explain rayadmissionpolicies --recursive` shows what every field takes"
    };
    strict::misfit(path, message, hint)
}
