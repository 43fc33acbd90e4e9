//! Runs the rules over an object. Which rules there are stands in the files below, a table and its functions in each.

mod cluster;
mod image;
mod metadata;
mod reading;
mod resources;
mod workers;

use ray::object::{Kind, Object};
use serde_json::Value;

use crate::finding::{Finding, Findings};
use crate::ratchet;
use crate::request::{Facts, Request};
use crate::rule::{Rule, table};

/// The rules, a topic each.
pub(crate) const TABLES: &[&[Rule]] = &[
    reading::RULES,
    metadata::RULES,
    cluster::RULES,
    workers::RULES,
    image::RULES,
    resources::RULES,
];

/// Everything that is wrong with the object that `request` would make, from the top of it down. What the object had wrong before is
/// marked as known; writes that could not make anything worse are not looked at.
pub fn check(request: &Request<'_>, facts: &Facts) -> Vec<Finding> {
    if ratchet::cannot_do_harm(request) {
        return Vec::new();
    }
    let mut findings = check_object(request.kind, request.object, facts);
    if let Some(old) = request.old.filter(|_| !findings.is_empty()) {
        ratchet::mark_known(&mut findings, &check_object(request.kind, old, facts));
    }
    findings
}

fn check_object(kind: Kind, object: &Value, facts: &Facts) -> Vec<Finding> {
    let (object, problems) = Object::read(kind, object);
    let rules = table().filter(|rule| rule.kinds.contains(&kind));
    let found = rules.flat_map(|rule| Findings::of(rule, |findings| rule.run(&object, facts, findings)));
    let mut findings: Vec<_> = reading::findings(problems).into_iter().chain(found).collect();
    findings.sort_by(|left, right| (&left.path, left.code).cmp(&(&right.path, right.code)));
    findings
}
