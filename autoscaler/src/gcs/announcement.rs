//! What a head is told, as its protocol wants it.

use std::net::IpAddr;

use planner::{Batch, Gang, Label, Operator, Request, Selector, Term};

use super::rpc;
use super::rpc::autoscaler as protobuf;

/// What a head is told of our doings, for `ray status` and the dashboard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcement {
    /// The report that it answers.
    pub(crate) report_version: i64,
    /// Grows with each announcement, across all who ever announced here: the head keeps the greatest.
    pub(crate) unix_milliseconds: i64,
    /// For each node asked for that has no Pod yet, its group.
    pub(crate) requested: Vec<String>,
    /// Pods without a Ray node.
    pub(crate) starting: Vec<Starting>,
    /// Groups whose nodes do not come.
    pub(crate) failed: Vec<Failed>,
    /// Requests that no node could ever hold. Ray may be told to fail such tasks, so nothing that a node may yet hold belongs here.
    pub(crate) impossible: Vec<Request>,
    /// Gangs with a bundle that no node could ever hold.
    pub(crate) impossible_gangs: Vec<Gang>,
    /// What `request_resources` asked for, if some of it no node could ever hold.
    pub(crate) impossible_constraint: Vec<Batch>,
}

/// A Pod without a Ray node.
#[derive(Clone, Debug)]
pub(crate) struct Starting {
    pub(crate) group: String,
    pub(crate) pod: String,
    pub(crate) ip: Option<IpAddr>,
    /// Why it does not run, if anybody says.
    pub(crate) details: String,
}

/// A group whose nodes do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) group: String,
    pub(crate) count: u64,
    pub(crate) reason: String,
    pub(crate) unix_seconds: i64,
}

impl From<Announcement> for protobuf::AutoscalingState {
    fn from(announcement: Announcement) -> Self {
        let seconds = announcement.unix_milliseconds / 1000;
        // `ray status` counts entries, not their counts.
        let requested = announcement
            .requested
            .into_iter()
            .map(|group| protobuf::PendingInstanceRequest {
                ray_node_type_name: group,
                count: 1,
                request_ts: seconds,
                ..Default::default()
            });
        let starting = announcement
            .starting
            .into_iter()
            .map(|starting| protobuf::PendingInstance {
                ray_node_type_name: starting.group,
                instance_id: starting.pod,
                ip_address: starting.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                details: starting.details,
                ..Default::default()
            });
        let failed = announcement
            .failed
            .into_iter()
            .map(|failed| protobuf::FailedInstanceRequest {
                ray_node_type_name: failed.group,
                count: failed.count.try_into().unwrap_or(i32::MAX),
                reason: failed.reason,
                start_ts: failed.unix_seconds,
                failed_ts: failed.unix_seconds,
                ..Default::default()
            });
        let constraint = announcement.impossible_constraint.into_iter();
        let constraint: Vec<_> = constraint
            .map(|batch| protobuf::ResourceRequestByCount {
                request: Some(batch.request.into()),
                count: batch.count.try_into().unwrap_or(i64::MAX),
            })
            .collect();
        let constraint = (!constraint.is_empty()).then_some(protobuf::ClusterResourceConstraint {
            resource_requests: constraint,
        });
        let gangs = announcement
            .impossible_gangs
            .into_iter()
            .map(|gang| protobuf::GangResourceRequest {
                requests: gang.bundles.into_iter().map(Into::into).collect(),
                details: gang.details,
                ..Default::default()
            });
        Self {
            last_seen_cluster_resource_state_version: announcement.report_version,
            autoscaler_state_version: announcement.unix_milliseconds,
            pending_instance_requests: requested.collect(),
            pending_instances: starting.collect(),
            failed_instance_requests: failed.collect(),
            infeasible_resource_requests: announcement.impossible.into_iter().map(Into::into).collect(),
            infeasible_gang_resource_requests: gangs.collect(),
            infeasible_cluster_resource_constraints: constraint.into_iter().collect(),
        }
    }
}

/// A request as it was stated.
impl From<Request> for protobuf::ResourceRequest {
    fn from(request: Request) -> Self {
        let term = |term: Term| rpc::LabelSelectorConstraint {
            label_key: term.key,
            operator: match term.operator {
                Operator::In => rpc::LabelSelectorOperator::LabelOperatorIn,
                Operator::NotIn => rpc::LabelSelectorOperator::LabelOperatorNotIn,
                Operator::Unknown => rpc::LabelSelectorOperator::LabelOperatorUnspecified,
            }
            .into(),
            label_values: term.values.into_iter().collect(),
        };
        let selector = |terms: Selector| rpc::LabelSelector {
            label_constraints: terms.into_iter().map(term).collect(),
        };
        let affinity = request
            .affinity
            .map(|Label { name, value }| protobuf::PlacementConstraint {
                affinity: Some(protobuf::AffinityConstraint {
                    label_name: name,
                    label_value: value,
                }),
                anti_affinity: None,
            });
        let apart = request
            .anti_affinity
            .map(|Label { name, value }| protobuf::PlacementConstraint {
                affinity: None,
                anti_affinity: Some(protobuf::AntiAffinityConstraint {
                    label_name: name,
                    label_value: value,
                }),
            });
        Self {
            resources_bundle: request
                .resources
                .iter()
                .map(|(name, amount)| (name.clone(), amount.to_f64()))
                .collect(),
            placement_constraints: affinity.into_iter().chain(apart).collect(),
            label_selectors: request.selectors.into_iter().map(selector).collect(),
        }
    }
}
