//! Running the builders: `go build` and `pip install`, with their output in a log and their last line as progress.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Somebody who waits for a thing to be made.
pub struct Making {
    listener: Box<dyn Fn(&str) + Send + Sync>,
}

impl Making {
    /// `listener` hears what goes on.
    pub fn new(listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            listener: Box::new(listener),
        }
    }

    /// Tells the listener.
    pub fn progress(&self, line: &str) {
        (self.listener)(line);
    }

    /// Runs a builder to its end. It dies with this process.
    pub fn run(&self, command: &Command, log: &Path) -> Result<()> {
        let mut sink = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let (output, input) = std::io::pipe()?;
        let mut child = dying_with_us(command)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            writeln!(sink, "{line}")?;
            self.progress(line.trim());
            lines.push(line);
        }
        let status = child.wait()?;
        if !status.success() {
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            bail!(
                "{command:?} ended with {status}; all of its output is in {}:\n{tail}",
                log.display()
            );
        }
        Ok(())
    }
}

/// The same command, killed by the kernel when this process is gone.
pub fn dying_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .arg("--pdeathsig=KILL")
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}
