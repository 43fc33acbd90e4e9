//! The guides, followed to the letter: the files and the commands are theirs, and so is what the commands are to say.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::{Shell, Testbed};

use crate::policy::policies;

const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str = include_str!("../../docs/guides/policy.md");
const AUTOSCALING: &str = include_str!("../../docs/guides/autoscaling.md");

/// Something that a guide has its readers do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A block of YAML whose first line names it.
    File { name: String, text: String },
    /// A line that begins with a dollar sign, and what it says.
    Command { command: String, says: String },
}

/// The walk through policies: a bare cluster is made complete, a greedy one refused, an exception granted, and a rule of one's own obeyed.
pub(crate) async fn a_newcomer_walks_through_policies(testbed: &Testbed) -> Result<()> {
    let steps = steps(section(POLICY, "A walk")?);
    let commands = steps.iter().filter(|step| matches!(step, Step::Command { .. }));
    ensure!(commands.count() > 10, "what has become of the walk? {steps:#?}");
    let shell = testbed.shell("default").await?;
    for step in &steps {
        match step {
            Step::File { name, text } => shell.write(name, &in_time(text))?,
            Step::Command { command, says } => {
                told(&shell, command, &in_time(says)).await?;
                in_force(testbed).await?;
            }
        }
    }
    Ok(())
}

/// A cluster of the guide to autoscaling. Nobody here has a minute to see that a node is idle.
pub(crate) fn cluster(wanted: &str) -> Result<String> {
    let files = steps(AUTOSCALING).into_iter().filter_map(|step| match step {
        Step::File { name, text } => Some((name, text)),
        Step::Command { .. } => None,
    });
    let (_, text) = files
        .into_iter()
        .find(|(name, _)| name == wanted)
        .with_context(|| format!("the guide has no {wanted} any more"))?;
    Ok(text
        .replace("idleTimeoutSeconds: 60", "idleTimeoutSeconds: 10")
        .replace("idleTimeoutSeconds: 30", "idleTimeoutSeconds: 8"))
}

/// No exception of a guide ends while the guide is good.
fn in_time(text: &str) -> String {
    text.replace("2027-", "2999-")
}

/// Runs a command, which says what it is to say.
async fn told(shell: &Shell, command: &str, expected: &str) -> Result<()> {
    let output = shell.run(command).await?;
    ensure!(
        alike(expected, &output.stdout),
        "`{command}` says\n{}\nin place of\n{expected}",
        output.stdout
    );
    Ok(())
}

/// Whether two texts have the same words. How long ago something was is another matter.
fn alike(expected: &str, said: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let word = |word: &str| if is_age(word) { "AGE" } else { word }.to_owned();
        text.split_whitespace().map(word).collect()
    };
    words(expected) == words(said)
}

/// As `kubectl` writes them: `12s`, `2m3s`.
fn is_age(word: &str) -> bool {
    word.ends_with(['s', 'm', 'h'])
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word
            .chars()
            .all(|character| character.is_ascii_digit() || "smh".contains(character))
}

/// Waits until the policy of the walk, if it is there, is in force as it is now. A person would not be fast enough to notice.
async fn in_force(testbed: &Testbed) -> Result<()> {
    testbed
        .eventually(PATIENCE, "the policy is in force", async || {
            let Some(policy) = policies(testbed).get_opt("guardrails").await? else {
                return anyhow::Ok(());
            };
            let condition = &policy.data["status"]["conditions"][0];
            ensure!(
                condition["status"] == "True"
                    && condition["observedGeneration"] == json!(policy.metadata.generation),
                "{condition:#}"
            );
            Ok(())
        })
        .await
}

/// What stands under a heading of the second order.
fn section<'t>(guide: &'t str, heading: &str) -> Result<&'t str> {
    let (_, below) = guide
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("no guide has the heading {heading:?} any more"))?;
    Ok(below.split("\n## ").next().unwrap_or(below))
}

fn steps(text: &str) -> Vec<Step> {
    // Every other piece between fences is a block.
    let blocks = text.split("\n```").skip(1).step_by(2);
    let steps = blocks.flat_map(|block| match block.split_once('\n') {
        Some(("yaml", text)) => file(text).into_iter().collect(),
        Some(("console", text)) => commands(text),
        _ => Vec::new(),
    });
    steps.collect()
}

fn file(text: &str) -> Option<Step> {
    let name = text.lines().next()?.strip_prefix("# ")?;
    Some(Step::File {
        name: name.to_owned(),
        text: text.to_owned(),
    })
}

fn commands(text: &str) -> Vec<Step> {
    let each = format!("\n{text}");
    let each = each.split("\n$ ").skip(1).map(|one| {
        let (command, says) = one.split_once('\n').unwrap_or((one, ""));
        Step::Command {
            command: command.to_owned(),
            says: says.to_owned(),
        }
    });
    each.collect()
}
