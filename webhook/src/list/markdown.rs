//! All rules as `docs/rules.md`: a table for each letter.

use ray::object::Kind;
use rules::{Rule, Source};

use super::kinds;

const HEAD: &str = "\
# Rules

What Rayward checks when an object of Ray is written, and `rayward-webhook check` before that. A rule's code is stable for ever;
`rayward-webhook rules CODE` explains it with an example that fails and one that passes. The action is what happens where no policy says
otherwise: Deny refuses the object, Warn tells its author, Audit leaves a note in the API server's audit log. On an update, what the
object had wrong before only warns.

A rule holds for the versions of KubeRay that it names, and where it names a feature gate only while that gate is so. Where the
version or the gate is not known, the rule warns instead of refusing, and says what it would have to know. Where no policy demands anything,
the rules of the last table find nothing.

This page is made of the rules themselves, by `rayward-webhook rules --format markdown`.
";

const COLUMNS: &str = "\
| Code | What is wrong, and what comes of it | Action | Kinds | Where | Enforced by |
|---|---|---|---|---|---|
";

const LETTERS: [(&str, &str); 10] = [
    ("M", "Names and other metadata"),
    ("C", "Clusters"),
    ("U", "Upgrades and the life of clusters"),
    ("J", "Jobs"),
    ("S", "Services"),
    ("K", "Cron jobs"),
    ("G", "What nobody checks"),
    ("P", "Pods"),
    ("T", "Changes of objects that live"),
    ("A", "What a policy demands"),
];

pub(super) fn render(rules: &[&Rule]) -> String {
    let sections = LETTERS.map(|(letter, title)| {
        let of_letter = |rule: &&&Rule| {
            rule.code
                .strip_prefix("RW-")
                .is_some_and(|code| code.starts_with(letter))
        };
        let mut rules: Vec<_> = rules.iter().filter(of_letter).collect();
        rules.sort_by_key(|rule| rule.code);
        let rows: String = rules.into_iter().map(|rule| row(rule)).collect();
        format!("\n## {title}\n\n{COLUMNS}{rows}")
    });
    HEAD.to_owned() + &sections.concat()
}

fn row(rule: &Rule) -> String {
    let Rule {
        code,
        summary,
        why,
        action,
        ..
    } = rule;
    let every = rule.kinds.len() == Kind::ALL.len();
    let kinds = if every { "all".to_owned() } else { kinds(rule) };
    let gate = rule.gate.map_or(String::new(), |gate| format!("; {gate}"));
    let enforced_by = match rule.source {
        Source::KubeRay(function) => format!("KubeRay `{function}`"),
        Source::Schema => "the CRD".to_owned(),
        Source::Hole => "nobody".to_owned(),
    };
    let cells = [
        (*code).to_owned(),
        format!("**{}.** {why}", sentence(summary)),
        action.to_string(),
        kinds,
        format!("{}{gate}", rule.operators),
        enforced_by,
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// With a capital in front, unless it begins with the name of a field.
fn sentence(summary: &str) -> String {
    let first = summary.split(' ').next().unwrap_or_default();
    let is_word = first.chars().all(|letter| letter.is_ascii_lowercase());
    let mut letters = summary.chars();
    match letters.next() {
        Some(letter) if is_word => letter.to_ascii_uppercase().to_string() + letters.as_str(),
        _ => summary.to_owned(),
    }
}
