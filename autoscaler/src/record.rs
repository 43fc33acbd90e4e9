//! What a look at a cluster leaves behind: one wide log event, metrics, Events on the RayCluster, and word to its head. Nothing here changes a
//! decision, and nothing fails for it.

use std::time::Duration;

use events::Event;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use planner::Plan;

use crate::NAME;
use crate::adoption::Shadowed;
use crate::announce::announcement;
use crate::apply::{Drains, GroupChange};
use crate::cluster::{Cluster, View};
use crate::condition;
use crate::gcs::{Gcs, Report};
use crate::metrics::{DifferenceLabels, DrainLabels, DrainOutcome, Metrics, Ours, RemovalLabels, WaitLabels};
use crate::observe::Observation;
use crate::pace::Turn;
use crate::patience::Waits;
use crate::shadow::{Difference, News};
use crate::tick::Outcome;
use crate::vacancy::Ending;

/// A condition is not worth waiting for.
const CONDITION_DEADLINE: Duration = Duration::from_secs(2);

/// Where records go.
#[derive(Clone)]
pub(crate) struct Recorder {
    client: Client,
    events: events::Recorder,
    metrics: Metrics,
}

/// One look at a cluster.
pub(crate) struct Record<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) view: &'a View,
    pub(crate) report: &'a Report,
    pub(crate) observation: &'a Observation<'a>,
    pub(crate) waits: &'a Waits,
    pub(crate) plan: &'a Plan,
    pub(crate) drains: &'a Drains,
    pub(crate) changes: &'a [GroupChange],
    pub(crate) outcome: Outcome,
}

impl Recorder {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            events: events::Recorder::new(client.clone(), NAME),
            client,
            metrics,
        }
    }

    /// The head is told only if we may.
    pub(crate) async fn record(&self, gcs: Option<Gcs>, record: &Record<'_>) {
        self.count(record);
        if !matches!(record.outcome, Outcome::Quiet | Outcome::Waiting) {
            record.log();
        }
        if record.outcome == Outcome::Patched {
            for change in record.changes {
                self.publish(record.cluster, change).await;
            }
        }
        for group in &record.waits.begun {
            self.passed_over(record, group).await;
        }
        let Some(mut gcs) = gcs else {
            return;
        };
        if let Err(error) = gcs.announce(announcement(record, Timestamp::now())).await {
            tracing::debug!(error = %error, "not announced");
        }
    }

    fn count(&self, record: &Record<'_>) {
        let drains = [
            (DrainOutcome::Accepted, record.drains.accepted.len() as u64),
            (DrainOutcome::Rejected, record.drains.rejected),
            (DrainOutcome::Failed, record.drains.failed),
        ];
        for (outcome, count) in drains.into_iter().filter(|(_, count)| *count > 0) {
            self.metrics
                .drains
                .get_or_create(&DrainLabels { outcome })
                .inc_by(count);
        }
        if record.outcome != Outcome::Patched {
            return;
        }
        self.metrics.launched.inc_by(record.plan.launch.values().sum());
        let removed = |id: &String| record.changes.iter().any(|change| change.removed.contains(id));
        for termination in record
            .plan
            .terminate
            .iter()
            .filter(|termination| removed(&termination.id))
        {
            self.metrics
                .removed
                .get_or_create(&RemovalLabels {
                    cause: termination.cause.into(),
                })
                .inc();
        }
    }

    /// Says on a RayCluster that its head does not answer, or answers again.
    pub(crate) async fn head_turned(&self, cluster: &Cluster, turn: Turn, why: &str) {
        let event = match turn {
            Turn::Quarantined => {
                let note = format!("nothing is scaled until the head answers: {why}");
                Event::warning("AskHead", "HeadUnreachable", note)
            }
            Turn::Back => Event::normal("AskHead", "HeadReachable", "the head answers again"),
        };
        self.tell(cluster, event).await;
    }

    /// Keeps what a RayCluster says of its head true, as far as we may.
    pub(crate) async fn head_condition(&self, cluster: &Cluster, answers: bool, why: &str) {
        let written = condition::write_head_answers(self.client.clone(), cluster, answers, why);
        in_time(written).await;
    }

    /// Keeps what a RayCluster says of its adoption true. False where that could not be written.
    pub(crate) async fn adoption_condition(&self, cluster: &Cluster, why: Option<&str>) -> bool {
        let written = condition::write_only_shadowed(self.client.clone(), cluster, why);
        in_time(written).await
    }

    /// Takes back what a RayCluster says of us.
    pub(crate) async fn no_condition(&self, cluster: &Cluster) {
        let written = condition::take_back(self.client.clone(), cluster);
        in_time(written).await;
    }

    /// Says on a RayCluster that it ends, since nobody uses it, or should.
    pub(crate) async fn ended(&self, cluster: &Cluster, ending: Ending, problem: Option<&str>) {
        let (action, reason, done) = match ending {
            Ending::Suspend => ("Suspend", "IdleSuspended", "suspended"),
            Ending::Delete => ("Delete", "IdleDeleted", "deleted"),
        };
        let timeout = cluster.spec.idle_termination.as_ref();
        let timeout = timeout.and_then(|options| options.timeout_seconds).unwrap_or(0);
        let why = format!("no driver has used the cluster for {timeout} s");
        tracing::info!(
            namespace = cluster.metadata.namespace,
            cluster = cluster.metadata.name,
            ?ending,
            problem,
            "nobody uses it"
        );
        let event = match problem {
            None => Event::normal(action, reason, format!("{done}: {why}")),
            Some(problem) => {
                let note = format!("{why}, and it cannot be {done}: {problem}");
                Event::warning(action, "IdleTerminationFailed", note)
            }
        };
        self.tell(cluster, event).await;
    }

    /// Says on a RayCluster what no node of it could ever hold.
    pub(crate) async fn no_group_fits(&self, cluster: &Cluster, what: String) {
        let note = format!("no node of any group could ever hold {what}");
        self.tell(cluster, Event::warning("Place", "NoGroupFits", note))
            .await;
    }

    async fn passed_over(&self, record: &Record<'_>, group: &str) {
        let Some(pass) = record.waits.passes.get(group) else {
            return;
        };
        self.metrics
            .passes
            .get_or_create(&WaitLabels { reason: pass.reason })
            .inc();
        let note = format!("{group}: passed over for {}: {}", pass.length(), pass.message);
        let event = Event::warning("PassOver", "GroupPassedOver", note);
        self.tell(record.cluster, event).await;
    }

    /// Says on a RayCluster that its head has to be made anew before we scale it.
    pub(crate) async fn only_shadowed(&self, cluster: &Cluster, why: &Shadowed) {
        self.tell(cluster, Event::warning("Adopt", "OnlyShadowed", why.to_string()))
            .await;
    }

    /// Says why a cluster is left alone, where somebody has to do something about it.
    pub(crate) async fn held(&self, cluster: &Cluster, reason: &str) {
        self.tell(cluster, Event::warning("Ask", "Held", reason)).await;
    }

    /// Says where we would have decided otherwise.
    pub(crate) fn differences(&self, cluster: &Cluster, news: &News) {
        let (namespace, name) = (&cluster.metadata.namespace, &cluster.metadata.name);
        for Difference {
            group,
            ours,
            theirs,
            since,
            ..
        } in &news.lasting
        {
            let seconds = since.elapsed().as_secs();
            tracing::info!(
                namespace,
                cluster = name,
                group,
                ours,
                theirs,
                seconds,
                "shadow differs"
            );
            let ours = if ours > theirs { Ours::More } else { Ours::Fewer };
            self.metrics
                .differences
                .get_or_create(&DifferenceLabels { ours })
                .inc();
        }
        for difference in &news.over {
            let lag = difference.since.elapsed().as_secs_f64();
            self.metrics.lag_seconds.observe(lag);
            if difference.was_told() {
                let group = &difference.group;
                tracing::info!(
                    namespace,
                    cluster = name,
                    group,
                    seconds = lag,
                    "shadow agrees again"
                );
            }
        }
    }

    async fn publish(&self, cluster: &Cluster, change: &GroupChange) {
        let decision = &change.decision;
        let (action, reason) = match decision.to.cmp(&decision.from) {
            std::cmp::Ordering::Greater => ("ScaleUp", "ScaledUp"),
            std::cmp::Ordering::Less => ("ScaleDown", "ScaledDown"),
            std::cmp::Ordering::Equal => ("Replace", "ReplacedWorkers"),
        };
        let event = Event::normal(action, reason, decision.to_string());
        self.tell(cluster, event).await;
    }

    async fn tell(&self, cluster: &Cluster, event: Event) {
        let regarding = ObjectReference {
            api_version: Some("ray.io/v1".to_owned()),
            kind: Some("RayCluster".to_owned()),
            name: cluster.metadata.name.clone(),
            namespace: cluster.metadata.namespace.clone(),
            uid: cluster.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.events.publish(&regarding, event).await;
    }
}

async fn in_time(writing: impl Future<Output = kube::Result<()>>) -> bool {
    let written = tokio::time::timeout(CONDITION_DEADLINE, writing).await;
    let in_time = matches!(written, Ok(Ok(())));
    if !in_time {
        tracing::debug!(?written, "condition not written");
    }
    in_time
}

impl Record<'_> {
    fn log(&self) {
        let snapshot = &self.observation.snapshot;
        let changes: Vec<String> = self
            .changes
            .iter()
            .map(|change| change.decision.to_string())
            .collect();
        let removed: Vec<&String> = self.changes.iter().flat_map(|change| &change.removed).collect();
        let waiting: u64 = snapshot.demand.requests.iter().map(|batch| batch.count).sum();
        tracing::info!(
            namespace = self.cluster.metadata.namespace,
            cluster = self.cluster.metadata.name,
            outcome = ?self.outcome,
            session = self.report.session,
            report_version = self.report.version,
            changes = changes.join("; "),
            removed = ?removed,
            nodes = snapshot.nodes.len(),
            waiting,
            waiting_gangs = snapshot.demand.gangs.len(),
            infeasible = %self.plan.infeasible,
            unreadable = ?self.observation.unreadable,
            passed_over = ?self.waits.passes.keys().collect::<Vec<_>>(),
            drains_accepted = self.drains.accepted.len(),
            drains_rejected = self.drains.rejected,
            drains_failed = self.drains.failed,
            "tick",
        );
    }
}
