//! `RayScalingPolicy`: what besides Ray's own demand says how many workers a group has. The webhook judges such objects and the autoscaler
//! follows them; both read them here. What the values come to is the planner's affair.

mod behavior;
mod disruption;
mod mode;
mod problems;
mod signal;
pub mod status;
mod target;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::path::Pointer;
use crate::strict::{self, Problem};

pub use behavior::{Behavior, ChangeType, Scaling, ScalingStep, SelectPolicy};
pub use disruption::{Disruption, Share};
pub use mode::{Mode, Override};
pub use signal::{
    Each, Fallback, FallbackBehavior, Measure, PrometheusSource, Role, ScheduleSource, Signal, Vetoes,
};
pub use target::{Target, TargetKind};

/// The kind in Kubernetes.
pub const KIND: &str = "RayScalingPolicy";
/// Its group.
pub const GROUP: &str = "rayward.dev";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// Its name in URLs.
pub const PLURAL: &str = "rayscalingpolicies";

/// How the worker groups of one Ray cluster are scaled, besides by what Ray itself asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend(
    "required" = ["target", "groups"],
    "x-kubernetes-validations" = [
        {"rule": "!has(self.replicas) || size(self.groups) == 1 && has(self.groups[0].name)", "message": "replicas takes a policy of one group that is named"},
    ],
))]
pub struct ScalingPolicySpec {
    /// Whose workers are scaled.
    pub target: Target,
    /// What is done with what the policy comes to. Active: the cluster is scaled by it. Recommend: it is only shown in the status. Paused: the
    /// groups keep the workers they have. Without it Active.
    #[schemars(with = "Mode")]
    pub mode: Option<Mode>,
    /// How many replicas the one group of this policy has at least, as a Floor. The subresource `scale` reads and writes it, for `kubectl scale`, a
    /// HorizontalPodAutoscaler, KEDA and the like; where it is left out, that cannot be read.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// The groups, each with its signals.
    #[schemars(length(min = 1, max = 50))]
    pub groups: Vec<GroupPolicy>,
}

/// What is wanted of one worker group, or of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas", "message": "minReplicas is above maxReplicas"},
]))]
pub struct GroupPolicy {
    /// Which group; each one, if it is left out.
    pub name: Option<String>,
    /// The fewest replicas, where that is more than the group's own minimum.
    #[schemars(range(min = 0))]
    pub min_replicas: Option<i32>,
    /// The most replicas, where that is less than the group's own maximum.
    #[schemars(range(min = 0))]
    pub max_replicas: Option<i32>,
    /// What says how many replicas there should be. Ray's demand and Targets propose, and the highest proposal wins; Floors, Caps and Guards
    /// bound it; the behavior says how fast it is followed.
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub signals: Vec<Signal>,
    /// How fast the number of replicas may change, as a HorizontalPodAutoscaler (`autoscaling/v2`) has it. Without `scaleUp` growing is not slowed
    /// down; without `scaleDown`, and with a Target, shrinking is as with Kubernetes' defaults: after 300 seconds.
    pub behavior: Option<Behavior>,
    /// How much may be taken away at a time, and how young it may not be. What Ray has lost and what is above the group's own maximum goes all the
    /// same, and counts; what has never found a place goes, and does not count.
    pub disruption: Option<Disruption>,
    /// For how many seconds none of the Activate signals has to be on before the Targets ask for nothing. Without it 300.
    #[schemars(range(min = 0, max = 86400))]
    pub cooldown_seconds: Option<i32>,
}

/// Reads the spec of a policy, or says everything that is wrong with it.
pub fn read(spec: &Value) -> Result<ScalingPolicySpec, Vec<Problem>> {
    let misfit = |path, message: String| {
        let hint = "`kubectl explain rayscalingpolicies --recursive` shows what every field takes";
        strict::misfit(path, message, hint)
    };
    strict::spec(
        spec,
        misfit,
        |spec| problems::of(spec, &Pointer::root()),
        Vec::new(),
    )
}

impl ScalingPolicySpec {
    /// The name of the only group that it is about, if it is about one.
    pub fn one_group(&self) -> Option<&str> {
        match &self.groups[..] {
            [group] => group.name.as_deref(),
            _ => None,
        }
    }

    /// What is wanted of a group: by its name, or else of each.
    pub fn of_group(&self, name: &str) -> Option<&GroupPolicy> {
        let named = self
            .groups
            .iter()
            .find(|group| group.name.as_deref() == Some(name));
        named.or_else(|| self.groups.iter().find(|group| group.name.is_none()))
    }
}
