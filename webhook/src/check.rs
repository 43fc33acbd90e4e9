//! `check`: the rules without an API server. Reads manifests, does to each object of Ray what the service does to it (defaults,
//! then rules), and reports what was found with its place in the text. How reports look is in the files below, a format each.

mod github;
mod json;
mod junit;
mod report;
mod sarif;
mod stored;
#[cfg(test)]
mod tests;
mod text;
mod together;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ray::object::Kind;
use ray::scaling_policy;
use rules::{Facts, Operator, Policies, Verdict};
use serde_json::Value;

use crate::args::{Check, ReportFormat};
use crate::known::Known;
use crate::output;
use crate::policy::{self, definition};
use crate::review::VALUES_MAX;
use crate::source::{self, Document, Source, Unreadable};
use crate::usage::Ledger;
use report::{Checked, Report};
use stored::Stored;
use together::Together;

/// Checks what the flags name, and reports it.
pub fn run(flags: &Check) -> anyhow::Result<ExitCode> {
    let sources = source::read(&flags.files);
    let old = flags.old.as_deref().map(old_sources).unwrap_or_default();
    let policies = policy::files::read(&flags.policy)?;
    let report = inspect(&sources, &old, policies, flags);
    let text = render(flags.format, &report);
    match &flags.output {
        None => output::print(&text)?,
        Some(file) => {
            output::write(file, &text)?;
            output::tell(&report.summary());
        }
    }
    Ok(report.exit_code())
}

fn old_sources(file: &Path) -> Vec<Source> {
    source::read(&[file.to_owned()])
}

fn inspect<'s>(sources: &'s [Source], old: &'s [Source], policies: Policies, flags: &Check) -> Report<'s> {
    let told = flags.world.told();
    let facts = Facts {
        operator: told.operator.or(Some(Operator::NEWEST)),
        policies: Arc::new(policies),
        ..told
    };
    let mut report = Report::new(flags.fail_on, &flags.world);
    let read: Vec<_> = sources
        .iter()
        .map(|source| (source, source.documents()))
        .collect();
    let readable = || read.iter().flat_map(|(_, documents)| documents).flatten();
    let known = Known::new(facts, &flags.namespaces, readable());
    let together = Together::of(readable());
    let mut stored = Stored::default();
    for source in old {
        match source.documents() {
            Ok(documents) => documents.iter().for_each(|document| stored.add(document, &known)),
            Err(unreadable) => report.unreadable.push(unreadable),
        }
    }
    let ledger = Ledger::default();
    let beside = Beside {
        stored: &stored,
        ledger: &ledger,
        together: &together,
        known: &known,
    };
    for (source, documents) in read {
        match documents {
            Ok(documents) => {
                for (index, document) in documents.iter().enumerate() {
                    inspect_document(source, index, document, &beside, &mut report);
                }
            }
            Err(unreadable) => report.unreadable.push(unreadable),
        }
    }
    report
}

/// What an object is looked at beside.
struct Beside<'b> {
    stored: &'b Stored,
    ledger: &'b Ledger,
    together: &'b Together,
    known: &'b Known,
}

fn inspect_document<'s>(
    source: &'s Source,
    index: usize,
    document: &Document,
    beside: &Beside<'_>,
    report: &mut Report<'s>,
) {
    for object in document.objects() {
        let mut checked = |kind, verdict| {
            report
                .objects
                .push(Checked::new(source, index, document, &object, kind, verdict));
        };
        match object.kind() {
            Some(_) if values(&object.value) > VALUES_MAX => report.unreadable.push(Unreadable {
                source,
                place: Some(document.place(&object.at)),
                message: format!(
                    "this object has more than {VALUES_MAX} values, which the service refuses too"
                ),
            }),
            Some(kind) => {
                let old = beside.stored.find(kind, &object.value);
                let verdict = admit(kind, &object.value, old, beside.ledger, beside.known);
                checked(kind.name(), verdict);
            }
            None if object.is_policy() => {
                checked(definition::KIND, Verdict::of(rules::policy::check(&object.value)));
            }
            None if object.is_scaling_policy() => {
                let around = beside.together.around(&object.value);
                let findings = rules::scaling_policy::check(&object.value, None, &around);
                checked(scaling_policy::KIND, Verdict::of(findings));
            }
            None if object.is_namespace() => {}
            None => report.passed_over += 1,
        }
    }
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 0,
    }
}

/// What becomes of an object when it is applied: the API server first asks for defaults, and then for a verdict on what these make
/// of it. Those before it in the same run are there by then, wherever a bound is about all of a namespace.
fn admit(kind: Kind, object: &Value, old: Option<&Value>, ledger: &Ledger, known: &Known) -> Verdict {
    let facts = &known.facts;
    let request = known.request(kind, object, old);
    let defaulted = rules::edit::apply(&rules::defaults(&request, facts), object);
    let request = rules::Request {
        object: &defaulted,
        ..request
    };
    let others = ledger.others(&request);
    let request = rules::Request {
        others: others.as_ref(),
        ..request
    };
    ledger.show(&request);
    rules::judge(
        rules::check(&request, facts),
        &request,
        &facts.policies.of(&request),
    )
}

fn render(format: ReportFormat, report: &Report<'_>) -> String {
    match format {
        ReportFormat::Text => text::render(report),
        ReportFormat::Json => json::render(report),
        ReportFormat::Sarif => sarif::render(report),
        ReportFormat::Github => github::render(report),
        ReportFormat::Junit => junit::render(report),
    }
}
