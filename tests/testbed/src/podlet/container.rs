//! One container of a Pod: started, watched, restarted and stopped.
//!
//! Limits are not enforced, because there are no cgroups here: Ray learns its CPUs and memory from the flags that
//! KubeRay renders. What the container runs is the subject of `program`.

use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until};

use super::env::Environment;
use super::pod::Home;
use super::probe::{self, Prober};
use super::program::Program;
use super::rootfs::Root;
use super::sandbox::{Entrance, Invocation, Output};
use super::status::{Exit, State};

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(super) fn of(policy: &str) -> Restart {
        match policy {
            "Never" => Restart::Never,
            "OnFailure" => Restart::OnFailure,
            _ => Restart::Always,
        }
    }

    fn applies(self, code: i32) -> bool {
        match self {
            Restart::Always => true,
            Restart::OnFailure => code != 0,
            Restart::Never => false,
        }
    }
}

/// The first wait before a restart; each further one is twice as long. A kubelet starts at 10 s and goes to 5 minutes.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MOST: Duration = Duration::from_secs(30);
/// A container that ran as long as this starts over with the shortest wait, as with a kubelet.
const BACK_OFF_FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// Runs the container as often as `restart` says, until it is done or the Pod is told to stop; true if it ended well.
pub(super) async fn supervise(home: &Home, container: &Container, restart: Restart) -> bool {
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let started = Instant::now();
        let Some(exit) = run_once(home, container).await else {
            return false;
        };
        let code = exit.code;
        home.life.tell(container, |facts| {
            facts.state = State::Exited(exit);
            (facts.started, facts.ready) = (false, false);
        });
        if home.life.is_stopping() || !restart.applies(code) {
            return code == 0;
        }
        if started.elapsed() > BACK_OFF_FORGOTTEN_AFTER {
            back_off = BACK_OFF_FIRST;
        }
        let message = format!(
            "back-off {back_off:?} restarting failed container={}",
            container.name
        );
        home.life.event_warning("BackOff", &message);
        home.life.tell(container, |facts| {
            let waiting = State::waiting_because("CrashLoopBackOff", message);
            if let State::Exited(exit) = std::mem::replace(&mut facts.state, waiting) {
                facts.last_exit = Some(exit);
            }
        });
        if home.life.unless_stopping(sleep(back_off)).await.is_none() {
            return false;
        }
        back_off = (back_off * 2).min(BACK_OFF_MOST);
        home.life.tell(container, |facts| facts.restarts += 1);
    }
}

/// From image to exit; `None` if the Pod was told to stop before there was a process.
async fn run_once(home: &Home, container: &Container) -> Option<Exit> {
    let program = home
        .life
        .unless_stopping(Program::prepare(home, container))
        .await?;
    let run = home.life.facts().container(&container.name).restarts;
    let id = format!("podlet://{}-{}-{run}", home.life.uid(), container.name);
    let started_at = Timestamp::now();
    let exit = |code, signal, reason: &str, message| Exit {
        code,
        signal,
        reason: reason.into(),
        message,
        id: Some(id.clone()),
        started_at,
        finished_at: Timestamp::now(),
    };
    let scratch = home
        .life
        .folder
        .join("containers")
        .join(format!("{}-{run}", container.name));
    let started = start(home, container, program, run, scratch.clone()).await;
    let (mut child, session) = match started {
        Ok(started) => started,
        Err(error) => {
            let message = format!("{error:#}");
            home.life.event_warning("Failed", &format!("Error: {message}"));
            return Some(exit(128, None, "StartError", Some(message)));
        }
    };
    home.life
        .event("Started", &format!("Container started: {}", container.name));
    home.life.tell(container, |facts| {
        facts.state = State::Running { since: started_at };
        facts.id = Some(id.clone());
        facts.started = container.startup_probe.is_none();
        facts.ready = facts.started && container.readiness_probe.is_none();
    });
    home.life.host.remember(home.life.key(container), &session);
    let status = attend(home, container, &mut child, &session).await;
    home.life.host.forget(&home.life.key(container));
    // The kernel has taken the container's processes and mounts with its first process.
    let _ = tokio::fs::remove_dir_all(scratch).await;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    let reason = if code == 0 { "Completed" } else { "Error" };
    Some(exit(code, status.signal(), reason, None))
}

async fn start(
    home: &Home,
    container: &Container,
    program: Program,
    run: i32,
    scratch: PathBuf,
) -> Result<(Child, Arc<Session>)> {
    let log = home.life.log_file(&container.name, run);
    tokio::fs::create_dir_all(log.parent().expect("a file in a folder")).await?;
    let log = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .await
        .context("open the log")?;
    let root = Root {
        scratch,
        hidden: home.life.host.pods_folder.clone(),
        names: home.life.names_folder(),
        folders: program.folders,
        binds: program.binds,
    };
    let invocation = Invocation {
        argv: program.argv,
        environment: program.environment.clone(),
        directory: program.directory.clone(),
        output: Output::Log(log.into_std().await),
    };
    let child = home.sandbox.start(root, invocation).await?;
    let pid = child.id().context("the process is gone")?;
    let session = Session {
        entrance: Arc::new(Entrance::open(pid)?),
        environment: program.environment,
        directory: program.directory,
    };
    Ok((child, Arc::new(session)))
}

/// Waits for the container's end: by itself, by its probes, or because the Pod is to stop.
async fn attend(home: &Home, container: &Container, child: &mut Child, session: &Arc<Session>) -> ExitStatus {
    let grace = home.life.grace();
    let target = probe::Target {
        ip: home.sandbox.ip,
        session: Arc::clone(session),
    };
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        reason = look_after(home, container, &target) => {
            home.life.event("Killing", &format!("Container {} {reason}, will be restarted", container.name));
            None
        }
        () = home.life.stop_asked() => {
            home.life.event("Killing", &format!("Stopping container {}", container.name));
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => stop(home, container, child, session, Instant::now() + grace).await,
    };
    ended.unwrap_or_else(|_| ExitStatus::from_raw(Signal::SIGKILL as i32))
}

/// Hooks and probes; ends when they say that the container has to die, with the reason.
async fn look_after(home: &Home, container: &Container, target: &probe::Target) -> String {
    let hook = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.post_start.as_ref());
    if let Some(hook) = hook
        && let Err(error) = run_hook(hook, &target.session).await
    {
        home.life
            .event_warning("FailedPostStartHook", &format!("{error:#}"));
        return "failed its postStart hook".into();
    }
    let unhealthy = |kind: &str, error: &anyhow::Error| {
        home.life
            .event_warning("Unhealthy", &format!("{kind} probe failed: {error:#}"));
    };
    let prober = |probe| Prober::new(probe, container, target);
    if let Some(probe) = &container.startup_probe {
        if let Err(error) = prober(probe).next_verdict().await {
            unhealthy("Startup", &error);
            return "failed startup probe".into();
        }
        home.life.tell(container, |facts| {
            facts.started = true;
            facts.ready = container.readiness_probe.is_none();
        });
    }
    let readiness = async {
        let Some(probe) = &container.readiness_probe else {
            return pending().await;
        };
        let mut prober = prober(probe);
        loop {
            let verdict = prober.next_verdict().await;
            home.life.tell(container, |facts| facts.ready = verdict.is_ok());
            if let Err(error) = verdict {
                unhealthy("Readiness", &error);
            }
        }
    };
    let liveness = async {
        let Some(probe) = &container.liveness_probe else {
            return pending().await;
        };
        let mut prober = prober(probe);
        loop {
            if let Err(error) = prober.next_verdict().await {
                unhealthy("Liveness", &error);
                return "failed liveness probe".to_owned();
            }
        }
    };
    tokio::select! {
        reason = liveness => reason,
        never = readiness => never,
    }
}

/// The preStop hook, SIGTERM, and SIGKILL at the deadline or when the Pod's own is earlier.
async fn stop(
    home: &Home,
    container: &Container,
    child: &mut Child,
    session: &Arc<Session>,
    deadline: Instant,
) -> std::io::Result<ExitStatus> {
    let politely = async {
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook
            && let Err(error) = run_hook(hook, session).await
        {
            home.life
                .event_warning("FailedPreStopHook", &format!("{error:#}"));
        }
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // it may just have ended
        }
        child.wait().await
    };
    tokio::select! {
        ended = politely => return ended,
        () = sleep_until(deadline) => {}
        () = home.life.deadline_passed() => {}
    }
    child.kill().await?;
    child.wait().await
}

async fn run_hook(hook: &LifecycleHandler, session: &Session) -> Result<()> {
    if let Some(exec) = &hook.exec {
        let output = session.run(exec.command.clone().unwrap_or_default()).await?;
        anyhow::ensure!(
            output.status.success(),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    } else if let Some(pause) = &hook.sleep {
        sleep(Duration::from_secs(pause.seconds.unsigned_abs())).await;
    } else {
        anyhow::bail!("the testbed has exec and sleep hooks only");
    }
    Ok(())
}

/// A running container, for starting more commands in it.
#[derive(Debug)]
pub(super) struct Session {
    entrance: Arc<Entrance>,
    environment: Environment,
    directory: String,
}

impl Session {
    /// Runs a command to its end; dropping the future kills it.
    pub(super) async fn run(&self, argv: Vec<String>) -> Result<std::process::Output> {
        let invocation = Invocation {
            argv,
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            output: Output::Piped,
        };
        let child = Arc::clone(&self.entrance).start(invocation).await?;
        child.wait_with_output().await.context("wait for the command")
    }
}
