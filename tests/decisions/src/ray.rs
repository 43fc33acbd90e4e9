//! Ray's own opinion: a program in Python (`oracle/`) that runs where Ray is installed, and is asked by lines of JSON.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use workshop::{Cache, Making, dying_with_us, ray_environment};

/// The version whose decisions are ours.
const VERSION: &str = "2.60.0";

/// Ray as it is published.
#[derive(Debug)]
pub struct Ray {
    environment: PathBuf,
}

impl Ray {
    /// Installed if it is not there.
    pub fn make() -> Result<Self> {
        let making = Making::new(|line| eprintln!("Ray {VERSION}: {line}"));
        Ok(Self {
            environment: ray_environment(VERSION, &Cache::open()?, &making)?,
        })
    }

    /// What it decides about each problem, in order.
    pub fn ask<'p>(&self, problems: impl Iterator<Item = &'p Value> + Send) -> Result<Vec<Value>> {
        self.answers(&[], problems)
    }

    /// How many seconds its scheduler takes for a problem, without the reading of it.
    pub fn time(&self, problem: &Value) -> Result<f64> {
        let answers = self.answers(&["--time"], std::iter::once(problem))?;
        let seconds = answers.first().and_then(Value::as_f64);
        seconds.with_context(|| format!("Ray answers {answers:?}"))
    }

    fn answers<'p>(
        &self,
        flags: &[&str],
        problems: impl Iterator<Item = &'p Value> + Send,
    ) -> Result<Vec<Value>> {
        let mut python = Command::new(self.environment.join("bin/python"));
        python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/decide.py"));
        python.args(flags);
        // What would make the same Ray decide otherwise.
        python.env_remove("AUTOSCALER_CONSERVE_GPU_NODES");
        let mut program = dying_with_us(&python)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {python:?}"))?;
        let mut questions = BufWriter::new(program.stdin.take().expect("it was asked for"));
        let answers = BufReader::new(program.stdout.take().expect("it was asked for"));
        let decisions = std::thread::scope(|scope| -> Result<Vec<Value>> {
            let asking = scope.spawn(move || {
                for problem in problems {
                    writeln!(questions, "{problem}")?;
                }
                questions.flush()
            });
            let decisions = answers
                .lines()
                .map(|line| Ok(serde_json::from_str(&line?)?))
                .collect::<Result<_>>()?;
            asking.join().expect("it only writes").context("ask Ray")?;
            Ok(decisions)
        })?;
        ensure!(program.wait()?.success(), "Ray failed");
        Ok(decisions)
    }
}
