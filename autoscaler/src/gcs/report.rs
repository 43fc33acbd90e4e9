//! What a head says: of its nodes, of what waits for them, and of who uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use planner::{Batch, Demand, Gang, Label, Operator, Request, Selector, Term};
use ray::resources::{Amount, Resources};

use super::rpc;
use super::rpc::autoscaler::{self as protobuf, NodeStatus};

/// Carried by the head's node alone.
const HEAD_RESOURCE: &str = "node:__internal_head__";

/// Namespaces of drivers that Ray runs itself, such as the dashboard's.
const INTERNAL_NAMESPACE_PREFIX: &str = "_ray_internal_";

/// What a head says of its cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Changes when the head starts anew.
    pub(crate) session: String,
    pub(crate) version: i64,
    pub(crate) nodes: Vec<RayNode>,
    pub(crate) demand: Demand,
}

/// What a head says of one node.
#[derive(Clone, Debug)]
pub(crate) struct RayNode {
    pub(crate) id: NodeId,
    /// The name of its Pod, if it was told.
    pub(crate) instance: String,
    /// The name of its group, if it was told.
    pub(crate) group: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) status: Status,
    pub(crate) is_head: bool,
    pub(crate) total: Resources,
    pub(crate) available: Resources,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) idle_milliseconds: u64,
}

/// The programs that use a cluster, or did; Ray's own are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drivers {
    pub(crate) attached: usize,
    /// When the last of those that are gone left, by the head's clock.
    pub(crate) last_left: u64,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Busy,
    Idle,
    Draining,
    Dead,
}

/// Ray's name of a node. Every one of these has the right length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId([u8; 28]);

impl NodeId {
    pub(super) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<[u8; 28]> for NodeId {
    fn from(bytes: [u8; 28]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl From<protobuf::ClusterResourceState> for Report {
    fn from(state: protobuf::ClusterResourceState) -> Self {
        let requests = batches(state.pending_resource_requests);
        let gangs = state.pending_gang_resource_requests.into_iter().map(gang);
        let constraint = state.cluster_resource_constraints.into_iter().next();
        Self {
            session: state.cluster_session_name,
            version: state.cluster_resource_state_version,
            nodes: state.node_states.into_iter().filter_map(node).collect(),
            demand: Demand {
                requests: requests
                    .into_iter()
                    .filter(|batch| !within_a_placed_gang(&batch.request))
                    .collect(),
                gangs: gangs.filter(|gang| !gang.bundles.is_empty()).collect(),
                constraint: constraint.map(|constraint| batches(constraint.resource_requests)),
            },
        }
    }
}

impl From<rpc::GetAllJobInfoReply> for Drivers {
    fn from(reply: rpc::GetAllJobInfoReply) -> Self {
        let mut drivers = Self::default();
        for job in reply.job_info_list {
            let namespace = job.config.unwrap_or_default().ray_namespace;
            if namespace.starts_with(INTERNAL_NAMESPACE_PREFIX) {
                continue;
            }
            if job.is_dead {
                drivers.last_left = drivers.last_left.max(job.end_time);
            } else {
                drivers.attached += 1;
            }
        }
        drivers
    }
}

/// A node as it is stated; none without a proper id, since nothing could be asked for it.
fn node(state: protobuf::NodeState) -> Option<RayNode> {
    let status = match state.status() {
        NodeStatus::Dead => Status::Dead,
        NodeStatus::Draining => Status::Draining,
        NodeStatus::Idle => Status::Idle,
        NodeStatus::Running | NodeStatus::Unspecified => Status::Busy,
    };
    let mut labels = state.labels;
    labels.extend(state.dynamic_labels);
    Some(RayNode {
        id: NodeId(state.node_id.try_into().ok()?),
        instance: state.instance_id,
        group: state.ray_node_type_name,
        ip: state.node_ip_address.parse().ok(),
        status,
        is_head: state.total_resources.contains_key(HEAD_RESOURCE),
        total: resources(&state.total_resources),
        available: resources(&state.available_resources)
            .into_iter()
            .filter(|(_, amount)| **amount > Amount::ZERO)
            .map(|(name, amount)| (name.clone(), *amount))
            .collect(),
        labels,
        idle_milliseconds: state.idle_duration_ms.try_into().unwrap_or(0),
    })
}

fn gang(gang: protobuf::GangResourceRequest) -> Gang {
    let selected = gang
        .bundle_selectors
        .into_iter()
        .next()
        .map(|selector| selector.resource_requests);
    let bundles = selected
        .filter(|requests| !requests.is_empty())
        .unwrap_or(gang.requests);
    Gang {
        details: gang.details,
        bundles: bundles.into_iter().map(request).collect(),
    }
}

fn batches(requests: Vec<protobuf::ResourceRequestByCount>) -> Vec<Batch> {
    let batches = requests.into_iter().map(|counted| Batch {
        request: request(counted.request.unwrap_or_default()),
        count: counted.count.try_into().unwrap_or(0),
    });
    batches.filter(|batch| batch.count > 0).collect()
}

fn request(stated: protobuf::ResourceRequest) -> Request {
    let mut request = Request {
        resources: resources(&stated.resources_bundle),
        selectors: stated.label_selectors.into_iter().map(selector).collect(),
        ..Request::default()
    };
    for constraint in stated.placement_constraints {
        let label = |name, value| Some(Label { name, value });
        if let Some(affinity) = constraint.affinity {
            request.affinity = label(affinity.label_name, affinity.label_value);
        }
        if let Some(apart) = constraint.anti_affinity {
            request.anti_affinity = label(apart.label_name, apart.label_value);
        }
    }
    request
}

fn selector(selector: rpc::LabelSelector) -> Selector {
    let terms = selector.label_constraints.into_iter().map(|constraint| Term {
        operator: match constraint.operator() {
            rpc::LabelSelectorOperator::LabelOperatorIn => Operator::In,
            rpc::LabelSelectorOperator::LabelOperatorNotIn => Operator::NotIn,
            rpc::LabelSelectorOperator::LabelOperatorUnspecified => Operator::Unknown,
        },
        key: constraint.label_key,
        values: constraint.label_values.into_iter().collect(),
    });
    terms.collect()
}

pub(super) fn resources(amounts: &BTreeMap<String, f64>) -> Resources {
    amounts
        .iter()
        .filter_map(|(name, units)| Some((name.as_str(), Amount::from_f64(*units)?)))
        .collect()
}

/// Work inside a placement group waits for that group's own resources, such as `CPU_group_<id>`. No new node will ever have them.
fn within_a_placed_gang(request: &Request) -> bool {
    let is_id = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let of_gang = |name: &str| {
        name.rsplit_once('_')
            .is_some_and(|(before, id)| is_id(id) && before.contains("_group"))
    };
    request.resources.iter().any(|(name, _)| of_gang(name))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use prost::Message;

    use super::{RayNode, Report, within_a_placed_gang};
    use crate::gcs::rpc::autoscaler::GetClusterResourceStateReply;

    /// What the head of Ray 2.60.0 with one worker answered while more was asked of it than it had.
    const WAITING: &[u8] = include_bytes!("../../fixtures/ray-2.60.0-waiting.bin");

    fn recorded() -> Report {
        let reply = GetClusterResourceStateReply::decode(WAITING).expect("a recorded reply");
        reply.cluster_resource_state.expect("a state").into()
    }

    #[test]
    fn nodes_are_read() {
        let tell = |node: &RayNode| {
            let RayNode {
                instance,
                ip,
                status,
                is_head,
                total,
                available,
                labels,
                ..
            } = node;
            let zone = labels.get("zone");
            format!(
                "{instance} {ip:?} {status:?} head: {is_head} zone: {zone:?}\n  total {total}\n  free  {available}\n"
            )
        };
        let mut nodes = recorded().nodes;
        nodes.sort_by(|left, right| left.instance.cmp(&right.instance));
        assert_snapshot!(nodes.iter().map(tell).collect::<String>(), @r#"
        demo-head-x7k2p Some(127.0.0.1) Busy head: true zone: None
          total {CPU: 1, memory: 1000000000, node:127.0.0.1: 1, node:__internal_head__: 1, object_store_memory: 100000000}
          free  {memory: 1000000000, node:127.0.0.1: 1, node:__internal_head__: 1, object_store_memory: 100000000}
        demo-small-worker-abcde Some(127.0.0.1) Busy head: false zone: Some("a")
          total {CPU: 2, memory: 1000000000, node:127.0.0.1: 1, object_store_memory: 100000000}
          free  {memory: 1000000000, node:127.0.0.1: 1, object_store_memory: 100000000}
        "#);
    }

    #[test]
    fn demand_is_read() {
        let mut demand = recorded().demand;
        demand.requests.sort_by_key(|batch| batch.count);
        demand.gangs.sort_by_key(|gang| gang.bundles.len());
        let mut lines: Vec<String> = Vec::new();
        lines.extend(
            demand
                .requests
                .iter()
                .map(|batch| format!("task {batch} {:?}", batch.request.selectors)),
        );
        lines.extend(demand.gangs.iter().map(|gang| {
            let strategy = gang.details.rsplit(':').next().expect("a strategy");
            let requests = gang.requests();
            let apart = requests
                .iter()
                .filter(|request| request.anti_affinity.is_some())
                .count();
            let shapes: Vec<_> = requests.iter().map(ToString::to_string).collect();
            format!("gang {strategy} {shapes:?} apart: {apart}")
        }));
        lines.extend(
            demand
                .constraint
                .iter()
                .flatten()
                .map(|batch| format!("wanted {batch}")),
        );
        assert_snapshot!(lines.join("\n"), @r#"
        task 1 x {CPU: 1, shelf: 0.5} [[Term { key: "zone", operator: In, values: {"a", "b"} }, Term { key: "spot", operator: NotIn, values: {"true"} }]]
        task 4 x {CPU: 1} [[]]
        gang PACK|PENDING ["{CPU: 4}"] apart: 0
        gang STRICT_PACK|PENDING ["{CPU: 2}"] apart: 0
        gang STRICT_SPREAD|PENDING ["{CPU: 2}", "{CPU: 2}", "{CPU: 2}"] apart: 3
        wanted 2 x {CPU: 3}
        "#);
    }

    #[test]
    fn what_only_a_placed_gang_could_serve_is_not_demand() {
        let asks = |name: &str| {
            let resources = [(name, ray::resources::Amount::ONE)].into_iter().collect();
            within_a_placed_gang(&planner::Request {
                resources,
                ..planner::Request::default()
            })
        };
        assert!(asks("CPU_group_0_5625325b108ecc10982c35afa55701000000"));
        assert!(asks("bundle_group_5625325b108ecc10982c35afa55701000000"));
        assert!(!asks("CPU"));
        assert!(!asks("rack_group_7"));
    }
}
