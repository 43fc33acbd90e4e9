//! How fast a number of replicas may change: `behavior` of `autoscaling/v2`, field by field.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Measure;

/// How fast the number of replicas may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Towards more.
    pub scale_up: Option<Scaling>,
    /// Towards fewer.
    pub scale_down: Option<Scaling>,
}

/// How fast the number of replicas may change in one direction. What is left out is as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scaling {
    /// For how many seconds what was asked for before still counts.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of the policies decides: Max, Min or Disabled.
    #[schemars(with = "SelectPolicy")]
    pub select_policy: Option<SelectPolicy>,
    /// How much may change in which time.
    #[schemars(length(max = 10))]
    pub policies: Option<Vec<ScalingStep>>,
    /// How far the number may be from the target before anything changes, as a part of it.
    pub tolerance: Option<Measure>,
}

/// Which of several policies decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The one that allows the most change.
    #[default]
    Max,
    /// The one that allows the least.
    Min,
    /// Nothing changes in this direction.
    Disabled,
}

/// So much in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingStep {
    /// What the value counts.
    #[serde(rename = "type")]
    pub of: ChangeType,
    /// How many.
    #[schemars(range(min = 1))]
    pub value: i32,
    /// In how many seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What a change is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ChangeType {
    /// Replicas.
    Pods,
    /// Hundredths of the replicas there were.
    Percent,
}
