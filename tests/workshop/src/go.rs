//! Programs written in Go, built from the modules that a committed `go.mod` and its `go.sum` pin.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::making::Making;

/// What is built in one go.
#[derive(Debug, Clone)]
pub struct GoBuild<'a> {
    /// Where the `go.mod` is.
    pub folder: PathBuf,
    /// What it is called in the cache, together with everything but the toolchain that decides what comes out.
    pub key: String,
    /// Executable -> package.
    pub executables: &'a [(&'a str, &'a str)],
    /// More for `go build`, such as the name of another `go.mod`.
    pub flags: Vec<String>,
    /// What the linker is to write into the executables.
    pub linker_flags: String,
}

impl GoBuild<'_> {
    /// The folder with the executables, built if they are not there. `finish` may put something beside them.
    pub fn make(
        &self,
        cache: &Cache,
        making: &Making,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let key = format!("{}-{}", self.key, self.toolchain()?);
        cache.keep(
            &key,
            || making.progress("another run is building it"),
            |folder| {
                making.progress("building");
                let mut build = self.go();
                // Without symbols, which nobody needs here and which are a third of the size.
                let linker_flags = format!("-s -w {}", self.linker_flags);
                build.args([
                    "build",
                    "-mod=readonly",
                    "-buildvcs=false",
                    "-ldflags",
                    &linker_flags,
                ]);
                build.args(&self.flags).arg("-o");
                // Given a folder, `go build` picks the names, and etcd's would be `server`.
                match self.executables {
                    [(name, _)] => build.arg(folder.join(name)),
                    _ => build.arg(format!("{}/", folder.display())),
                };
                build.args(self.executables.iter().map(|(_, package)| package));
                making
                    .run(&build, &cache.log(&key))
                    .with_context(|| format!("build {}", self.key))?;
                finish(folder)
            },
        )
    }

    /// Where the sources of a module that `go.mod` requires are, downloaded if they are not there.
    pub fn source(&self, module: &str) -> Result<PathBuf> {
        let mut download = self.go();
        download
            .args(["mod", "download"])
            .args(self.modfile())
            .arg(module);
        output(&mut download)?;
        let mut list = self.go();
        list.args(["list", "-mod=readonly"])
            .args(self.modfile())
            .args(["-m", "-f", "{{.Dir}}", module]);
        Ok(PathBuf::from(output(&mut list)?))
    }

    /// The toolchain that builds it: `go.mod` may make `go` fetch a newer one than is installed.
    fn toolchain(&self) -> Result<String> {
        output(self.go().args(["env", "GOVERSION"]))
    }

    fn modfile(&self) -> Option<&String> {
        self.flags.iter().find(|flag| flag.starts_with("-modfile="))
    }

    fn go(&self) -> Command {
        let mut command = Command::new("go");
        command
            .current_dir(&self.folder)
            .env_remove("GOFLAGS")
            .env("GOWORK", "off")
            .stdin(std::process::Stdio::null());
        command
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Copies a tree; what is read-only in Go's module cache becomes writable.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::write(target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
