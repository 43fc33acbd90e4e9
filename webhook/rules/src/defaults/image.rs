//! Images from versions, and versions from images.
//!
//! An image that is filled in is the plain one of its version, such as `rayproject/ray:2.60.0`, with that version's default Python;
//! where the container asks for NVIDIA GPUs it is the one with CUDA, `rayproject/ray:2.60.0-gpu`.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::keys;
use ray::version::RayVersion;
use serde_json::Value;

use super::{Fill, Filled};
use crate::facts::Facts;

pub(super) const FILLS: &[Fill] = &[version, head_image, worker_images];

/// `rayVersion` is the version that the head's image is tagged with.
fn version(cluster: &ClusterSpec, _: &Value, facts: &Facts, filled: &mut Filled) {
    if cluster.ray_version.is_none()
        && let Some(version) = written_image(&cluster.head).and_then(|image| facts.ray_version(&image))
    {
        filled.insert(cluster.path.key("rayVersion"), version.to_string().into());
    }
}

/// The head's image is that of `rayVersion`.
fn head_image(cluster: &ClusterSpec, _: &Value, facts: &Facts, filled: &mut Filled) {
    fill(&cluster.head, filled, || image_of_version(cluster, facts), facts);
}

/// The workers' image is the head's.
fn worker_images(cluster: &ClusterSpec, _: &Value, facts: &Facts, filled: &mut Filled) {
    for group in &cluster.worker_groups {
        fill(
            group,
            filled,
            || written_image(&cluster.head).or_else(|| image_of_version(cluster, facts)),
            facts,
        );
    }
}

fn fill(group: &dyn NodeGroup, filled: &mut Filled, image: impl FnOnce() -> Option<Image>, facts: &Facts) {
    if group.ray_container().is_some()
        && written_image(group).is_none()
        && let Some(image) = image()
    {
        let image = if has_nvidia_gpus(group) {
            with_cuda(image, facts)
        } else {
            image
        };
        filled.insert(group.ray_container_path().key("image"), image.to_string().into());
    }
}

fn written_image(group: &dyn NodeGroup) -> Option<Image> {
    let image = group
        .ray_container()?
        .image
        .as_deref()
        .filter(|image| !image.is_empty())?;
    Some(Image::parse(image))
}

/// Nothing for a version with more to it than numbers: what its image is called is anybody's guess.
fn image_of_version(cluster: &ClusterSpec, facts: &Facts) -> Option<Image> {
    let version: RayVersion = cluster.ray_version.as_ref()?.parse().ok()?;
    let plain = cluster
        .ray_version
        .as_ref()?
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| Image {
        repository: facts.image_repository.clone(),
        tag: Some(version.to_string()),
        digest: None,
    })
}

fn has_nvidia_gpus(group: &dyn NodeGroup) -> bool {
    let resources = group
        .ray_container()
        .and_then(|container| container.resources.as_ref());
    let lists = resources
        .into_iter()
        .flat_map(|resources| [&resources.limits, &resources.requests])
        .flatten();
    lists
        .flat_map(|list| list.keys())
        .any(|name| keys::is_gpu(name) && name.starts_with("nvidia.com/"))
}

/// The flavour with CUDA of a plain image of the Ray project. Any other image is taken for what its author wanted.
fn with_cuda(image: Image, facts: &Facts) -> Image {
    let plain = image.tag_parts().skip(1).all(|part| part.starts_with("py3"));
    match &image.tag {
        Some(tag) if plain && image.digest.is_none() && facts.ray_version(&image).is_some() => Image {
            tag: Some(format!("{tag}-gpu")),
            ..image
        },
        _ => image,
    }
}
