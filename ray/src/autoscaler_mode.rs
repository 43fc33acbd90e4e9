//! Who scales a cluster.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Who scales a cluster, as its annotation `rayward.dev/autoscaler` or else the default of the installation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AutoscalerMode {
    /// One Rayward process for all clusters.
    #[default]
    Central,
    /// A Rayward process beside the cluster's head.
    Sidecar,
    /// Ray's own autoscaler.
    Ray,
    /// Ray's own autoscaler, while the Rayward process for all clusters says what it would do.
    Shadow,
}

/// A word that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an autoscaler mode: write central, sidecar, ray or shadow")]
pub struct UnknownMode(String);

impl AutoscalerMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Central, Self::Sidecar, Self::Ray, Self::Shadow];
}

impl fmt::Display for AutoscalerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Central => "central",
            Self::Sidecar => "sidecar",
            Self::Ray => "ray",
            Self::Shadow => "shadow",
        })
    }
}

impl FromStr for AutoscalerMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| UnknownMode(text.to_owned()))
    }
}
