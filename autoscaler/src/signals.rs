//! Scaling by what Prometheus and the clock say, as RayScalingPolicies want it.
//!
//! - [`policies`]: the policies there are, and which of them a group follows
//! - [`queries`]: what the servers say, each query asked once a round however many groups want its answer; [`prometheus`]: one question
//! - [`wish`]: a policy and the answers, put together into what the planner takes
//! - [`status`]: what policies are told
//!
//! The planner decides. A loop that looks at its cluster finds the latest answers here and waits for none.

mod policies;
mod prometheus;
mod queries;
mod status;
#[cfg(test)]
mod tests;
mod wish;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use planner::signal::Wish;
use planner::{Memory, Plan, Policy, Role, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use policies::Policies;
use queries::Queries;
use status::Report;

/// What the flags say about servers.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Those that may be asked, the first of them where a policy names none; any, if the list is empty.
    pub(crate) servers: Vec<String>,
    /// How often each query is asked.
    pub(crate) period: Duration,
}

/// What every loop finds here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signals {
    policies: watch::Receiver<Arc<Policies>>,
    queries: Queries,
    reports: mpsc::UnboundedSender<Report>,
}

impl Signals {
    /// The signals, and what keeps them up to date for as long as it is polled.
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (publish, policies) = watch::channel(Arc::default());
        let (reports, reported) = mpsc::unbounded_channel();
        let queries = Queries::new(settings);
        let asking = queries.clone().run(metrics);
        let keep = async move {
            tokio::join!(policies::keep(client, publish, reported), asking);
        };
        let signals = Self {
            policies,
            queries,
            reports,
        };
        (signals, keep)
    }

    /// Those of an autoscaler that follows no policies.
    pub(crate) fn none() -> Self {
        let (_, policies) = watch::channel(Arc::new(Policies::none()));
        let (reports, _) = mpsc::unbounded_channel();
        let servers = Vec::new();
        let period = Duration::MAX;
        Self {
            policies,
            queries: Queries::new(Settings { servers, period }),
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
    ) -> (Plan, Vec<Report>) {
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
        let (wishes, problems): (Vec<Wish>, Vec<_>) = wishes.unzip();
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let (plan, composed) = planner::signal::plan(snapshot, memory, policy, &wishes, milliseconds);
        (plan, status::reports(cluster, &followed, &composed, &problems))
    }

    /// Tells policies what came of them.
    pub(crate) fn tell(&self, reports: Vec<Report>) {
        for report in reports {
            // Nobody listens where no policies are followed.
            let _ = self.reports.send(report);
        }
    }
}
