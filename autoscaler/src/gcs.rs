//! The GCS of a head: what we ask of it, and what its answers mean. Protobuf stops here.
//!
//! Three requests can kill a head, and none of them can be made from here: a state request with a version number, a node id that is not
//! 28 bytes long, and a drain of the head's own node.

mod announcement;
mod json;
mod report;
mod store;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::credentials::Credentials;
use rpc::autoscaler::autoscaler_state_service_client::AutoscalerStateServiceClient;
use rpc::autoscaler::{self as protobuf, DrainNodeReason};
use rpc::internal_kv_gcs_service_client::InternalKvGcsServiceClient;
use rpc::job_info_gcs_service_client::JobInfoGcsServiceClient;

pub(crate) use announcement::{Announcement, Failed, Starting};
pub(crate) use report::{Drivers, RayNode, Report, Status};

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
            node_id: node.id.to_vec(),
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
