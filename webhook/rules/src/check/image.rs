//! The images that hold Ray, each by itself, and the version of Ray that they are said to hold. Whether they fit each other and the
//! machines is in `image_match`.

use std::collections::BTreeSet;

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::object::Kind;
use ray::version::RayVersion;

use super::pod_lifecycle::HTTP_PROBES_SINCE;
use crate::facts::{Facts, Operators};
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
        summary: "the images hold another version of Ray than rayVersion says",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay prepares pods for the version that is stated: from 2.53.0 on it probes an address that older versions do not have, and \
            the container is killed, again and again. Other differences may do no harm.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/image: rayproject/ray:2.52.1-py310",
            passes: "/spec/headGroupSpec/template/spec/containers/0/image: rayproject/ray:2.60.0-py310",
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
    Rule {
        code: "RW-P405",
        summary: "there may be another image behind a tag tomorrow",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "A node that starts later may get another version of Ray than the head has, and is then not let in.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/image: rayproject/ray:nightly",
            passes: "/spec/headGroupSpec/template/spec/containers/0/image: rayproject/ray:2.60.0",
        },
        check: Check::Cluster(images_stay),
    },
    Rule {
        code: "RW-P406",
        summary: "a moving tag is pulled only where it is not there yet",
        action: Action::Audit,
        kinds: &Kind::ALL,
        why: "Machines keep what the tag meant when they first pulled it, so nodes of one cluster have different images.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:nightly', \
                /spec/headGroupSpec/template/spec/containers/0/imagePullPolicy: IfNotPresent}",
            passes: "{/spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:nightly', \
                /spec/headGroupSpec/template/spec/containers/0/imagePullPolicy: Always}",
        },
        check: Check::Group(moving_images_are_pulled),
    },
];

fn version_is_stated(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let of_head = parsed_image(&cluster.head).and_then(|image| subject.facts.ray_version(&image));
    let (problem, version) = match (&cluster.ray_version, of_head) {
        (None, None) => (
            "absent, and no image tells it".to_owned(),
            RayVersion::new(2, 60, 0),
        ),
        (None, Some(held)) => (format!("absent, though the head's image holds {held}"), held),
        (Some(version), held) => match version.parse::<RayVersion>() {
            Ok(_) => return,
            Err(error) => (error.to_string(), held.unwrap_or(RayVersion::new(2, 60, 0))),
        },
    };
    findings
        .at(cluster.path.key("rayVersion"))
        .problem(problem)
        .hint(format!(
            "state the version of Ray in the images, such as {version}"
        ));
}

/// Where the head's image tells its version, that of the workers is held against that, by another rule.
fn images_hold_the_version(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(stated) = stated_version(cluster) else {
        return;
    };
    let held = |group| version_held(&parsed_image(group)?, subject.facts);
    let head_tells = held(&cluster.head).is_some();
    let groups = cluster.groups().take(if head_tells { 1 } else { usize::MAX });
    for group in groups {
        let Some(held) = held(group).filter(|held| held.version != stated) else {
            continue;
        };
        let probed_in_vain =
            held.version < HTTP_PROBES_SINCE && stated >= HTTP_PROBES_SINCE && !has_probes(group);
        let draft = findings
            .at(group.ray_container_path().key("image"))
            .problem(format!("holds Ray {}, but rayVersion is {stated}", held.version));
        let draft = if held.is_certain && probed_in_vain {
            draft
        } else {
            draft.only(Action::Warn)
        };
        draft.hint("let both be the same version");
    }
}

fn has_probes(group: &dyn NodeGroup) -> bool {
    group
        .ray_container()
        .is_some_and(|ray| ray.liveness_probe.is_some() && ray.readiness_probe.is_some())
}

/// The version of Ray in an image, as its tag tells.
pub(super) struct Held {
    pub(super) version: RayVersion,
    /// Whether the repository is one whose tags can be trusted.
    pub(super) is_certain: bool,
}

/// Only tags of known repositories are trusted. Of others that are called after Ray it is likely enough to be worth a word.
pub(super) fn version_held(image: &Image, facts: &Facts) -> Option<Held> {
    let certain = facts.ray_version(image).map(|version| Held {
        version,
        is_certain: true,
    });
    certain.or_else(|| {
        let name = image.repository.rsplit('/').next()?;
        let is_likely = matches!(name, "ray" | "ray-ml" | "ray-llm");
        Some(Held {
            version: image.tagged_version().filter(|_| is_likely)?,
            is_certain: false,
        })
    })
}

/// The version that is stated, if it is one.
pub(super) fn stated_version(cluster: &ClusterSpec) -> Option<RayVersion> {
    cluster.ray_version.as_ref()?.parse().ok()
}

/// The image of the container that runs Ray, if there is one.
pub(super) fn parsed_image(group: &dyn NodeGroup) -> Option<Image> {
    let image = group.ray_container()?.image.as_deref()?;
    (!image.is_empty()).then(|| Image::parse(image))
}

/// Each image once, however many groups have it.
fn images_stay(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for group in cluster.groups() {
        let text = group.ray_container().and_then(|ray| ray.image.as_ref());
        let Some(image) = parsed_image(group).filter(|image| image.is_moving() && seen.insert(text)) else {
            continue;
        };
        let what = image
            .tag
            .map_or("no tag".to_owned(), |tag| format!("the tag {tag}"));
        findings
            .at(group.ray_container_path().key("image"))
            .problem(format!(
                "with {what} there may be another image behind it tomorrow"
            ))
            .hint("name a version, such as 2.60.0, or a digest");
    }
}

fn moving_images_are_pulled(group: &dyn NodeGroup, findings: &mut Findings) {
    let policy = group
        .ray_container()
        .and_then(|ray| ray.image_pull_policy.as_deref());
    if policy == Some("IfNotPresent") && parsed_image(group).is_some_and(|image| image.is_moving()) {
        findings
            .at(group.ray_container_path().key("imagePullPolicy"))
            .problem("machines that have an older image of this tag keep it")
            .hint("leave it out, or name a version or a digest");
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
