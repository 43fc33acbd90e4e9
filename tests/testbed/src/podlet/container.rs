//! One container of a Pod: started, watched, restarted and stopped.
//!
//! The user is root whatever the image or the security context say, and limits are not enforced: there are no cgroups
//! here. Ray learns its CPUs and memory from the flags that KubeRay renders.

use std::collections::BTreeMap;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Container, LifecycleHandler, Secret};
use kube::Api;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until};

use super::api_service;
use super::env::{self, Environment, Sources};
use super::image::{self, Image};
use super::pod::Home;
use super::probe::{self, Prober};
use super::rootfs::{Bind, Root};
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

/// What a container runs, all questions answered.
#[derive(Debug)]
struct Program {
    argv: Vec<String>,
    environment: Environment,
    directory: String,
    binds: Vec<Bind>,
    folders: Vec<PathBuf>,
}

impl Program {
    /// Waits for what is not there yet, and shows what it waits for.
    async fn prepare(home: &Home, container: &Container) -> Program {
        let image = Files::wait(home, container).await;
        loop {
            match Program::try_prepare(home, container, &image).await {
                Ok(program) => return program,
                Err(error) => {
                    let message = format!("{error:#}");
                    home.life.event_warning("Failed", &format!("Error: {message}"));
                    home.life.tell(container, |facts| {
                        facts.state = State::waiting_because("CreateContainerConfigError", message);
                    });
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn try_prepare(home: &Home, container: &Container, files: &Files) -> Result<Program> {
        let sources = sources(home, container).await?;
        let stated = env::environment(
            &api_service::environment(home.life.host.bridge.address),
            container,
            home.place(),
            &sources,
        )?;
        let expand = |words: &Option<Vec<String>>| -> Vec<String> {
            words
                .iter()
                .flatten()
                .map(|word| env::expand(word, &stated))
                .collect()
        };
        let mut argv = expand(&container.command);
        if argv.is_empty() {
            argv = files.entry_point.iter().map(|&word| word.to_owned()).collect();
        }
        argv.extend(expand(&container.args));
        let mut binds = files.binds.clone();
        binds.extend(home.volumes.binds(container, &stated)?);
        let mut environment = files.environment.clone();
        environment.insert("HOSTNAME".into(), home.sandbox.hostname.clone());
        environment.extend(stated);
        let directory = container
            .working_dir
            .clone()
            .unwrap_or_else(|| files.home.to_owned());
        Ok(Program {
            argv,
            environment,
            directory,
            binds,
            folders: vec![files.home.into()],
        })
    }
}

/// What an image brings along.
#[derive(Debug)]
struct Files {
    environment: Environment,
    home: &'static str,
    entry_point: &'static [&'static str],
    binds: Vec<Bind>,
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Files {
    /// The stand-in for pulling the image.
    async fn wait(home: &Home, container: &Container) -> Files {
        loop {
            let image = container.image.as_deref().unwrap_or_default();
            match Files::of(home, image).await {
                Ok(files) => return files,
                Err(why) => {
                    let message = format!("Failed to pull image {image:?}: {why}");
                    home.life.event_warning("Failed", &message);
                    home.life.tell(container, |facts| {
                        facts.state = State::waiting_because("ErrImagePull", &message);
                    });
                    sleep(Duration::from_secs(5)).await;
                    home.life.tell(container, |facts| {
                        facts.state = State::waiting_because("ImagePullBackOff", message);
                    });
                    sleep(Duration::from_secs(25)).await;
                }
            }
        }
    }

    async fn of(home: &Home, image: &str) -> Result<Files, String> {
        let owned = |pairs: &[(&str, &str)]| -> Environment {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        match image::parse(image)? {
            Image::Machine => Ok(Files {
                environment: owned(&[("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]),
                home: "/root",
                entry_point: &["/bin/sh"],
                binds: Vec::new(),
            }),
            Image::Ray { version } => {
                let made = (home.life.host.rays)(version.clone()).await;
                let folder = made.map_err(|error| format!("Ray {version} cannot be had: {error:#}"))?;
                let path = format!("{}:{PATH}", folder.join("bin").display());
                Ok(Files {
                    environment: owned(&[
                        ("PATH", &path),
                        ("VIRTUAL_ENV", &folder.display().to_string()),
                        ("HOME", "/home/ray"),
                        ("LANG", "C.UTF-8"),
                        ("RAY_USAGE_STATS_ENABLED", "0"), // nobody outside could be told
                    ]),
                    home: "/home/ray",
                    entry_point: &["/bin/bash"],
                    binds: vec![Bind {
                        source: folder.clone(),
                        target: folder,
                        read_only: true,
                    }],
                })
            }
        }
    }
}

async fn sources(home: &Home, container: &Container) -> Result<Sources> {
    let (config_maps, secrets) = env::wanted(container);
    let mut sources = Sources::default();
    let api: Api<ConfigMap> = home.life.api();
    for name in config_maps {
        if let Some(map) = api.get_opt(&name).await.context("read a config map")? {
            sources.config_maps.insert(name, map.data.unwrap_or_default());
        }
    }
    let api: Api<Secret> = home.life.api();
    for name in secrets {
        if let Some(secret) = api.get_opt(&name).await.context("read a secret")? {
            let entries = secret.data.unwrap_or_default().into_iter();
            let decoded: BTreeMap<String, String> = entries
                .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
                .collect();
            sources.secrets.insert(name, decoded);
        }
    }
    Ok(sources)
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
