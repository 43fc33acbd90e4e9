//! Where images come from.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::path::Pointer;

use super::{ROW, author};
use crate::finding::Findings;
use crate::policy::{AllowedImages, is_like};
use crate::rule::{Check, Example, Rule, Subject};

const WHY_ALLOWED: &str = "A platform team has said which images may run.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-A101",
        summary: "an image is from where the policy takes none from",
        why: WHY_ALLOWED,
        example: Example {
            fires: "{policy: {images: {allowed: [{repository: docker.io/rayproject/*}]}}, \
                /spec/workerGroupSpecs/0/template/spec/initContainers: [{name: model, image: quay.io/rayproject/model}]}",
            passes: "{policy: {images: {allowed: [{repository: docker.io/rayproject/*}]}}, \
                /spec/workerGroupSpecs/0/template/spec/initContainers: [{name: model, image: rayproject/model}]}",
        },
        check: Check::Cluster(repositories_are_allowed),
        ..ROW
    },
    Rule {
        code: "RW-A102",
        summary: "an image has a tag that the policy does not take",
        why: WHY_ALLOWED,
        example: Example {
            fires: "{policy: {images: {allowed: [{repository: '*', tags: ['2.*']}]}}, \
                /spec/workerGroupSpecs/0/template/spec/containers/1: {name: logs, image: 'fluent-bit:latest'}}",
            passes: "{policy: {images: {allowed: [{repository: '*', tags: ['2.*']}]}}, \
                /spec/workerGroupSpecs/0/template/spec/containers/1: {name: logs, image: 'fluent-bit:2.1'}}",
        },
        check: Check::Cluster(tags_are_allowed),
        ..ROW
    },
    Rule {
        code: "RW-A103",
        summary: "an image is not named by its digest, as the policy wants it",
        why: "There may be another image behind a tag tomorrow; a digest names one for ever.",
        example: Example {
            fires: "policy: {images: {requireDigest: true}}",
            passes: "{policy: {images: {requireDigest: true}}, \
                /spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:2.60.0@sha256:0a', \
                /spec/workerGroupSpecs/0/template/spec/containers/0/image: 'rayproject/ray:2.60.0@sha256:0a', \
                /spec/workerGroupSpecs/1/template/spec/containers/0/image: 'rayproject/ray:2.60.0-gpu@sha256:0b'}",
        },
        check: Check::Cluster(digests_are_named),
        ..ROW
    },
];

fn repositories_are_allowed(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(allowed) = allowed(subject) else { return };
    let author = author(subject, &["images", "allowed"]);
    for (place, image) in images(cluster, subject) {
        if allowed.iter().all(|allowed| !is_from(&image, allowed)) {
            let repositories = allowed.iter().map(|allowed| allowed.repository.as_str());
            findings
                .at(place)
                .problem(format!(
                    "{} is not a repository that the policy {author} takes images from",
                    image.repository
                ))
                .by(author)
                .hint(format!(
                    "take one from {}",
                    first_few(&repositories.collect::<Vec<_>>())
                ));
        }
    }
}

/// Where nothing is from the repository, that is another finding.
fn tags_are_allowed(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(allowed) = allowed(subject) else { return };
    let author = author(subject, &["images", "allowed"]);
    for (place, image) in images(cluster, subject) {
        let of_repository = || allowed.iter().filter(|allowed| is_from(&image, allowed));
        // Neither tag nor digest means this one.
        let tag = match (&image.tag, &image.digest) {
            (Some(tag), _) => tag,
            (None, None) => "latest",
            (None, Some(_)) => continue,
        };
        let takes = |allowed: &AllowedImages| {
            allowed.tags.is_empty() || allowed.tags.iter().any(|glob| is_like(tag, glob))
        };
        if of_repository().next().is_some() && !of_repository().any(takes) {
            let tags = of_repository()
                .flat_map(|allowed| &allowed.tags)
                .map(String::as_str);
            findings
                .at(place)
                .problem(format!("the policy {author} does not take the tag {tag}"))
                .by(author)
                .hint(format!(
                    "take a tag like {}",
                    first_few(&tags.collect::<Vec<_>>())
                ));
        }
    }
}

fn digests_are_named(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let wanted = subject.policy.spec.images.as_ref();
    if wanted.and_then(|images| images.require_digest) != Some(true) {
        return;
    }
    let author = author(subject, &["images", "requireDigest"]);
    for (place, image) in images(cluster, subject).filter(|(_, image)| image.digest.is_none()) {
        findings
            .at(place)
            .problem(format!(
                "the policy {author} wants every image to be named by its digest"
            ))
            .by(author)
            .hint(format!("append @sha256: and the digest of {image}"));
    }
}

/// Nothing where all are.
fn allowed<'p>(subject: &Subject<'p>) -> Option<&'p [AllowedImages]> {
    let images = subject.policy.spec.images.as_ref()?;
    Some(images.allowed.as_slice()).filter(|allowed| !allowed.is_empty())
}

/// Every image that is named: of the pods of a cluster, of its autoscaler and of what submits its job.
fn images<'a>(
    cluster: &'a ClusterSpec,
    subject: &Subject<'a>,
) -> impl Iterator<Item = (Pointer, Image)> + use<'a> {
    let of_pods = cluster.groups().flat_map(NodeGroup::containers);
    let of_pods = of_pods.map(|(place, container)| (place.key("image"), container.image.as_deref()));
    let options = cluster.autoscaler_options.iter();
    let of_autoscaler = options.map(|options| (options.path.key("image"), options.image.as_deref()));
    let job = subject.object.job().into_iter();
    let of_submitter = job.flat_map(|job| {
        let place = job.path.key("submitterPodTemplate").key("spec");
        let pod = job
            .submitter_pod_template
            .iter()
            .filter_map(|template| template.spec.as_ref());
        pod.flat_map(move |pod| {
            let first = pod.init_containers.iter().flatten().enumerate();
            let first = first.map(|(index, container)| ("initContainers", index, container));
            let then = pod.containers.iter().enumerate();
            let then = then.map(|(index, container)| ("containers", index, container));
            let all: Vec<_> = first.chain(then).collect();
            let place = place.clone();
            all.into_iter().map(move |(list, index, container)| {
                (
                    place.key(list).index(index).key("image"),
                    container.image.as_deref(),
                )
            })
        })
    });
    of_pods
        .chain(of_autoscaler)
        .chain(of_submitter)
        .filter_map(|(place, image)| Some((place, Image::parse(image.filter(|image| !image.is_empty())?))))
}

/// As it is written, or in full.
fn is_from(image: &Image, allowed: &AllowedImages) -> bool {
    is_like(&image.in_full().repository, &allowed.repository)
        || is_like(&image.repository, &allowed.repository)
}

/// A warning has no room for all of many.
fn first_few(all: &[&str]) -> String {
    const TOLD_MAX: usize = 3;
    let told = all[..all.len().min(TOLD_MAX)].join(", ");
    match all.len().saturating_sub(TOLD_MAX) {
        0 => told,
        more => format!("{told} or {more} more"),
    }
}
