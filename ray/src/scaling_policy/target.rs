//! Whose workers a policy is about, and whether two policies are about the same.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{GroupPolicy, ScalingPolicySpec};
use crate::keys;
use crate::object::Metadata;

/// Whose workers are scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.name) != has(self.matchLabels)", "message": "give either name or matchLabels"},
]))]
pub struct Target {
    /// What kind of object it is. A `RayJob` or a `RayService` stands for the clusters that it has now, so the policy follows it through
    /// upgrades. Without it `RayCluster`.
    #[schemars(with = "TargetKind")]
    pub kind: Option<TargetKind>,
    /// What it is called, in the namespace of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Instead of a name: the labels of the clusters that are meant, all those of the namespace that have them. A cluster has the labels of the
    /// `RayJob` or the `RayService` that it belongs to; where `kind` is one of these, only such clusters are meant.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 20))]
    pub match_labels: BTreeMap<String, String>,
}

/// What has a Ray cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A cluster.
    #[default]
    RayCluster,
    /// A job with a cluster of its own.
    RayJob,
    /// A service, with two clusters during an upgrade.
    RayService,
}

impl Target {
    /// What has the cluster.
    pub fn kind(&self) -> TargetKind {
        self.kind.unwrap_or_default()
    }

    /// Whether a cluster of the policy's namespace is meant.
    pub fn is_for(&self, cluster: &Metadata) -> bool {
        let label = |key: &str| cluster.labels.get(key).map(String::as_str);
        let kind = self.kind();
        let of_kind =
            kind == TargetKind::RayCluster || label(keys::ORIGINATED_FROM_KIND) == Some(kind.name());
        let meant = if self.name.is_empty() {
            let mut labels = self.match_labels.iter();
            !self.match_labels.is_empty() && labels.all(|(key, value)| label(key) == Some(value))
        } else if kind == TargetKind::RayCluster {
            cluster.name.as_ref() == Some(&self.name)
        } else {
            label(keys::ORIGINATED_FROM_NAME) == Some(&self.name)
        };
        of_kind && meant
    }

    /// Whether both mean a cluster: one of those that there are, or whichever there will be.
    fn meets(&self, other: &Self, clusters: &[Metadata]) -> bool {
        let contains = |all: &BTreeMap<String, String>, some: &BTreeMap<String, String>| {
            some.iter().all(|(key, value)| all.get(key) == Some(value))
        };
        let always = self.kind() == other.kind()
            && self.name == other.name
            && (contains(&self.match_labels, &other.match_labels)
                || contains(&other.match_labels, &self.match_labels));
        let mut clusters = clusters.iter();
        always || clusters.any(|cluster| self.is_for(cluster) && other.is_for(cluster))
    }
}

/// `RayService chat`, `RayCluster with team=vision`
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind().name())?;
        if !self.name.is_empty() {
            return write!(formatter, " {}", self.name);
        }
        for (index, (label, value)) in self.match_labels.iter().enumerate() {
            let before = if index == 0 { " with " } else { "," };
            write!(formatter, "{before}{label}={value}")?;
        }
        Ok(())
    }
}

impl ScalingPolicySpec {
    /// The groups of this policy, by their index, that another policy of the namespace is about as well. `clusters` are those of the namespace.
    pub fn shared_with(&self, other: &Self, clusters: &[Metadata]) -> Vec<usize> {
        if !self.target.meets(&other.target, clusters) {
            return Vec::new();
        }
        let same = |one: &GroupPolicy, other: &GroupPolicy| {
            one.name.is_none() || other.name.is_none() || one.name == other.name
        };
        let groups = self.groups.iter().enumerate();
        let shared = groups.filter(|(_, group)| other.groups.iter().any(|other| same(group, other)));
        shared.map(|(index, _)| index).collect()
    }
}

impl TargetKind {
    /// As a manifest calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RayCluster => "RayCluster",
            Self::RayJob => "RayJob",
            Self::RayService => "RayService",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scaling_policy::read;

    fn policy(target: &serde_json::Value, groups: &[Option<&str>]) -> ScalingPolicySpec {
        let groups: Vec<_> = groups.iter().map(|name| json!({"name": name})).collect();
        read(&json!({"target": target, "groups": groups})).expect("a policy")
    }

    fn cluster(name: &str, labels: &[(&str, &str)]) -> Metadata {
        Metadata {
            name: Some(name.to_owned()),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Metadata::default()
        }
    }

    #[test]
    fn a_cluster_is_meant_by_its_name_its_maker_or_its_labels() {
        let labels = [
            (keys::ORIGINATED_FROM_KIND, "RayService"),
            (keys::ORIGINATED_FROM_NAME, "chat"),
            ("team", "vision"),
        ];
        let of_chat = cluster("chat-x", &labels);
        let by_itself = cluster("chat", &[("team", "vision")]);
        for (target, meant) in [
            (json!({"name": "chat"}), [false, true]),
            (json!({"kind": "RayService", "name": "chat"}), [true, false]),
            (json!({"kind": "RayJob", "name": "chat"}), [false, false]),
            (json!({"matchLabels": {"team": "vision"}}), [true, true]),
            (
                json!({"kind": "RayService", "matchLabels": {"team": "vision"}}),
                [true, false],
            ),
            (
                json!({"matchLabels": {"team": "vision", "tier": "gold"}}),
                [false, false],
            ),
        ] {
            let target = policy(&target, &[None]).target;
            assert_eq!(
                [&of_chat, &by_itself].map(|cluster| target.is_for(cluster)),
                meant,
                "{target:?}"
            );
        }
    }

    #[test]
    fn policies_share_what_both_are_about() {
        let chat = json!({"kind": "RayService", "name": "chat"});
        let vision = json!({"matchLabels": {"team": "vision"}});
        let one = policy(&chat, &[Some("cpu"), Some("gpu")]);
        let shared = |other: &serde_json::Value, groups: &[Option<&str>], clusters: &[Metadata]| {
            one.shared_with(&policy(other, groups), clusters)
        };
        assert_eq!(shared(&chat, &[Some("gpu"), Some("tpu")], &[]), [1]);
        assert_eq!(shared(&chat, &[None], &[]), [0, 1]);
        assert!(shared(&chat, &[Some("tpu")], &[]).is_empty());
        assert!(
            shared(&vision, &[None], &[]).is_empty(),
            "nobody knows of such a cluster"
        );
        let labels = [
            (keys::ORIGINATED_FROM_KIND, "RayService"),
            (keys::ORIGINATED_FROM_NAME, "chat"),
            ("team", "vision"),
        ];
        assert_eq!(
            shared(&vision, &[Some("cpu")], &[cluster("chat-x", &labels)]),
            [0]
        );
        let gold = json!({"matchLabels": {"team": "vision", "tier": "gold"}});
        let whole_team = policy(&vision, &[None]);
        assert_eq!(whole_team.shared_with(&policy(&gold, &[None]), &[]), [0]);
    }
}
