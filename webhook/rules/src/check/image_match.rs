//! Whether the images of a cluster fit each other, and the machines they run on. Only what tags tell is known: of images whose tags tell
//! nothing, nothing is said.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::keys;
use ray::object::Kind;

use super::image::{Held, parsed_image, stated_version, version_held};
use super::resources::{limits, requests};
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_NOT_LET_IN: &str = "Ray lets a node in only with the head's version of Ray and of Python; others end with \"Version mismatch\", again \
    and again.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P401",
        summary: "a worker's image holds another version of Ray than the head's",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_NOT_LET_IN,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: rayproject/ray:2.60.1",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: rayproject/ray:2.60.0.abcdef-py310",
        },
        check: Check::Cluster(workers_have_the_heads_ray),
    },
    Rule {
        code: "RW-P402",
        summary: "a worker's image holds another Python than the head's",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_NOT_LET_IN,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:2.60.0-py310', \
                /spec/workerGroupSpecs/0/template/spec/containers/0/image: 'rayproject/ray:2.60.0-py311'}",
            passes: "{/spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:2.60.0-py310', \
                /spec/workerGroupSpecs/0/template/spec/containers/0/image: 'rayproject/ray-ml:2.60.0-py310-gpu'}",
        },
        check: Check::Cluster(workers_have_the_heads_python),
    },
    Rule {
        code: "RW-P403",
        summary: "a group with NVIDIA GPUs has an image without CUDA",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray finds the GPUs, but libraries that need CUDA do not, unless they bring it with them.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/1/template/spec/containers/0/image: rayproject/ray:2.60.0-py311-cpu",
            passes: "/spec/workerGroupSpecs/1/template/spec/containers/0/image: rayproject/ray:2.60.0-py311-cu128",
        },
        check: Check::Group(gpus_have_cuda),
    },
    Rule {
        code: "RW-P404",
        summary: "a worker group without GPUs has an image with CUDA",
        action: Action::Audit,
        kinds: &Kind::ALL,
        why: "It works; the image is several times as large, and each new machine pulls it first.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: rayproject/ray:2.60.0-gpu",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: rayproject/ray:2.60.0",
        },
        check: Check::Cluster(cuda_is_for_gpus),
    },
    Rule {
        code: "RW-P407",
        summary: "an image is for another processor than the nodes that are selected",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The container ends at once with \"exec format error\".",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/nodeSelector: {kubernetes.io/arch: arm64}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/nodeSelector: {kubernetes.io/arch: arm64}, \
                /spec/workerGroupSpecs/0/template/spec/containers/0/image: 'rayproject/ray:2.60.0-aarch64'}",
        },
        check: Check::Group(images_are_for_the_processor),
    },
    Rule {
        code: "RW-P408",
        summary: "the autoscaler's image holds another version of Ray than the head's",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The autoscaler talks to the head in a protocol that changes between versions.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {image: 'rayproject/ray:2.59.0'}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {image: 'rayproject/ray:2.60.0-py311'}}",
        },
        check: Check::Cluster(autoscaler_has_the_heads_ray),
    },
];

/// Images of the Ray project whose tags do not say hold a Python older than this.
const DEFAULT_PYTHON_MINOR_MAX: u32 = 10;

/// A head without an image gets that of rayVersion.
fn workers_have_the_heads_ray(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let of_head = match parsed_image(&cluster.head) {
        Some(image) => version_held(&image, subject.facts),
        None => stated_version(cluster).map(|version| Held {
            version,
            is_certain: true,
        }),
    };
    let Some(of_head) = of_head else { return };
    for group in &cluster.worker_groups {
        let held = parsed_image(group).and_then(|image| version_held(&image, subject.facts));
        let Some(held) = held.filter(|held| held.version != of_head.version) else {
            continue;
        };
        let draft = findings.at(group.ray_container_path().key("image"));
        let draft = if held.is_certain && of_head.is_certain {
            draft
        } else {
            draft.only(Action::Warn)
        };
        draft
            .problem(format!(
                "holds Ray {}, but the head's holds {}",
                held.version, of_head.version
            ))
            .hint("let both be the same version");
    }
}

/// Tags of other repositories may mean anything; that both name a Python makes a mismatch likely.
fn workers_have_the_heads_python(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(head) = parsed_image(&cluster.head) else {
        return;
    };
    let known =
        |image: &Image| image.is_from_ray_project() || image.repository == subject.facts.image_repository;
    for group in &cluster.worker_groups {
        let Some(worker) = parsed_image(group) else {
            continue;
        };
        let both_known = known(&head) && known(&worker);
        let (path, problem) = match (head.python_minor(), worker.python_minor()) {
            (Some(of_head), Some(of_worker)) if of_head != of_worker => (
                group.ray_container_path(),
                format!("holds Python 3.{of_worker}, but the head's holds 3.{of_head}"),
            ),
            (None, Some(minor)) if both_known && minor > DEFAULT_PYTHON_MINOR_MAX => (
                group.ray_container_path(),
                format!("holds Python 3.{minor}, and the head's tag does not name one"),
            ),
            (Some(minor), None) if both_known && minor > DEFAULT_PYTHON_MINOR_MAX => (
                group.ray_container_path(),
                format!("does not name its Python, and the head's holds 3.{minor}"),
            ),
            _ => continue,
        };
        let certain = both_known && head.python_minor().is_some() && worker.python_minor().is_some();
        let draft = findings.at(path.key("image")).problem(problem);
        let draft = if certain { draft } else { draft.only(Action::Warn) };
        draft.hint("take images with the same Python, such as 2.60.0-py311 and 2.60.0-py311-gpu");
    }
}

fn gpus_have_cuda(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(image) = parsed_image(group).filter(Image::is_from_ray_project) else {
        return;
    };
    // All images for language models have it.
    if has_gpus(group, "nvidia.com/") && !image.is_for_gpus() && !image.repository.ends_with("ray-llm") {
        findings
            .at(group.ray_container_path().key("image"))
            .problem("has no CUDA, and the container gets NVIDIA GPUs")
            .hint("take the tag that ends in -gpu, unless your libraries bring CUDA with them");
    }
}

/// A head often has the workers' image, so that there is one to build and to pull.
fn cuda_is_for_gpus(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for group in &cluster.worker_groups {
        let image = parsed_image(group).filter(Image::is_from_ray_project);
        let claims = group
            .ray_container()
            .and_then(|ray| ray.resources.as_ref()?.claims.as_ref());
        let no_devices = claims.is_none_or(Vec::is_empty)
            && group
                .ray_container()
                .is_some_and(|ray| !limits(ray).any(|(name, _)| keys::is_device(name)));
        if no_devices && image.is_some_and(|image| image.is_for_gpus()) {
            findings
                .at(group.ray_container_path().key("image"))
                .problem("holds CUDA, and the container gets no GPU")
                .hint("take the tag without -gpu for this group");
        }
    }
}

/// The Ray project has images of their own for ARM.
fn images_are_for_the_processor(group: &dyn NodeGroup, findings: &mut Findings) {
    let pod = group.template().spec.as_ref();
    let selector = pod.and_then(|pod| pod.node_selector.as_ref());
    let selected = selector
        .and_then(|selector| selector.get("kubernetes.io/arch"))
        .map(String::as_str);
    let Some(image) = parsed_image(group).filter(|image| image.is_from_ray_project() && image.tag.is_some())
    else {
        return;
    };
    let (is, hint) = match (selected, image.is_for_arm()) {
        (Some("arm64"), false) => ("for x86", "take the tag that ends in -aarch64"),
        (Some("amd64"), true) => ("for ARM", "take the tag without -aarch64"),
        _ => return,
    };
    findings
        .at(group.ray_container_path().key("image"))
        .problem(format!("is {is}, and the nodes selected are not"))
        .hint(hint);
}

fn autoscaler_has_the_heads_ray(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(options) = cluster
        .autoscaler_options
        .as_ref()
        .filter(|_| cluster.is_autoscaled())
    else {
        return;
    };
    let image = options.image.as_deref().map(Image::parse);
    let of_head = parsed_image(&cluster.head).and_then(|image| subject.facts.ray_version(&image));
    let (Some(held), Some(of_head)) = (
        image.and_then(|image| subject.facts.ray_version(&image)),
        of_head.or_else(|| stated_version(cluster)),
    ) else {
        return;
    };
    if held != of_head {
        findings
            .at(options.path.key("image"))
            .problem(format!("holds Ray {held}, but the head's holds {of_head}"))
            .hint("leave it out, which takes the head's image");
    }
}

fn has_gpus(group: &dyn NodeGroup, domain: &str) -> bool {
    let ray = group.ray_container().into_iter();
    let mut stated = ray.flat_map(|ray| limits(ray).chain(requests(ray)));
    stated.any(|(name, _)| keys::is_gpu(name) && name.starts_with(domain))
}
