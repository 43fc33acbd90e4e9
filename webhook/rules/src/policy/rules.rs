//! `rules`: what happens because of what rules find.

use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Problem;
use crate::rule::{Action, table};

/// What happens because of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleAction {
    /// The code of the rule, such as `RW-C009`, or the beginning of several, such as `RW-C*`. The longest one is right.
    pub code: String,
    /// `Deny` refuses the object, `Warn` tells its author, `Audit` makes a note in the API server's audit log, `Off` is silent.
    pub action: Action,
}

/// What the rule with this code leads to, where anything is said about it.
pub(super) fn action(rules: &[RuleAction], code: &str) -> Option<Action> {
    let matching = rules.iter().filter(|rule| matches(&rule.code, code));
    matching
        .max_by_key(|rule| rule.code.trim_end_matches('*').len())
        .map(|rule| rule.action)
}

pub(super) fn problems(rules: &[RuleAction], at: &Pointer) -> Vec<Problem> {
    let unknown = rules.iter().enumerate().filter_map(|(index, rule)| {
        let known = table().any(|known| matches(&rule.code, known.code));
        (!known).then(|| {
            Problem::new(
                at.index(index).key("code"),
                format!("no rule has the code `{}`", rule.code),
                "`rayward-webhook rules` lists them all",
            )
        })
    });
    unknown.collect()
}

/// Whether `wanted`, a code or the beginning of one with a star, means `code`.
fn matches(wanted: &str, code: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => code.starts_with(beginning),
        None => code == wanted,
    }
}
