//! What is counted. Labels are closed sets; no cluster has a label of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::tick::Outcome;
use crate::waiting::Reason;

/// All metrics, and whether we are ready. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Arc<Registry>,
    pub(crate) ready: Arc<AtomicBool>,
    /// Use [`Counted`] for these, so that whoever ends is counted no more.
    pub(crate) clusters: Gauge<i64>,
    pub(crate) shadowed: Family<ShadowLabels, Gauge<i64>>,
    pub(crate) differences: Family<DifferenceLabels, Counter>,
    pub(crate) lag_seconds: Histogram,
    pub(crate) ticks: Family<TickLabels, Counter>,
    pub(crate) tick_seconds: Histogram,
    pub(crate) lateness_seconds: Histogram,
    pub(crate) gcs_seconds: Histogram,
    pub(crate) launched: Counter<u64, AtomicU64>,
    pub(crate) removed: Family<RemovalLabels, Counter>,
    pub(crate) drains: Family<DrainLabels, Counter>,
    pub(crate) quarantined: Gauge<i64>,
    pub(crate) passes: Family<WaitLabels, Counter>,
    pub(crate) queries: Family<QueryLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WaitLabels {
    pub(crate) reason: Reason,
}

/// Counts in a gauge for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Counted(Gauge<i64>);

impl Counted {
    pub(crate) fn new(gauge: &Gauge<i64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ShadowLabels {
    pub(crate) why: ShadowReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum ShadowReason {
    /// Its mode says so.
    Asked,
    /// Its head has an autoscaler of its own.
    Head,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DifferenceLabels {
    pub(crate) ours: Ours,
}

/// What we would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Ours {
    More,
    Fewer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TickLabels {
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RemovalLabels {
    pub(crate) cause: RemovalCause,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DrainLabels {
    pub(crate) outcome: DrainOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct QueryLabels {
    pub(crate) outcome: QueryOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum QueryOutcome {
    Answered,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum RemovalCause {
    Idle,
    Maximum,
    MaxNodes,
    Lost,
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum DrainOutcome {
    Accepted,
    Rejected,
    Failed,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("rayward_autoscaler");
        // A tick takes a millisecond or two; a head that hangs costs seconds.
        let histogram = || Histogram::new(exponential_buckets(0.0005, 4.0, 8));
        let (tick_seconds, gcs_seconds) = (histogram(), histogram());
        // Timers count in milliseconds; a second late is what we call too late.
        let lateness_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 12));
        let (clusters, ticks, launched) = (Gauge::default(), Family::default(), Counter::default());
        let (removed, drains) = (Family::default(), Family::default());
        let (passes, queries) = (Family::default(), Family::default());
        let (shadowed, differences) = (Family::default(), Family::default());
        let lag_seconds = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        registry.register(
            "clusters",
            "RayClusters that are scaled from here",
            clusters.clone(),
        );
        registry.register(
            "shadowed_clusters",
            "RayClusters that somebody else scales and that are only looked at, by why",
            shadowed.clone(),
        );
        registry.register(
            "shadow_differences",
            "Worker groups of shadowed clusters for which we would have had more or fewer replicas for longer than 30 s",
            differences.clone(),
        );
        registry.register_with_unit(
            "shadow_lag",
            "How long after us the autoscaler of a shadowed cluster came to the same",
            Unit::Seconds,
            lag_seconds.clone(),
        );
        registry.register("ticks", "Looks at a cluster, by what came of them", ticks.clone());
        registry.register_with_unit(
            "tick",
            "Time that a look took, drains and patch included",
            Unit::Seconds,
            tick_seconds.clone(),
        );
        registry.register_with_unit(
            "tick_lateness",
            "How long after it was due a look began",
            Unit::Seconds,
            lateness_seconds.clone(),
        );
        registry.register_with_unit(
            "gcs_report",
            "Time that a head took to report",
            Unit::Seconds,
            gcs_seconds.clone(),
        );
        registry.register("launched_nodes", "Nodes asked for", launched.clone());
        registry.register("removed_nodes", "Nodes removed, by cause", removed.clone());
        registry.register(
            "drains",
            "Drains asked for, by what the head said",
            drains.clone(),
        );
        registry.register(
            "passed_over_groups",
            "Worker groups that came to be passed over, by what their Pods wait for",
            passes.clone(),
        );
        let quarantined = Gauge::default();
        registry.register(
            "quarantined_clusters",
            "RayClusters whose head does not answer, or not as it should",
            quarantined.clone(),
        );
        registry.register(
            "signal_queries",
            "Queries put to Prometheus servers for scaling policies, by what came of them",
            queries.clone(),
        );
        let ready = Arc::default();
        Self {
            registry: Arc::new(registry),
            ready,
            clusters,
            shadowed,
            differences,
            lag_seconds,
            ticks,
            tick_seconds,
            lateness_seconds,
            gcs_seconds,
            launched,
            removed,
            drains,
            passes,
            queries,
            quarantined,
        }
    }
}

impl From<planner::Cause> for RemovalCause {
    fn from(cause: planner::Cause) -> Self {
        match cause {
            planner::Cause::Idle => Self::Idle,
            planner::Cause::Maximum => Self::Maximum,
            planner::Cause::MaxNodes => Self::MaxNodes,
            planner::Cause::Lost => Self::Lost,
            planner::Cause::Stuck => Self::Stuck,
        }
    }
}
