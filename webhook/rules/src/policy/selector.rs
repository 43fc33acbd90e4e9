//! Label selectors, as everywhere in Kubernetes.

use std::collections::BTreeMap;

use ray::label::{is_label_value, is_qualified_name};
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Problem;

/// Selects by labels: all that is said here must be true. An empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// Labels and the values that they must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// What else must be true of labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub match_expressions: Vec<Expression>,
}

/// What must be true of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "message": "In and NotIn need values, Exists and DoesNotExist take none",
}]))]
pub struct Expression {
    /// The label.
    pub key: String,
    /// `In` and `NotIn` compare it with the values; `Exists` and `DoesNotExist` take none.
    pub operator: Operator,
    /// What `In` and `NotIn` compare it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub values: Vec<String>,
}

/// How a label is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// What is known of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label<'l> {
    Is(&'l str),
    Missing,
    Unknown,
}

/// Whether something is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected<'s> {
    Yes,
    No,
    /// It depends on a label that nobody knows; this is its key.
    Perhaps(&'s str),
}

impl<'l> From<Option<&'l str>> for Label<'l> {
    fn from(label: Option<&'l str>) -> Self {
        label.map_or(Self::Missing, Self::Is)
    }
}

impl Selected<'_> {
    /// Both have to be true.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, other) => other,
            (perhaps, _) => perhaps,
        }
    }
}

impl From<bool> for Selected<'_> {
    fn from(selected: bool) -> Self {
        if selected { Self::Yes } else { Self::No }
    }
}

impl Selector {
    /// Whether it selects what has these labels.
    pub(super) fn selects<'l>(&self, label: impl Fn(&str) -> Label<'l>) -> Selected<'_> {
        let holds = |key, holds: &dyn Fn(Option<&str>) -> bool| match label(key) {
            Label::Is(value) => holds(Some(value)).into(),
            Label::Missing => holds(None).into(),
            Label::Unknown => Selected::Perhaps(key),
        };
        let labels = self.match_labels.iter();
        let labels = labels.map(|(key, value)| holds(key.as_str(), &|label| label == Some(value)));
        let expressions = self.match_expressions.iter();
        let expressions =
            expressions.map(|expression| holds(&expression.key, &|label| expression.holds(label)));
        labels.chain(expressions).fold(Selected::Yes, Selected::and)
    }

    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in &self.match_labels {
            let place = at.key("matchLabels").key(key.clone());
            problems.extend(not_a_key(key, &place));
            problems.extend(not_a_value(value, &place));
        }
        for (index, expression) in self.match_expressions.iter().enumerate() {
            let place = at.key("matchExpressions").index(index);
            problems.extend(not_a_key(&expression.key, &place.key("key")));
            let values = place.key("values");
            let compares = matches!(expression.operator, Operator::In | Operator::NotIn);
            if compares == expression.values.is_empty() {
                let (problem, hint) = if compares {
                    ("there is nothing to compare with", "list at least one value")
                } else {
                    ("this operator compares with nothing", "leave the values out")
                };
                problems.push(Problem::new(values.clone(), problem, hint));
            }
            let given = expression.values.iter().enumerate();
            problems.extend(given.filter_map(|(index, value)| not_a_value(value, &values.index(index))));
        }
        problems
    }
}

impl Expression {
    fn holds(&self, label: Option<&str>) -> bool {
        let listed = label.is_some_and(|label| self.values.iter().any(|value| value == label));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

fn not_a_key(key: &str, at: &Pointer) -> Option<Problem> {
    (!is_qualified_name(key)).then(|| {
        let hint = "write a name, or a domain and a name as in example.com/team";
        Problem::new(at.clone(), format!("no label can be called `{key}`"), hint)
    })
}

fn not_a_value(value: &str, at: &Pointer) -> Option<Problem> {
    (!is_label_value(value)).then(|| {
        let hint = "write at most 63 letters, digits, hyphens, underscores and dots, with a letter or a digit at both ends";
        Problem::new(at.clone(), format!("no label can have the value `{value}`"), hint)
    })
}
