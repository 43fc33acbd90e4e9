//! What policies are told: what their groups have and should have, what decided, and which signals are not known. Written when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client};
use planner::signal::behavior::HeldBy;
use planner::signal::{Composed, Factor};
use ray::scaling_policy::Mode;
use ray::scaling_policy::status::{Condition, GroupStatus, SignalStatus, Status};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::policies::{Followed, PolicyKey, ScalingPolicy, resource};
use crate::cluster::Cluster;

const MANAGER: &str = "rayward-autoscaler";
/// A status need not be newer than people look.
const WRITE_PERIOD: Duration = Duration::from_secs(2);
/// Nobody else's reports are taken meanwhile, so a thousand policies should not wait for each other.
const WRITES_AT_ONCE: usize = 8;
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// A cluster that nobody has looked at in so long is gone, or another's.
const REPORTED_FOR: Duration = Duration::from_mins(1);
/// A condition cannot say more.
const MESSAGE_CHARS_MAX: usize = 32_768;

/// What came of a policy in one cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    policy: PolicyKey,
    cluster: String,
    mode: Mode,
    groups: Vec<Told>,
}

/// What came of a policy in one group.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    status: GroupStatus,
    /// Nothing, where an older policy is followed.
    by: Option<Factor>,
}

/// All that is to be told.
pub(super) struct Statuses {
    client: Client,
    interval: Interval,
    reports: BTreeMap<PolicyKey, BTreeMap<String, (Instant, Report)>>,
    changed: BTreeSet<PolicyKey>,
}

/// Puts together what the policies of a cluster are told; `problems` are those of the policies that are followed, signal by signal.
pub(super) fn reports(
    cluster: &Cluster,
    followed: &[Followed<'_>],
    composed: &[Composed],
    problems: &[Vec<Option<String>>],
) -> Vec<Report> {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let mut reports: Vec<Report> = Vec::new();
    let mut problems = problems.iter();
    for one in followed {
        let told = if let Some(other) = one.other {
            overridden(&name, &one.group, other)
        } else {
            let problems = problems.next().map_or(&[][..], Vec::as_slice);
            let Some(composed) = composed.iter().find(|composed| composed.group == one.group) else {
                continue;
            };
            told(&name, composed, problems)
        };
        match reports.iter_mut().find(|report| report.policy == one.policy.key) {
            Some(report) => report.groups.push(told),
            None => reports.push(Report {
                policy: one.policy.key.clone(),
                cluster: name.clone(),
                mode: one.spec.mode.unwrap_or_default(),
                groups: vec![told],
            }),
        }
    }
    reports
}

fn told(cluster: &str, composed: &Composed, problems: &[Option<String>]) -> Told {
    let signals = composed
        .proposals
        .iter()
        .enumerate()
        .map(|(index, (name, replicas))| SignalStatus {
            name: name.clone(),
            replicas: *replicas,
            problem: problems.get(index).cloned().flatten(),
        });
    let status = GroupStatus {
        cluster: cluster.to_owned(),
        name: composed.group.clone(),
        replicas: composed.from,
        desired_replicas: composed.to,
        limited_by: composed.by.to_string(),
        signals: signals.collect(),
    };
    Told {
        status,
        by: Some(composed.by.clone()),
    }
}

fn overridden(cluster: &str, group: &str, other: &str) -> Told {
    let status = GroupStatus {
        cluster: cluster.to_owned(),
        name: group.to_owned(),
        replicas: 0,
        desired_replicas: 0,
        limited_by: format!("policy {other}, which is older and is followed instead"),
        signals: Vec::new(),
    };
    Told { status, by: None }
}

impl Statuses {
    pub(super) fn new(client: Client) -> Self {
        let mut interval = tokio::time::interval(WRITE_PERIOD);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            client,
            interval,
            reports: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, report: Report) {
        let of_policy = self.reports.entry(report.policy.clone()).or_default();
        let before = of_policy.get(&report.cluster);
        if before.is_none_or(|(_, before)| *before != report) {
            self.changed.insert(report.policy.clone());
        }
        of_policy.insert(report.cluster.clone(), (Instant::now(), report));
    }

    /// Waits until it is time to write.
    pub(super) async fn due(&mut self) {
        self.interval.tick().await;
    }

    /// Writes what has changed. Of a policy without a cluster of ours somebody else has to tell.
    pub(super) async fn write(&mut self, policies: &[Arc<ScalingPolicy>], stored: &Store<DynamicObject>) {
        for (key, clusters) in &mut self.reports {
            let there = clusters.len();
            clusters.retain(|_, (at, _)| at.elapsed() < REPORTED_FOR);
            if clusters.len() != there {
                self.changed.insert(key.clone());
            }
        }
        self.reports.retain(|_, clusters| !clusters.is_empty());
        let mut unwritten = Vec::new();
        for policy in policies {
            let reports = self.reports.get(&policy.key);
            let news = self.changed.contains(&policy.key) || !policy.problems.is_empty();
            if !news || (reports.is_none() && policy.problems.is_empty()) {
                continue;
            }
            let reports = reports
                .into_iter()
                .flat_map(BTreeMap::values)
                .map(|(_, report)| report);
            let (namespace, name) = &policy.key;
            let object = stored.get(&ObjectRef::new_with(name, resource()).within(namespace));
            let written = object
                .map(|object| object.data["status"].clone())
                .unwrap_or_default();
            let wanted = json!(status(policy, reports, &written, Timestamp::now()));
            if wanted == written {
                self.changed.remove(&policy.key);
            } else {
                unwritten.push((policy, wanted));
            }
        }
        let writing = unwritten.into_iter().map(|(policy, wanted)| {
            let written = self.apply(policy, wanted);
            async { written.await.then(|| policy.key.clone()) }
        });
        let writing = stream::iter(writing.collect::<Vec<_>>());
        let written: Vec<_> = writing.buffer_unordered(WRITES_AT_ONCE).collect().await;
        for key in written.iter().flatten() {
            self.changed.remove(key);
        }
        let there: BTreeSet<_> = policies.iter().map(|policy| &policy.key).collect();
        self.changed.retain(|key| there.contains(key));
    }

    async fn apply(&self, policy: &ScalingPolicy, status: Value) -> bool {
        let (namespace, name) = &policy.key;
        let resource = resource();
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let patch = json!({"apiVersion": resource.api_version, "kind": resource.kind, "status": status});
        let (parameters, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(patch));
        let written = tokio::time::timeout(WRITE_DEADLINE, api.patch_status(name, &parameters, &patch)).await;
        match written {
            Ok(Ok(_)) => true,
            // It is gone, and with it whoever would read its status.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => true,
            Ok(Err(error)) => {
                tracing::warn!(namespace, policy = name, error = %error, "the status of a policy was not written");
                false
            }
            Err(_) => {
                tracing::warn!(
                    namespace,
                    policy = name,
                    "the status of a policy was not written in time"
                );
                false
            }
        }
    }
}

/// The status that a policy should have. What has not changed keeps its time.
pub(super) fn status<'r>(
    policy: &ScalingPolicy,
    reports: impl Iterator<Item = &'r Report>,
    written: &Value,
    now: Timestamp,
) -> Status {
    let reports: Vec<&Report> = reports.collect();
    let groups: Vec<&Told> = reports.iter().flat_map(|report| &report.groups).collect();
    let followed = || groups.iter().filter(|told| told.by.is_some());
    let limited = followed().find(|told| told.by != Some(Factor::Demand));
    let mode = reports.first().map_or_else(Mode::default, |report| report.mode);
    let verdicts = [
        Some(ready(policy, &groups)),
        (!reports.is_empty()).then(|| active(mode, &groups)),
        (!reports.is_empty()).then(|| able(mode, &groups)),
        (!reports.is_empty()).then(|| limit(&groups)),
    ];
    let conditions = verdicts.into_iter().flatten().map(|verdict| {
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
        replicas: followed().map(|told| told.status.replicas).sum(),
        desired_replicas: followed().map(|told| told.status.desired_replicas).sum(),
        limited_by: limited.map(|told| told.status.limited_by.clone()),
        groups: groups.into_iter().map(|told| told.status.clone()).collect(),
    }
}

struct Verdict {
    of: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn ready(policy: &ScalingPolicy, groups: &[&Told]) -> Verdict {
    let others: Vec<String> = groups
        .iter()
        .filter(|told| told.by.is_none())
        .map(|told| {
            format!(
                "{} of {}: {}",
                told.status.name, told.status.cluster, told.status.limited_by
            )
        })
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

fn active(mode: Mode, groups: &[&Told]) -> Verdict {
    let mut unknown: Vec<String> = Vec::new();
    for signal in groups.iter().flat_map(|told| &told.status.signals) {
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

fn able(mode: Mode, groups: &[&Told]) -> Verdict {
    let stabilized = |by: HeldBy| groups.iter().any(|told| told.by == Some(Factor::Behavior(by)));
    let (status, reason, message) = if mode == Mode::Recommend {
        ("False", "RecommendOnly", "what the policy comes to is only shown")
    } else if mode == Mode::Paused {
        ("False", "Paused", "the policy is paused")
    } else if stabilized(HeldBy::DownStabilized) {
        (
            "True",
            "ScaleDownStabilized",
            "more replicas were asked for a moment ago",
        )
    } else if stabilized(HeldBy::UpStabilized) {
        (
            "True",
            "ScaleUpStabilized",
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

fn limit(groups: &[&Told]) -> Verdict {
    let limits = groups.iter().find_map(|told| {
        let reason = match told.by {
            Some(Factor::Maximum) => "TooManyReplicas",
            Some(Factor::Behavior(HeldBy::UpLimit)) => "ScaleUpLimit",
            Some(Factor::Behavior(HeldBy::DownLimit)) => "ScaleDownLimit",
            _ => return None,
        };
        Some((
            reason,
            format!("{} is bounded by {}", told.status.name, told.status.limited_by),
        ))
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
