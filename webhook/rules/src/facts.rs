//! What is known of the world an object is to live in: above all which KubeRay it meets, since what one version refuses another
//! accepts, and much is behind feature gates.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ray::autoscaler_mode::AutoscalerMode;
use ray::image::Image;
use ray::version::RayVersion;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::policy::Policies;

/// What is known of the world an object is to live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where images of Ray come from when an object names none. Tags of this repository are also trusted to begin with a version.
    pub image_repository: String,
    /// The version of KubeRay's operator, if it is known.
    pub operator: Option<Operator>,
    /// Its feature gates.
    pub gates: Gates,
    /// Major and minor version of Kubernetes, if it is known.
    pub kubernetes: Option<(u32, u32)>,
    /// Who scales clusters that do not say, where that is known.
    pub autoscaler_mode: Option<AutoscalerMode>,
    /// The image of Rayward's autoscaler, for clusters that are scaled from a container of their head.
    pub sidecar_image: String,
    /// Whether an API server has already taken out, or refused, every field that the installed CRDs do not have. Its CRDs may be
    /// newer than what we know, so from then on an unknown field is none of our business.
    pub pruned: bool,
    /// Service accounts, as `namespace:name` with `*` for any namespace, whose writes carry on what users wrote: they are warned,
    /// never refused.
    pub controllers: Vec<String>,
    /// What platform teams want.
    pub policies: Arc<Policies>,
}

/// A minor version of KubeRay's operator. Patch releases do not differ in what they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// 1.4
    V1_4,
    /// 1.5
    V1_5,
    /// 1.6
    V1_6,
    /// 1.7
    V1_7,
}

/// A row's versions of KubeRay, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operators {
    /// The first,
    pub since: Operator,
    /// and the last.
    pub until: Operator,
}

/// What is known of the operator's feature gates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Those that were told.
    pub stated: BTreeMap<Gate, bool>,
    /// Whether all others are known to be as the operator's version has them by default.
    pub others_are_default: bool,
}

macro_rules! gates {
    ($($(#[$doc:meta])* $gate:ident = $name:literal [$v1_4:expr, $v1_5:expr, $v1_6:expr, $v1_7:expr],)*) => {
        /// A feature gate of KubeRay's operator (KubeRay `pkg/features/features.go`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Gate {
            $($(#[$doc])* $gate,)*
        }

        impl Gate {
            /// All of them, of all versions.
            pub const ALL: &[Self] = &[$(Self::$gate),*];

            /// As the operator's flag spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$gate => $name,)*
                }
            }

            /// Whether it is on where nothing is said; nothing where the version does not have it.
            pub fn default_in(self, operator: Operator) -> Option<bool> {
                let of_versions: [Option<bool>; 4] = match self {
                    $(Self::$gate => [$v1_4, $v1_5, $v1_6, $v1_7],)*
                };
                of_versions[operator as usize]
            }
        }
    };
}

const ON: Option<bool> = Some(true);
const OFF: Option<bool> = Some(false);

// The defaults in 1.4, 1.5, 1.6 and 1.7.
gates! {
    /// Conditions in the status of a `RayCluster`.
    StatusConditions = "RayClusterStatusConditions" [ON, ON, ON, ON],
    /// `deletionStrategy`, and suspending single groups.
    DeletionPolicy = "RayJobDeletionPolicy" [OFF, OFF, ON, ON],
    /// Slices that come and go together.
    MultiHostIndexing = "RayMultiHostIndexing" [None, OFF, ON, ON],
    /// Upgrades that move traffic step by step.
    IncrementalUpgrade = "RayServiceIncrementalUpgrade" [None, OFF, OFF, ON],
    /// The controller of `RayCronJob`.
    CronJob = "RayCronJob" [None, None, OFF, OFF],
    /// Asking for the status of jobs in the background.
    AsyncJobInfoQuery = "AsyncJobInfoQuery" [None, None, OFF, None],
    /// Submitters beside the head that start again.
    SidecarSubmitterRestart = "SidecarSubmitterRestart" [None, None, None, OFF],
    /// `networkPolicy`.
    NetworkPolicy = "RayClusterNetworkPolicy" [None, None, None, OFF],
    /// The GCS on a volume.
    EmbeddedStorage = "GCSFaultToleranceEmbeddedStorage" [None, None, None, OFF],
    /// `tlsOptions`.
    Mtls = "RayClusterMTLS" [None, None, None, OFF],
    /// `historyServerOptions`.
    HistoryServer = "RayClusterHistoryServer" [None, None, None, OFF],
    /// Gangs by Kubernetes' own scheduler.
    KubernetesWas = "KubernetesWAS" [None, None, None, OFF],
}

/// A state of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GateState {
    /// The gate,
    #[serde(rename = "name")]
    pub gate: Gate,
    /// and whether it is on.
    pub on: bool,
}

/// Not a version of KubeRay that we know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a version of KubeRay that Rayward knows: write 1.4, 1.5, 1.6 or 1.7, with or without a patch version"
)]
pub struct UnknownOperator(String);

/// Not a list of feature gates.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatesError {
    /// No gate of any version has this name.
    #[error("`{0}` is no feature gate of KubeRay; there are {all}", all = Gate::ALL.iter().map(|gate| gate.name()).collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// Neither `true` nor `false`.
    #[error("`{0}` does not say true or false: write {0}=true")]
    NoValue(String),
}

impl Facts {
    /// Whether a gate is on, if that is known. A gate that the operator does not have is off.
    pub fn gate(&self, gate: Gate) -> Option<bool> {
        let default = || {
            let operator = self.operator.filter(|_| self.gates.others_are_default)?;
            Some(gate.default_in(operator).unwrap_or(false))
        };
        self.gates.stated.get(&gate).copied().or_else(default)
    }

    /// The version of Ray in an image, where its tag can be trusted to tell.
    pub fn ray_version(&self, image: &Image) -> Option<RayVersion> {
        let own = image.repository == self.image_repository;
        if own {
            image.tagged_version()
        } else {
            image.ray_version()
        }
    }

    /// Whether `user` is one of the controllers.
    pub fn is_controller(&self, user: &str) -> bool {
        let account = user
            .strip_prefix("system:serviceaccount:")
            .and_then(|account| account.split_once(':'));
        account.is_some_and(|(namespace, name)| {
            self.controllers
                .iter()
                .filter_map(|pattern| pattern.split_once(':'))
                .any(|(within, called)| called == name && (within == "*" || within == namespace))
        })
    }
}

/// The newest KubeRay, with gates nobody has told of.
impl Default for Facts {
    fn default() -> Self {
        let controllers = [
            "*:kuberay-operator",
            "*:kueue-controller-manager",
            "*:rayward-autoscaler",
        ];
        Self {
            image_repository: "rayproject/ray".to_owned(),
            operator: Some(Operator::NEWEST),
            gates: Gates::default(),
            kubernetes: None,
            autoscaler_mode: None,
            sidecar_image: crate::pod::SIDECAR_IMAGE.to_owned(),
            pruned: false,
            controllers: controllers.map(str::to_owned).to_vec(),
            policies: Arc::default(),
        }
    }
}

impl Operator {
    /// All that we know, the oldest first.
    pub const ALL: [Self; 4] = [Self::V1_4, Self::V1_5, Self::V1_6, Self::V1_7];
    /// The newest that we know.
    pub const NEWEST: Self = Self::V1_7;

    /// What a version that may be newer than all we know is taken for.
    pub fn nearest(version: RayVersion) -> Self {
        let reached = |known: &Self| (version.major, version.minor) >= (1, known.minor());
        Self::ALL.into_iter().rev().find(reached).unwrap_or(Self::V1_4)
    }

    fn minor(self) -> u32 {
        self as u32 + 4
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor())
    }
}

impl FromStr for Operator {
    type Err = UnknownOperator;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = text.parse::<RayVersion>().ok();
        let known = version.and_then(|version| {
            Self::ALL
                .into_iter()
                .find(|known| (version.major, version.minor) == (1, known.minor()))
        });
        known.ok_or_else(|| UnknownOperator(text.to_owned()))
    }
}

impl Operators {
    /// Every version.
    pub const ALL: Self = Self {
        since: Operator::V1_4,
        until: Operator::NEWEST,
    };

    /// That version and all later ones.
    pub const fn since(since: Operator) -> Self {
        Self {
            since,
            until: Operator::NEWEST,
        }
    }

    /// All versions up to that one.
    pub const fn until(until: Operator) -> Self {
        Self {
            since: Operator::V1_4,
            until,
        }
    }

    /// Whether `operator` is one of them.
    pub fn contain(self, operator: Operator) -> bool {
        (self.since..=self.until).contains(&operator)
    }
}

impl fmt::Display for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, until } = self;
        match (*since == Operator::V1_4, *until == Operator::NEWEST) {
            (true, true) => f.write_str("all versions"),
            (_, true) => write!(f, "{since} and newer"),
            (true, _) => write!(f, "{until} and older"),
            _ if since == until => write!(f, "{since}"),
            _ => write!(f, "{since} to {until}"),
        }
    }
}

impl Gate {
    /// The state of being on.
    pub const fn on(self) -> GateState {
        GateState { gate: self, on: true }
    }

    /// The state of being off.
    pub const fn off(self) -> GateState {
        GateState {
            gate: self,
            on: false,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for GateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.gate, if self.on { "on" } else { "off" })
    }
}

/// As the operator's flag is written: `RayCronJob=true,RayClusterMTLS=false`.
impl FromStr for Gates {
    type Err = GatesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut stated = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            let on = value
                .trim()
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| GatesError::NoValue(name.to_owned()))?;
            let named = |gate: &&Gate| gate.name() == name.trim();
            match name.trim() {
                "AllAlpha" | "AllBeta" => {
                    let beta = name.trim() == "AllBeta";
                    let of_stage = Gate::ALL
                        .iter()
                        .filter(|gate| (gate.default_in(Operator::NEWEST) == ON) == beta);
                    stated.extend(of_stage.map(|gate| (*gate, on)));
                }
                _ => {
                    let gate = Gate::ALL.iter().find(named);
                    stated.insert(*gate.ok_or_else(|| GatesError::Unknown(name.to_owned()))?, on);
                }
            }
        }
        Ok(Self {
            stated,
            others_are_default: true,
        })
    }
}

macro_rules! serialize_as_text {
    ($($type:ty),*) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })*
    };
}

serialize_as_text!(Gate, Operator);

impl Serialize for Operators {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("since", self.since), ("until", self.until)])
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Gate, Gates, Operator, Operators};

    #[test]
    fn versions_of_the_operator() {
        for (text, version) in [
            ("1.4.2", Operator::V1_4),
            ("v1.7.0-rc.1", Operator::V1_7),
            ("1.6", Operator::V1_6),
        ] {
            assert_eq!(text.parse(), Ok(version));
        }
        for text in ["1.3.0", "1.8.0", "2.0", "nightly", ""] {
            assert!(text.parse::<Operator>().is_err(), "{text}");
        }
        let nearest = |text: &str| Operator::nearest(text.parse().expect(text));
        assert_eq!(
            ["1.2.0", "1.5.9", "1.12.0", "2.0.0"].map(nearest),
            [Operator::V1_4, Operator::V1_5, Operator::V1_7, Operator::V1_7]
        );
        let told = [
            Operators::ALL,
            Operators::since(Operator::V1_6),
            Operators::until(Operator::V1_6),
        ];
        assert_eq!(
            told.map(|versions| versions.to_string()),
            ["all versions", "1.6 and newer", "1.6 and older"]
        );
    }

    #[test]
    fn gates_are_told_or_default_or_unknown() {
        let facts = |operator, gates| Facts {
            operator,
            gates,
            ..Facts::default()
        };
        let told: Gates = "RayClusterMTLS=true, RayJobDeletionPolicy=False"
            .parse()
            .expect("gates");
        let known = facts(Some(Operator::V1_7), told.clone());
        assert_eq!(
            [
                Gate::Mtls,
                Gate::DeletionPolicy,
                Gate::IncrementalUpgrade,
                Gate::AsyncJobInfoQuery
            ]
            .map(|gate| known.gate(gate)),
            [Some(true), Some(false), Some(true), Some(false)]
        );
        let unknown = facts(None, told);
        assert_eq!(
            [Gate::Mtls, Gate::CronJob].map(|gate| unknown.gate(gate)),
            [Some(true), None]
        );
        assert_eq!(Facts::default().gate(Gate::CronJob), None);
        for text in ["Mtls=true", "RayCronJob", "RayCronJob=perhaps"] {
            assert!(text.parse::<Gates>().is_err(), "{text}");
        }
        let alpha: Gates = "AllAlpha=true".parse().expect("gates");
        assert_eq!(alpha.stated.get(&Gate::CronJob), Some(&true));
        assert_eq!(alpha.stated.get(&Gate::StatusConditions), None);
    }

    #[test]
    fn controllers_are_service_accounts() {
        let facts = Facts {
            controllers: vec!["*:kuberay-operator".into(), "kueue-system:kueue".into()],
            ..Facts::default()
        };
        let is = |user: &str| facts.is_controller(user);
        assert!(is("system:serviceaccount:anywhere:kuberay-operator"));
        assert!(is("system:serviceaccount:kueue-system:kueue"));
        assert!(!is("system:serviceaccount:default:kueue"));
        assert!(!is("kuberay-operator"));
    }
}
