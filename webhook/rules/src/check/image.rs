//! The images that hold Ray, and the version of Ray that they are said to hold.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::object::Kind;
use ray::version::RayVersion;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G007",
        summary: "rayVersion is absent or no version",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay chooses probes by it, and refuses token authentication and group priorities without it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/rayVersion: nightly",
            passes: "/spec/rayVersion: 2.60.0",
        },
        check: Check::Cluster(version_is_stated),
    },
    Rule {
        code: "RW-G008",
        summary: "an image holds another version of Ray than rayVersion says",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Nodes of different versions do not form a cluster, and KubeRay prepares pods for the version that is stated.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: rayproject/ray:2.59.0-py311",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/image: example.org/my-ray:2.59.0",
        },
        check: Check::Cluster(images_hold_the_version),
    },
    Rule {
        code: "RW-G035",
        summary: "the container that runs Ray has no image",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The API server refuses pods without an image, one attempt after the other; nothing is ever started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/image: null",
            passes: "/spec/headGroupSpec/template/spec/containers/0/image: ray",
        },
        check: Check::Group(image_is_stated),
    },
];

fn version_is_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let problem = match &cluster.ray_version {
        None => "absent, and no image tells it".to_owned(),
        Some(version) => match version.parse::<RayVersion>() {
            Ok(_) => return,
            Err(error) => error.to_string(),
        },
    };
    findings
        .at(cluster.path.key("rayVersion"))
        .problem(problem)
        .hint("state the version of Ray in the images, such as 2.60.0");
}

fn images_hold_the_version(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(stated) = cluster
        .ray_version
        .as_ref()
        .and_then(|version| version.parse::<RayVersion>().ok())
    else {
        return;
    };
    for group in cluster.groups() {
        let image = group
            .ray_container()
            .and_then(|container| container.image.as_deref())
            .map(Image::parse);
        let Some(held) = image.as_ref().and_then(|image| subject.facts.ray_version(image)) else {
            continue;
        };
        if held != stated {
            findings
                .at(group.ray_container_path().key("image"))
                .problem(format!("holds Ray {held}, but rayVersion is {stated}"))
                .hint("let both be the same version");
        }
    }
}

fn image_is_stated(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(container) = group.ray_container() else {
        return;
    };
    if container.image.as_deref().unwrap_or_default().is_empty() {
        findings
            .at(group.ray_container_path().key("image"))
            .problem(format!(
                "container \"{}\" is to run Ray and has no image",
                container.name
            ))
            .hint("name one, or state rayVersion when the object is created and one is chosen for you");
    }
}
