//! `images`: where images may come from, and which ones are taken where none is named.

use std::collections::BTreeMap;

use ray::accelerator;
use ray::image::{DOCKER, Image, is_registry};
use ray::path::Pointer;
use ray::version::RayVersion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Problem;

/// What a template's image may have in it: between braces, what the tags of Ray's own images are made of.
pub(crate) const PLACEHOLDERS: [&str; 4] = [VERSION, PYTHON, ACCELERATOR, ARCHITECTURE];
/// The version of Ray: `2.60.0`.
pub(crate) const VERSION: &str = "version";
/// The version of Python without its point: `311`.
pub(crate) const PYTHON: &str = "python";
/// `-gpu`, `-tpu`, or nothing.
pub(crate) const ACCELERATOR: &str = "accelerator";
/// `-aarch64`, or nothing.
pub(crate) const ARCHITECTURE: &str = "architecture";

/// Where images may come from, and which ones are taken where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Images {
    /// The images that may be used; all, if the list is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub allowed: Vec<AllowedImages>,
    /// Whether every image has to be named by its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_digest: Option<bool>,
    /// The version of Ray of clusters that state none and whose head's image does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ray_version: Option<String>,
    /// The version of Python that images have where the cluster's other images do not tell it, such as `3.11`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// When the container that runs Ray has its image fetched, where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PullPolicy")]
    pub pull_policy: Option<PullPolicy>,
    /// Images for containers that name none. The first that fits is taken. Workers and submitters of a head with an image of its author's
    /// own run that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub templates: Vec<ImageTemplate>,
    /// Where head and worker Pods get images from in place of where their authors take them from: beginnings of repositories, registry
    /// first, by those that they replace, as in `docker.io/rayproject: registry.example.com/ray`. Of several the longest is taken.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrors: BTreeMap<String, String>,
    /// Digests that head and worker Pods get images by, `sha256:...`, by the full names of the images, as in
    /// `docker.io/rayproject/ray:2.60.0`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
}

/// Images that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedImages {
    /// Registry and name, where `*` stands for anything: `registry.example.com/ray/*`. What names no registry is from `docker.io`.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// The tags that may be used, where `*` stands for anything; all, if the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// When a container's image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the machine does not have it yet.
    IfNotPresent,
    /// Never.
    Never,
}

/// An image for containers that name none, and for which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageTemplate {
    /// What it is called.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The image. `{version}`, `{python}`, `{accelerator}` and `{architecture}` stand for what Ray's own tags are made of: `2.60.0`; `311`; `-gpu`,
    /// `-tpu` or nothing; `-aarch64` or nothing. Where one of them is not known, the template does not fit.
    #[schemars(length(min = 1))]
    pub image: String,
    /// The containers that it is for: `Head`, `Workers`, `Submitter` and `Autoscaler`. All but the autoscaler, if nothing is said, since that
    /// runs the head's image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerOf>,
    /// The first version of Ray that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray_from: Option<String>,
    /// The first version of Ray that it is not for any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray_before: Option<String>,
    /// The version of Python that it is for, such as `3.11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// The processors that it is for, as the label `kubernetes.io/arch` of machines calls them: `arm64`. Machines are `amd64` where the pod does
    /// not select others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The kind of accelerator that it is for, such as `NVIDIA` or `TPU`, or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
}

/// Whose container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContainerOf {
    /// The head's that runs Ray.
    Head,
    /// Those of workers that run Ray.
    Workers,
    /// The one that submits a job.
    Submitter,
    /// The autoscaler beside the head.
    Autoscaler,
}

impl Images {
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let versions = [("rayVersion", &self.ray_version), ("python", &self.python)];
        let mut problems: Vec<_> = versions
            .into_iter()
            .filter_map(|(field, version)| no_version(version.as_ref()?, at.key(field)))
            .collect();
        for (index, template) in self.templates.iter().enumerate() {
            problems.extend(template.problems(&at.key("templates").index(index)));
        }
        for (from, to) in &self.mirrors {
            let at = at.key("mirrors").key(from.clone());
            problems.extend([from, to].into_iter().find_map(|prefix| no_prefix(prefix, &at)));
        }
        for (image, digest) in &self.digests {
            let at = at.key("digests").key(image.clone());
            problems.extend(no_full_name(image, &at).or_else(|| no_digest(digest, &at)));
        }
        problems
    }

    /// The repository where a mirror has an image, and what it is the mirror of. What is from a mirror stays there.
    pub(crate) fn mirrored(&self, image: &Image) -> Option<(&str, String)> {
        let full = image.in_full().repository;
        let is_from = |mirror: &String| {
            let names = [&full, &image.repository];
            names.iter().any(|name| below(name, mirror).is_some())
        };
        if self.mirrors.values().any(is_from) {
            return None;
        }
        let mirrors = self.mirrors.iter();
        let fitting = mirrors.filter_map(|(from, to)| Some((from, to, below(&full, from)?)));
        // A registry alone is no repository.
        let named = fitting.filter(|(_, to, rest)| to.contains('/') || !rest.is_empty());
        let (from, to, rest) = named.max_by_key(|(from, ..)| from.len())?;
        Some((from, format!("{to}{rest}")))
    }

    /// The digest of an image that is named without, and the name that it stands under.
    pub(crate) fn digest(&self, image: &Image) -> Option<(&str, &str)> {
        let (name, digest) = self.digests.get_key_value(&image.in_full().to_string())?;
        Some((name, digest))
    }
}

impl ImageTemplate {
    fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let versions = [
            ("rayFrom", &self.ray_from),
            ("rayBefore", &self.ray_before),
            ("python", &self.python),
        ];
        let mut problems: Vec<_> = versions
            .into_iter()
            .filter_map(|(field, version)| no_version(version.as_ref()?, at.key(field)))
            .collect();
        if let Some(kind) = &self.accelerator
            && kind != NO_ACCELERATOR
            && accelerator::of_kind(kind).is_none()
        {
            let known = accelerator::ALL.map(|known| known.kind).join(", ");
            let problem = format!("`{kind}` is no kind of accelerator");
            let hint = format!("write one of {known}, or {NO_ACCELERATOR}");
            problems.push(Problem::new(at.key("accelerator"), problem, hint));
        }
        if let Some(placeholder) = self.unknown_placeholder() {
            let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
            let problem = format!("`{placeholder}` stands for nothing");
            problems.push(Problem::new(
                at.key("image"),
                problem,
                format!("there are {known}"),
            ));
        }
        problems
    }

    /// A brace that belongs to none of the [`PLACEHOLDERS`], with what follows up to the next.
    fn unknown_placeholder(&self) -> Option<String> {
        let rest = PLACEHOLDERS.iter().fold(self.image.clone(), |image, name| {
            image.replace(&format!("{{{name}}}"), "")
        });
        let brace = rest.find(['{', '}'])?;
        Some(rest[brace..].split_inclusive('}').next()?.to_owned())
    }
}

/// Of the digests of images: two for each byte.
const SHA256_DIGITS: usize = 64;
/// [`ImageTemplate::accelerator`] of containers without one.
pub(crate) const NO_ACCELERATOR: &str = "None";

fn no_version(text: &str, at: Pointer) -> Option<Problem> {
    let error = text.parse::<RayVersion>().err()?;
    Some(Problem::new(
        at,
        error.to_string(),
        "write its numbers with points between them",
    ))
}

/// What a repository has behind a prefix that ends where a part of its name does.
fn below<'r>(repository: &'r str, prefix: &str) -> Option<&'r str> {
    let rest = repository.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn no_prefix(prefix: &str, at: &Pointer) -> Option<Problem> {
    let (registry, name) = match prefix.split_once('/') {
        Some((registry, name)) => (registry, Some(name)),
        None => (prefix, None),
    };
    let is_part = |part: &str| !part.is_empty() && !part.contains([':', '@', '*']);
    if !name.is_none_or(|name| name.split('/').all(is_part)) {
        let problem = format!("no repository's name begins with `{prefix}`");
        let hint = "write a registry and parts of a name, without tag, and without a slash at the end";
        Some(Problem::new(at.clone(), problem, hint))
    } else if !is_registry(registry) {
        let problem = format!("`{prefix}` names no registry");
        let hint = format!("if it is Docker's, write {DOCKER}/{prefix}");
        Some(Problem::new(at.clone(), problem, hint))
    } else {
        None
    }
}

/// Each image has one name only, so that what several policies say about it comes together.
fn no_full_name(name: &str, at: &Pointer) -> Option<Problem> {
    let image = Image::parse(name);
    let full = image.in_full().to_string();
    if image.digest.is_some() {
        let problem = format!("`{name}` has a digest already");
        Some(Problem::new(at.clone(), problem, "write its tag only"))
    } else if full != name {
        let problem = format!("`{name}` is not all of the image's name");
        Some(Problem::new(at.clone(), problem, format!("write {full}")))
    } else {
        None
    }
}

fn no_digest(digest: &str, at: &Pointer) -> Option<Problem> {
    let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = digest.strip_prefix("sha256:");
    let is_one =
        digits.is_some_and(|digits| digits.len() == SHA256_DIGITS && digits.bytes().all(is_hexadecimal));
    (!is_one).then(|| {
        let hint = format!("write sha256: and {SHA256_DIGITS} hexadecimal digits");
        Problem::new(at.clone(), format!("`{digest}` is no digest"), hint)
    })
}
