//! Image references, and what the tags of Ray's own images tell.
//!
//! Only tags of repositories known to hold Ray are understood: `hiyouga/verl:ngc-th2.6.0-vllm0.8.2` is full of numbers, and none of
//! them is a version of Ray.

use std::fmt;

use crate::version::RayVersion;

/// Repositories whose tags begin with the version of Ray, in whichever registry.
const RAY_REPOSITORIES: [&str; 4] = [
    "rayproject/ray",
    "rayproject/ray-ml",
    "rayproject/ray-llm",
    "rayproject/ray-extra",
];

/// Where images are from that name no registry.
pub const DOCKER: &str = "docker.io";

/// An image reference: `registry.example:5000/rayproject/ray:2.60.0-py311-gpu@sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Registry and name.
    pub repository: String,
    /// What follows the colon.
    pub tag: Option<String>,
    /// What follows the at sign.
    pub digest: Option<String>,
}

impl Image {
    /// Takes a reference apart. Any text is one; whether it can be pulled is not ours to know.
    pub fn parse(reference: &str) -> Self {
        let (name, digest) = split(reference, reference.find('@'));
        // A colon before the last slash belongs to the port of the registry.
        let colon = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
        let (repository, tag) = split(name, colon);
        Self {
            repository: repository.to_owned(),
            tag,
            digest,
        }
    }

    /// The same image with nothing left out that goes without saying. What names no registry is from Docker's, what has a single word for
    /// its name there is from that registry's `library`, and without tag and digest it is the latest.
    #[must_use]
    pub fn in_full(&self) -> Self {
        let (registry, name) = match self.repository.split_once('/') {
            Some((first, name)) if is_registry(first) => (first, name),
            _ => (DOCKER, self.repository.as_str()),
        };
        let library = if registry == DOCKER && !name.contains('/') {
            "library/"
        } else {
            ""
        };
        let latest = || self.digest.is_none().then(|| "latest".to_owned());
        Self {
            repository: format!("{registry}/{library}{name}"),
            tag: self.tag.clone().or_else(latest),
            digest: self.digest.clone(),
        }
    }

    /// Whether it comes from one of the Ray project's repositories, or a mirror that kept their names.
    pub fn is_from_ray_project(&self) -> bool {
        RAY_REPOSITORIES.iter().any(|known| {
            let registry = self.repository.strip_suffix(known);
            registry.is_some_and(|registry| registry.is_empty() || registry.ends_with('/'))
        })
    }

    /// The version of Ray that the tag of one of the Ray project's images begins with; nothing for `nightly` and the like.
    pub fn ray_version(&self) -> Option<RayVersion> {
        self.is_from_ray_project()
            .then(|| self.tagged_version())
            .flatten()
    }

    /// The version that the tag begins with, for who knows that this repository's tags do.
    pub fn tagged_version(&self) -> Option<RayVersion> {
        self.tag.as_ref()?.parse().ok()
    }

    /// The minor version of Python 3 that the tag names: 11 for `-py311`.
    pub fn python_minor(&self) -> Option<u32> {
        self.tag_parts()
            .find_map(|part| part.strip_prefix("py3")?.parse().ok())
    }

    /// The parts of the tag between hyphens: `2.60.0`, `py311`, `gpu`.
    pub fn tag_parts(&self) -> impl Iterator<Item = &str> {
        self.tag.as_deref().unwrap_or_default().split('-')
    }

    /// Whether its tag names a GPU, or a version of CUDA.
    pub fn is_for_gpus(&self) -> bool {
        let cuda = |part: &str| {
            part.strip_prefix("cu")
                .is_some_and(|version| version.bytes().next().is_some_and(|byte| byte.is_ascii_digit()))
        };
        self.tag_parts().any(|part| part == "gpu" || cuda(part))
    }

    /// Whether its tag names a processor of ARM.
    pub fn is_for_arm(&self) -> bool {
        self.tag_parts().any(|part| matches!(part, "aarch64" | "arm64"))
    }

    /// Whether there may be another image behind it tomorrow: it has no digest, and no tag or one that is made to move.
    pub fn is_moving(&self) -> bool {
        let first = self.tag_parts().next().unwrap_or_default();
        self.digest.is_none() && matches!(first, "" | "latest" | "nightly" | "main" | "master")
    }
}

/// Whether the first part of an image's name says where it is from: `docker.io`, `localhost:5000`, but not `rayproject`.
pub fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

fn split(text: &str, at: Option<usize>) -> (&str, Option<String>) {
    at.map_or((text, None), |at| (&text[..at], Some(text[at + 1..].to_owned())))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    fn check(reference: &str) -> String {
        let image = Image::parse(reference);
        assert_eq!(image.to_string(), reference);
        let version = image
            .ray_version()
            .map_or("-".to_owned(), |version| version.to_string());
        let python = image
            .python_minor()
            .map_or("-".to_owned(), |minor| minor.to_string());
        format!(
            "{} {} {version} {python}",
            image.repository,
            image.tag.as_deref().unwrap_or("-")
        )
    }

    #[test]
    fn references() {
        assert_eq!(check("rayproject/ray"), "rayproject/ray - - -");
        assert_eq!(check("rayproject/ray:2.60.0"), "rayproject/ray 2.60.0 2.60.0 -");
        assert_eq!(
            check("rayproject/ray:2.46.0.0e19ea-py39"),
            "rayproject/ray 2.46.0.0e19ea-py39 2.46.0 9"
        );
        assert_eq!(
            check("rayproject/ray-ml:2.49.2.deprecated-py311-gpu"),
            "rayproject/ray-ml 2.49.2.deprecated-py311-gpu 2.49.2 11"
        );
        assert_eq!(
            check("rayproject/ray:nightly-py310"),
            "rayproject/ray nightly-py310 - 10"
        );
        assert_eq!(
            check("hiyouga/verl:ngc-th2.6.0-cu126"),
            "hiyouga/verl ngc-th2.6.0-cu126 - -"
        );
        assert_eq!(check("hiyouga/verl:2.6.0"), "hiyouga/verl 2.6.0 - -");
        assert_eq!(check("myrayproject/ray:2.6.0"), "myrayproject/ray 2.6.0 - -");
    }

    #[test]
    fn what_a_tag_tells() {
        let told = |reference: &str| {
            let image = Image::parse(reference);
            (image.is_for_gpus(), image.is_for_arm(), image.is_moving())
        };
        assert_eq!(told("rayproject/ray:2.60.0-py311-cu128"), (true, false, false));
        assert_eq!(told("rayproject/ray:nightly-gpu"), (true, false, true));
        assert_eq!(told("rayproject/ray:2.60.0-custom-aarch64"), (false, true, false));
        assert_eq!(told("rayproject/ray"), (false, false, true));
        assert_eq!(told("rayproject/ray@sha256:ab"), (false, false, false));
    }

    #[test]
    fn names_in_full() {
        let full = |reference: &str| Image::parse(reference).in_full().to_string();
        assert_eq!(full("ubuntu"), "docker.io/library/ubuntu:latest");
        assert_eq!(full("docker.io/ubuntu:24.04"), "docker.io/library/ubuntu:24.04");
        assert_eq!(full("rayproject/ray:2.60.0"), "docker.io/rayproject/ray:2.60.0");
        assert_eq!(full("quay.io/ray@sha256:ab"), "quay.io/ray@sha256:ab");
        assert_eq!(full("localhost/ray:1"), "localhost/ray:1");
        assert_eq!(full("registry:5000/ray:1"), "registry:5000/ray:1");
    }

    #[test]
    fn registries_with_ports_and_digests() {
        assert_eq!(check("localhost:5000/ray"), "localhost:5000/ray - - -");
        assert_eq!(
            check("localhost:5000/rayproject/ray:2.9.0@sha256:0a:b"),
            "localhost:5000/rayproject/ray 2.9.0 2.9.0 -"
        );
        assert_eq!(
            check("cr.io/rayproject/ray@sha256:ab"),
            "cr.io/rayproject/ray - - -"
        );
    }
}
