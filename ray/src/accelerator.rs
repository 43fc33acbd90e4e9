//! The kinds of accelerators that policies can speak of: one more kind is one more row.

/// A kind of accelerator.
#[derive(Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// What policies call it.
    pub kind: &'static str,
    /// Kubernetes' names of it; a star at the end stands for more of a name. The first is what a container asks for where nothing
    /// else is said.
    pub resources: &'static [&'static str],
    /// What the tags of Ray's own images for it end in.
    pub image_suffix: &'static str,
}

/// All of them.
pub const ALL: [Accelerator; 7] = [
    Accelerator {
        kind: "NVIDIA",
        // Slices of a GPU, and GPUs that are shared, go by names of their own.
        resources: &["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*"],
        image_suffix: "-gpu",
    },
    Accelerator {
        kind: "AMD",
        resources: &["amd.com/gpu"],
        image_suffix: "",
    },
    Accelerator {
        kind: "Intel",
        resources: &["gpu.intel.com/i915", "gpu.intel.com/xe"],
        image_suffix: "",
    },
    Accelerator {
        kind: "Gaudi",
        resources: &["habana.ai/gaudi"],
        image_suffix: "",
    },
    Accelerator {
        kind: "Neuron",
        resources: &[
            "aws.amazon.com/neuron",
            "aws.amazon.com/neuroncore",
            "aws.amazon.com/neurondevice",
        ],
        image_suffix: "",
    },
    Accelerator {
        kind: "TPU",
        resources: &["google.com/tpu"],
        image_suffix: "-tpu",
    },
    Accelerator {
        kind: "Ascend",
        resources: &["huawei.com/Ascend910", "huawei.com/Ascend*"],
        image_suffix: "",
    },
];

/// The kind that policies call so.
pub fn of_kind(kind: &str) -> Option<&'static Accelerator> {
    ALL.iter().find(|accelerator| accelerator.kind == kind)
}

/// The kind that this Kubernetes resource is of.
pub fn of_resource(resource: &str) -> Option<&'static Accelerator> {
    ALL.iter().find(|accelerator| accelerator.goes_by(resource))
}

impl Accelerator {
    /// Whether this Kubernetes resource is of this kind.
    pub fn goes_by(&self, resource: &str) -> bool {
        self.resources.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => resource.starts_with(beginning),
            None => resource == *name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::of_resource;

    #[test]
    fn resources_and_their_kinds() {
        let kind = |resource| of_resource(resource).map(|accelerator| accelerator.kind);
        for (resource, expected) in [
            ("nvidia.com/gpu", Some("NVIDIA")),
            ("nvidia.com/mig-1g.10gb.me", Some("NVIDIA")),
            ("nvidia.com/gpumem", None),
            ("amd.com/gpu", Some("AMD")),
            ("aws.amazon.com/neuroncore", Some("Neuron")),
            ("huawei.com/Ascend310P", Some("Ascend")),
            ("google.com/tpu", Some("TPU")),
            ("cpu", None),
        ] {
            assert_eq!(kind(resource), expected, "{resource}");
        }
    }
}
