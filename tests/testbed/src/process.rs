//! One part of the world as a process: started, watched, and mistreated on request.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::probe::Probe;

/// How to start a part.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// How one knows that it is ready; without one it is ready when it runs.
    pub ready: Option<Probe>,
    /// How long it may take to get ready.
    pub patience: Duration,
    /// How long it may take to end when asked to, as its Deployment's `terminationGracePeriodSeconds` says.
    pub grace: Duration,
}

/// A supervised process. It is not restarted by itself: who kills a part decides when it comes back.
pub(crate) struct Process {
    recipe: Recipe,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(crate) fn new(recipe: Recipe, logs: &Path) -> Self {
        let log = logs.join(format!("{}.log", recipe.name));
        Self {
            recipe,
            log,
            child: Mutex::new(None),
        }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Starts it, unless it runs, and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        if let Some(running) = child.as_mut()
            && running.try_wait()?.is_none()
        {
            bail!("{} runs already", self.recipe.name);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        let started = Command::new(&self.recipe.program)
            .arg0(&self.recipe.name)
            .args(&self.recipe.arguments)
            .envs(self.recipe.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.recipe.program.display()))?;
        *child = Some(started);
        drop(child);
        self.wait_ready().await
    }

    /// Waits until the probe succeeds, or the process ends.
    pub(crate) async fn wait_ready(&self) -> Result<()> {
        let Some(probe) = &self.recipe.ready else {
            return Ok(());
        };
        let started = Instant::now();
        loop {
            if let Some(end) = self.ended().await? {
                bail!("{} {end}\n{}", self.recipe.name, self.log_tail(20));
            }
            match probe.ask().await {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > self.recipe.patience => {
                    bail!(
                        "{} is not ready after {:?}: {error:#}\n{}",
                        self.recipe.name,
                        self.recipe.patience,
                        self.log_tail(20)
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// SIGKILL, as the kernel does when memory is short.
    pub(crate) async fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        let child = child
            .as_mut()
            .with_context(|| format!("{} was never started", self.recipe.name))?;
        child
            .kill()
            .await
            .with_context(|| format!("kill {}", self.recipe.name))
    }

    /// SIGTERM, and SIGKILL once the grace period is over, as a kubelet does. An end by SIGKILL is an error: nothing of ours should need it.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM).await?;
        let mut child = self.child.lock().await;
        let child = child
            .as_mut()
            .with_context(|| format!("{} was never started", self.recipe.name))?;
        if tokio::time::timeout(self.recipe.grace, child.wait())
            .await
            .is_err()
        {
            child.kill().await?;
            bail!(
                "{} did not end within {:?} of SIGTERM\n{}",
                self.recipe.name,
                self.recipe.grace,
                self.log_tail(20)
            );
        }
        Ok(())
    }

    /// Stops it if it runs, and starts it again.
    pub(crate) async fn restart(&self) -> Result<()> {
        if self.ended().await?.is_none() {
            self.stop().await?;
        }
        self.start().await
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP).await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().await?;
        kill(pid, signal).with_context(|| format!("send {signal} to {}", self.recipe.name))
    }

    /// How it ended; `None` while it runs.
    pub(crate) async fn ended(&self) -> Result<Option<String>> {
        let mut child = self.child.lock().await;
        let Some(child) = child.as_mut() else {
            return Ok(Some("was never started".to_owned()));
        };
        Ok(child.try_wait()?.map(|status| match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with {status}"),
        }))
    }

    /// Memory that it holds right now.
    pub(crate) async fn rss_bytes(&self) -> Result<u64> {
        let pid = self.pid().await?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kibibytes = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix("kB")?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
            .with_context(|| format!("{} has no VmRSS", self.recipe.name))?;
        Ok(kibibytes * 1024)
    }

    pub(crate) async fn pid(&self) -> Result<Pid> {
        let child = self.child.lock().await;
        let pid = child
            .as_ref()
            .and_then(Child::id)
            .with_context(|| format!("{} does not run", self.recipe.name))?;
        Ok(Pid::from_raw(i32::try_from(pid)?))
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

/// Some parts log a whole object in a line.
const LINE_MOST: usize = 300;

/// The last lines of a log.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let short = all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| line.chars().take(LINE_MOST).collect::<String>());
    short.collect::<Vec<_>>().join("\n")
}
