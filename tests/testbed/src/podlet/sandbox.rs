//! Where a Pod's processes live: a network namespace for each Pod, the other namespaces for each container.
//!
//! Namespaces belong to a thread here: a thread of its own leaves ours for new ones (or for those of a running
//! container), starts one process and ends. So nothing forks by hand, and what comes out is a plain child process.
//! There are no names under `/run/netns`: an open file keeps a Pod's network alive, closing it takes the network away.
//! What a container sees as its root is the subject of `rootfs`.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;
use tokio::process::Child;

use super::rootfs::Root;

/// The bridge that Pods' networks meet on, a /16.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// The interface, as `ip link` calls it.
    pub name: String,
    /// The machine's own address on it.
    pub address: Ipv4Addr,
}

/// A Pod's network: an address on the bridge, and a loopback that its containers share.
#[derive(Clone, Debug)]
pub(super) struct Sandbox {
    network: Arc<File>,
    pub(super) hostname: String,
    pub(super) ip: Ipv4Addr,
}

impl Sandbox {
    pub(super) async fn new(bridge: &Bridge, ip: Ipv4Addr, hostname: String) -> Result<Sandbox> {
        let Bridge { name, address } = bridge.clone();
        let [_, _, third, fourth] = ip.octets();
        let port = format!("pod{third}-{fourth}");
        let world = format!("/proc/{}/ns/net", std::process::id());
        let inner = format!(
            "link add eth0 type veth peer name {port} netns {world}\n\
             address add {ip}/16 dev eth0\n\
             link set lo up\n\
             link set eth0 up\n\
             route add default via {address}\n"
        );
        let outer = format!("link set {port} master {name} up\n");
        let network = on_own_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            let network = File::open("/proc/thread-self/ns/net").context("hold the network namespace")?;
            run_ip(&inner)?;
            Ok(network)
        })
        .await?;
        on_own_thread(move || run_ip(&outer)).await?;
        Ok(Sandbox {
            network: Arc::new(network),
            hostname,
            ip,
        })
    }

    /// Starts `command` as the first process of a new container.
    pub(super) async fn start(&self, root: Root, mut command: Invocation) -> Result<Child> {
        let sandbox = self.clone();
        on_own_thread(move || {
            setns(&*sandbox.network, CloneFlags::CLONE_NEWNET).context("enter the Pod's network")?;
            let own = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWPID;
            unshare(own).context("make the container's namespaces")?;
            sethostname(&sandbox.hostname).context("name the container's host")?;
            root.enter(&command.directory)?;
            command.require_program()?;
            // Only a process inside the new PID namespace can mount its /proc, and it has to be the first one there.
            let mount_then = ["/bin/sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh"];
            command.argv.splice(0..0, mount_then.map(str::to_owned));
            command.spawn()
        })
        .await
    }
}

/// The namespaces of a running container, for starting more processes there.
#[derive(Debug)]
pub(super) struct Entrance {
    namespaces: Vec<(File, CloneFlags)>,
}

impl Entrance {
    /// By the container's first process.
    pub(super) fn open(pid: u32) -> Result<Entrance> {
        let kinds = [
            ("net", CloneFlags::CLONE_NEWNET),
            ("uts", CloneFlags::CLONE_NEWUTS),
            ("ipc", CloneFlags::CLONE_NEWIPC),
            ("pid", CloneFlags::CLONE_NEWPID),
            ("mnt", CloneFlags::CLONE_NEWNS), // last: afterwards the paths above mean something else
        ];
        let open = |(name, flag)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?, flag));
        let namespaces = kinds.into_iter().map(open).collect::<Result<_>>();
        Ok(Entrance {
            namespaces: namespaces.context("open the container's namespaces")?,
        })
    }

    /// Starts `command` beside what runs in the container.
    pub(super) async fn start(self: Arc<Self>, command: Invocation) -> Result<Child> {
        on_own_thread(move || {
            unshare(CloneFlags::CLONE_FS).context("detach from the other threads' root")?;
            for (file, flag) in &self.namespaces {
                setns(file, *flag).context("enter the container")?;
            }
            command.require_program()?;
            command.spawn()
        })
        .await
    }
}

/// A program to start, with nothing inherited.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) argv: Vec<String>,
    pub(super) environment: super::env::Environment,
    pub(super) directory: String,
    pub(super) output: Output,
}

/// Where a program's standard output and error go.
#[derive(Debug)]
pub(super) enum Output {
    /// Both to one file, in the order they were written.
    Log(File),
    /// Each to its reader.
    Piped,
}

impl Invocation {
    /// What a container runtime says at start, and a shell only in the log.
    fn require_program(&self) -> Result<()> {
        let program = self.argv.first().context("the container states no command")?;
        let found = if program.contains('/') {
            Path::new(&self.directory).join(program).exists()
        } else {
            let path = self.environment.get("PATH").map_or("", String::as_str);
            path.split(':')
                .any(|folder| Path::new(folder).join(program).exists())
        };
        if found {
            return Ok(());
        }
        bail!("exec: \"{program}\": executable file not found in $PATH")
    }

    fn spawn(self) -> Result<Child> {
        let (stdout, stderr) = match self.output {
            Output::Log(file) => (Stdio::from(file.try_clone()?), Stdio::from(file)),
            Output::Piped => (Stdio::piped(), Stdio::piped()),
        };
        tokio::process::Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .env_clear()
            .envs(self.environment)
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.argv[0]))
    }
}

/// Runs the `ip` program on a batch of lines, in the network namespace of the calling thread.
fn run_ip(lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `ip` (package iproute2)")?;
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(lines.as_bytes())
        .context("write to `ip`")?;
    let output = child.wait_with_output().context("wait for `ip`")?;
    if !output.status.success() {
        bail!(
            "`ip` refused: {}\n{lines}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Runs `work` on a thread that ends with it, so that namespaces it enters are nobody else's.
async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("namespaces".into())
        .spawn(move || {
            let _runtime = runtime.enter();
            // A receiver that is gone gave up waiting; what was started dies with the result.
            let _ = send.send(work());
        })
        .context("start a thread")?;
    receive
        .await
        .context("the thread that enters namespaces panicked")?
}
