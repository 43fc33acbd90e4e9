//! Whom policies are for.

use ray::path::Pointer;

use super::ROW;
use crate::facts::Facts;
use crate::finding::{Finding, Findings};
use crate::request::Request;
use crate::rule::{Action, Example, Rule};

pub(crate) const RULES: &[Rule] = &[Rule {
    code: "RW-A110",
    summary: "it is not known whether a policy is for the object",
    why: "Policies select by the labels of namespaces. Where nobody knows those, what such a policy says was not looked at.",
    action: Action::Warn,
    example: Example {
        fires: "policy: {select: {namespaceSelector: {matchLabels: {stage: prod}}}}",
        passes: "policy: {select: {kinds: [RayJob], namespaceSelector: {matchLabels: {stage: prod}}}}",
    },
    ..ROW
}];

/// How labels of a namespace become known.
pub(crate) const HINT: &str =
    "name the namespace, and put it with its labels beside the object, or say --namespace-labels";

/// A warning for each policy that may be for the object or not.
pub(crate) fn findings(request: &Request<'_>, facts: &Facts) -> Vec<Finding> {
    Findings::of(&RULES[0], |findings| {
        for doubt in facts.policies.doubts(request) {
            findings
                .at(Pointer::root().key("metadata").key("namespace"))
                .problem(doubt.to_string())
                .hint(HINT);
        }
    })
}
