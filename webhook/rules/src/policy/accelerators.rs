//! `accelerators`: how many a cluster may have, who gets some without asking, and what comes with them.

use ray::accelerator;
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amounts::Resources;
use super::pods::PodDefaults;
use super::read::Problem;

/// What holds of a kind of accelerator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceleratorPolicy {
    /// Such as `NVIDIA`, with the slices of its GPUs, or `TPU`; a wrong one is answered with all that there are.
    #[schemars(length(min = 1, max = 16))]
    pub kind: String,
    /// The most that a pod may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_pod: Option<u32>,
    /// The most that a worker group may have when it is at its `maxReplicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_group: Option<u32>,
    /// The most that the head and all worker groups of a cluster may have when they are at their `maxReplicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_cluster: Option<u32>,
    /// The most that the `RayCluster`, `RayJob` and `RayService` objects of a namespace may have together, each counted as for `maxPerCluster`.
    /// It is about what is known when an object is written, so writes at the same time may both fit: for a hard limit take the
    /// `ResourceQuota` that `rayward-webhook quota` prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_namespace: Option<u32>,
    /// Worker groups that get some although they do not ask for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// What a container that runs Ray and asks for one has besides, where it says nothing about it, such as a network device:
    /// `limits: {vpc.amazonaws.com/efa: 4}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What is put into Pods with a container that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodDefaults>,
}

/// Accelerators for worker groups that do not ask for any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Given {
    /// The names of the groups, where `*` stands for anything.
    #[schemars(length(min = 1, max = 50))]
    pub groups: Vec<String>,
    /// The resource that their Ray container gets, such as `nvidia.com/mig-1g.10gb`; the usual one of the kind, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// How many each container gets. Where the group's `num-gpus` says how many Ray is to have, it gets that many.
    pub amount: u32,
}

pub(super) fn problems(accelerators: &[AcceleratorPolicy], at: &Pointer) -> Vec<Problem> {
    let all = accelerators.iter().enumerate();
    all.flat_map(|(index, policy)| policy.problems(&at.index(index)))
        .collect()
}

impl AcceleratorPolicy {
    fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let pod = self.pod.iter();
        let of_pod = pod.flat_map(|pod| pod.problems(&at.key("pod")));
        let resources = self.resources.iter();
        let of_resources = resources.flat_map(|resources| resources.problems(&at.key("resources")));
        self.problem(at)
            .into_iter()
            .chain(of_resources)
            .chain(of_pod)
            .collect()
    }

    fn problem(&self, at: &Pointer) -> Option<Problem> {
        let Some(kind) = accelerator::of_kind(&self.kind) else {
            let known = accelerator::ALL.map(|known| known.kind).join(", ");
            let problem = format!("`{}` is no kind of accelerator", self.kind);
            return Some(Problem::new(
                at.key("kind"),
                problem,
                format!("write one of {known}"),
            ));
        };
        let resource = self.given.as_ref()?.resource.as_ref()?;
        (!kind.goes_by(resource)).then(|| {
            Problem::new(
                at.key("given").key("resource"),
                format!(
                    "`{resource}` is no name of accelerators of the kind {}",
                    self.kind
                ),
                format!("write {}, or leave it out", kind.resources.join(" or ")),
            )
        })
    }
}
