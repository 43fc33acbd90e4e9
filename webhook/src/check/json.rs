//! For programs: stable, version 1.

use serde_json::{Value, json};

use super::report::{Checked, Located, Report};

pub(super) fn render(report: &Report<'_>) -> String {
    let errors = report.unreadable.iter().map(|unreadable| {
        json!({
            "file": unreadable.source.name,
            "message": unreadable.message,
            "line": unreadable.place.map(|place| place.line),
            "column": unreadable.place.map(|place| place.column),
        })
    });
    let report = json!({
        "version": 1,
        "objects": report.objects.iter().map(object).collect::<Vec<_>>(),
        "passedOver": report.passed_over,
        "errors": errors.collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}

fn object(object: &Checked<'_>) -> Value {
    json!({
        "file": object.source.name,
        "document": object.document,
        "kind": object.identity.kind,
        "namespace": object.identity.namespace,
        "name": object.identity.name,
        "allowed": object.allowed,
        "findings": object.findings.iter().map(finding).collect::<Vec<_>>(),
        "line": object.place.line,
        "column": object.place.column,
    })
}

fn finding(Located { finding, place }: &Located) -> Value {
    json!({
        "code": finding.code,
        "action": finding.action,
        "path": finding.path,
        "message": finding.problem,
        "hint": finding.hint,
        "line": place.line,
        "column": place.column,
    })
}
