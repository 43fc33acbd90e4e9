//! Programs and Ray versions are made outside, where the network and the cache are, when somebody first asks for them; parts are started inside.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::inside::Inside;
use crate::process::{Process, Recipe};
use crate::program::Program;
use crate::progress::{Audience, Event};
use crate::wire::{Paths, Step, Want};

/// Has parts made outside, and starts them inside.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) inside: Inside,
    pub(crate) audience: Audience,
}

impl Maker {
    /// Where its programs are, once it has been made.
    pub(crate) async fn program(&self, program: Program) -> Result<Paths> {
        self.make(Want::Program(program), &program.to_string()).await
    }

    /// The virtual environment with this Ray version.
    pub(crate) async fn ray(&self, version: &str) -> Result<PathBuf> {
        let paths = self
            .make(Want::Ray(version.to_owned()), &format!("Ray {version}"))
            .await?;
        paths
            .into_values()
            .next()
            .context("the outer process made no Ray")
    }

    async fn make(&self, want: Want, part: &str) -> Result<Paths> {
        let started = Instant::now();
        let heard = AtomicBool::new(false);
        let step = self.inside.want(want, |line| {
            heard.store(true, Ordering::Relaxed);
            self.audience.tell(part, Event::Making(line));
        });
        match step.await? {
            Step::Done(paths) => {
                // What was in the cache is not worth a word.
                if heard.into_inner() {
                    self.audience.tell(part, Event::Made(started.elapsed()));
                }
                Ok(paths)
            }
            other => bail!("asked for {part}, got {other:?}"),
        }
    }

    /// Starts a part, and waits until it is ready.
    pub(crate) async fn launch(&self, recipe: Recipe) -> Result<Process> {
        let started = Instant::now();
        let process = Process::new(recipe, self.inside.logs());
        process.start().await?;
        self.audience.tell(process.name(), Event::Up(started.elapsed()));
        Ok(process)
    }
}
