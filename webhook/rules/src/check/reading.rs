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

/// What the reader noted, as findings.
pub(crate) fn findings(problems: Vec<ParseProblem>) -> Vec<Finding> {
    Findings::of(&RULES[0], |findings| {
        for problem in problems {
            let hint = if problem.message.contains("expected a string") {
                "write a string; what looks like a number or a boolean needs quotes"
            } else {
                "write a value of that type"
            };
            findings.at(problem.path).problem(problem.message).hint(hint);
        }
    })
}
