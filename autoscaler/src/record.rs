//! What a look at a cluster leaves behind: one wide log event, metrics, Events on the RayCluster, and word to its head. Nothing here changes a
//! decision, and nothing fails for it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder as EventRecorder, Reporter};
use planner::{Gang, Plan, State};

use crate::apply::{Drains, GroupChange};
use crate::cluster::{Cluster, View};
use crate::gcs::{Announcement, Gcs, Report, Starting};
use crate::metrics::{DifferenceLabels, DrainLabels, DrainOutcome, Metrics, Ours, RemovalLabels};
use crate::observe::Observation;
use crate::shadow::{Difference, News};
use crate::tick::Outcome;

/// An Event is not worth waiting for.
const EVENT_DEADLINE: Duration = Duration::from_secs(2);

/// Where records go.
#[derive(Clone)]
pub(crate) struct Recorder {
    events: EventRecorder,
    metrics: Metrics,
}

/// One look at a cluster.
pub(crate) struct Record<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) view: &'a View,
    pub(crate) report: &'a Report,
    pub(crate) observation: &'a Observation<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) drains: &'a Drains,
    pub(crate) changes: &'a [GroupChange],
    pub(crate) outcome: Outcome,
}

impl Recorder {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        let reporter = Reporter {
            controller: "rayward-autoscaler".to_owned(),
            instance: None,
        };
        Self {
            events: EventRecorder::new(client, reporter),
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
        let Some(mut gcs) = gcs else {
            return;
        };
        if let Err(error) = gcs.announce(record.announcement()).await {
            tracing::debug!(error = %error, "not announced");
        }
    }

    fn count(&self, record: &Record<'_>) {
        let drains = [
            (DrainOutcome::Accepted, record.drains.accepted),
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

    /// Says on a RayCluster that its head has to be made anew before we scale it.
    pub(crate) async fn shadowed_by(&self, cluster: &Cluster, head: &str) {
        let note = format!(
            "the head {head} has an autoscaler of its own, which goes on scaling this cluster; Rayward only looks on. To have Rayward \
             scale it, delete the head Pod: the new one is made without"
        );
        self.tell(cluster, EventType::Warning, "Adopt", "OnlyShadowed", note)
            .await;
    }

    /// Says why a cluster is left alone, where somebody has to do something about it.
    pub(crate) async fn held(&self, cluster: &Cluster, reason: &str) {
        self.tell(cluster, EventType::Warning, "Ask", "Held", reason.to_owned())
            .await;
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
        self.tell(cluster, EventType::Normal, action, reason, decision.to_string())
            .await;
    }

    /// The API server counts an Event that repeats instead of keeping each.
    async fn tell(&self, cluster: &Cluster, type_: EventType, action: &str, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some("ray.io/v1".to_owned()),
            kind: Some("RayCluster".to_owned()),
            name: cluster.metadata.name.clone(),
            namespace: cluster.metadata.namespace.clone(),
            uid: cluster.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let published = tokio::time::timeout(EVENT_DEADLINE, self.events.publish(&event, &regarding)).await;
        if !matches!(published, Ok(Ok(()))) {
            tracing::debug!(?published, "event not published");
        }
    }
}

impl Record<'_> {
    /// What `ray status` is to show.
    fn announcement(&self) -> Announcement {
        let snapshot = &self.observation.snapshot;
        let pending = snapshot
            .nodes
            .iter()
            .filter(|node| matches!(node.state, State::Pending));
        let (starting, requested): (Vec<_>, Vec<_>) = pending
            .map(|node| (node, self.view.pods.get(&node.id)))
            .partition(|(_, pod)| pod.is_some());
        let starting = starting.into_iter().filter_map(|(node, pod)| {
            let pod = pod?;
            let details = pod.waiting.clone().unwrap_or_default();
            Some(Starting {
                group: node.group.clone(),
                pod: pod.name.clone(),
                ip: pod.ip,
                details,
            })
        });
        // What this very plan launches is in the RayCluster now, and among the nodes from the next look on.
        let launched = self.changes.iter().flat_map(|change| {
            let count = self.plan.launch.get(&change.decision.group).copied().unwrap_or(0);
            (0..count).map(|_| change.decision.group.clone())
        });
        let infeasible = &self.plan.infeasible;
        let impossible = infeasible.requests.iter().map(|batch| &batch.request);
        let hopeless = |gang: &&Gang| {
            gang.requests()
                .iter()
                .any(|request| !snapshot.could_hold(request))
        };
        Announcement {
            report_version: self.report.version,
            unix_milliseconds: Timestamp::now().as_millisecond(),
            requested: requested
                .into_iter()
                .map(|(node, _)| node.group.clone())
                .chain(launched)
                .collect(),
            starting: starting.collect(),
            impossible: impossible
                .filter(|request| !snapshot.could_hold(request))
                .cloned()
                .collect(),
            impossible_gangs: infeasible.gangs.iter().filter(hopeless).cloned().collect(),
        }
    }

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
            changes = changes.join("; "),
            removed = ?removed,
            nodes = snapshot.nodes.len(),
            waiting,
            waiting_gangs = snapshot.demand.gangs.len(),
            infeasible = %self.plan.infeasible,
            unreadable = ?self.observation.unreadable,
            drains_accepted = self.drains.accepted,
            drains_rejected = self.drains.rejected,
            drains_failed = self.drains.failed,
            "tick",
        );
    }
}
