//! Fields that are not of the type they must be. The reader in `ray` notes these; here they become findings like any other.

use ray::object::{Kind, ParseProblem};

use crate::facts::Operators;
use crate::finding::{Finding, Findings};
use crate::rule::{Action, Check, Example, Rule, Source};

pub(crate) const RULES: &[Rule] = &[Rule {
    code: "RW-G036",
    summary: "a field is of the wrong type",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "Where the schema of the installed CRD does not refuse it, the operator cannot decode the object at all.",
    source: Source::Schema,
    operators: Operators::ALL,
    gate: None,
    example: Example {
        fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: DEBUG, value: 1}]",
        passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: DEBUG, value: '1'}]",
    },
    check: Check::Reading,
}];

/// How to write what was expected.
const HINTS: &[(&str, &str)] = &[
    (
        "a string",
        "put it in quotes, if it looks like a number or a boolean",
    ),
    ("true or false", "write true or false, without quotes"),
    ("a whole number", "write digits only, without quotes"),
    ("a list", "begin every item with a hyphen on a line of its own"),
    ("an object", "write its fields below it, indented"),
    ("a quantity", "write it as 500m, 2 or 4Gi"),
];

/// What the reader noted, as findings.
pub(crate) fn findings(problems: Vec<ParseProblem>) -> Vec<Finding> {
    Findings::of(&RULES[0], |findings| {
        for problem in problems {
            let hint = HINTS
                .iter()
                .find(|(expected, _)| problem.message.starts_with(&format!("expected {expected}")))
                .map_or("write a value of that type", |(_, hint)| hint);
            findings.at(problem.path).problem(problem.message).hint(hint);
        }
    })
}
