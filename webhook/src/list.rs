//! `rules`: every rule there is, from the table itself.

use std::io::Write;

use serde_json::json;

use crate::args::Format;

/// Prints the rules.
pub fn print(format: Format) -> anyhow::Result<()> {
    std::io::stdout().write_all(render(format).as_bytes())?;
    Ok(())
}

fn render(format: Format) -> String {
    match format {
        Format::Text => rules::table().fold(String::new(), |text, rule| {
            let action = rule.action.to_string();
            text + &format!("{:<8} {action:<5} {}\n", rule.code, rule.summary)
        }),
        Format::Json => {
            let rules: Vec<_> = rules::table().collect();
            format!("{:#}\n", json!({"version": 1, "rules": rules}))
        }
    }
}
