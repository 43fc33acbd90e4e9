//! What a container runs: its image, command, environment and mounts, all questions answered.
//!
//! The user is root whatever the image or the security context say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret};
use kube::Api;
use ray::quantity::Quantity;
use tokio::time::sleep;

use super::api_service;
use super::env::{self, Environment, Sources};
use super::image::{self, Image};
use super::pod::Home;
use super::rootfs::Bind;
use super::status::State;
use crate::role::Role;

/// What a container runs, all questions answered.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) environment: Environment,
    pub(super) directory: String,
    pub(super) binds: Vec<Bind>,
    pub(super) folders: Vec<PathBuf>,
}

impl Program {
    /// Waits for what is not there yet, and shows what it waits for.
    pub(super) async fn prepare(home: &Home, container: &Container) -> Program {
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
            match Files::of(home, image, container).await {
                Ok(files) => {
                    home.life
                        .event("Pulled", &format!("Found what stands in for image {image:?}"));
                    return files;
                }
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

    async fn of(home: &Home, image: &str, container: &Container) -> Result<Files, String> {
        match image::parse(image)? {
            Image::Machine => Ok(Files::plain()),
            Image::Autoscaler => Files::autoscaler().map_err(|error| format!("{error:#}")),
            Image::Ray { version } => {
                let made = (home.life.host.rays)(version.clone()).await;
                let folder = made.map_err(|error| format!("Ray {version} cannot be had: {error:#}"))?;
                Ok(Files::ray(folder, container))
            }
        }
    }

    fn plain() -> Files {
        Files {
            environment: environment([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]),
            home: "/root",
            entry_point: &["/bin/sh"],
            binds: Vec::new(),
        }
    }

    /// As our image has it, but for the part that this program is told to play.
    fn autoscaler() -> Result<Files> {
        let program = std::env::current_exe().context("find this very program")?;
        let mut files = Files::plain();
        let (variable, value) = Role::Autoscaler.environment();
        files.environment.insert(variable.to_owned(), value.to_owned());
        files.entry_point = &["/usr/local/bin/rayward"];
        let names = ["rayward", "rayward-autoscaler", "ray"];
        files.binds = names
            .map(|name| Bind {
                source: program.clone(),
                target: Path::new("/usr/local/bin").join(name),
                read_only: true,
            })
            .into();
        Ok(files)
    }

    fn ray(folder: PathBuf, container: &Container) -> Files {
        let shown = folder.display();
        let mut environment = environment([
            ("PATH", &*format!("{shown}/bin:{PATH}")),
            ("VIRTUAL_ENV", &shown.to_string()),
            ("HOME", "/home/ray"),
            ("LANG", "C.UTF-8"),
            ("RAY_USAGE_STATS_ENABLED", "0"), // nobody outside could be told
            ("GRPC_DNS_RESOLVER", "native"), // hosts files are all there is, and older gRPC has no eye for them
        ]);
        if let Some(bytes) = object_store_bytes(container) {
            environment.insert(
                "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES".into(),
                bytes.to_string(),
            );
        }
        Files {
            environment,
            home: "/home/ray",
            entry_point: &["/bin/bash"],
            binds: vec![Bind {
                source: folder.clone(),
                target: folder,
                read_only: true,
            }],
        }
    }
}

fn environment<const N: usize>(pairs: [(&str, &str); N]) -> Environment {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The share of the memory limit that Ray would take by itself if it met the limit in a cgroup; it refuses less than
/// 75 MiB.
fn object_store_bytes(container: &Container) -> Option<i64> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    let limit: Quantity = limits.get("memory")?.0.parse().ok()?;
    Some((limit.ceil() / 10 * 3).max(75 << 20))
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
