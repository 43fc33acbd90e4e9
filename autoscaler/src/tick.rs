//! The loop of one cluster: observe, plan, apply, record; wait until it is time or something changes.

mod reach;
mod say;
mod write;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use planner::{Plan, Policy};
use prometheus_client::encoding::EncodeLabelValue;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::adoption::{Scope, Standing};
use crate::announce::Hopeless;
use crate::apply;
use crate::cluster::{Cluster, View};
use crate::gcs::{Gcs, Report};
use crate::journal::{self, Page};
use crate::metrics::{Counted, Metrics, TickLabels};
use crate::mind::{Mind, Thought};
use crate::observe::Observation;
use crate::ownership::Ownership;
use crate::pace::Pace;
use crate::patience::{Patience, Waits};
use crate::record::{Record, Recorder};
use crate::shadow::Differences;
use crate::signals::Signals;
use crate::vacancy::{Ending, Vacancy};
use reach::{Connection, ready};

/// Changes come in flocks: a Pod that starts changes a handful of times within moments.
const SETTLE_PERIOD: Duration = Duration::from_millis(100);

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

/// What is kept between two looks. All of it may be lost.
#[derive(Default)]
struct Kept {
    gcs: Option<Connection>,
    mind: Mind,
    held: Option<String>,
    quarantined: Option<Counted>,
    hopeless: Hopeless,
    standing: Option<(Standing, Option<Counted>)>,
    /// For which standing the RayCluster has been told of its adoption.
    adoption_told: Option<Standing>,
    differences: Differences,
    vacancy: Vacancy,
}

/// What a look at a cluster showed.
struct Look<'a> {
    cluster: &'a Cluster,
    view: &'a View,
    report: &'a Report,
    /// When the head was asked for it.
    asked: Instant,
    standing: &'a Standing,
}

impl Look<'_> {
    /// How old the report has become.
    fn age_milliseconds(&self) -> u64 {
        u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
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
            self.metrics.ticks.get_or_create(&TickLabels { outcome }).inc();
            self.tell_held(outcome, &view, &kept);
            if let Some(turn) = pace.turn(outcome, late, Instant::now()) {
                self.turn(turn, &view, &mut kept).await;
            }
            self.tell_reachable(&pace, outcome, &view, &kept).await;
            self.tell_adoption(&view, &mut kept).await;
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
            asked,
            standing: &standing,
        };
        self.decide(&gcs, &look, kept).await
    }

    async fn decide(&self, gcs: &Gcs, look: &Look<'_>, kept: &mut Kept) -> Outcome {
        if *look.standing == Standing::Writer
            && let Some(ending) = self.is_vacant(gcs, look, kept).await
        {
            return self.end(look, ending).await;
        }
        let age_milliseconds = look.age_milliseconds();
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

        let outcome = if let Standing::Shadow(why) = look.standing {
            self.signals.tell(told.clone().shadowed(why));
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
            shadowed: match look.standing {
                Standing::Shadow(why) => Some(why.clone()),
                _ => None,
            },
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
        let mut drains = apply::drain(gcs, plan, observation, || self.may_write()).await;
        if self.settings.policy.is_unsure(look.age_milliseconds()) {
            drains.keep_undrained(plan);
        }
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

    fn holds(&self) -> bool {
        self.ownership.holds(&self.namespace, &self.name, Instant::now())
    }
}

impl Kept {
    fn enter(&mut self, report: &Report) {
        self.held = None;
        if self.mind.enter(report) {
            self.vacancy = Vacancy::default();
        }
    }
}

/// Nothing waits, nothing is on its way, nothing goes.
fn at_rest(plan: &Plan, snapshot: &planner::Snapshot) -> bool {
    let running = |node: &planner::Node| matches!(node.state, planner::State::Running(_));
    snapshot.demand.is_empty() && plan.terminate.is_empty() && snapshot.nodes.iter().all(running)
}
