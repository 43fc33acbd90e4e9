//! Ray, as a Python virtual environment for each version, from PyPI.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cache::Cache;
use crate::making::Making;
use anyhow::{Context, Result, ensure};

/// Ray allows every later one, but Serve before 2.53 reads a field of descriptors that is gone in 7.
const PROTOBUF_MAJOR: u32 = 6;

/// The virtual environment with Ray `version`: a folder with `bin/python`. Made if it is not there.
pub fn ray_environment(version: &str, cache: &Cache, making: &Making) -> Result<PathBuf> {
    ensure!(
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
        "`{version}` is no Ray version"
    );
    let python = python_version()?;
    let key = format!("ray-{version}-python{python}-protobuf{PROTOBUF_MAJOR}");
    cache.keep(&key, || making.progress("another run is installing it"), |folder| {
        making.progress("installing from PyPI");
        let log = cache.log(&key);
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder);
        making.run(&venv, &log).context("make a virtual environment")?;
        let mut pip = Command::new(folder.join("bin/pip"));
        // What the images of Ray have and the quick starts use. pip compiles to bytecode, so that no start has to.
        pip.args(["install", "--disable-pip-version-check", "--no-input", "--progress-bar=off", "--compile"]);
        pip.arg(format!("ray[default,serve]=={version}"));
        pip.arg(format!("protobuf<{}", PROTOBUF_MAJOR + 1));
        making.run(&pip, &log).with_context(|| {
            format!("install Ray {version} for Python {python} from PyPI (RAYWARD_RAY_VERSION chooses another)")
        })
    })
}

fn python_version() -> Result<String> {
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new("python3")
        .args(["-c", print])
        .stdin(Stdio::null())
        .output()
        .context("run python3")?;
    ensure!(
        output.status.success(),
        "python3: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
