//! Where the head of a cluster is, and how it is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Kept, Loop};
use crate::adoption::Scope;
use crate::cluster::{Cluster, View};
use crate::credentials::Access;
use crate::gcs::Gcs;

/// Long before a token of Kubernetes runs out.
const CREDENTIALS_AGE_MAX: Duration = Duration::from_mins(4);
const CREDENTIALS_DEADLINE: Duration = Duration::from_secs(5);

/// How a head is asked.
pub(super) struct Connection {
    gcs: Gcs,
    access: Access,
    since: Instant,
}

impl Loop {
    /// Connections are kept, and made anew in time for a token that has been replaced.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        access: Access,
        kept: &mut Kept,
    ) -> Result<Gcs, String> {
        if let Some(before) = &kept.gcs {
            let is_fresh = access.is_open() || before.since.elapsed() < CREDENTIALS_AGE_MAX;
            if before.gcs.address() == address && before.access == access && is_fresh {
                return Ok(before.gcs.clone());
            }
        }
        kept.gcs = None;
        let fetched = access.fetch(&self.client, &self.namespace);
        let credentials = tokio::time::timeout(CREDENTIALS_DEADLINE, fetched)
            .await
            .map_err(|_| "Kubernetes does not say in time what the head asks for".to_owned())?
            .map_err(|error| error.to_string())?;
        let gcs = Gcs::new(address, &credentials).map_err(|error| error.to_string())?;
        let since = Instant::now();
        kept.gcs = Some(Connection {
            gcs: gcs.clone(),
            access,
            since,
        });
        Ok(gcs)
    }
}

/// The cluster, where its head listens and what it wants to see, or why it has to be left alone.
pub(super) fn ready(view: &View, scope: &Scope) -> Result<(Arc<Cluster>, SocketAddr, Access), String> {
    let cluster = view.cluster.clone().ok_or("the RayCluster is gone")?;
    if let Some(problem) = &cluster.problem {
        return Err(format!("the RayCluster cannot be read: {problem}"));
    }
    let head = view.head().ok_or("there is no running head")?;
    let ip = head.ip.ok_or("the head has no address")?;
    let access = match scope {
        Scope::Central { .. } => head.access.clone(),
        Scope::Beside { .. } => Access::beside(|name| std::env::var(name).ok()),
    };
    let port = cluster.spec.head.gcs_port();
    Ok((cluster, SocketAddr::new(ip, port), access))
}
