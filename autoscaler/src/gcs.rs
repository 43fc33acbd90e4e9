//! The GCS of a head: what we ask of it, and what its answers mean. Protobuf stops here.
//!
//! Three requests can kill a head, and none of them can be made from here: a state request with a version number, a node id that is not
//! 28 bytes long, and a drain of the head's own node.

mod json;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use planner::{Batch, Demand, Gang, Label, Operator, Request, Selector, Term};
use ray::resources::{Amount, Resources};
use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::credentials::Credentials;
use rpc::autoscaler::autoscaler_state_service_client::AutoscalerStateServiceClient;
use rpc::autoscaler::{self as protobuf, DrainNodeReason, NodeStatus};
use rpc::internal_kv_gcs_service_client::InternalKvGcsServiceClient;
use rpc::job_info_gcs_service_client::JobInfoGcsServiceClient;

#[expect(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
mod rpc {
    tonic::include_proto!("ray.rpc");
    pub(crate) mod autoscaler {
        tonic::include_proto!("ray.rpc.autoscaler");
    }
}

/// A head answers in a millisecond; one that takes so long is as good as gone.
const DEADLINE: Duration = Duration::from_secs(3);
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// What a reply may have at most: a thousand placement groups of a hundred bundles, whatever the number of nodes,
const REPLY_BYTES: usize = 16 << 20;
/// and for each Pod a node with its labels and resources, and a few dead ones.
const REPLY_BYTES_PER_POD: usize = 16 << 10;

/// Carried by the head's node alone.
const HEAD_RESOURCE: &str = "node:__internal_head__";

/// Namespaces of drivers that Ray runs itself, such as the dashboard's.
const INTERNAL_NAMESPACE_PREFIX: &str = "_ray_internal_";

/// The GCS of one head.
#[derive(Clone, Debug)]
pub(crate) struct Gcs {
    address: SocketAddr,
    client: AutoscalerStateServiceClient<InterceptedService<Channel, Bearer>>,
    jobs: JobInfoGcsServiceClient<InterceptedService<Channel, Bearer>>,
    store: InternalKvGcsServiceClient<InterceptedService<Channel, Bearer>>,
    /// Whether `request_resources` has to be looked for in the store, once that is known.
    stores_requests: Arc<OnceLock<bool>>,
}

/// Shows a token with every request, if there is one to show.
#[derive(Clone, Debug)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

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

/// Why a node should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainReason {
    /// Only if nothing runs on it.
    Idle,
    /// Let it finish what runs on it, and start nothing more.
    Preemption,
}

/// What a head says to a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    Accepted,
    Rejected(String),
}

/// A head that does not answer as it should.
#[derive(Debug, Error)]
pub(crate) enum GcsError {
    #[error("{asked} of the GCS at {address}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        asked: &'static str,
        address: SocketAddr,
    },
    #[error("{asked} of the GCS at {address}: {status}", status = tell(source))]
    Status {
        asked: &'static str,
        address: SocketAddr,
        source: Box<tonic::Status>,
    },
    #[error("{what} in the store of the GCS at {address}: {source}")]
    Unreadable {
        what: &'static str,
        address: SocketAddr,
        source: serde_json::Error,
    },
    #[error("the {what} for the GCS cannot be used: {why}")]
    Unusable { what: &'static str, why: String },
}

fn tell(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

impl Gcs {
    /// The GCS at an address; connects when first asked.
    pub(crate) fn new(address: SocketAddr, credentials: &Credentials) -> Result<Self, GcsError> {
        let unusable = |what| {
            move |error: &dyn fmt::Display| GcsError::Unusable {
                what,
                why: error.to_string(),
            }
        };
        let scheme = if credentials.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let endpoint =
            Endpoint::from_shared(format!("{scheme}://{address}")).expect("an address makes an URI");
        let mut endpoint = endpoint.connect_timeout(CONNECT_DEADLINE).tcp_nodelay(true);
        if let Some(tls) = &credentials.tls {
            // It is the head of that address, whatever it is called.
            let config = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&tls.authority))
                .identity(Identity::from_pem(&tls.certificate, &tls.key));
            endpoint = endpoint
                .tls_config(config)
                .map_err(|error| unusable("certificate")(&error))?;
        }
        let token = credentials
            .token
            .as_ref()
            .map(|token| format!("Bearer {token}").parse());
        let token = token.transpose().map_err(|error| unusable("token")(&error))?;
        let (channel, bearer) = (endpoint.connect_lazy(), Bearer(token));
        let store = InternalKvGcsServiceClient::with_interceptor(channel.clone(), bearer.clone());
        let jobs = JobInfoGcsServiceClient::with_interceptor(channel.clone(), bearer.clone());
        let client = AutoscalerStateServiceClient::with_interceptor(channel, bearer);
        Ok(Self {
            address,
            client: client.max_decoding_message_size(REPLY_BYTES),
            jobs: jobs.max_decoding_message_size(REPLY_BYTES),
            store,
            stores_requests: Arc::default(),
        })
    }

    /// How large its cluster is, so that no head can make us hold more than its own would need.
    pub(crate) fn expect(&mut self, pods: usize) {
        let bytes = REPLY_BYTES + REPLY_BYTES_PER_POD * pods;
        self.client = self.client.clone().max_decoding_message_size(bytes);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What waits and what there is.
    pub(crate) async fn report(&mut self) -> Result<Report, GcsError> {
        let request = protobuf::GetClusterResourceStateRequest {
            last_seen_cluster_resource_state_version: 0,
        };
        let reply = self.client.get_cluster_resource_state(request);
        let reply = answer("the state", self.address, reply).await?;
        let mut report: Report = reply.cluster_resource_state.unwrap_or_default().into();
        if let Some(constraint) = self.stored_constraint().await? {
            report.demand.constraint = Some(constraint);
        }
        Ok(report)
    }

    /// Who uses the cluster. Detached actors do not count, as with Ray's own autoscaler.
    pub(crate) async fn drivers(&mut self) -> Result<Drivers, GcsError> {
        let request = rpc::GetAllJobInfoRequest {
            skip_submission_job_info_field: Some(true),
            skip_is_running_tasks_field: Some(true),
        };
        let reply = self.jobs.get_all_job_info(request);
        Ok(answer("the drivers", self.address, reply).await?.into())
    }

    /// Asks a worker node to go.
    pub(crate) async fn drain(
        &mut self,
        node: &RayNode,
        reason: DrainReason,
        message: &str,
    ) -> Result<Drained, GcsError> {
        if node.is_head {
            return Ok(Drained::Rejected("this is the head".to_owned()));
        }
        let reason = match reason {
            DrainReason::Idle => DrainNodeReason::IdleTermination,
            DrainReason::Preemption => DrainNodeReason::Preemption,
        };
        let request = protobuf::DrainNodeRequest {
            node_id: node.id.0.to_vec(),
            reason: reason.into(),
            reason_message: message.to_owned(),
            deadline_timestamp_ms: 0,
        };
        let reply = answer("a drain", self.address, self.client.drain_node(request)).await?;
        Ok(if reply.is_accepted {
            Drained::Accepted
        } else {
            Drained::Rejected(reply.rejection_reason_message)
        })
    }

    /// Tells what we are doing.
    pub(crate) async fn announce(&mut self, announcement: Announcement) -> Result<(), GcsError> {
        let request = protobuf::ReportAutoscalingStateRequest {
            autoscaling_state: Some(announcement.into()),
        };
        answer(
            "to take note",
            self.address,
            self.client.report_autoscaling_state(request),
        )
        .await?;
        Ok(())
    }
}

async fn answer<T>(
    asked: &'static str,
    address: SocketAddr,
    reply: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, GcsError> {
    match tokio::time::timeout(DEADLINE, reply).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(GcsError::Status {
            asked,
            address,
            source: Box::new(status),
        }),
        Err(_) => Err(GcsError::Deadline { asked, address }),
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

fn resources(amounts: &BTreeMap<String, f64>) -> Resources {
    amounts
        .iter()
        .filter_map(|(name, units)| Some((name.as_str(), Amount::from_f64(*units)?)))
        .collect()
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

/// Work inside a placement group waits for that group's own resources, such as `CPU_group_<id>`. No new node will ever have them.
fn within_a_placed_gang(request: &Request) -> bool {
    let is_id = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let of_gang = |name: &str| {
        name.rsplit_once('_')
            .is_some_and(|(before, id)| is_id(id) && before.contains("_group"))
    };
    request.resources.iter().any(|(name, _)| of_gang(name))
}

impl From<[u8; 28]> for NodeId {
    fn from(bytes: [u8; 28]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use prost::Message;

    use super::{RayNode, Report, within_a_placed_gang};
    use crate::gcs::rpc::autoscaler::GetClusterResourceStateReply;

    /// What the head of Ray 2.60.0 with one worker answered while more was asked of it than it had.
    const WAITING: &[u8] = include_bytes!("../fixtures/ray-2.60.0-waiting.bin");

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
