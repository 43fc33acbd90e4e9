//! The heads of a fleet, played by one small server that speaks Ray's own protocol and repeats what a real head once said.
//!
//! It listens at one port of every address of this machine; which address was called says which head is meant.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use protocol::autoscaler::autoscaler_state_service_server::{
    AutoscalerStateService, AutoscalerStateServiceServer,
};
use protocol::autoscaler::{
    ClusterResourceState, DrainNodeReply, DrainNodeRequest, GetClusterResourceStateReply,
    GetClusterResourceStateRequest, NodeStatus, ReportAutoscalingStateReply, ReportAutoscalingStateRequest,
};

#[expect(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
mod protocol {
    tonic::include_proto!("ray.rpc");
    pub(super) mod autoscaler {
        tonic::include_proto!("ray.rpc.autoscaler");
    }
}

/// What the head of Ray 2.60.0 with one worker answered while more was asked of it than it had.
const WAITING: &[u8] = include_bytes!("../../../autoscaler/fixtures/ray-2.60.0-waiting.bin");

/// Where a head listens unless it is told otherwise.
const PORT: u16 = 6379;

/// All heads. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    recorded: ClusterResourceState,
    heads: Mutex<BTreeMap<IpAddr, Head>>,
}

#[derive(Clone, Debug, Default)]
struct Head {
    pod: String,
    /// How often it was asked how it is.
    asked: u64,
    /// More is asked of it than it has.
    waits: bool,
    /// When it first said so.
    told: Option<Instant>,
}

/// The address of a head.
pub(super) fn address(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("heads are few");
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

impl Heads {
    /// Listens for all of them.
    pub(super) async fn start() -> Result<Self> {
        let recorded = GetClusterResourceStateReply::decode(WAITING)?;
        let shared = Shared {
            recorded: recorded.cluster_resource_state.context("a state")?,
            heads: Mutex::default(),
        };
        let heads = Self {
            shared: Arc::new(shared),
        };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(AutoscalerStateServiceServer::new(heads.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(heads)
    }

    /// One more head, that of this Pod.
    pub(super) fn add(&self, address: Ipv4Addr, pod: &str) {
        let head = Head {
            pod: pod.to_owned(),
            ..Head::default()
        };
        self.all().insert(address.into(), head);
    }

    /// How often all of them together were asked how they are.
    pub(super) fn asked(&self) -> u64 {
        self.all().values().map(|head| head.asked).sum()
    }

    /// How many were not asked yet, or not since they were forgotten.
    pub(super) fn unasked(&self) -> usize {
        self.all().values().filter(|head| head.asked == 0).count()
    }

    /// All begin anew: nobody has asked them, and nothing waits.
    pub(super) fn forget(&self) {
        for head in self.all().values_mut() {
            *head = Head {
                pod: std::mem::take(&mut head.pod),
                ..Head::default()
            };
        }
    }

    /// From now on more is asked of these heads than they have.
    pub(super) fn keep_waiting(&self, addresses: impl Iterator<Item = Ipv4Addr>) {
        let mut all = self.all();
        for address in addresses {
            if let Some(head) = all.get_mut(&address.into()) {
                head.waits = true;
            }
        }
    }

    /// When a head first said that more is asked of it.
    pub(super) fn told(&self, address: Ipv4Addr) -> Option<Instant> {
        self.all().get(&address.into())?.told
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Head>> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recorded head, without its worker, in the Pod of this one.
    fn state(&self, head: &Head) -> ClusterResourceState {
        let mut state = self.shared.recorded.clone();
        state.cluster_session_name.clone_from(&head.pod);
        state
            .node_states
            .retain(|node| node.total_resources.contains_key("node:__internal_head__"));
        for node in &mut state.node_states {
            node.instance_id.clone_from(&head.pod);
        }
        if !head.waits {
            state.pending_resource_requests.clear();
            state.pending_gang_resource_requests.clear();
            state.cluster_resource_constraints.clear();
            for node in &mut state.node_states {
                node.set_status(NodeStatus::Idle);
            }
        }
        state
    }
}

#[tonic::async_trait]
impl AutoscalerStateService for Heads {
    async fn get_cluster_resource_state(
        &self,
        request: Request<GetClusterResourceStateRequest>,
    ) -> Result<Response<GetClusterResourceStateReply>, Status> {
        let called = request
            .local_addr()
            .ok_or_else(|| Status::internal("nobody knows who was called"))?;
        let head = {
            let mut all = self.all();
            let head = all
                .get_mut(&called.ip())
                .ok_or_else(|| Status::unavailable("there is no head at this address"))?;
            head.asked += 1;
            if head.waits {
                head.told.get_or_insert_with(Instant::now);
            }
            head.clone()
        };
        Ok(Response::new(GetClusterResourceStateReply {
            cluster_resource_state: Some(self.state(&head)),
        }))
    }

    async fn report_autoscaling_state(
        &self,
        _: Request<ReportAutoscalingStateRequest>,
    ) -> Result<Response<ReportAutoscalingStateReply>, Status> {
        Ok(Response::new(ReportAutoscalingStateReply {}))
    }

    /// There is no worker that could be drained.
    async fn drain_node(&self, _: Request<DrainNodeRequest>) -> Result<Response<DrainNodeReply>, Status> {
        Err(Status::not_found("there is no such node"))
    }
}
