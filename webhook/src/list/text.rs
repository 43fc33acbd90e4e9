//! All rules for a terminal: a line each.

use ray::object::Kind;
use rules::Rule;

use super::{enforced_by, kinds};

pub(super) fn render(rules: &[&Rule]) -> String {
    let head = [
        "CODE",
        "ACTION",
        "KINDS",
        "KUBERAY",
        "GATE",
        "ENFORCED BY",
        "SUMMARY",
    ]
    .map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(rules.iter().map(|rule| row(rule)))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(rule: &Rule) -> [String; 7] {
    let every = rule.kinds.len() == Kind::ALL.len();
    [
        rule.code.to_owned(),
        rule.action.to_string(),
        if every { "all".to_owned() } else { kinds(rule) },
        rule.operators.to_string(),
        rule.gate.map_or("-".to_owned(), |gate| gate.to_string()),
        enforced_by(rule),
        rule.summary.to_owned(),
    ]
}
