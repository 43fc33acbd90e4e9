//! `rules`: every rule there is, or one of them explained, from the table itself.

mod explain;
mod markdown;
mod text;

use anyhow::Context;
use rules::{Rule, Source};
use serde_json::json;

use crate::args::{Format, Rules};
use crate::output;

/// Prints what was asked for.
pub fn print(flags: &Rules) -> anyhow::Result<()> {
    let text = if let Some(code) = &flags.code {
        let rule = find(code)
            .with_context(|| format!("no rule is called {code}; `rayward-webhook rules` lists them all"))?;
        match flags.format {
            Format::Text => explain::text(rule),
            Format::Json => json(&[rule]),
            Format::Markdown => explain::markdown(rule),
        }
    } else {
        let rules: Vec<_> = rules::table().collect();
        match flags.format {
            Format::Text => text::render(&rules),
            Format::Json => json(&rules),
            Format::Markdown => markdown::render(&rules),
        }
    };
    output::print(&text)
}

/// In either case, and with or without the `RW-` in front.
fn find(code: &str) -> Option<&'static Rule> {
    let wanted = code.to_ascii_uppercase();
    rules::table().find(|rule| rule.code == wanted || rule.code.strip_prefix("RW-") == Some(&wanted))
}

fn json(rules: &[&Rule]) -> String {
    format!("{:#}\n", json!({"version": 1, "rules": rules}))
}

/// Who else enforces a rule, in a word.
fn enforced_by(rule: &Rule) -> String {
    match rule.source {
        Source::KubeRay(function) => format!("KubeRay {function}"),
        Source::Schema => "CRD".to_owned(),
        Source::Hole => "nobody".to_owned(),
    }
}

fn kinds(rule: &Rule) -> String {
    let names: Vec<_> = rule.kinds.iter().map(|kind| kind.name()).collect();
    match names[..] {
        [] => "Pod".to_owned(),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
