//! Images for containers that name none, and what belongs to them.

use ray::accelerator::{self, Accelerator};
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::path::Pointer;
use ray::version::RayVersion;

use super::super::image::{python_minors, written_image};
use super::super::{Fill, Filled};
use super::author;
use crate::check::policy::accelerators::resources;
use crate::policy::images::{ACCELERATOR, ARCHITECTURE, NO_ACCELERATOR, PYTHON, VERSION as RAY_VERSION};
use crate::policy::{ContainerOf, ImageTemplate, Images};
use crate::rule::Subject;

pub(super) const VERSION: &[Fill] = &[version];
pub(super) const FILLS: &[Fill] = &[head, workers, submitter, pull_policy];
pub(super) const AUTOSCALER: &[Fill] = &[autoscaler];

/// The processor of machines where the pod selects no other.
const AMD64: &str = "amd64";

/// What a container is like for which an image is looked for.
struct Wanted<'a> {
    of: ContainerOf,
    ray: Option<RayVersion>,
    python_minor: Option<u32>,
    accelerator: Option<&'static Accelerator>,
    architecture: &'a str,
}

/// Nothing is stated and nothing tells.
fn version(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let told = written_image(&cluster.head).is_some();
    if let Some(version) = images(subject).and_then(|images| images.ray_version.as_ref())
        && cluster.ray_version.is_none()
        && !told
    {
        let author = author(subject, &["images", "rayVersion"]);
        filled.insert_for(author, cluster.path.key("rayVersion"), version.clone().into());
    }
}

fn head(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    if is_open(&cluster.head)
        && let Some((author, image)) = image_for(&cluster.head, ContainerOf::Head, cluster, subject)
    {
        filled.insert_for(
            author,
            cluster.head.ray_container_path().key("image"),
            image.into(),
        );
    }
}

fn workers(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    for group in cluster.worker_groups.iter().filter(|group| is_open(*group)) {
        if let Some((author, image)) = image_for(group, ContainerOf::Workers, cluster, subject)
            && !has_image_of_its_own(cluster, &image, subject)
        {
            filled.insert_for(author, group.ray_container_path().key("image"), image.into());
        }
    }
}

/// It has no devices, and runs where its template says.
fn submitter(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let job = subject.object.job();
    let pod = job.and_then(|job| Some((job, job.submitter_pod_template.as_ref()?.spec.as_ref()?)));
    let Some((job, pod)) = pod else { return };
    let is_open = pod
        .containers
        .first()
        .is_some_and(|container| container.image.as_deref().unwrap_or_default().is_empty());
    let selector = pod.node_selector.as_ref();
    let architecture = selector.and_then(|selector| selector.get("kubernetes.io/arch"));
    let wanted = Wanted {
        accelerator: None,
        architecture: architecture.map_or(AMD64, String::as_str),
        ..Wanted::by(&cluster.head, ContainerOf::Submitter, cluster, subject)
    };
    if is_open
        && let Some((author, image)) = wanted.image(subject)
        && !has_image_of_its_own(cluster, &image, subject)
    {
        let containers = job.path.key("submitterPodTemplate").key("spec").key("containers");
        filled.insert_for(author, containers.index(0).key("image"), image.into());
    }
}

fn autoscaler(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let place = cluster.path.key("autoscalerOptions").key("image");
    let is_open = place
        .resolve(subject.json)
        .is_none_or(|image| image.is_null() || image == "");
    if cluster.is_autoscaled()
        && is_open
        && let Some((author, image)) = image_for(&cluster.head, ContainerOf::Autoscaler, cluster, subject)
    {
        filled.insert_for(author, place, image.into());
    }
}

fn pull_policy(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(policy) = images(subject).and_then(|images| images.pull_policy) else {
        return;
    };
    for group in cluster.groups() {
        let said = |ray: &k8s_openapi::api::core::v1::Container| {
            ray.image_pull_policy
                .as_ref()
                .is_some_and(|policy| !policy.is_empty())
        };
        if group.ray_container().is_some_and(|ray| !said(ray)) {
            let place: Pointer = group.ray_container_path().key("imagePullPolicy");
            let author = author(subject, &["images", "pullPolicy"]);
            filled.insert_for(author, place, format!("{policy:?}").into());
        }
    }
}

/// Whether the head has an image of its author's own, with which one from a template could not work together: neither a plain one of
/// Ray's nor one from the template's repository.
fn has_image_of_its_own(cluster: &ClusterSpec, image: &str, subject: &Subject<'_>) -> bool {
    written_image(&cluster.head).is_some_and(|head| {
        subject.facts.ray_version(&head).is_none() && head.repository != Image::parse(image).repository
    })
}

fn image_for<'p>(
    group: &dyn NodeGroup,
    of: ContainerOf,
    cluster: &ClusterSpec,
    subject: &Subject<'p>,
) -> Option<(&'p str, String)> {
    Wanted::by(group, of, cluster, subject).image(subject)
}

impl<'a> Wanted<'a> {
    fn by(group: &'a dyn NodeGroup, of: ContainerOf, cluster: &ClusterSpec, subject: &Subject<'_>) -> Self {
        let pod = group.template().spec.as_ref();
        let selector = pod.and_then(|pod| pod.node_selector.as_ref());
        let architecture = selector.and_then(|selector| selector.get("kubernetes.io/arch"));
        let default = images(subject).and_then(|images| images.python.as_ref());
        let default = default.and_then(|python| python.parse::<RayVersion>().ok());
        let pythons = python_minors(cluster, subject.facts);
        Self {
            of,
            ray: ray_version(cluster, subject),
            python_minor: match (pythons.len(), pythons.first()) {
                (0 | 1, Some(Some(minor))) => Some(*minor),
                (0 | 1, _) => default.map(|python| python.minor),
                // Which of them is right is anybody's guess.
                _ => None,
            },
            accelerator: accelerator(group),
            architecture: architecture.map_or(AMD64, String::as_str),
        }
    }

    /// The image of the first template that fits, and the policy that has it.
    fn image<'p>(&self, subject: &Subject<'p>) -> Option<(&'p str, String)> {
        let templates = images(subject)?.templates.iter().enumerate();
        let mut fitting = templates.filter(|(_, template)| self.fits(template));
        let (index, image) =
            fitting.find_map(|(index, template)| Some((index, self.fill_in(&template.image)?)))?;
        let place = Pointer::root().key("images").key("templates").index(index);
        Some((subject.policy.author(&place), image))
    }

    fn fits(&self, template: &ImageTemplate) -> bool {
        let version = |text: &String| text.parse::<RayVersion>().ok();
        let since = template.ray_from.as_ref().and_then(version);
        let until = template.ray_before.as_ref().and_then(version);
        let python = template.python.as_ref().and_then(version);
        let kind = self
            .accelerator
            .map_or(NO_ACCELERATOR, |accelerator| accelerator.kind);
        let of = if template.containers.is_empty() {
            self.of != ContainerOf::Autoscaler
        } else {
            template.containers.contains(&self.of)
        };
        of && since.is_none_or(|since| self.ray >= Some(since))
            && until.is_none_or(|until| self.ray.is_some_and(|ray| ray < until))
            && python.is_none_or(|python| self.python_minor == Some(python.minor))
            && template
                .architecture
                .as_ref()
                .is_none_or(|wanted| wanted == self.architecture)
            && template.accelerator.as_ref().is_none_or(|wanted| wanted == kind)
    }

    /// The image with what stands for something put in; nothing where that is not known.
    fn fill_in(&self, image: &str) -> Option<String> {
        let values = [
            (RAY_VERSION, self.ray.map(|version| version.to_string())),
            (PYTHON, self.python_minor.map(|minor| format!("3{minor}"))),
            (
                ACCELERATOR,
                Some(
                    self.accelerator
                        .map_or("", |accelerator| accelerator.image_suffix)
                        .to_owned(),
                ),
            ),
            (
                ARCHITECTURE,
                match self.architecture {
                    AMD64 => Some(String::new()),
                    "arm64" => Some("-aarch64".to_owned()),
                    _ => None,
                },
            ),
        ];
        values
            .into_iter()
            .try_fold(image.to_owned(), |image, (name, value)| {
                let placeholder = format!("{{{name}}}");
                if image.contains(&placeholder) {
                    value.map(|value| image.replace(&placeholder, &value))
                } else {
                    Some(image)
                }
            })
    }
}

/// Of two kinds the first by name, whichever of limits and requests is filled in by now.
fn accelerator(group: &dyn NodeGroup) -> Option<&'static Accelerator> {
    let kinds = resources(group).filter_map(|(name, _)| accelerator::of_resource(name));
    kinds.min_by_key(|accelerator| accelerator.kind)
}

/// What is stated, if it is plain, or else what the head's image tells.
fn ray_version(cluster: &ClusterSpec, subject: &Subject<'_>) -> Option<RayVersion> {
    let plain = |text: &&String| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match &cluster.ray_version {
        Some(stated) => Some(stated).filter(plain)?.parse().ok(),
        None => subject.facts.ray_version(&written_image(&cluster.head)?),
    }
}

fn is_open(group: &dyn NodeGroup) -> bool {
    group.ray_container().is_some() && written_image(group).is_none()
}

fn images<'p>(subject: &Subject<'p>) -> Option<&'p Images> {
    subject.policy.spec.images.as_ref()
}
