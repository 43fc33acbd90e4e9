//! SARIF 2.1.0, which code scanning services read.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rules::Action;
use serde_json::{Value, json};

use super::report::{Checked, Located, Report};
use crate::source::{Place, Source, Unreadable};

/// What a relative reference may hold as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn render(report: &Report<'_>) -> String {
    let rules: Vec<&rules::Rule> = rules::table().collect();
    let indexes: BTreeMap<&str, usize> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| (rule.code, index))
        .collect();
    let results = report
        .findings()
        .map(|(object, located)| result(object, located, &indexes));
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "rayward-webhook",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().copied().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.unreadable.is_empty(),
                "toolExecutionNotifications": report.unreadable.iter().map(notification).collect::<Vec<_>>(),
            }],
            "results": results.collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

fn rule(rule: &rules::Rule) -> Value {
    json!({
        "id": rule.code,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "defaultConfiguration": {"level": level(rule.action)},
    })
}

fn result(object: &Checked<'_>, located: &Located, indexes: &BTreeMap<&str, usize>) -> Value {
    let Located { finding, place } = located;
    let field = finding.path.field().to_string();
    let mut location = location(object.source, Some(*place));
    location["logicalLocations"] = json!([{
        "name": field,
        "fullyQualifiedName": format!("{}: {field}", object.identity),
        "kind": "member",
    }]);
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": indexes.get(&*finding.code),
        "level": level(finding.action),
        "message": {"text": format!("{field}: {} ({})", finding.problem, finding.hint)},
        "locations": [location],
        // It is still the same finding when lines are added above it.
        "partialFingerprints": {"object/v1": format!("{} {}", object.identity, finding.path)},
    });
    // What is wrong with a policy is in no table, and neither are rules that it brings along.
    if result["ruleIndex"].is_null() {
        result
            .as_object_mut()
            .and_then(|result| result.remove("ruleIndex"));
    }
    result
}

fn notification(unreadable: &Unreadable<'_>) -> Value {
    json!({
        "level": "error",
        "message": {"text": unreadable.message},
        "locations": [location(unreadable.source, unreadable.place)],
    })
}

fn location(source: &Source, place: Option<Place>) -> Value {
    let uri = utf8_percent_encode(&source.name, PATH).to_string();
    let mut location = json!({"artifactLocation": {"uri": uri}});
    if let Some(place) = place {
        let shown = &source.line(place.line)[source.within_line(place)];
        let end = place.column + shown.chars().count();
        location["region"] = json!({"startLine": place.line, "startColumn": place.column, "endColumn": end});
    }
    json!({"physicalLocation": location})
}

fn level(action: Action) -> &'static str {
    match action {
        Action::Deny => "error",
        Action::Warn => "warning",
        Action::Audit => "note",
        Action::Off => "none",
    }
}
