//! Images from versions, and versions from images.
//!
//! An image that is filled in is the plain one of its version, such as `rayproject/ray:2.60.0`, with that version's default Python
//! unless other groups name theirs; where the container asks for NVIDIA GPUs it is the one with CUDA, `rayproject/ray:2.60.0-gpu`.

use std::collections::BTreeSet;

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::keys;
use ray::version::RayVersion;

use super::{Fill, Filled};
use crate::facts::Facts;
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[version, head_image, worker_images, submitter_image];

/// `rayVersion` is the version that the head's image is tagged with.
fn version(cluster: &ClusterSpec, Subject { facts, .. }: &Subject<'_>, filled: &mut Filled) {
    if cluster.ray_version.is_none()
        && let Some(version) = written_image(&cluster.head).and_then(|image| facts.ray_version(&image))
    {
        filled.insert(cluster.path.key("rayVersion"), version.to_string().into());
    }
}

/// The head's image is that of `rayVersion`.
fn head_image(cluster: &ClusterSpec, Subject { facts, .. }: &Subject<'_>, filled: &mut Filled) {
    fill(&cluster.head, filled, || image_of_version(cluster, facts), facts);
}

/// The workers' image is the head's.
fn worker_images(cluster: &ClusterSpec, Subject { facts, .. }: &Subject<'_>, filled: &mut Filled) {
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

/// The pod that submits a job needs the head's version of Ray, and no devices of its own.
fn submitter_image(cluster: &ClusterSpec, Subject { object, facts, .. }: &Subject<'_>, filled: &mut Filled) {
    let pod = object
        .job()
        .and_then(|job| Some((&job.path, job.submitter_pod_template.as_ref()?.spec.as_ref()?)));
    let Some((job, container)) = pod.and_then(|(job, pod)| Some((job, pod.containers.first()?))) else {
        return;
    };
    let written = container.image.as_ref().is_some_and(|image| !image.is_empty());
    let image = written_image(&cluster.head).or_else(|| image_of_version(cluster, facts));
    if let Some(image) = image.filter(|_| !written) {
        let containers = job.key("submitterPodTemplate").key("spec").key("containers");
        filled.insert(containers.index(0).key("image"), image.to_string().into());
    }
}

pub(super) fn written_image(group: &dyn NodeGroup) -> Option<Image> {
    let image = group
        .ray_container()?
        .image
        .as_deref()
        .filter(|image| !image.is_empty())?;
    Some(Image::parse(image))
}

/// Nothing for a version with more to it than numbers: what its image is called is anybody's guess. With the Python that the images of other
/// groups have, since all nodes need the same; nothing where these disagree.
fn image_of_version(cluster: &ClusterSpec, facts: &Facts) -> Option<Image> {
    let text = cluster.ray_version.as_ref()?;
    let version: RayVersion = text.parse().ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let pythons = python_minors(cluster, facts);
    let tag = match pythons.first() {
        _ if !plain || pythons.len() > 1 => return None,
        Some(Some(minor)) => format!("{version}-py3{minor}"),
        _ => version.to_string(),
    };
    Some(Image {
        repository: facts.image_repository.clone(),
        tag: Some(tag),
        digest: None,
    })
}

/// The versions of Python that images of Ray in a cluster have, and nothing for those that do not tell theirs.
pub(super) fn python_minors(cluster: &ClusterSpec, facts: &Facts) -> BTreeSet<Option<u32>> {
    let of_rays = |image: &Image| image.is_from_ray_project() || image.repository == facts.image_repository;
    let written = cluster.groups().filter_map(written_image).filter(of_rays);
    written.map(|image| image.python_minor()).collect()
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
    let tag = image.tag.as_deref().unwrap_or("latest");
    let moving =
        matches!(image.tag_parts().next(), Some("nightly" | "latest" | "")) && image.is_from_ray_project();
    let plain = image.tag_parts().skip(1).all(|part| part.starts_with("py3"));
    if plain && image.digest.is_none() && (moving || facts.ray_version(&image).is_some()) {
        Image {
            tag: Some(format!("{tag}-gpu")),
            ..image
        }
    } else {
        image
    }
}
