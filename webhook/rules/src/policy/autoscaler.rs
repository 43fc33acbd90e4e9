//! `autoscaler`: who scales clusters, and how, where nothing is said.

use ray::autoscaler_mode::AutoscalerMode;
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amounts::Resources;
use super::read::Problem;

/// Who scales clusters that scale, and how, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoscalerDefaults {
    /// Who scales them. An object's annotation `rayward.dev/autoscaler` has the last word; this is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Mode")]
    pub mode: Option<Mode>,
    /// Which of Ray's autoscalers a cluster is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Version")]
    pub version: Option<Version>,
    /// After how many seconds an idle worker goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u32>,
    /// How fast a cluster grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UpscalingMode")]
    pub upscaling_mode: Option<UpscalingMode>,
    /// The image of the autoscaler beside the head. Templates of images come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What the autoscaler beside the head asks for and gets at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// Who scales a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// One Rayward process for all clusters.
    Central,
    /// A Rayward process beside the cluster's head.
    Sidecar,
    /// Ray's own autoscaler.
    Ray,
    /// Ray's own autoscaler, while the Rayward process for all clusters says what it would do.
    Shadow,
}

/// Which of Ray's autoscalers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Version {
    /// The first.
    V1,
    /// The second.
    V2,
}

/// How fast a cluster grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpscalingMode {
    /// As fast as is asked for.
    Default,
    /// As fast as is asked for.
    Aggressive,
    /// By no more workers at once than it has.
    Conservative,
}

impl From<Mode> for AutoscalerMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Central => Self::Central,
            Mode::Sidecar => Self::Sidecar,
            Mode::Ray => Self::Ray,
            Mode::Shadow => Self::Shadow,
        }
    }
}

impl AutoscalerDefaults {
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let resources = self.resources.iter();
        resources
            .flat_map(|resources| resources.problems(&at.key("resources")))
            .collect()
    }
}
