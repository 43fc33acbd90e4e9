//! For people: each finding with the line it is about, and a summary. Styled; whoever prints it takes the styles out where they are
//! not wanted.

use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};
use rules::Action;

use super::report::Report;
use crate::source::{Place, Source};

/// Longer lines were not written by people and are not shown.
const LINE_CHARS_MAX: usize = 1000;

pub(super) fn render(report: &Report<'_>) -> String {
    let renderer = Renderer::styled();
    let findings = report.findings().map(|(object, located)| {
        let finding = &located.finding;
        let title = format!("{}: {}", finding.path.field(), finding.problem);
        level(finding.action)
            .primary_title(normalize_untrusted_str(&title))
            .id(&*finding.code)
            .element(excerpt(object.source, located.place))
            .element(Level::HELP.message(normalize_untrusted_str(&finding.hint)))
            .element(Level::NOTE.message(normalize_untrusted_str(&format!("in {}", object.identity))))
    });
    let unreadable = report.unreadable.iter().map(|unreadable| {
        let title = Level::ERROR.primary_title(normalize_untrusted_str(&unreadable.message));
        title.element(match unreadable.place {
            Some(place) => excerpt(unreadable.source, place),
            None => Origin::path(&unreadable.source.name).into(),
        })
    });
    findings
        .chain(unreadable)
        .map(|group: Group<'_>| renderer.render(&[group]) + "\n\n")
        .chain([report.summary() + "\n"])
        .collect()
}

fn level(action: Action) -> Level<'static> {
    match action {
        Action::Deny => Level::ERROR,
        Action::Warn => Level::WARNING,
        Action::Audit | Action::Off => Level::NOTE,
    }
}

fn excerpt(source: &Source, place: Place) -> Element<'_> {
    let line = source.line(place.line);
    if line.chars().count() > LINE_CHARS_MAX {
        let origin = Origin::path(&source.name).line(place.line);
        return origin.char_column(place.column).into();
    }
    Snippet::source(line)
        .line_start(place.line)
        .path(&source.name)
        .annotation(AnnotationKind::Primary.span(source.within_line(place)))
        .into()
}
