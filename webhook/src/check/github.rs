//! Annotations as a GitHub workflow prints them to have them shown in a pull request.

use rules::Action;

use super::report::Report;

pub(super) fn render(report: &Report<'_>) -> String {
    let findings = report.findings().map(|(object, located)| {
        let finding = &located.finding;
        let command = match finding.action {
            Action::Deny => "error",
            Action::Warn => "warning",
            Action::Audit | Action::Off => "notice",
        };
        format!(
            "::{command} file={},line={},col={},title={}::{}\n",
            property(&object.source.name),
            located.place.line,
            located.place.column,
            finding.code,
            data(&format!(
                "{}: {} ({})",
                finding.path.field(),
                finding.problem,
                finding.hint
            )),
        )
    });
    let unreadable = report.unreadable.iter().map(|unreadable| {
        let place = unreadable.place.unwrap_or_default();
        format!(
            "::error file={},line={},col={},title=cannot be read::{}\n",
            property(&unreadable.source.name),
            place.line.max(1),
            place.column.max(1),
            data(&unreadable.message)
        )
    });
    findings
        .chain(unreadable)
        .chain([report.summary() + "\n"])
        .collect()
}

/// What would end a command is escaped,
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// and in properties what would end one.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
