//! Life inside the namespaces: furnishing them, and talking to the process outside.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::sync::mpsc;

use crate::role::Role;
use crate::wire::{Reply, Request, Step, Want};

/// Names the folder of this run in the environment.
pub(crate) const WORK: &str = "RAYWARD_TESTBED_WORK";
/// The bridge that Pods are plugged into.
pub const BRIDGE: &str = "rayward0";
/// Our address on it: the API server's, the Nodes', and the way into Pods.
pub const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// Process 1 of the new namespaces: furnishes them, starts the world, and reaps whatever loses its parent. When the world ends, this
/// ends with its exit code, and the kernel kills everything else.
pub(crate) fn init() -> Result<()> {
    let work = PathBuf::from(std::env::var_os(WORK).context("the work folder is in the environment")?);
    // The outer process blocks signals for itself, and what is blocked is inherited: nobody in here would hear a SIGTERM.
    SigSet::all().thread_unblock().context("unblock signals")?;
    furnish(&work).context("furnish the namespaces")?;
    let child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .envs([Role::World.environment()])
        .spawn()
        .context("start the world")?;
    let world = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    loop {
        match waitpid(None, Some(WaitPidFlag::empty())) {
            Ok(WaitStatus::Exited(pid, code)) if pid == world => std::process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == world => {
                std::process::exit(128 + signal as i32)
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => bail!("wait for the world: {error}"),
        }
    }
}

/// A loopback, a bridge, and files of our own in the places where everybody looks for them.
fn furnish(work: &Path) -> Result<()> {
    let data = work.join("data");
    fs::create_dir_all(&data)?;
    tmpfs(&data)?;
    // `/etc/resolv.conf` often is a link into /run, which is about to be covered.
    let resolver = Path::new("/etc/resolv.conf").canonicalize();
    if let Ok(resolver) = resolver {
        let empty = work.join("resolv.conf");
        fs::write(&empty, "")?;
        bind(&empty, &resolver)?;
    }
    let hosts = work.join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n")?;
    bind(&hosts, Path::new("/etc/hosts"))?;
    tmpfs(Path::new("/run"))?;
    ip(&[
        "link set lo up".to_owned(),
        format!("link add {BRIDGE} type bridge forward_delay 0"),
        format!("addr add {BRIDGE_ADDRESS}/16 dev {BRIDGE}"),
        format!("link set {BRIDGE} up"),
    ])
}

fn tmpfs(place: &Path) -> Result<()> {
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .with_context(|| format!("mount a tmpfs on {}", place.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mount {} on {}", from.display(), to.display()))
}

fn ip(commands: &[String]) -> Result<()> {
    for command in commands {
        let output = Command::new("ip")
            .args(command.split(' '))
            .stdin(Stdio::null())
            .output()
            .context("run ip")?;
        ensure!(
            output.status.success(),
            "ip {command}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The inner process's line to the outer one.
#[derive(Clone)]
pub struct Inside {
    shared: Arc<Shared>,
}

struct Shared {
    socket: Mutex<UnixStream>,
    waiting: Mutex<HashMap<u64, mpsc::UnboundedSender<Step>>>,
    next: AtomicU64,
    work: PathBuf,
    logs: PathBuf,
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inside")
            .field("work", &self.shared.work)
            .finish_non_exhaustive()
    }
}

impl Inside {
    /// Takes up the line that init passed on as standard input.
    pub(crate) fn connect() -> Result<Self> {
        let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        let folder = |variable| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .context("the environment is init's")
        };
        let shared = Arc::new(Shared {
            socket: Mutex::new(socket.try_clone()?),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            work: folder(WORK)?,
            logs: folder(crate::outside::LOGS)?,
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for line in BufReader::new(socket).lines().map_while(Result::ok) {
                    if let Ok(reply) = serde_json::from_str::<Reply>(&line) {
                        shared.deliver(reply);
                    }
                }
                // The outer process is gone, or wants us to be.
                std::process::exit(130);
            }
        });
        Ok(Self { shared })
    }

    /// The folder of this run.
    pub fn work(&self) -> &Path {
        &self.shared.work
    }

    /// A folder in memory, for what nobody wants to read afterwards.
    pub(crate) fn data(&self) -> PathBuf {
        self.work().join("data")
    }

    /// The hosts file of everything that is not in a Pod.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.work().join("hosts")
    }

    /// Where the parts' logs go.
    pub(crate) fn logs(&self) -> &Path {
        &self.shared.logs
    }

    /// Where the output of containers goes.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.logs().join("pods")
    }

    /// Has something made outside; `progress` gets what the builder prints.
    pub(crate) async fn want(&self, want: Want, progress: impl Fn(String)) -> Result<Step> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut steps) = mpsc::unbounded_channel();
        self.shared
            .waiting
            .lock()
            .expect("nobody panics with it")
            .insert(id, sender);
        let mut line = serde_json::to_string(&Request { id, want })?;
        line.push('\n');
        self.shared
            .socket
            .lock()
            .expect("nobody panics with it")
            .write_all(line.as_bytes())
            .context("ask the outer process")?;
        while let Some(step) = steps.recv().await {
            match step {
                Step::Progress(line) => progress(line),
                Step::Failed(message) => bail!(message),
                done => return Ok(done),
            }
        }
        bail!("the outer process is gone")
    }

    /// Makes a TCP address of this network reachable on the machine's own loopback, and says on which port.
    pub async fn publish(&self, target: SocketAddr) -> Result<u16> {
        let path = self.work().join(format!("port-{}", target.port()));
        let listener =
            tokio::net::UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
        tokio::spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut inner) = tokio::net::TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        match self.want(Want::Publish(path), |_| ()).await? {
            Step::Published(port) => Ok(port),
            other => bail!("asked for a port, got {other:?}"),
        }
    }
}

impl Shared {
    fn deliver(&self, reply: Reply) {
        let mut waiting = self.waiting.lock().expect("nobody panics with it");
        let last = !matches!(reply.step, Step::Progress(_));
        if let Some(waiter) = waiting.get(&reply.id) {
            let _ = waiter.send(reply.step);
        }
        if last {
            waiting.remove(&reply.id);
        }
    }
}

/// Puts this program into namespaces of its own.
///
/// In the process that the user started this does not return: it starts the program again inside, with the same arguments, makes what that asks for, and
/// ends with its exit code. There, it returns. So whatever `main` does before, it does twice; whatever it does afterwards, it does in a world where it
/// is root and alone.
pub fn enter() -> Result<Inside> {
    if Role::current() == Some(Role::World) {
        return Inside::connect();
    }
    let code = crate::outside::run()?;
    std::process::exit(code)
}
