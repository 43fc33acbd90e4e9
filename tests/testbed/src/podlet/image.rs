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
    /// `rayward-autoscaler`, which is this very program.
    Autoscaler,
}

/// Images that need nothing but a shell or a Python.
const PLAIN: &[&str] = &["alpine", "bash", "busybox", "debian", "python", "ubuntu"];

/// Reads an image reference; the error says why it cannot be had.
pub(super) fn parse(reference: &str) -> Result<Image, String> {
    let image = ray::image::Image::parse(reference);
    if let Some(version) = image.ray_version() {
        return Ok(Image::Ray {
            version: version.to_string(),
        });
    }
    if image.is_from_ray_project() {
        return Err("its tag names no Ray release, as rayproject/ray:2.52.0 does".into());
    }
    if image.repository.ends_with("rayward/autoscaler") {
        return Ok(Image::Autoscaler);
    }
    let name = image
        .repository
        .strip_prefix("docker.io/")
        .unwrap_or(&image.repository);
    if PLAIN.contains(&name.strip_prefix("library/").unwrap_or(name)) {
        return Ok(Image::Machine);
    }
    Err(format!(
        "the testbed has no registry, only rayproject/ray:<version>, rayward/autoscaler and {}",
        PLAIN.join(", ")
    ))
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
            "rayward/autoscaler:0.1.0",
            "example.com/team/python:3",
        ];
        let told = references.map(|reference| match parse(reference) {
            Ok(Image::Ray { version }) => format!("{reference} = Ray {version}"),
            Ok(Image::Autoscaler) => format!("{reference} = ours"),
            Ok(Image::Machine) => format!("{reference} = the machine"),
            Err(why) => format!("{reference}: {why}"),
        });
        insta::assert_snapshot!(told.join("\n"), @r"
        rayproject/ray:2.52.0 = Ray 2.52.0
        rayproject/ray:2.52.0-py311-gpu = Ray 2.52.0
        rayproject/ray:2.9.0rc1@sha256:0000 = Ray 2.9.0
        docker.io:5000/rayproject/ray-ml:2.9.0.cafe12 = Ray 2.9.0
        quay.io/rayproject/ray-llm:2.53.0-cu128 = Ray 2.53.0
        rayproject/ray:nightly: its tag names no Ray release, as rayproject/ray:2.52.0 does
        rayproject/ray: its tag names no Ray release, as rayproject/ray:2.52.0 does
        busybox = the machine
        docker.io/library/python:3.12 = the machine
        redis:7: the testbed has no registry, only rayproject/ray:<version>, rayward/autoscaler and alpine, bash, busybox, debian, python, ubuntu
        rayward/autoscaler:0.1.0 = ours
        example.com/team/python:3: the testbed has no registry, only rayproject/ray:<version>, rayward/autoscaler and alpine, bash, busybox, debian, python, ubuntu
        ");
    }
}
