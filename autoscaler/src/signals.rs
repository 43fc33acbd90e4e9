//! Scaling by what Prometheus and the clock say, as RayScalingPolicies want it.
//!
//! - [`policies`]: the policies there are, and which of them a group follows
//! - [`queries`]: what the servers say, each query asked once a round however many groups want its answer; [`prometheus`]: one question
//! - [`replay`]: a policy played against what was measured
//! - [`wish`]: a policy and the answers, put together into what the planner takes
//! - [`status`]: what policies are told; [`statuses`]: that it is written; [`fleet`]: which clusters there are to tell of
//!
//! The planner decides. A loop that looks at its cluster finds the latest answers here and waits for none.

mod access;
mod fleet;
mod policies;
mod prometheus;
mod queries;
pub(crate) mod replay;
mod status;
mod statuses;
#[cfg(test)]
mod tests;
mod wish;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use planner::signal::Wish;
use planner::{Memory, Plan, Policy, Role, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::ownership::Ownership;
use policies::{Followed, Policies};
use queries::Queries;
use statuses::Statuses;

pub(crate) use fleet::Fleet;
pub(crate) use prometheus::Server;
pub(crate) use queries::Query;
#[cfg(test)]
pub(crate) use status::Heard;
pub(crate) use status::{GroupTold, Told};

/// What the flags say about servers.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Those that may be asked, the first of them where a policy names none; any, if the list is empty.
    pub(crate) servers: Vec<String>,
    /// A folder with what those get to see of us.
    pub(crate) credentials: Option<PathBuf>,
    /// How often each query is asked.
    pub(crate) period: Duration,
}

/// What every loop finds here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signals {
    policies: watch::Receiver<Arc<Policies>>,
    queries: Queries,
    fleet: Fleet,
    reports: mpsc::UnboundedSender<Told>,
}

impl Signals {
    /// The signals, and what keeps them up to date for as long as it is polled.
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        ownership: Ownership,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (publish, policies) = watch::channel(Arc::default());
        let (reports, reported) = mpsc::unbounded_channel();
        let queries = Queries::new(settings, Some(client.clone()));
        let asking = queries.clone().run(metrics);
        let fleet = Fleet::default();
        let statuses = Statuses::new(client.clone(), ownership, fleet.clone());
        let keep = async move {
            tokio::join!(policies::keep(client, publish, statuses, reported), asking);
        };
        let signals = Self {
            policies,
            queries,
            fleet,
            reports,
        };
        (signals, keep)
    }

    /// Those of an autoscaler that follows no policies.
    pub(crate) fn none() -> Self {
        let (_, policies) = watch::channel(Arc::new(Policies::none()));
        let (reports, _) = mpsc::unbounded_channel();
        let settings = Settings {
            servers: Vec::new(),
            credentials: None,
            period: Duration::MAX,
        };
        Self {
            policies,
            queries: Queries::new(settings, None),
            fleet: Fleet::default(),
            reports,
        }
    }

    /// Whether it is known which policies there are.
    pub(crate) fn known(&self) -> bool {
        self.policies.borrow().known
    }

    /// Decides about one cluster with what policies want of it, and says what these are to be told.
    pub(crate) fn plan(
        &self,
        cluster: &Cluster,
        snapshot: &Snapshot,
        memory: &Memory,
        policy: &Policy,
    ) -> (Plan, Told) {
        let policies = self.policies.borrow().clone();
        let groups: Vec<&str> = snapshot
            .groups
            .iter()
            .filter(|group| group.role == Role::Worker)
            .map(|group| group.name.as_str())
            .collect();
        let followed = policies.of(&cluster.metadata, &groups);
        let now = Timestamp::now();
        let asked = Instant::now();
        let wishes = followed
            .iter()
            .filter(|followed| followed.other.is_none())
            .map(|followed| {
                let ask = |query: &_| self.queries.ask(query, asked);
                wish::wish(followed, cluster, ask, now)
            });
        let (wishes, heard): (Vec<Wish>, Vec<_>) = wishes.unzip();
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let (plan, composed) = planner::signal::plan(snapshot, memory, policy, &wishes, milliseconds);
        (plan, status::told(cluster, &followed, &composed, heard))
    }

    /// What policies are to be told of a cluster about which nothing is decided.
    pub(crate) fn held(&self, cluster: &Cluster, why: &str) -> Told {
        let policies = self.policies.borrow().clone();
        let groups = cluster.spec.worker_groups.iter();
        let groups: Vec<&str> = groups.map(|group| group.name.as_str()).collect();
        let followed: Vec<Followed<'_>> = policies.of(&cluster.metadata, &groups);
        status::held(cluster, &followed, why)
    }

    /// Tells policies what came of them.
    pub(crate) fn tell(&self, told: Told) {
        // Nobody listens where no policies are followed.
        let _ = self.reports.send(told);
    }

    /// Which clusters there are.
    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}
