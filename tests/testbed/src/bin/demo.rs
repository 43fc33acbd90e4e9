//! `cargo demo`: the main job on this machine, from nothing to a Ray cluster that grew, worked and shrank.
#![allow(clippy::print_stdout)] // It is what it is for.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use testbed::demo::{Narrator, Summary};
use testbed::{Event, Identity, Inside, Options, Progress, Testbed};

/// Brings up Kubernetes, KubeRay and Ray on this machine, installs Rayward, and shows it at work.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Leave everything running afterwards, until Ctrl-C, and print a kubeconfig to play with.
    #[arg(long)]
    keep: bool,
    /// One JSON object a line, for machines; the last one is the summary.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    testbed::dispatch();
    let arguments = Arguments::parse();
    match testbed::enter()
        .and_then(|inside| tokio::runtime::Runtime::new()?.block_on(demo(arguments, inside)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(arguments: Arguments, inside: Inside) -> Result<()> {
    let started = Instant::now();
    let mut voice = Voice::new(arguments.json, started);
    voice.step("Kubernetes, KubeRay and Rayward come up");
    let teller = voice.clone();
    let testbed = Testbed::start(inside, Options::default(), move |progress| {
        teller.progress(&progress);
    })
    .await
    .context("bring up the testbed")?;
    let up = started.elapsed();
    let namespace = testbed.namespace("demo").await?;
    let summary = testbed::demo::run(&namespace, &mut voice).await?;
    voice.summary(up, &summary);
    if arguments.keep {
        let kubeconfig = testbed.publish_kubeconfig(Identity::Admin).await?;
        voice.step("Everything is left running. In another terminal:");
        voice.note(&format!(
            "export KUBECONFIG={}\nkubectl -n {} get rayclusters,pods,events",
            kubeconfig.display(),
            namespace.name()
        ));
        voice.note("Ctrl-C takes it all down.");
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// How the story is told: with one moving line at the bottom of a terminal, as plain lines elsewhere, as JSON for machines.
#[derive(Clone)]
struct Voice {
    json: bool,
    terminal: bool,
    started: Instant,
}

impl Voice {
    fn new(json: bool, started: Instant) -> Self {
        Self {
            json,
            terminal: !json && std::io::stdout().is_terminal(),
            started,
        }
    }

    fn progress(&self, progress: &Progress) {
        match &progress.event {
            // Builders talk a lot: on a terminal the last word is enough, elsewhere the end is.
            Event::Making(_) if self.terminal => {
                print!("\r\x1b[2K{} {progress:.100}", self.clock());
                let _ = std::io::stdout().flush();
            }
            Event::Making(_) => {}
            Event::Made(_) | Event::Up(_) => self.say("progress", &progress.to_string()),
        }
    }

    fn summary(&self, up: Duration, summary: &Summary) {
        if self.json {
            println!(
                "{}",
                json!({"event": "summary", "version": 1, "upSeconds": up.as_secs_f64(), "totalSeconds": self.started.elapsed().as_secs_f64(), "demo": summary})
            );
            return;
        }
        self.heading("Summary");
        for (what, seconds) in [
            ("world up", up.as_secs_f64()),
            ("head ready", summary.head_ready_seconds),
            ("demand to first patch", summary.first_patch_seconds),
            ("workload, workers' start included", summary.workload_seconds),
            ("idle workers drained and removed", summary.removal_seconds),
            ("all of it", self.started.elapsed().as_secs_f64()),
        ] {
            println!("  {what:<36}{seconds:6.1} s");
        }
    }

    fn heading(&self, title: &str) {
        let (bold, plain) = if self.terminal {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!("{}\n{} {bold}{title}{plain}", self.clear(), self.clock());
    }

    fn say(&self, event: &str, text: &str) {
        if self.json {
            println!(
                "{}",
                json!({"event": event, "seconds": self.started.elapsed().as_secs_f64(), "text": text})
            );
            return;
        }
        for line in text.lines() {
            println!("{}      {line}", self.clear());
        }
    }

    /// Takes away the moving line.
    fn clear(&self) -> &'static str {
        if self.terminal { "\r\x1b[2K" } else { "" }
    }

    fn clock(&self) -> String {
        format!("{:4.0}s", self.started.elapsed().as_secs_f64())
    }
}

impl Narrator for Voice {
    fn step(&mut self, title: &str) {
        if self.json {
            self.say("step", title);
        } else {
            self.heading(title);
        }
    }

    fn note(&mut self, text: &str) {
        self.say("note", text);
    }
}
