//! What the README promises, step by step.

use anyhow::{Result, ensure};
use testbed::Testbed;
use testbed::demo::{self, Narrator};

/// The demo runs to its end, and its summary says what it should.
pub(crate) async fn every_step(testbed: &Testbed) -> Result<()> {
    let mut story = Story::default();
    let summary = demo::run(testbed, &mut story)
        .await
        .inspect_err(|_| eprintln!("{}", story.0))?;
    ensure!(
        summary.mistakes_listed >= 5,
        "the refusal should list every mistake:\n{}",
        story.0
    );
    ensure!(
        summary
            .injected
            .iter()
            .any(|path| path == "/spec/headGroupSpec/template/spec/containers/0/image"),
        "the head's image should have been injected:\n{}",
        story.0
    );
    ensure!(
        summary.workers_at_peak == 3,
        "three tasks should have brought three workers:\n{}",
        story.0
    );
    Ok(())
}

#[derive(Default)]
struct Story(String);

impl Narrator for Story {
    fn step(&mut self, title: &str) {
        self.0 += &format!("# {title}\n");
    }

    fn note(&mut self, text: &str) {
        self.0 += &format!("{text}\n");
    }
}
