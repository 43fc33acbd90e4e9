//! Which program files a container's image stands for.
//!
//! There are no images here. A Ray image selects the virtual environment of that Ray version; a few plain images run on
//! the machine's own files; everything else cannot be had. Pure.

/// What stands in for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// The virtual environment of a Ray version. The Python version and the accelerator in the tag are not looked at.
    Ray { version: String },
    /// The machine's own programs.
    Machine,
}

/// Images that need nothing but a shell or a Python.
const PLAIN: &[&str] = &["alpine", "bash", "busybox", "debian", "python", "ubuntu"];

const RAY: &[&str] = &["ray", "ray-llm", "ray-ml"];

/// Reads an image reference; the error says why it cannot be had.
pub(super) fn parse(reference: &str) -> Result<Image, String> {
    let name = reference.split_once('@').map_or(reference, |(name, _digest)| name);
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    let mut path = repository.rsplit('/');
    let last = path.next().unwrap_or_default();
    let owner = path.next();
    if owner == Some("rayproject") && RAY.contains(&last) {
        return ray_version(tag).map(|version| Image::Ray { version }).ok_or_else(|| {
            format!("tag \"{tag}\" names no Ray release: the testbed needs one, as in rayproject/ray:2.52.0")
        });
    }
    if PLAIN.contains(&last) && matches!(owner, None | Some("library")) {
        return Ok(Image::Machine);
    }
    Err(format!(
        "the testbed has no registry: only rayproject/{{{}}}:<version> and {} can run",
        RAY.join(","),
        PLAIN.join(", ")
    ))
}

/// `2.52.0` of `2.52.0-py311-gpu`.
fn ray_version(tag: &str) -> Option<String> {
    let version = tag.split('-').next()?;
    let parts: Vec<&str> = version.split('.').collect();
    let numeric = |part: &&str| !part.is_empty() && part.starts_with(|first: char| first.is_ascii_digit());
    (parts.len() == 3 && parts.iter().all(numeric)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let references = [
            "rayproject/ray:2.52.0",
            "rayproject/ray:2.52.0-py311-gpu",
            "rayproject/ray:2.9.0rc1@sha256:0000",
            "docker.io:5000/rayproject/ray-ml:2.9.0.cafe12",
            "quay.io/rayproject/ray-llm:2.53.0-cu128",
            "rayproject/ray:nightly",
            "rayproject/ray",
            "busybox",
            "docker.io/library/python:3.12",
            "redis:7",
            "example.com/team/python:3",
        ];
        let told = references.map(|reference| match parse(reference) {
            Ok(Image::Ray { version }) => format!("{reference} = Ray {version}"),
            Ok(Image::Machine) => format!("{reference} = the machine"),
            Err(why) => format!("{reference}: {why}"),
        });
        insta::assert_snapshot!(told.join("\n"), @"");
    }
}
