//! The loop of one cluster: observe, plan, apply, record; wait until it is time or something changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::Status as KubernetesStatus;
use kube::{Api, Client};
use planner::{Plan, Policy};
use prometheus_client::encoding::EncodeLabelValue;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::adoption::{Scope, Shadowed, Standing};
use crate::announce::Hopeless;
use crate::apply;
use crate::cluster::{Cluster, View};
use crate::condition;
use crate::credentials::Access;
use crate::gcs::{Gcs, Report};
use crate::journal::{self, Page};
use crate::metrics::{Counted, Metrics, ShadowLabels, ShadowReason};
use crate::mind::{Mind, Thought};
use crate::observe::Observation;
use crate::ownership::Ownership;
use crate::pace::{Pace, Turn};
use crate::patience::{Patience, Waits};
use crate::record::{Record, Recorder};
use crate::shadow::Differences;
use crate::signals::Signals;
use crate::vacancy::{self, Ending, Vacancy};
use crate::watch::ray_cluster;

/// Changes come in flocks: a Pod that starts changes a handful of times within moments.
const SETTLE_PERIOD: Duration = Duration::from_millis(100);

/// Long before a token of Kubernetes runs out.
const CREDENTIALS_AGE_MAX: Duration = Duration::from_mins(4);
const CREDENTIALS_DEADLINE: Duration = Duration::from_secs(5);

/// Past the time that the API server gives its webhooks.
const PATCH_DEADLINE: Duration = Duration::from_secs(35);

/// What came of a look at a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue, Serialize, Deserialize)]
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
    /// Nobody used the cluster for as long as its author allows: it was suspended or deleted.
    Ended,
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
    pub(crate) page: Page,
    pub(crate) settings: Settings,
    pub(crate) signals: Signals,
}

/// What the flags say about decisions.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    /// For how long a Pod without a node is waited for at first.
    pub(crate) unscheduled_seconds: u32,
}

/// How a head is asked.
struct Connection {
    gcs: Gcs,
    access: Access,
    since: Instant,
}

/// What is kept between two looks. All of it may be lost.
#[derive(Default)]
struct Kept {
    gcs: Option<Connection>,
    mind: Mind,
    held: Option<String>,
    quarantined: Option<Counted>,
    hopeless: Hopeless,
    standing: Option<(Standing, Option<Counted>)>,
    differences: Differences,
    vacancy: Vacancy,
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
        let mut kept = Kept {
            mind: Mind::new(Patience::new(self.settings.unscheduled_seconds)),
            ..Kept::default()
        };
        let mut pace = Pace::new(&self.namespace, &self.name);
        let mut late = Duration::ZERO;
        loop {
            let view = self.views.borrow_and_update().clone();
            let started = Instant::now();
            let outcome = self.tick(&view, &mut kept).await;
            self.metrics.tick_seconds.observe(started.elapsed().as_secs_f64());
            self.metrics
                .ticks
                .get_or_create(&crate::metrics::TickLabels { outcome })
                .inc();
            self.tell_held(outcome, &view, &kept);
            if let Some(turn) = pace.turn(outcome, late, Instant::now()) {
                self.turn(turn, &view, &mut kept).await;
            }
            self.tell_reachable(&pace, outcome, &view, &kept).await;
            let mut due = Instant::now() + pace.after(outcome);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                changed = self.views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    due = Instant::now() + SETTLE_PERIOD;
                    tokio::time::sleep_until(due.into()).await;
                }
            }
            late = due.elapsed();
            self.metrics.lateness_seconds.observe(late.as_secs_f64());
        }
    }

    /// Tells policies that nothing is decided.
    fn tell_held(&self, outcome: Outcome, view: &View, kept: &Kept) {
        let Some(cluster) = view.cluster.as_ref() else {
            return;
        };
        if matches!(outcome, Outcome::Held | Outcome::Unreachable) && self.may_write() {
            let why = kept.held.as_deref().unwrap_or_default();
            self.signals.tell(self.signals.held(cluster, why));
        }
    }

    /// Says on the RayCluster that its head answers no more, or again.
    async fn turn(&self, turn: Turn, view: &View, kept: &mut Kept) {
        kept.quarantined = (turn == Turn::Quarantined).then(|| Counted::new(&self.metrics.quarantined));
        if let Some(cluster) = view.cluster.as_ref().filter(|_| self.may_write()) {
            let why = kept.held.as_deref().unwrap_or_default();
            self.recorder.head_turned(cluster, turn, why).await;
        }
    }

    /// Keeps the condition of the RayCluster true.
    async fn tell_reachable(&self, pace: &Pace, outcome: Outcome, view: &View, kept: &Kept) {
        let Some(cluster) = view.cluster.as_ref().filter(|_| self.may_write()) else {
            return;
        };
        let answered = !matches!(outcome, Outcome::Unreachable | Outcome::Held);
        if let Some(answers) = condition::news(cluster.head_answers, pace.is_quarantined(), answered) {
            let why = kept.held.as_deref().unwrap_or_default();
            self.recorder.condition(cluster, answers, why).await;
        }
    }

    async fn tick(&self, view: &View, kept: &mut Kept) -> Outcome {
        let standing = self.scope.standing(view);
        self.stand(&standing, view, kept).await;
        if standing == Standing::Aside {
            return self.hold(kept, "this is not beside the head that counts".to_owned());
        }
        let (cluster, address, access) = match ready(view, &self.scope) {
            Ok(ready) => ready,
            Err(reason) => return self.hold(kept, reason),
        };
        if !self.signals.known() {
            return self.hold(
                kept,
                "it is not known yet which scaling policies there are".to_owned(),
            );
        }
        let mut gcs = match self.connect(address, access, kept).await {
            Ok(gcs) => gcs,
            Err(reason) => {
                if kept.held.as_ref() != Some(&reason) {
                    self.recorder.held(&cluster, &reason).await;
                }
                return self.hold(kept, reason);
            }
        };
        gcs.expect(view.pods.len());
        let asked = Instant::now();
        let report = gcs.clone().report().await;
        self.metrics.gcs_seconds.observe(asked.elapsed().as_secs_f64());
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                kept.gcs = None;
                self.hold(kept, error.to_string());
                return Outcome::Unreachable;
            }
        };
        kept.enter(&report);
        let look = Look {
            cluster: &cluster,
            view,
            report: &report,
            standing: &standing,
        };
        self.decide(&gcs, &look, asked, kept).await
    }

    /// Connections are kept, and made anew in time for a token that has been replaced.
    async fn connect(&self, address: SocketAddr, access: Access, kept: &mut Kept) -> Result<Gcs, String> {
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

    async fn decide(&self, gcs: &Gcs, look: &Look<'_>, asked: Instant, kept: &mut Kept) -> Outcome {
        if *look.standing == Standing::Writer
            && let Some(ending) = self.is_vacant(gcs, look, kept).await
        {
            return self.end(look, ending).await;
        }
        let age_milliseconds = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Timestamp::now();
        let plan = |snapshot: &_, memory: &_| {
            let policy = &self.settings.policy;
            self.signals.plan(look.cluster, snapshot, memory, policy)
        };
        let Thought {
            observation,
            waits,
            plan,
            besides: told,
        } = kept
            .mind
            .consider(look.cluster, look.view, look.report, age_milliseconds, now, plan);

        let outcome = if *look.standing != Standing::Writer {
            let news = kept.differences.look(&plan.decisions, Instant::now());
            self.recorder.differences(look.cluster, &news);
            Outcome::Shadowed
        } else if self.may_write() {
            self.signals.tell(told.clone());
            let outcome = self.carry_out(gcs, look, &observation, &waits, &plan).await;
            if let Some(news) = kept.hopeless.news(&plan.infeasible, &observation.snapshot) {
                self.recorder.no_group_fits(look.cluster, news).await;
            }
            outcome
        } else {
            Outcome::Unowned
        };
        self.page.looked(journal::Look {
            at: now,
            outcome,
            head: gcs.address(),
            session: look.report.session.clone(),
            snapshot: observation.snapshot,
            plan,
            policies: told.groups,
            passes: waits.passes,
            waiting: journal::waiting(look.view).chain(waits.unjoined).collect(),
        });
        outcome
    }

    /// Whether it is to end, since nobody uses it. The head is asked only where somebody wants to know.
    async fn is_vacant(&self, gcs: &Gcs, look: &Look<'_>, kept: &mut Kept) -> Option<Ending> {
        let options = look.cluster.spec.idle_termination.as_ref()?;
        let drivers = gcs.clone().drivers().await;
        if let Err(error) = &drivers {
            tracing::debug!(%error, "drivers not told");
        }
        kept.vacancy.look(options, drivers.ok(), Instant::now())
    }

    async fn end(&self, look: &Look<'_>, ending: Ending) -> Outcome {
        if !self.may_write() {
            return Outcome::Unowned;
        }
        // In a task of its own: what is written takes the cluster from us, and may end this look before it has told of it.
        let ended = end(
            self.client.clone(),
            self.recorder.clone(),
            look.cluster.clone(),
            ending,
        );
        tokio::spawn(ended).await.unwrap_or(Outcome::Failed)
    }

    async fn carry_out(
        &self,
        gcs: &Gcs,
        look: &Look<'_>,
        observation: &Observation<'_>,
        waits: &Waits,
        plan: &Plan,
    ) -> Outcome {
        let &Look {
            cluster,
            view,
            report,
            ..
        } = look;
        let drains = apply::drain(gcs, plan, observation, || self.may_write()).await;
        let changes = apply::changes(cluster, view, plan, &drains);
        let outcome = match apply::patch(cluster, view, &changes) {
            Some(patch) if self.may_write() => self.patch(&patch).await,
            Some(_) => Outcome::Unowned,
            None if at_rest(plan, &observation.snapshot) => Outcome::Quiet,
            None => Outcome::Waiting,
        };
        let record = Record {
            cluster,
            view,
            report,
            observation,
            waits,
            plan,
            drains: &drains,
            changes: &changes,
            outcome,
        };
        let gcs = self.may_write().then(|| gcs.clone());
        self.recorder.record(gcs, &record).await;
        outcome
    }

    /// Asked right before anything is written anywhere.
    fn may_write(&self) -> bool {
        let (view, now) = (self.views.borrow(), Instant::now());
        self.ownership
            .may_write(&self.scope, &view, &self.namespace, &self.name, now)
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
        self.page.held(&reason, Timestamp::now());
        if kept.held.as_ref() != Some(&reason) {
            tracing::info!(namespace = self.namespace, cluster = self.name, reason, "hold");
            kept.held = Some(reason);
        }
        Outcome::Held
    }
}

/// Ends a cluster, and says so on it.
async fn end(client: Client, recorder: Recorder, cluster: Cluster, ending: Ending) -> Outcome {
    let ended = vacancy::end(client, &cluster, ending);
    let ended = tokio::time::timeout(PATCH_DEADLINE, ended).await;
    let (outcome, problem) = match ended {
        Ok(Ok(true)) => (Outcome::Ended, None),
        Ok(Ok(false)) => {
            let problem = "the definition of RayCluster has no `idleSuspend`";
            (Outcome::Failed, Some(problem.to_owned()))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => (Outcome::Ended, None),
        Ok(Err(kube::Error::Api(status))) if is_conflict(&status) => return Outcome::Conflict,
        Ok(Err(error)) => (Outcome::Failed, Some(error.to_string())),
        Err(_) => (Outcome::Failed, Some("no answer in time".to_owned())),
    };
    recorder.ended(&cluster, ending, problem.as_deref()).await;
    outcome
}

impl Kept {
    fn enter(&mut self, report: &Report) {
        self.held = None;
        if self.mind.enter(report) {
            self.vacancy = Vacancy::default();
        }
    }
}

/// The cluster, where its head listens and what it wants to see, or why it has to be left alone.
fn ready(view: &View, scope: &Scope) -> Result<(Arc<Cluster>, SocketAddr, Access), String> {
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
