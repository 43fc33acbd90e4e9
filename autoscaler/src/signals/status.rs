//! What policies are told: what their groups have and should have, what decided, and which signals are not known. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use planner::signal::behavior::HeldBy;
use planner::signal::{Composed, Factor, Kept};
use ray::scaling_policy::status::{Condition, GroupStatus, SignalStatus, Status};
use ray::scaling_policy::{Mode, Role};
use ray::{cluster::WorkerGroup, keys};
use serde_json::Value;

use super::fleet::ClusterKey;
use super::policies::{Followed, PolicyKey, ScalingPolicy};
use crate::adoption::Shadowed;
use crate::cluster::Cluster;

/// A condition cannot say more.
const MESSAGE_CHARS_MAX: usize = 32_768;

/// An older policy is followed.
const CONFLICT: &str = "Conflict";
/// Nothing is decided.
const HELD: &str = "Held";
/// Somebody else scales the cluster.
const SHADOWED: &str = "Shadowed";
/// Policies have nothing to do with it.
const DEMAND: &str = "RayDemand";
const DOWN_STABILIZED: &str = "ScaleDownStabilized";
const UP_STABILIZED: &str = "ScaleUpStabilized";
/// What keeps a group from what is asked for.
const LIMITS: [&str; 5] = [
    "TooManyReplicas",
    "ScaleUpLimit",
    "ScaleDownLimit",
    "DisruptionBudget",
    "TooYoung",
];

/// What all policies of a cluster are told of one look at it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(super) cluster: ClusterKey,
    pub(super) at: Instant,
    /// By policy and group.
    pub(crate) groups: Vec<GroupTold>,
}

/// What came of a policy in one group.
#[derive(Clone, Debug)]
pub(crate) struct GroupTold {
    pub(crate) policy: PolicyKey,
    pub(crate) status: GroupStatus,
    /// In the order of the signals of the status.
    pub(crate) heard: Vec<Heard>,
}

/// What was heard of one signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) role: Role,
    /// The number, where one was measured.
    pub(crate) value: Option<f64>,
    /// How old that is.
    pub(crate) age: Option<Duration>,
    /// Why nothing is known, where nothing is.
    pub(crate) problem: Option<String>,
}

/// Puts together what the policies of a cluster are told; what was `heard` is of the policies that are followed, signal by signal.
pub(super) fn told(
    cluster: &Cluster,
    followed: &[Followed<'_>],
    composed: &[Composed],
    heard: Vec<Vec<Heard>>,
) -> Told {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let mut heard = heard.into_iter();
    let rows = followed.iter().filter_map(|one| {
        let (status, heard) = if let Some(other) = one.other {
            (overridden(&name, &one.group, other), Vec::new())
        } else {
            let heard = heard.next().unwrap_or_default();
            let composed = composed.iter().find(|composed| composed.group == one.group)?;
            (row(&name, composed, &heard), heard)
        };
        Some(GroupTold {
            policy: one.policy.key.clone(),
            status,
            heard,
        })
    });
    Told::new(cluster, rows.collect())
}

/// What the policies of a cluster are told while nothing is decided about it.
pub(super) fn held(cluster: &Cluster, followed: &[Followed<'_>], why: &str) -> Told {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let replicas = |group: &str| {
        let mut groups = cluster.spec.worker_groups.iter();
        let replicas = groups
            .find(|one| one.name == group)
            .map(WorkerGroup::desired_replicas);
        replicas
            .and_then(|replicas| u64::try_from(replicas).ok())
            .unwrap_or(0)
    };
    let rows = followed.iter().map(|one| GroupTold {
        policy: one.policy.key.clone(),
        status: match one.other {
            Some(other) => overridden(&name, &one.group, other),
            None => GroupStatus {
                cluster: name.clone(),
                name: one.group.clone(),
                replicas: replicas(&one.group),
                desired_replicas: replicas(&one.group),
                limited_by: why.to_owned(),
                reason: HELD.to_owned(),
                signals: Vec::new(),
            },
        },
        heard: Vec::new(),
    });
    Told::new(cluster, rows.collect())
}

fn row(cluster: &str, composed: &Composed, heard: &[Heard]) -> GroupStatus {
    let signals = composed
        .proposals
        .iter()
        .enumerate()
        .map(|(index, (name, replicas))| SignalStatus {
            name: name.clone(),
            replicas: *replicas,
            problem: heard.get(index).and_then(|heard| heard.problem.clone()),
        });
    GroupStatus {
        cluster: cluster.to_owned(),
        name: composed.group.clone(),
        replicas: composed.from,
        desired_replicas: composed.to,
        limited_by: composed.by.to_string(),
        reason: word(&composed.by).to_owned(),
        signals: signals.collect(),
    }
}

fn overridden(cluster: &str, group: &str, other: &str) -> GroupStatus {
    GroupStatus {
        cluster: cluster.to_owned(),
        name: group.to_owned(),
        limited_by: format!("policy {other}, which is older and is followed instead"),
        reason: CONFLICT.to_owned(),
        ..GroupStatus::default()
    }
}

/// What decided, in a word: one of Kubernetes' where it has one.
fn word(by: &Factor) -> &'static str {
    match by {
        Factor::Demand => DEMAND,
        Factor::Minimum => "TooFewReplicas",
        Factor::Maximum => LIMITS[0],
        Factor::Signal(_) => "Signal",
        Factor::Unknown(_) => "SignalUnknown",
        Factor::Inactive => "Inactive",
        Factor::Paused => "Paused",
        Factor::Behavior(HeldBy::UpStabilized) => UP_STABILIZED,
        Factor::Behavior(HeldBy::DownStabilized) => DOWN_STABILIZED,
        Factor::Behavior(HeldBy::UpLimit) => LIMITS[1],
        Factor::Behavior(HeldBy::DownLimit) => LIMITS[2],
        Factor::Disruption(Kept::UsedUp | Kept::Unknown) => LIMITS[3],
        Factor::Disruption(Kept::Young) => LIMITS[4],
    }
}

impl Told {
    fn new(cluster: &Cluster, groups: Vec<GroupTold>) -> Self {
        let Cluster { metadata, .. } = cluster;
        Self {
            cluster: (
                metadata.namespace.clone().unwrap_or_default(),
                metadata.name.clone().unwrap_or_default(),
            ),
            at: Instant::now(),
            groups,
        }
    }

    /// Of a cluster that somebody else scales: what would be done, and why it is not.
    pub(crate) fn shadowed(mut self, why: &Shadowed) -> Self {
        for GroupStatus {
            limited_by, reason, ..
        } in self.groups.iter_mut().map(|told| &mut told.status)
        {
            if reason.as_str() != CONFLICT {
                *limited_by = format!("{limited_by}, only shown: {}", why.briefly());
                SHADOWED.clone_into(reason);
            }
        }
        self
    }

    /// The rows of a policy.
    pub(super) fn rows<'t>(&'t self, policy: &'t PolicyKey) -> impl Iterator<Item = &'t GroupTold> + Clone {
        self.groups.iter().filter(move |told| told.policy == *policy)
    }

    /// The policies that are told something else than before.
    pub(super) fn changes(&self, before: Option<&Self>) -> Vec<PolicyKey> {
        let nothing = Vec::new();
        let before = before.map_or(&nothing, |before| &before.groups);
        let told = |groups: &[GroupTold], one: &GroupTold| {
            let is_told = |other: &GroupTold| (&other.policy, &other.status) == (&one.policy, &one.status);
            groups.iter().any(is_told)
        };
        let new = self.groups.iter().filter(|one| !told(before, one));
        let gone = before.iter().filter(|one| !told(&self.groups, one));
        new.chain(gone).map(|one| one.policy.clone()).collect()
    }
}

/// Where something else decides than before, in words.
pub(super) fn news<'r>(before: &[&GroupStatus], now: impl Iterator<Item = &'r GroupTold>) -> Vec<String> {
    let news = now.filter_map(|told| {
        let now = &told.status;
        let before = before.iter().find(|before| before.name == now.name);
        let is_news = match before {
            Some(before) => before.limited_by != now.limited_by,
            None => now.reason != DEMAND,
        };
        is_news.then(|| {
            let GroupStatus {
                cluster,
                name,
                replicas,
                desired_replicas,
                limited_by,
                ..
            } = now;
            let was = before.map_or(String::new(), |before| format!(" (was {})", before.limited_by));
            format!("{name} of {cluster}: {replicas} -> {desired_replicas} replicas by {limited_by}{was}")
        })
    });
    news.collect()
}

/// The status that a policy should have, which is about these clusters. What has not changed keeps its time.
pub(super) fn status(
    policy: &ScalingPolicy,
    clusters: &[ClusterKey],
    rows: Vec<GroupStatus>,
    written: &Value,
    now: Timestamp,
) -> Status {
    let mode = policy.mode(now);
    let followed = || rows.iter().filter(|row| row.reason != CONFLICT);
    let limited = followed().find(|row| row.reason != DEMAND);
    let mut verdicts = vec![ready(policy, &rows)];
    verdicts.extend(match absent(policy, clusters, &rows) {
        Some(absent) => absent.to_vec(),
        None => vec![active(mode, &rows), able(mode, &rows), limit(&rows)],
    });
    let conditions = verdicts.into_iter().map(|verdict| {
        let before = written["conditions"].as_array().into_iter().flatten();
        let mut before =
            before.filter(|before| before["type"] == verdict.of && before["status"] == verdict.status);
        let since = before
            .next()
            .and_then(|before| before["lastTransitionTime"].as_str());
        Condition {
            of: verdict.of.to_owned(),
            status: verdict.status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            // Kubernetes' own times have no fractions.
            last_transition_time: since.map_or_else(|| format!("{now:.0}"), str::to_owned),
            observed_generation: policy.generation,
        }
    });
    Status {
        observed_generation: policy.generation,
        conditions: conditions.collect(),
        mode: mode.name().to_owned(),
        replicas: followed().map(|row| row.replicas).sum(),
        desired_replicas: followed().map(|row| row.desired_replicas).sum(),
        selector: policy.one_group().and_then(|group| selector(clusters, group)),
        limited_by: limited.map(|row| row.limited_by.clone()),
        groups: rows,
    }
}

/// Names the Pods of a group.
fn selector(clusters: &[ClusterKey], group: &str) -> Option<String> {
    let of = match clusters {
        [] => return None,
        [(_, one)] => format!("={one}"),
        several => {
            let names: Vec<_> = several.iter().map(|(_, name)| name.as_str()).collect();
            format!(" in ({})", names.join(","))
        }
    };
    Some(format!("{}{of},{}={group}", keys::CLUSTER, keys::GROUP))
}

#[derive(Clone)]
struct Verdict {
    of: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn ready(policy: &ScalingPolicy, rows: &[GroupStatus]) -> Verdict {
    let others: Vec<String> = rows
        .iter()
        .filter(|row| row.reason == CONFLICT)
        .map(|row| format!("{} of {}: {}", row.name, row.cluster, row.limited_by))
        .collect();
    let problems: Vec<String> = policy.problems.iter().map(ToString::to_string).collect();
    let (status, reason, message) = if !problems.is_empty() {
        ("False", "Invalid", problems.join("\n"))
    } else if !others.is_empty() {
        ("False", "Conflict", others.join("\n"))
    } else {
        ("True", "Valid", "the policy can be followed".to_owned())
    };
    Verdict {
        of: "Ready",
        status,
        reason,
        message,
    }
}

/// Why there is no group to scale, if so.
fn absent(policy: &ScalingPolicy, clusters: &[ClusterKey], rows: &[GroupStatus]) -> Option<[Verdict; 2]> {
    if !rows.is_empty() {
        return None;
    }
    let names: Vec<_> = clusters.iter().map(|(_, name)| name.as_str()).collect();
    let (reason, message) = match (policy.target(), names.is_empty()) {
        (None, _) => (
            "Invalid",
            "nothing is scaled by what cannot be followed".to_owned(),
        ),
        (Some(target), true) => (
            "NoCluster",
            format!("{target} has no cluster that Rayward scales"),
        ),
        (Some(_), false) => (
            "NoGroup",
            format!(
                "no group of {} is meant, or nothing is known of it yet",
                names.join(", ")
            ),
        ),
    };
    Some(["ScalingActive", "AbleToScale"].map(|of| Verdict {
        of,
        status: "False",
        reason,
        message: message.clone(),
    }))
}

fn active(mode: Mode, rows: &[GroupStatus]) -> Verdict {
    let mut unknown: Vec<String> = Vec::new();
    for signal in rows.iter().flat_map(|row| &row.signals) {
        if let Some(problem) = &signal.problem {
            let told = format!("{}: {problem}", signal.name);
            if !unknown.contains(&told) {
                unknown.push(told);
            }
        }
    }
    let (status, reason, message) = if mode == Mode::Paused {
        ("False", "ScalingDisabled", "the policy is paused".to_owned())
    } else if unknown.is_empty() {
        ("True", "ValidMetricFound", "all signals are known".to_owned())
    } else {
        ("False", "FailedGetSignals", unknown.join("\n"))
    };
    Verdict {
        of: "ScalingActive",
        status,
        reason,
        message,
    }
}

fn able(mode: Mode, rows: &[GroupStatus]) -> Verdict {
    let untouched = rows.iter().find_map(|row| {
        let reason = [HELD, SHADOWED]
            .into_iter()
            .find(|reason| *reason == row.reason)?;
        Some((reason, format!("{}: {}", row.cluster, row.limited_by)))
    });
    let is = |reason: &str| rows.iter().any(|row| row.reason == reason);
    let (status, reason, message) = if let Some((reason, message)) = &untouched {
        ("False", *reason, message.as_str())
    } else if mode == Mode::Recommend {
        ("False", "RecommendOnly", "what the policy comes to is only shown")
    } else if mode == Mode::Paused {
        ("False", "Paused", "the policy is paused")
    } else if is(DOWN_STABILIZED) {
        (
            "True",
            DOWN_STABILIZED,
            "more replicas were asked for a moment ago",
        )
    } else if is(UP_STABILIZED) {
        (
            "True",
            UP_STABILIZED,
            "fewer replicas were asked for a moment ago",
        )
    } else {
        (
            "True",
            "ReadyForNewScale",
            "nothing keeps the number of replicas from changing",
        )
    };
    Verdict {
        of: "AbleToScale",
        status,
        reason,
        message: message.to_owned(),
    }
}

fn limit(rows: &[GroupStatus]) -> Verdict {
    let limits = rows.iter().find_map(|row| {
        let reason = LIMITS.into_iter().find(|reason| *reason == row.reason)?;
        Some((reason, format!("{} is bounded by {}", row.name, row.limited_by)))
    });
    let (status, reason, message) = match limits {
        Some((reason, message)) => ("True", reason, message),
        None => (
            "False",
            "DesiredWithinRange",
            "every group has as many replicas as it should have".to_owned(),
        ),
    };
    Verdict {
        of: "ScalingLimited",
        status,
        reason,
        message,
    }
}
