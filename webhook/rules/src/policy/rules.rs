//! `rules`: what happens because of what rules find.

use ray::path::Pointer;
use ray::schema::meant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Problem;
use crate::finding::CUSTOM;
use crate::request::Request;
use crate::rule::{Action, table};

/// What happens because of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleAction {
    /// The code of the rule, such as `RW-C009` or `RW-X/` and the name of a custom one, or the beginning of several, such as `RW-C*`. Of those in a policy that mean the same rule the
    /// longest one is right.
    #[schemars(length(min = 1, max = 80))]
    pub code: String,
    /// `Deny` refuses the object, `Warn` tells its author, `Audit` makes a note in the API server's audit log, `Off` is silent.
    pub action: Action,
    /// For how many objects of a hundred this holds; for all, if nothing is said. It depends on nothing but the object's kind, namespace and
    /// name, so that it holds for the same objects tomorrow, and for more of them when the number grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub rollout_percent: Option<u8>,
}

impl RuleAction {
    /// Whether this is about the rule with that code, and about the object.
    pub(crate) fn holds(&self, code: &str, request: &Request<'_>) -> bool {
        matches(&self.code, code)
            && self
                .rollout_percent
                .is_none_or(|percent| percentile(request) < percent)
    }
}

pub(super) fn problems(rules: &[RuleAction], at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        problems.extend(unknown(&rule.code, at.key("code")));
        if rule.rollout_percent.is_some_and(|percent| percent > 100) {
            let hint = "write a number from 0 to 100";
            problems.push(Problem::new(
                at.key("rolloutPercent"),
                "there are only a hundred in a hundred",
                hint,
            ));
        }
    }
    problems
}

/// A code that means no rule.
pub(super) fn unknown(wanted: &str, at: Pointer) -> Option<Problem> {
    // Another policy may bring it along.
    if wanted.starts_with(CUSTOM) || matches(wanted, CUSTOM) || table().any(|rule| matches(wanted, rule.code))
    {
        return None;
    }
    let hint = match meant(wanted, table().map(|rule| rule.code)) {
        Some(meant) => format!("perhaps {meant} is meant; `rayward-webhook rules` lists all"),
        None => {
            "write a code such as RW-C009, or RW-C* for all that begin so; `rayward-webhook rules` lists all"
                .to_owned()
        }
    };
    Some(Problem::new(at, format!("no rule has the code `{wanted}`"), hint))
}

/// Whether `wanted`, a code or the beginning of one with a star, means `code`.
pub(super) fn matches(wanted: &str, code: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => code.starts_with(beginning),
        None => code == wanted,
    }
}

/// A number below a hundred for every object, the same in every build.
fn percentile(request: &Request<'_>) -> u8 {
    let name = request.object["metadata"]["name"].as_str().unwrap_or_default();
    let parts = [request.kind.name(), request.namespace, name];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = ray::hash::fnv1a(bytes);
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u8::try_from(mixed % 100).expect("it is below a hundred")
}
