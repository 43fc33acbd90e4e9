//! The process that the user started. It stays in the machine's own namespaces, starts itself again inside new ones, makes what the inner process asks
//! for, and cleans up. It never talks to the world itself.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use workshop::{Cache, Making, dying_with_us, ray_environment};

use crate::inside;
use crate::prerequisites;
use crate::program;
use crate::role::Role;
use crate::wire::{Reply, Request, Step, Want};

/// Where logs go, and stay. Without it they are in the work folder, which is kept when the inner process fails.
pub(crate) const LOGS: &str = "RAYWARD_TESTBED_LOGS";

/// Starts this program again inside namespaces of its own, waits for it and ends with its exit code.
pub(crate) fn run() -> Result<i32> {
    // Before the first thread, so that all of them leave the signals to the one that waits for them.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("block signals")?;

    let namespaces = prerequisites::check()?;
    let cache = Cache::open()?;
    let work = Work::new()?;
    let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
    let mut again = Command::new("unshare");
    again
        .args(namespaces)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1));
    let mut child = dying_with_us(&again)
        .envs([Role::Init.environment()])
        .env(inside::WORK, &work.folder)
        .env(LOGS, &work.logs)
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .context("start unshare")?;

    let caught = Arc::new(Mutex::new(None));
    thread::spawn({
        let (caught, socket) = (Arc::clone(&caught), ours.try_clone()?);
        move || {
            if let Ok(signal) = signals.wait() {
                *caught.lock().expect("nobody panics with it") = Some(signal);
                // The inner process takes this as the end, and with it goes everything.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    });
    thread::spawn(move || serve(ours, &cache));

    let status = child.wait().context("wait for the inner process")?;
    let caught = *caught.lock().expect("nobody panics with it");
    let code = match caught {
        Some(signal) => 128 + signal as i32,
        None => status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap_or(1),
    };
    work.finish(code != 0 && caught.is_none());
    Ok(code)
}

/// Answers requests, each in a thread of its own, until the inner process is gone.
fn serve(socket: UnixStream, cache: &Cache) {
    let Ok(answers) = socket.try_clone() else { return };
    let answers = Arc::new(Mutex::new(answers));
    for line in BufReader::new(socket).lines() {
        let Ok(line) = line else { return };
        let Ok(request) = serde_json::from_str::<Request>(&line) else {
            continue;
        };
        let (answers, cache) = (Arc::clone(&answers), cache.clone());
        thread::spawn(move || {
            let id = request.id;
            let answer = move |step| {
                let mut line = serde_json::to_string(&Reply { id, step }).expect("a reply is plain data");
                line.push('\n');
                // Nobody is left to tell when the inner process is gone.
                let _ = answers
                    .lock()
                    .expect("nobody panics with it")
                    .write_all(line.as_bytes());
            };
            let making = Making::new({
                let answer = answer.clone();
                move |line| answer(Step::Progress(line.to_owned()))
            });
            answer(
                fulfil(request.want, &cache, &making)
                    .unwrap_or_else(|error| Step::Failed(format!("{error:#}"))),
            );
        });
    }
}

fn fulfil(want: Want, cache: &Cache, making: &Making) -> Result<Step> {
    Ok(match want {
        Want::Program(program) => Step::Done(program::Program::make(program, cache, making)?),
        Want::Ray(version) => {
            Step::Done([("ray".to_owned(), ray_environment(&version, cache, making)?)].into())
        }
        Want::Publish(socket) => Step::Published(publish(socket)?),
    })
}

/// A port of the machine's own loopback whose connections go to a Unix socket, which both sides see in the file system.
fn publish(socket: PathBuf) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let Ok(inner) = UnixStream::connect(&socket) else {
                continue;
            };
            thread::spawn(move || relay(&connection, &inner));
        }
    });
    Ok(port)
}

/// Both directions until both ends have said all.
fn relay(outer: &TcpStream, inner: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut &*outer, &mut &*inner);
            let _ = inner.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut &*inner, &mut &*outer);
        let _ = outer.shutdown(Shutdown::Write);
    });
}

/// The folder of one run.
struct Work {
    folder: PathBuf,
    logs: PathBuf,
    /// Held while this run lives: an unlocked folder belongs to a run that was killed.
    lock: File,
}

impl Work {
    const PREFIX: &str = "rayward-testbed-";
    const LOCK: &str = "lock";

    fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        remove_leftovers(&parent);
        let folder = tempfile::Builder::new()
            .prefix(Self::PREFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("make a work folder in {}", parent.display()))?
            .keep();
        let lock = File::create(folder.join(Self::LOCK))?;
        lock.lock().context("lock the work folder")?;
        let logs = match std::env::var_os(LOGS).filter(|value| !value.is_empty()) {
            Some(folder) => std::path::absolute(folder)?,
            None => folder.join("logs"),
        };
        fs::create_dir_all(&logs).with_context(|| format!("make the log folder {}", logs.display()))?;
        Ok(Self { folder, logs, lock })
    }

    /// Removes the folder; the logs stay if they are wanted.
    fn finish(self, keep_logs: bool) {
        if keep_logs && self.logs.starts_with(&self.folder) {
            let kept = self.folder.with_file_name(
                self.folder
                    .file_name()
                    .expect("it was made with a name")
                    .to_string_lossy()
                    .replace(Self::PREFIX, "rayward-logs-"),
            );
            if fs::rename(&self.logs, &kept).is_ok() {
                eprintln!("testbed: the logs of all parts are in {}", kept.display());
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
        drop(self.lock);
    }
}

/// Removes work folders that nobody holds.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let folder = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(Work::PREFIX);
        if ours && File::open(folder.join(Work::LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}
