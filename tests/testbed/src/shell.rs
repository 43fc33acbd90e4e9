//! A shell as people have it who follow a guide: `kubectl` and `rayward-webhook` are there, `kubectl` knows the API server and a namespace, and
//! files stay from one command to the next.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;

use crate::namespace::Output;
use crate::role::Role;

/// A folder, and commands that are run in it.
#[derive(Debug)]
pub struct Shell {
    folder: PathBuf,
    path: String,
}

impl Shell {
    /// In a new `folder`, with the programs and what `kubectl` is told in a hidden one there.
    pub(crate) fn new(folder: PathBuf, kubectl: &Path, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let hidden = folder.join(".shell");
        std::fs::create_dir_all(&hidden).with_context(|| format!("make {}", hidden.display()))?;
        symlink(kubectl, hidden.join("kubectl"))?;
        let (variable, value) = Role::Webhook.environment();
        let ours = format!(
            "#!/bin/sh\n{variable}={value} exec '{}' \"$@\"\n",
            std::env::current_exe()?.display()
        );
        let program = hidden.join("rayward-webhook");
        std::fs::write(&program, ours)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;

        let mut config: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
        config["contexts"][0]["context"]["namespace"] = namespace.into();
        std::fs::write(hidden.join("kubeconfig"), config.to_string())?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", hidden.display());
        Ok(Self { folder, path })
    }

    /// Writes a file for commands to read.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.folder.join(name), text).with_context(|| format!("write {name}"))
    }

    /// Runs a command. What it says to either of its outputs comes back in `stdout`, in the order in which a terminal would have it.
    pub async fn run(&self, command: &str) -> Result<Output> {
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("HOME", self.folder.join(".shell"))
            .env("KUBECONFIG", self.folder.join(".shell/kubeconfig"))
            .output()
            .await
            .with_context(|| format!("run {command}"))?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
