//! `customRules`: rules that a policy brings along, as expressions in CEL.

use ray::path::{Pointer, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::read::Problem;
use super::spec;
use crate::expression::Expression;
use crate::rule::Action;

/// How many a policy may have.
const RULES_MAX: usize = 50;
/// As Kubernetes has it for parts of names.
const NAME_CHARS_MAX: usize = 63;

/// A rule of your own. Its code is `RW-X/` and its name, and with that it can stand in `rules` and `exceptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomRule {
    /// What it is called: lower-case letters, digits and hyphens.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The kinds of objects it is about: `RayCluster`, `RayJob`, `RayService` or `RayCronJob`; all, if the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub kinds: Vec<String>,
    /// What has to be true, in CEL. There are `object`, `oldObject` (null, if the object is new), `request` (`operation`, `kind`, `namespace`,
    /// `userInfo.username`, `userInfo.groups`) and `namespaceLabels`.
    #[schemars(with = "String", length(min = 1, max = 2000))]
    pub expression: Expression,
    /// What is wrong where it is not true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
    /// The same, made by an expression in CEL; where that fails, `message` is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 2000))]
    pub message_expression: Option<Expression>,
    /// The field that is shown with it, such as `spec.rayVersion` or `/spec/rayVersion`; `spec`, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
    /// What happens then; `Deny`, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Action")]
    pub action: Option<Action>,
    /// How to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub hint: Option<String>,
}

impl CustomRule {
    /// The field that is shown, or as much of the way to it as the object could have.
    pub(crate) fn place(&self, object: &Value) -> Pointer {
        let path = names(self.path.as_deref().unwrap_or("spec")).unwrap_or_default();
        let mut place = Pointer::root();
        let mut here = Some(object);
        for name in path {
            let step = match here {
                Some(Value::Array(items)) => match name.parse().ok().filter(|index| *index < items.len()) {
                    Some(index) => Step::Index(index),
                    None => break,
                },
                _ => Step::Key(name.into()),
            };
            place = place.step(step);
            here = place.resolve(object);
        }
        place
    }

    fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let mut problems = spec::unknown_kinds(&self.kinds, &at.key("kinds"));
        let is_plain = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        let name = &self.name;
        if name.is_empty()
            || name.len() > NAME_CHARS_MAX
            || !name.chars().all(is_plain)
            || name.trim_matches('-') != name
        {
            problems.push(Problem::new(
                at.key("name"),
                format!("no rule can be called `{name}`"),
                format!(
                    "write up to {NAME_CHARS_MAX} lower-case letters, digits and hyphens, as in no-old-ray"
                ),
            ));
        }
        if self.message.is_none() && self.message_expression.is_none() {
            problems.push(Problem::new(
                at.key("message"),
                "it is missing",
                "say what is wrong where the expression is not true, here or in messageExpression",
            ));
        }
        if let Some(path) = self.path.as_deref().filter(|path| names(path).is_none()) {
            problems.push(Problem::new(
                at.key("path"),
                format!("`{path}` is no path"),
                "write one such as spec.workerGroupSpecs[0].replicas or /spec/workerGroupSpecs/0/replicas",
            ));
        }
        problems
    }
}

pub(super) fn problems(rules: &[CustomRule], at: &Pointer) -> Vec<Problem> {
    let too_many = (rules.len() > RULES_MAX).then(|| {
        let hint = format!("let there be {RULES_MAX} at most");
        Problem::new(at.clone(), format!("there are {} of them", rules.len()), hint)
    });
    let all = rules.iter().enumerate();
    all.flat_map(|(index, rule)| rule.problems(&at.index(index)))
        .chain(too_many)
        .collect()
}

/// The steps of a path, be it a JSON pointer or the path of a field, in which what is no plain name stands in brackets.
fn names(path: &str) -> Option<Vec<String>> {
    if let Some(pointer) = path.strip_prefix('/') {
        let names = pointer.split('/');
        return Some(
            names
                .map(|name| name.replace("~1", "/").replace("~0", "~"))
                .collect(),
        );
    }
    let mut names = Vec::new();
    let mut rest = path;
    loop {
        let (name, after) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        if name.is_empty() {
            return None;
        }
        names.push(name.to_owned());
        rest = match after.strip_prefix('.') {
            Some(next) => next,
            None if after.is_empty() => return Some(names),
            None => after.starts_with('[').then_some(after)?,
        };
    }
}
