//! House rules that a compiler does not check: what the pure crates may depend on, and that what the documents point at exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The crates that hold every decision. Values in, values out.
const PURE: [&str; 3] = ["ray", "rules", "planner"];

/// What a pure crate must not be able to reach, not even through somebody else: a runtime, a socket, a client, a random source, a second clock.
const IMPURE: [&str; 14] = [
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "kube",
    "kube-client",
    "mio",
    "rand",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
    "tonic",
];

/// The dependency trees of the pure crates hold nothing that does IO, tells the time or rolls dice.
pub(crate) fn pure_crates_stay_pure() -> Result<()> {
    let dependencies = normal_dependencies()?;
    for pure in PURE {
        let mut seen = BTreeSet::new();
        let mut open = vec![pure.to_owned()];
        while let Some(name) = open.pop() {
            if seen.insert(name.clone()) {
                open.extend(dependencies.get(&name).into_iter().flatten().cloned());
            }
        }
        ensure!(seen.len() > 1, "`cargo metadata` knows no dependency of `{pure}`");
        let impure: Vec<_> = IMPURE.into_iter().filter(|name| seen.contains(*name)).collect();
        ensure!(
            impure.is_empty(),
            "`{pure}` is pure, but its dependency tree holds {impure:?}"
        );
    }
    Ok(())
}

/// The lints of clippy.toml that keep clock, environment and random order out of the pure crates are switched on there.
pub(crate) fn pure_crates_deny_clock_and_environment() -> Result<()> {
    for library in [
        "ray/src/lib.rs",
        "webhook/rules/src/lib.rs",
        "autoscaler/planner/src/lib.rs",
    ] {
        let text = read(library)?;
        ensure!(
            text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"),
            "{library} does not deny clippy::disallowed_methods and clippy::disallowed_types"
        );
    }
    Ok(())
}

/// Every relative link of every page leads to a file of this repository.
pub(crate) fn links_lead_somewhere() -> Result<()> {
    let mut pages = vec![
        "README.md".into(),
        "ARCHITECTURE.md".into(),
        "CONTRIBUTING.md".into(),
    ];
    pages.extend(files_under(&root().join("docs"), "md")?);
    let mut links = 0;
    for page in pages {
        let page = root().join(page);
        let text = std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let file = page.parent().expect("a page is in a folder").join(target);
            ensure!(
                file.exists(),
                "{} links to {target}, which is not there",
                page.display()
            );
        }
    }
    ensure!(
        links > 0,
        "no page links to any file: has the reading of links broken?"
    );
    Ok(())
}

/// Every workspace package takes its lints from the workspace.
pub(crate) fn packages_share_the_lints() -> Result<()> {
    for package in metadata()?["packages"].as_array().context("packages")? {
        let manifest = package["manifest_path"].as_str().context("manifest_path")?;
        let text = std::fs::read_to_string(manifest)?;
        ensure!(
            text.contains("[lints]\nworkspace = true"),
            "{manifest} does not say `[lints] workspace = true`"
        );
    }
    Ok(())
}

/// Package name -> names of its normal (not build, not development) dependencies.
fn normal_dependencies() -> Result<BTreeMap<String, Vec<String>>> {
    let output = cargo(&["metadata", "--format-version=1", "--locked"])?;
    let metadata: Value = serde_json::from_slice(&output)?;
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .context("packages")?
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let mut dependencies = BTreeMap::<String, Vec<String>>::new();
    for node in metadata["resolve"]["nodes"].as_array().context("resolve.nodes")? {
        let name = names[node["id"].as_str().context("node id")?];
        for dependency in node["deps"].as_array().context("deps")? {
            let kinds = dependency["dep_kinds"].as_array().context("dep_kinds")?;
            // Targets such as wasm bring their own random source and clock; they are not what we run on.
            if kinds
                .iter()
                .any(|kind| kind["kind"].is_null() && kind["target"].is_null())
            {
                let package = names[dependency["pkg"].as_str().context("pkg")?];
                dependencies
                    .entry(name.to_owned())
                    .or_default()
                    .push(package.to_owned());
            }
        }
    }
    Ok(dependencies)
}

fn metadata() -> Result<Value> {
    Ok(serde_json::from_slice(&cargo(&[
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ])?)?)
}

fn cargo(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn files_under(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_under(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| format!("read {file}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the root")
        .to_owned()
}
