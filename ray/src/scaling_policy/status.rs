//! What became of a policy, for its author to see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the policy that the status is about.
    pub observed_generation: i64,
    /// `Ready`: the policy can be followed. `ScalingActive`: everything that it takes is known. `ScalingLimited`: something keeps a group from what
    /// is asked for.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The groups that the policy is about.
    pub groups: Vec<GroupStatus>,
    /// What is done with what the policy comes to.
    pub mode: String,
    /// How many replicas its groups are asked to have together.
    pub replicas: u64,
    /// How many they should have.
    pub desired_replicas: u64,
    /// The labels of the Pods of its group, where it is about one, as the subresource `scale` tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What decided, of the first group for which it was not Ray's demand alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
}

/// One thing that is so, or is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub of: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Since when the status is as it is.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the policy that the condition is about.
    pub observed_generation: i64,
}

/// One worker group of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupStatus {
    /// The cluster.
    pub cluster: String,
    /// The group.
    pub name: String,
    /// How many replicas it is asked to have.
    pub replicas: u64,
    /// How many it should have.
    pub desired_replicas: u64,
    /// What decided.
    pub limited_by: String,
    /// What kind of thing that is, in a word.
    pub reason: String,
    /// What the signals say.
    pub signals: Vec<SignalStatus>,
}

/// What one signal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SignalStatus {
    /// The signal.
    pub name: String,
    /// How many replicas it stands for, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Why nothing is known, where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
