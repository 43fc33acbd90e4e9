//! What the README promises, step by step.

use anyhow::{Context, Result, ensure};
use testbed::Testbed;
use testbed::demo::{self, Narrator};

/// The demo runs to its end, and its summary says what it should.
pub(crate) async fn every_step(testbed: &Testbed) -> Result<()> {
    let mut story = Story::default();
    let summary = demo::run(&testbed.namespace("demo").await?, &mut story).await;
    let told = story.0.join("\n");
    let summary = summary.with_context(|| told.clone())?;
    ensure!(
        summary.mistakes_listed >= 5,
        "the refusal should list every mistake:\n{told}"
    );
    ensure!(
        summary
            .injected
            .iter()
            .any(|path| path == "/spec/headGroupSpec/template/spec/containers/0/image"),
        "the head's image should have been injected:\n{told}"
    );
    ensure!(
        summary.workers_at_peak == 3,
        "three tasks should have brought three workers:\n{told}"
    );
    Ok(())
}

#[derive(Default)]
struct Story(Vec<String>);

impl Narrator for Story {
    fn step(&mut self, title: &str) {
        self.0.push(format!("# {title}"));
    }

    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}
