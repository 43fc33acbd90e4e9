//! What the machine must have: asked once, before anything starts, and answered in one message with all that is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use nix::unistd::Uid;

/// A program that must be on `PATH`, and the packages that bring it.
struct Tool {
    name: &'static str,
    purpose: &'static str,
    debian: &'static str,
    fedora: &'static str,
}

const TOOLS: [Tool; 6] = [
    Tool {
        name: "unshare",
        purpose: "namespaces of our own",
        debian: "util-linux",
        fedora: "util-linux",
    },
    Tool {
        name: "setpriv",
        purpose: "processes that die with us",
        debian: "util-linux",
        fedora: "util-linux",
    },
    Tool {
        name: "mount",
        purpose: "file systems of our own",
        debian: "mount",
        fedora: "util-linux-core",
    },
    Tool {
        name: "ip",
        purpose: "the network between Pods",
        debian: "iproute2",
        fedora: "iproute",
    },
    Tool {
        name: "go",
        purpose: "building Kubernetes and KubeRay",
        debian: "golang-go",
        fedora: "golang",
    },
    Tool {
        name: "python3",
        purpose: "Ray",
        debian: "python3-venv",
        fedora: "python3",
    },
];

/// Arguments of `unshare` that work here, or everything that is missing and how to get it.
pub(crate) fn check() -> Result<Vec<&'static str>> {
    ensure!(
        cfg!(target_os = "linux"),
        "the testbed is made of Linux namespaces: run it on Linux, or in a Linux virtual machine"
    );
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| find(tool.name).is_none()).collect();
    if !missing.is_empty() {
        let list: Vec<String> = missing
            .iter()
            .map(|tool| format!("  {:<8} ({})", tool.name, tool.purpose))
            .collect();
        let packages =
            |of: fn(&Tool) -> &str| missing.iter().map(|tool| of(tool)).collect::<Vec<_>>().join(" ");
        bail!(
            "the testbed needs these programs on PATH:\n{}\n\
             get them with\n  Debian, Ubuntu: apt-get install {}\n  Fedora: dnf install {}\n\
             Go 1.21 or later will do (it fetches the newer one that is needed): https://go.dev/dl",
            list.join("\n"),
            packages(|tool| tool.debian),
            packages(|tool| tool.fedora),
        );
    }
    ensure!(
        succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])),
        "the testbed needs Python's `venv` module: apt-get install python3-venv (Debian, Ubuntu)"
    );
    namespaces()
}

/// The namespaces a world lives in; as somebody else than root, within a user namespace.
fn namespaces() -> Result<Vec<&'static str>> {
    const OWN: [&str; 8] = [
        "--net",
        "--mount",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let as_user = [&OWN[..], &["--user", "--map-root-user"]].concat();
    let candidates = if Uid::effective().is_root() {
        vec![OWN.to_vec(), as_user]
    } else {
        vec![as_user]
    };
    let mut complaints = Vec::new();
    for arguments in candidates {
        let output = Command::new("unshare")
            .args(&arguments)
            .arg("true")
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(arguments);
        }
        complaints.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let complaint = complaints.join("; ");
    bail!(
        "the testbed cannot make namespaces here ({complaint}).\n\
         Run it as root, or allow user namespaces:\n\
         \x20 sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0\n\
         In a container it needs --privileged."
    )
}

/// Where `name` is on `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Whether `file` can be run.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}
