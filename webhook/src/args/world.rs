//! Which KubeRay and which Kubernetes the objects meet, as far as the command line tells.

use clap::Args;
use ray::version::RayVersion;
use rules::{Facts, Gates, Operator};

/// What the objects meet.
#[derive(Clone, Debug, Args)]
pub struct World {
    /// The version of KubeRay's operator, such as 1.6.2.
    #[arg(long, value_name = "VERSION")]
    pub kuberay_version: Option<Operator>,
    /// The feature gates of KubeRay's operator, as its own flag takes them. All others are as that version has them by default.
    #[arg(long, value_name = "GATE=true,..")]
    pub feature_gates: Option<Gates>,
    /// The version of Kubernetes, such as 1.36.
    #[arg(long, value_name = "VERSION", value_parser = minor_version)]
    pub kubernetes_version: Option<(u32, u32)>,
}

impl World {
    /// As facts, with everything unknown that was not told. Whoever tells a version without gates means its default gates.
    pub fn told(&self) -> Facts {
        let of_version = Gates {
            others_are_default: self.kuberay_version.is_some(),
            ..Gates::default()
        };
        Facts {
            operator: self.kuberay_version,
            gates: self.feature_gates.clone().unwrap_or(of_version),
            kubernetes: self.kubernetes_version,
            ..Facts::default()
        }
    }
}

/// Versions of Kubernetes are read by the parser that KubeRay reads Ray's with.
fn minor_version(text: &str) -> Result<(u32, u32), String> {
    let version = text.parse::<RayVersion>();
    version
        .map(|version| (version.major, version.minor))
        .map_err(|_| "write it as 1.36".to_owned())
}
