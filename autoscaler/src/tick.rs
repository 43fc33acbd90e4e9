//! The loop of one cluster: observe, plan, apply, record; wait until it is time or something changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::Status as KubernetesStatus;
use kube::{Api, Client};
use planner::{Memory, Plan, Policy};
use prometheus_client::encoding::EncodeLabelValue;
use tokio::sync::watch;

use crate::adoption::{Scope, Shadowed, Standing};
use crate::apply;
use crate::cluster::{Cluster, View};
use crate::gcs::{Gcs, Report};
use crate::metrics::{Counted, Metrics, ShadowLabels, ShadowReason};
use crate::observe::observe;
use crate::ownership::Ownership;
use crate::patience::Patience;
use crate::record::{Record, Recorder};
use crate::shadow::Differences;
use crate::signals::Signals;
use crate::watch::ray_cluster;

/// Ray's nodes report to the head once a second: to look more often shows nothing new.
const BUSY_PERIOD: Duration = Duration::from_secs(1);
/// How long new demand may wait for us in a cluster where nothing has happened for a while.
const QUIET_PERIOD_MAX: Duration = Duration::from_secs(2);
/// How rarely a head that does not answer is asked.
const UNREACHABLE_PERIOD_MAX: Duration = Duration::from_secs(30);
/// Changes come in flocks: a Pod that starts changes a handful of times within moments.
const SETTLE_PERIOD: Duration = Duration::from_millis(100);

/// Past the time that the API server gives its webhooks.
const PATCH_DEADLINE: Duration = Duration::from_secs(35);

/// What came of a look at a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Nothing waits, nothing is on its way, nothing to do.
    Quiet,
    /// Nothing to do yet.
    Waiting,
    /// The RayCluster was patched.
    Patched,
    /// The RayCluster had changed since it was looked at; the next look decides again.
    Conflict,
    /// The patch was refused or did not arrive.
    Failed,
    /// No running head, or a description that cannot be read: nothing is touched.
    Held,
    /// The head does not answer: nothing is touched.
    Unreachable,
    /// It is not known, or not known any more, that the cluster is ours: nothing is touched.
    Unowned,
    /// Somebody else writes: nothing is touched, and what we would have done is compared.
    Shadowed,
}

/// The loop of one cluster.
pub(crate) struct Loop {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) ownership: Ownership,
    pub(crate) views: watch::Receiver<View>,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
    pub(crate) policy: Policy,
    pub(crate) signals: Signals,
}

/// What is kept between two looks. All of it may be lost.
#[derive(Default)]
struct Kept {
    gcs: Option<Gcs>,
    session: String,
    memory: Memory,
    patience: Patience,
    held: Option<String>,
    standing: Option<(Standing, Option<Counted>)>,
    differences: Differences,
}

/// What a look at a cluster showed.
struct Look<'a> {
    cluster: &'a Cluster,
    view: &'a View,
    report: &'a Report,
    standing: &'a Standing,
}

impl Loop {
    /// Runs until the cluster is no longer ours.
    pub(crate) async fn run(mut self) {
        let mut kept = Kept::default();
        let mut pace = Pace::new(&self.namespace, &self.name);
        loop {
            let view = self.views.borrow_and_update().clone();
            let started = Instant::now();
            let outcome = self.tick(&view, &mut kept).await;
            self.metrics.tick_seconds.observe(started.elapsed().as_secs_f64());
            self.metrics
                .ticks
                .get_or_create(&crate::metrics::TickLabels { outcome })
                .inc();
            let wait = pace.after(outcome);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    tokio::time::sleep(SETTLE_PERIOD).await;
                }
            }
        }
    }

    async fn tick(&self, view: &View, kept: &mut Kept) -> Outcome {
        let standing = self.scope.standing(view);
        self.stand(&standing, view, kept).await;
        if standing == Standing::Aside {
            return self.hold(kept, "this is not beside the head that counts".to_owned());
        }
        let (cluster, address) = match ready(view) {
            Ok(ready) => ready,
            Err(reason) => return self.hold(kept, reason),
        };
        if !self.signals.known() {
            return self.hold(
                kept,
                "it is not known yet which scaling policies there are".to_owned(),
            );
        }
        let gcs = kept.gcs_at(address);
        let asked = Instant::now();
        let report = gcs.report().await;
        self.metrics.gcs_seconds.observe(asked.elapsed().as_secs_f64());
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                kept.gcs = None;
                self.hold(kept, error.to_string());
                return Outcome::Unreachable;
            }
        };
        let gcs = gcs.clone();
        kept.enter(&report);
        let look = Look {
            cluster: &cluster,
            view,
            report: &report,
            standing: &standing,
        };
        self.decide(&gcs, look, asked, kept).await
    }

    async fn decide(
        &self,
        gcs: &Gcs,
        Look {
            cluster,
            view,
            report,
            standing,
        }: Look<'_>,
        asked: Instant,
        kept: &mut Kept,
    ) -> Outcome {
        let age_milliseconds = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut observation = observe(cluster, view, report, age_milliseconds);
        let waits = kept.patience.judge(cluster, view, Timestamp::now());
        waits.mark(&mut observation.snapshot, view);
        let (mut plan, told) = self
            .signals
            .plan(cluster, &observation.snapshot, &kept.memory, &self.policy);
        kept.memory = std::mem::take(&mut plan.memory);

        if *standing != Standing::Writer {
            let news = kept.differences.look(&plan.decisions, Instant::now());
            self.recorder.differences(cluster, &news);
            return Outcome::Shadowed;
        }
        if !self.may_write() {
            return Outcome::Unowned;
        }
        self.signals.tell(told);
        let drains = apply::drain(gcs, &plan, &observation, || self.may_write()).await;
        let changes = apply::changes(cluster, view, &plan, &drains);
        let outcome = match apply::patch(cluster, view, &changes) {
            Some(patch) if self.may_write() => self.patch(&patch).await,
            Some(_) => Outcome::Unowned,
            None if at_rest(&plan, &observation.snapshot) => Outcome::Quiet,
            None => Outcome::Waiting,
        };
        let record = Record {
            cluster,
            view,
            report,
            observation: &observation,
            waits: &waits,
            plan: &plan,
            drains: &drains,
            changes: &changes,
            outcome,
        };
        let gcs = self.may_write().then(|| gcs.clone());
        self.recorder.record(gcs, &record).await;
        outcome
    }

    /// Asked right before anything is written anywhere: by the clock, and by what was seen last, which may be newer than what was decided from.
    fn may_write(&self) -> bool {
        self.ownership.holds(&self.namespace, &self.name, Instant::now())
            && self.scope.standing(&self.views.borrow()) == Standing::Writer
    }

    /// Says what we are to the cluster, once for how long.
    async fn stand(&self, standing: &Standing, view: &View, kept: &mut Kept) {
        if kept
            .standing
            .as_ref()
            .is_some_and(|(before, _)| before == standing)
        {
            return;
        }
        tracing::info!(
            namespace = self.namespace,
            cluster = self.name,
            ?standing,
            "standing"
        );
        let shadowed = |why| Counted::new(&self.metrics.shadowed.get_or_create(&ShadowLabels { why }));
        let counted = match standing {
            Standing::Writer => Some(Counted::new(&self.metrics.clusters)),
            Standing::Shadow(Shadowed::Asked) => Some(shadowed(ShadowReason::Asked)),
            Standing::Shadow(Shadowed::ByHead(_)) => Some(shadowed(ShadowReason::Head)),
            Standing::Aside => None,
        };
        if let (Standing::Shadow(Shadowed::ByHead(head)), Some(cluster)) = (standing, &view.cluster) {
            self.recorder.shadowed_by(cluster, head).await;
        }
        kept.standing = Some((standing.clone(), counted));
        kept.differences = Differences::default();
    }

    async fn patch(&self, patch: &json_patch::Patch) -> Outcome {
        let clusters: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ray_cluster());
        let patch = Patch::<()>::Json(patch.clone());
        let parameters = PatchParams::default();
        match tokio::time::timeout(PATCH_DEADLINE, clusters.patch(&self.name, &parameters, &patch)).await {
            Ok(Ok(_)) => Outcome::Patched,
            Ok(Err(kube::Error::Api(status))) if is_conflict(&status) => Outcome::Conflict,
            Err(_) => {
                tracing::warn!(
                    namespace = self.namespace,
                    cluster = self.name,
                    "patch not answered in time"
                );
                Outcome::Failed
            }
            Ok(Err(error)) => {
                tracing::warn!(namespace = self.namespace, cluster = self.name, error = %error, "patch failed");
                Outcome::Failed
            }
        }
    }

    /// Says once for how long why nothing is done.
    fn hold(&self, kept: &mut Kept, reason: String) -> Outcome {
        if kept.held.as_ref() != Some(&reason) {
            tracing::info!(namespace = self.namespace, cluster = self.name, reason, "hold");
            kept.held = Some(reason);
        }
        Outcome::Held
    }
}

impl Kept {
    fn gcs_at(&mut self, address: SocketAddr) -> &mut Gcs {
        if self.gcs.as_ref().is_some_and(|gcs| gcs.address() != address) {
            self.gcs = None;
        }
        self.gcs.get_or_insert_with(|| Gcs::new(address))
    }

    /// A head that started anew knows nothing of what the old one said.
    fn enter(&mut self, report: &Report) {
        self.held = None;
        if self.session != report.session {
            self.session.clone_from(&report.session);
            self.memory = Memory::default();
        }
    }
}

/// The cluster and where its head listens, or why it has to be left alone.
fn ready(view: &View) -> Result<(Arc<Cluster>, SocketAddr), String> {
    let cluster = view.cluster.clone().ok_or("the RayCluster is gone")?;
    if let Some(problem) = &cluster.problem {
        return Err(format!("the RayCluster cannot be read: {problem}"));
    }
    let ip = view
        .head()
        .and_then(|head| head.ip)
        .ok_or("there is no running head")?;
    let port = cluster.spec.head.gcs_port();
    Ok((cluster, SocketAddr::new(ip, port)))
}

/// Nothing waits, nothing is on its way, nothing goes.
fn at_rest(plan: &Plan, snapshot: &planner::Snapshot) -> bool {
    let running = |node: &planner::Node| matches!(node.state, planner::State::Running(_));
    snapshot.demand.is_empty() && plan.terminate.is_empty() && snapshot.nodes.iter().all(running)
}

/// A write that came between is 409. A `test` that fails is a bare 422: one for an object that would be invalid says in what.
fn is_conflict(status: &KubernetesStatus) -> bool {
    let bare = || {
        status
            .details
            .as_ref()
            .is_none_or(|details| details.causes.is_empty())
    };
    status.code == 409 || (status.code == 422 && bare())
}

/// When to look again.
struct Pace {
    quiet: Duration,
    unreachable: Duration,
    /// A little more for each cluster, by its name, so that a thousand heads that went together are not asked together.
    spread: f64,
}

impl Pace {
    fn new(namespace: &str, name: &str) -> Self {
        let hash = namespace
            .bytes()
            .chain(*b"/")
            .chain(name.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let spread = 1.0 + f64::from(u8::try_from(hash >> 56).unwrap_or(0)) / 1024.0;
        Self {
            quiet: BUSY_PERIOD,
            unreachable: BUSY_PERIOD,
            spread,
        }
    }

    fn after(&mut self, outcome: Outcome) -> Duration {
        let quiet = std::mem::replace(&mut self.quiet, BUSY_PERIOD);
        let unreachable = std::mem::replace(&mut self.unreachable, BUSY_PERIOD);
        let wait = match outcome {
            Outcome::Waiting
            | Outcome::Patched
            | Outcome::Conflict
            | Outcome::Shadowed
            | Outcome::Unowned => BUSY_PERIOD,
            Outcome::Quiet => {
                self.quiet = (quiet * 2).min(QUIET_PERIOD_MAX);
                quiet
            }
            Outcome::Held | Outcome::Failed | Outcome::Unreachable => {
                self.unreachable = (unreachable * 2).min(UNREACHABLE_PERIOD_MAX);
                unreachable
            }
        };
        wait.mul_f64(self.spread)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::is_conflict;

    #[test]
    fn a_failed_test_is_a_conflict_and_an_invalid_object_is_not() {
        let conflicts = |status: Value| is_conflict(&serde_json::from_value(status).expect("a status"));
        let message = "the server rejected our request due to an error in our request";
        assert!(conflicts(
            json!({ "code": 422, "reason": "Invalid", "message": message, "details": {} })
        ));
        assert!(conflicts(json!({ "code": 409, "reason": "Conflict" })));
        let causes = json!([{ "reason": "FieldValueInvalid", "message": "no", "field": "spec" }]);
        assert!(!conflicts(
            json!({ "code": 422, "reason": "Invalid", "details": { "causes": causes } })
        ));
        assert!(!conflicts(json!({ "code": 403, "reason": "Forbidden" })));
    }
}
