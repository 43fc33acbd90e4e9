//! What a container sees as its root: the machine's own files, with everything it writes kept apart.
//!
//! Each top-level folder becomes an overlay that writes to a scratch folder; `/tmp`, `/run`, `/dev` and `/proc` are new
//! and empty; `/etc/hosts` is the Pod's, `/etc/resolv.conf` is empty; volumes go on top. An overlay does not show what
//! is mounted below its folder, and a user namespace may not even lay one over such a folder: its entries are shown one
//! by one. What cannot be covered by an overlay at all is read-only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

/// Where the machine's own root is while a container's is being furnished.
const MACHINE: &str = "/.machine";

/// Top-level folders that are made new, or that no container needs.
const NOT_SHOWN: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "boot",
    "lost+found",
    "media",
    "mnt",
    "snap",
];

/// A container's root, as it is to be made.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// An empty folder on a tmpfs, for this run of this container alone.
    pub(super) scratch: PathBuf,
    /// Where Pods keep their files; what is mounted below is nobody else's business.
    pub(super) hidden: PathBuf,
    /// The folder with the Pod's `hosts` and `resolv.conf`.
    pub(super) names: PathBuf,
    /// Folders to make.
    pub(super) folders: Vec<PathBuf>,
    /// What else to show, in order; targets are made when they are not there.
    pub(super) binds: Vec<Bind>,
}

/// A file or folder of the machine that the container sees at `target`.
#[derive(Clone, Debug)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

impl Root {
    /// Makes it the root of the calling thread, which must have a mount namespace of its own.
    pub(super) fn enter(&self, directory: &str) -> Result<()> {
        let root = self.scratch.join("root");
        fs::create_dir_all(&root).context("make the container's root")?;
        mount_on("/", None, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
        mount_on(&root, Some(&root), None, MsFlags::MS_BIND, None)?; // a root has to be a mount point
        self.show_machine(&root)?;
        let machine = beneath(&root, Path::new(MACHINE));
        fs::create_dir(&machine).context("make a place for the machine's root")?;
        pivot_root(&root, &machine).context("change the root")?;
        chdir("/").context("go to the new root")?;
        make_system_folders()?;
        self.make_names_local()?;
        for folder in self
            .folders
            .iter()
            .map(PathBuf::as_path)
            .chain([Path::new(directory)])
        {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        for bind in &self.binds {
            bind.show()?;
        }
        umount2(MACHINE, MntFlags::MNT_DETACH).context("let go of the machine's root")?;
        fs::remove_dir(MACHINE).context("remove the place of the machine's root")
    }

    fn show_machine(&self, root: &Path) -> Result<()> {
        let view = View {
            layers: self.scratch.join("layers"),
            options: if in_user_namespace() { ",userxattr" } else { "" },
            mounts: mount_points()?
                .into_iter()
                .filter(|mount| !mount.starts_with(&self.hidden))
                .collect(),
        };
        for entry in fs::read_dir("/").context("list the machine's root")? {
            let entry = entry?;
            if !NOT_SHOWN.iter().any(|name| entry.file_name() == *name) {
                view.show(&entry.path(), &beneath(root, &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Names come from the hosts file alone: without a resolver to ask, nothing waits for an answer.
    fn make_names_local(&self) -> Result<()> {
        for name in ["hosts", "resolv.conf"] {
            let target = Path::new("/etc").join(name);
            if target.is_symlink() {
                fs::remove_file(&target).with_context(|| format!("replace {}", target.display()))?;
            }
            Bind {
                source: self.names.join(name),
                target,
                read_only: false,
            }
            .show()?;
        }
        Ok(())
    }
}

/// The machine's files, as a container may see them.
struct View {
    layers: PathBuf,
    options: &'static str,
    mounts: Vec<PathBuf>,
}

impl View {
    fn show(&self, path: &Path, target: &Path) -> Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        if kind.is_symlink() {
            return Ok(symlink(fs::read_link(path)?, target)?);
        }
        if !kind.is_dir() {
            fs::write(target, "")?;
            return mount_on(target, Some(path), None, MsFlags::MS_BIND, None);
        }
        fs::create_dir(target)?;
        let mut below = self
            .mounts
            .iter()
            .filter(|mount| mount.starts_with(path) && *mount != path);
        // What is mounted on a single file, as container runtimes do in /etc, may as well stay hidden.
        if below.clone().any(|mount| mount.is_dir()) {
            return self.show_entries(path, target);
        }
        match self.overlay(path, target) {
            Ok(()) => Ok(()),
            Err(_) if below.next().is_some() => self.show_entries(path, target),
            Err(_) => {
                mount_on(target, Some(path), None, MsFlags::MS_BIND | MsFlags::MS_REC, None)?;
                make_read_only(target)
            }
        }
    }

    fn show_entries(&self, path: &Path, target: &Path) -> Result<()> {
        for entry in fs::read_dir(path).into_iter().flatten() {
            let entry = entry?.path();
            self.show(
                &entry,
                &target.join(entry.file_name().expect("an entry has a name")),
            )?;
        }
        Ok(())
    }

    fn overlay(&self, lower: &Path, target: &Path) -> Result<()> {
        let layer = beneath(&self.layers, lower);
        let [upper, work] = ["upper", "work"].map(|name| layer.join(name));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let [lower, upper, work] = [lower, &upper, &work].map(|folder| folder.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}{}", self.options);
        mount_on(target, None, Some("overlay"), MsFlags::empty(), Some(&options))
    }
}

impl Bind {
    fn show(&self) -> Result<()> {
        let source = beneath(Path::new(MACHINE), &self.source);
        let told = || format!("show {} at {}", self.source.display(), self.target.display());
        let is_folder = fs::metadata(&source).with_context(told)?.is_dir();
        if is_folder {
            fs::create_dir_all(&self.target).with_context(told)?;
        } else if !self.target.exists() {
            fs::create_dir_all(self.target.parent().unwrap_or(Path::new("/"))).with_context(told)?;
            fs::write(&self.target, "").with_context(told)?;
        }
        mount_on(
            &self.target,
            Some(&source),
            None,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None,
        )?;
        if self.read_only {
            make_read_only(&self.target)
        } else {
            Ok(())
        }
    }
}

fn make_read_only(target: &Path) -> Result<()> {
    let flags =
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_on(target, None, None, flags, None)
}

/// `/proc`, `/sys`, `/dev`, `/tmp` and `/run`, once the root is ours.
fn make_system_folders() -> Result<()> {
    for name in ["proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir(beneath(Path::new("/"), Path::new(name)))?;
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))?;
    // The new /proc goes on top of this one: a user namespace may only mount one where one is to be seen already.
    for name in ["/proc", "/sys"] {
        let source = beneath(Path::new(MACHINE), Path::new(name));
        mount_on(
            name,
            Some(&source),
            None,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None,
        )?;
    }
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = Path::new("/dev").join(name);
        Bind {
            source: node.clone(),
            target: node,
            read_only: false,
        }
        .show()?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, Path::new("/dev").join(link))?;
    }
    fs::create_dir("/dev/pts")?;
    mount_on(
        "/dev/pts",
        None,
        Some("devpts"),
        MsFlags::empty(),
        Some("newinstance,ptmxmode=0666"),
    )?;
    fs::create_dir("/dev/shm")?;
    mount_on(
        "/dev/shm",
        None,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=64m"),
    ) // as container runtimes do
}

/// `mount(2)`, with an error that says what was to be mounted where.
pub(super) fn mount_on(
    target: impl AsRef<Path>,
    source: Option<&Path>,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<()> {
    let target = target.as_ref();
    mount(source, target, kind, flags, options).with_context(|| {
        let what = source.map(Path::display).map(|source| source.to_string());
        let what = what.as_deref().or(kind).unwrap_or("flags");
        format!(
            "mount {what} on {} ({flags:?} {})",
            target.display(),
            options.unwrap_or_default()
        )
    })
}

/// Mount points of the calling thread's mount namespace, in the order they were mounted.
fn mount_points() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").context("list mounts")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| unescape(path).into())
        .collect())
}

/// Undoes the octal escapes of `/proc/self/mountinfo`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// Whether root here is somebody else outside.
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/thread-self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// `path`, absolute or not, as a path below `root`.
fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
