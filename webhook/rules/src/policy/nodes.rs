//! `head` and `workers`: what their pods have where nothing is said, and how many workers there may be.

use k8s_openapi::api::core::v1::Probe;
use ray::label::is_dns_subdomain;
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amounts::Resources;
use super::fragment::Fragment;
use super::pods::PodDefaults;
use super::read::Problem;

/// What the pods of heads, or of workers, have where their author says nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeDefaults {
    /// What the container that runs Ray asks for and gets at most, of each resource of which it states neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Whose rights the pods have. The head of a cluster that Ray itself scales needs those of its autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// How important the pods are to Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// How long the pods are given to end by themselves, in seconds. Kubernetes gives them 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub termination_grace_period_seconds: Option<i64>,
    /// How it is found out that the container that runs Ray has to be restarted, as in a Pod, in place of KubeRay's own probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Fragment>,
    /// How it is found out that the container that runs Ray may be given work, as in a Pod, in place of KubeRay's own probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Fragment>,
    /// What is put into the pods when they are created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodDefaults>,
}

/// How many workers there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Replicas {
    /// The highest `maxReplicas` that a worker group may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_group: Option<u32>,
    /// The most pods that the worker groups of a cluster may have together when they are at their `maxReplicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pods_per_cluster: Option<u32>,
}

impl NodeDefaults {
    /// The probes of the container that runs Ray, by the field that they are in.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (&'static str, &Fragment)> {
        let probes = [
            ("livenessProbe", &self.liveness_probe),
            ("readinessProbe", &self.readiness_probe),
        ];
        probes
            .into_iter()
            .filter_map(|(field, probe)| Some((field, probe.as_ref()?)))
    }

    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let resources = self.resources.iter();
        let mut problems: Vec<_> = resources
            .flat_map(|resources| resources.problems(&at.key("resources")))
            .collect();
        let names = [
            ("serviceAccountName", &self.service_account_name),
            ("priorityClassName", &self.priority_class_name),
        ];
        for (field, name) in names {
            if let Some(name) = name.as_ref().filter(|name| !is_dns_subdomain(name)) {
                problems.push(Problem::new(
                    at.key(field),
                    format!("nothing can be called `{name}`"),
                    "write lower-case letters, digits, hyphens and dots, with a letter or a digit at both ends",
                ));
            }
        }
        if self
            .termination_grace_period_seconds
            .is_some_and(|seconds| seconds < 0)
        {
            problems.push(Problem::new(
                at.key("terminationGracePeriodSeconds"),
                "nobody can be given less than no time",
                "write 0 or more",
            ));
        }
        for (field, probe) in self.probes() {
            problems.extend(probe.problems::<Probe>(&at.key(field)));
        }
        problems.extend(self.pod.iter().flat_map(|pod| pod.problems(&at.key("pod"))));
        problems
    }
}
