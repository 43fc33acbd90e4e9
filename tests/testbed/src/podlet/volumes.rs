//! A Pod's volumes: folders that its containers see.
//!
//! Files that come from the API are written once, when the Pod starts; later changes do not reach it. There is no
//! storage behind claims, and no driver of any kind: a Pod that asks for one waits with a `FailedMount` event.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, Pod,
    Secret, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use nix::mount::{MntFlags, MsFlags, umount2};
use ray::quantity::Quantity;

use super::env::{self, Environment, Place};
use super::rootfs::{Bind, mount_on};

/// The volumes of one Pod; dropping them unmounts what was mounted.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    folders: BTreeMap<String, PathBuf>,
    mounted: Vec<PathBuf>,
}

/// Files to be: path inside the volume, content, mode.
type Files = Vec<(String, Vec<u8>, u32)>;

const DEFAULT_MODE: i32 = 0o644;

impl Volumes {
    /// Makes them below `folder`; the error names the volume that cannot be had.
    pub(super) async fn make(client: &Client, place: Place<'_>, folder: &Path) -> Result<Volumes> {
        let mut volumes = Volumes::default();
        let spec = place.pod.spec.as_ref();
        for volume in spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
            let target = folder.join(&volume.name);
            let made = volumes.make_one(client, place, volume, target).await;
            made.with_context(|| format!("MountVolume.SetUp failed for volume \"{}\"", volume.name))?;
        }
        Ok(volumes)
    }

    async fn make_one(
        &mut self,
        client: &Client,
        place: Place<'_>,
        volume: &Volume,
        target: PathBuf,
    ) -> Result<()> {
        let folder = if let Some(path) = &volume.host_path {
            host_path(path)?
        } else if let Some(empty) = &volume.empty_dir {
            self.empty_folder(empty, &target)?;
            target
        } else {
            write(&target, files(client, place, volume).await?)?;
            target
        };
        self.folders.insert(volume.name.clone(), folder);
        Ok(())
    }

    /// All of them are in memory; medium Memory with a limit gets a file system of that size, as `/dev/shm` needs.
    fn empty_folder(&mut self, volume: &EmptyDirVolumeSource, target: &Path) -> Result<()> {
        fs::create_dir_all(target)?;
        fs::set_permissions(target, fs::Permissions::from_mode(0o777))?;
        if volume.medium.as_deref() == Some("Memory") {
            let limit = volume
                .size_limit
                .as_ref()
                .map(|limit| limit.0.parse::<Quantity>())
                .transpose()?;
            let size = limit
                .map(|limit| format!(",size={}", limit.ceil()))
                .unwrap_or_default();
            let options = format!("mode=1777{size}");
            mount_on(target, None, Some("tmpfs"), MsFlags::empty(), Some(&options))?;
            self.mounted.push(target.to_owned());
        }
        Ok(())
    }

    /// What `container` mounts of them.
    pub(super) fn binds(&self, container: &Container, environment: &Environment) -> Result<Vec<Bind>> {
        let mounts = container.volume_mounts.iter().flatten();
        mounts
            .map(|mount| {
                let folder = self
                    .folders
                    .get(&mount.name)
                    .with_context(|| format!("no volume \"{}\"", mount.name))?;
                let within = mount
                    .sub_path_expr
                    .as_deref()
                    .map(|path| env::expand(path, environment))
                    .or_else(|| mount.sub_path.clone())
                    .unwrap_or_default();
                let within = Path::new(&within);
                if within
                    .components()
                    .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
                {
                    bail!("subPath \"{}\" leaves the volume", within.display());
                }
                let source = if within.as_os_str().is_empty() {
                    folder.clone()
                } else {
                    folder.join(within)
                };
                if !source.exists() {
                    fs::create_dir_all(&source)?;
                }
                let read_only = mount.read_only == Some(true);
                Ok(Bind {
                    source,
                    target: Path::new("/").join(&mount.mount_path),
                    read_only,
                })
            })
            .collect()
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        for target in &self.mounted {
            if let Err(error) = umount2(target, MntFlags::MNT_DETACH) {
                tracing::warn!(%error, target = %target.display(), "unmount a volume");
            }
        }
    }
}

fn host_path(volume: &HostPathVolumeSource) -> Result<PathBuf> {
    let path = PathBuf::from(&volume.path);
    match volume.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => fs::create_dir_all(&path)?,
        "FileOrCreate" if !path.exists() => fs::write(&path, "")?,
        _ => {}
    }
    fs::metadata(&path).with_context(|| format!("hostPath {}", path.display()))?;
    Ok(path)
}

async fn files(client: &Client, place: Place<'_>, volume: &Volume) -> Result<Files> {
    if let Some(map) = &volume.config_map {
        let mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        return config_map(
            client,
            place.pod,
            &map.name,
            map.items.as_deref(),
            map.optional,
            mode,
        )
        .await;
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        return secret(
            client,
            place.pod,
            name,
            source.items.as_deref(),
            source.optional,
            mode,
        )
        .await;
    }
    if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        return downward(place, source.items.as_deref().unwrap_or_default(), mode);
    }
    if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let mut all = Files::new();
        for projection in source.sources.iter().flatten() {
            all.extend(projected(client, place, projection, mode).await?);
        }
        return Ok(all);
    }
    let known = "configMap, secret, downwardAPI, projected, emptyDir and hostPath";
    bail!("the testbed has only volumes of kind {known}")
}

async fn projected(
    client: &Client,
    place: Place<'_>,
    projection: &VolumeProjection,
    mode: i32,
) -> Result<Files> {
    if let Some(map) = &projection.config_map {
        config_map(
            client,
            place.pod,
            &map.name,
            map.items.as_deref(),
            map.optional,
            mode,
        )
        .await
    } else if let Some(source) = &projection.secret {
        secret(
            client,
            place.pod,
            &source.name,
            source.items.as_deref(),
            source.optional,
            mode,
        )
        .await
    } else if let Some(source) = &projection.downward_api {
        downward(place, source.items.as_deref().unwrap_or_default(), mode)
    } else if let Some(source) = &projection.service_account_token {
        Ok(vec![(
            source.path.clone(),
            token(client, place.pod, source).await?.into_bytes(),
            0o600,
        )])
    } else {
        bail!("the testbed projects config maps, secrets, the downward API and service account tokens only")
    }
}

async fn config_map(
    client: &Client,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace(pod));
    let map = match api.get_opt(name).await? {
        None if optional == Some(true) => ConfigMap::default(),
        map => map.with_context(|| format!("configmap \"{name}\" not found"))?,
    };
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    chosen(text.chain(binary).collect(), items, optional, mode)
}

async fn secret(
    client: &Client,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace(pod));
    let secret = match api.get_opt(name).await? {
        None if optional == Some(true) => Secret::default(),
        secret => secret.with_context(|| format!("secret \"{name}\" not found"))?,
    };
    let entries = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    chosen(entries.collect(), items, optional, mode)
}

/// All keys as files of their names, or the stated ones at the stated paths.
fn chosen(
    mut entries: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files> {
    let Some(items) = items else {
        return Ok(entries
            .into_iter()
            .map(|(key, value)| (key, value, bits(mode)))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        match entries.remove(&item.key) {
            Some(value) => files.push((item.path.clone(), value, bits(item.mode.unwrap_or(mode)))),
            None if optional == Some(true) => {}
            None => bail!("references non-existent key: {}", item.key),
        }
    }
    Ok(files)
}

fn downward(place: Place<'_>, items: &[DownwardAPIVolumeFile], mode: i32) -> Result<Files> {
    items
        .iter()
        .map(|item| {
            let value = if let Some(field) = &item.field_ref {
                let path = &field.field_path;
                env::field(place, path).with_context(|| format!("unsupported field path \"{path}\""))?
            } else {
                let wanted = item
                    .resource_field_ref
                    .as_ref()
                    .context("an item without a source")?;
                let name = wanted.container_name.as_deref().unwrap_or_default();
                let mut containers = place.pod.spec.iter().flat_map(|spec| &spec.containers);
                let container = containers.find(|container| container.name == name);
                let container = container.with_context(|| format!("no container \"{name}\""))?;
                env::resource(container, wanted, place.allocatable)?
            };
            Ok((
                item.path.clone(),
                value.into_bytes(),
                bits(item.mode.unwrap_or(mode)),
            ))
        })
        .collect()
}

/// A token for as long as any testbed lives, since nobody renews the file.
async fn token(client: &Client, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Result<String> {
    let spec = pod.spec.as_ref().context("a Pod without a spec")?;
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: wanted.audience.clone().map(|audience| vec![audience]),
            expiration_seconds: Some(wanted.expiration_seconds.unwrap_or_default().max(24 * 60 * 60)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace(pod));
    let answer = api
        .create_token_request(account, &PostParams::default(), &request)
        .await;
    let answer = answer.with_context(|| format!("get a token for service account \"{account}\""))?;
    answer
        .status
        .and_then(|status| status.token)
        .context("a token request was answered without a token")
}

fn namespace(pod: &Pod) -> String {
    pod.namespace().unwrap_or_default()
}

fn bits(mode: i32) -> u32 {
    mode.unsigned_abs() & 0o7777
}

fn write(folder: &Path, files: Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (path, content, mode) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
