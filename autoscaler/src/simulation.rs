//! A cluster over time, without a cluster: what the autoscaler does, tick by tick, to a small model of the API server, the operator, a kubelet and
//! Ray. Nothing of it is imitated: a tick decides with the [`Mind`] of the service, and writes the patch of [`apply`].
//!
//! Time is simulated and chance comes from a seed, so the same scenario always goes the same way. `simulate` shows scenarios to users; the
//! tests try thousands at random, with faults, and check after each tick what must always hold.

mod faults;
mod head;
mod kubernetes;
mod scenario;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fastrand::Rng;
use planner::signal::Wish;
use planner::{Plan, Policy};

use crate::apply::{self, Answer, Drains};
use crate::cluster::{Cluster, View};
use crate::gcs::{DrainReason, Drained, GcsError, RayNode, Report};
use crate::mind::{Mind, Thought};
use crate::simulate::Misfit;

pub(crate) use faults::{Fault, Faults};
pub(crate) use scenario::Scenario;

use head::Head;
use kubernetes::{Kubernetes, Start, time};
use scenario::Event;

/// Between two looks while there is something to do, as in the service.
const TICK_MILLISECONDS: u64 = 1_000;

/// A cluster under way.
#[derive(Debug)]
pub(crate) struct Simulation {
    now: u64,
    random: Rng,
    faults: Faults,
    start_milliseconds: (u64, u64),
    /// What is yet to happen, the next last.
    events: Vec<Event>,
    kubernetes: Kubernetes,
    head: Head,
    autoscaler: Autoscaler,
    policy: Policy,
    /// What scaling policies want at this moment.
    wishes: Vec<Wish>,
    /// How far ahead of time the clocks on walls are.
    clock_ahead: u64,
}

/// What is kept between two ticks. All of it may be lost.
#[derive(Debug, Default)]
struct Autoscaler {
    mind: Mind,
    /// What the watches showed last.
    view: View,
}

/// What a look at a cluster showed.
#[derive(Debug)]
struct Answered {
    cluster: Arc<Cluster>,
    view: View,
    report: Report,
}

/// What was decided, and is yet to be done.
#[derive(Debug)]
struct Intent {
    cluster: Arc<Cluster>,
    view: View,
    plan: Plan,
    /// For each node that is to go, whom to ask.
    drains: Vec<Option<(RayNode, DrainReason)>>,
    age_milliseconds: u64,
}

/// How things stand after a tick.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: u64,
    /// Tasks and bundles.
    pub(crate) waiting: u64,
    /// Tasks and bundles.
    pub(crate) running: u64,
    /// Pods of each group, those that are going aside; in the order of the RayCluster.
    pub(crate) nodes: Vec<u64>,
    pub(crate) tick: Tick,
}

/// What a tick came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick {
    /// What was decided, group by group.
    pub(crate) decisions: Vec<String>,
    /// Pods that were listed for deletion.
    pub(crate) removed: Vec<String>,
    /// Whether any of what was decided was written.
    pub(crate) written: bool,
    /// Nodes that refused to go.
    pub(crate) rejected: u64,
    /// How old what was known had become when it was decided upon; nothing where nothing was decided.
    pub(crate) age_milliseconds: Option<u64>,
}

impl Simulation {
    /// At the beginning of a scenario.
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Misfit> {
        let mut events = scenario.events()?;
        events.sort_by_key(|event| std::cmp::Reverse(event.at_milliseconds));
        Ok(Self {
            now: 0,
            random: Rng::with_seed(scenario.seed()),
            faults: scenario.faults(),
            start_milliseconds: scenario.start_milliseconds(),
            events,
            kubernetes: Kubernetes::new(scenario.ray_cluster())?,
            head: Head::default(),
            autoscaler: Autoscaler::default(),
            policy: Policy::default(),
            wishes: Vec::new(),
            clock_ahead: 0,
        })
    }

    /// The names of the groups, in the order of the RayCluster.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        let groups = self.kubernetes.cluster().spec.worker_groups.iter();
        groups.map(|group| group.name.as_str())
    }

    /// One tick's time passes, and then there is a tick.
    pub(crate) fn tick(&mut self) -> Sample {
        self.pass(TICK_MILLISECONDS);
        self.misfortune();
        let tick = self.look();
        Sample {
            seconds: self.now / 1000,
            waiting: self.head.waiting(),
            running: self.head.running(),
            nodes: self.kubernetes.counts(),
            tick,
        }
    }

    /// The world goes on without the autoscaler.
    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while self.now < until {
            self.now = (self.now + TICK_MILLISECONDS).min(until);
            while self
                .events
                .last()
                .is_some_and(|event| event.at_milliseconds <= self.now)
            {
                let event = self.events.pop().expect("there is one");
                event.happen(&mut self.head, self.now);
            }
            self.kubernetes.step(&mut self.head, self.now);
            if !self.strikes(Fault::OperatorStopped) {
                let (from, to) = self.start_milliseconds;
                let (random, no_room) = (&mut self.random, self.faults.chance(Fault::Unschedulable));
                let start = || {
                    let unschedulable = no_room > 0.0 && random.f64() < no_room;
                    let wait = if unschedulable {
                        random.u64(10_000..120_000)
                    } else {
                        0
                    };
                    Start {
                        milliseconds: wait + random.u64(from..=to),
                        unschedulable,
                    }
                };
                self.kubernetes.reconcile(&mut self.head, self.now, start);
            }
            self.head.step(self.now);
        }
    }

    /// What befalls a cluster by itself.
    fn misfortune(&mut self) {
        if self.strikes(Fault::HeadRestart) {
            let down = self.random.u64(5_000..40_000);
            self.head.restart(self.now, down);
        }
        if self.strikes(Fault::PodFails)
            && let Some(pod) = self.random.choice(self.kubernetes.workers())
        {
            self.kubernetes.fail(&pod, &mut self.head, self.now);
        }
        if self.strikes(Fault::NodeDies)
            && let Some(pod) = self.random.choice(self.kubernetes.workers())
        {
            self.head.kill(&pod, self.now);
        }
        if self.strikes(Fault::ClockJump) {
            self.clock_ahead = self.random.u64(0..600_000);
        }
        if self.strikes(Fault::Restart) {
            self.autoscaler = Autoscaler::default();
        }
        if self.strikes(Fault::UserEdit) {
            self.edit();
        }
    }

    /// Somebody sets the replicas of a group, or its bounds.
    fn edit(&mut self) {
        let groups = &self.kubernetes.cluster().spec.worker_groups;
        let Some(group) = self.random.choice(groups) else {
            return;
        };
        let (min, max) = (group.min_replicas.unwrap_or(0), group.max_replicas.unwrap_or(6));
        let (field, value) = match self.random.u8(0..3) {
            0 => ("minReplicas", self.random.i32(0..=min.max(1).min(max))),
            1 => ("maxReplicas", self.random.i32(min..=min + 5)),
            _ => ("replicas", self.random.i32(0..6)),
        };
        self.kubernetes.set(group.index, field, value);
    }

    /// One look at the cluster, as the service takes it.
    fn look(&mut self) -> Tick {
        let mut autoscaler = std::mem::take(&mut self.autoscaler);
        let tick = self.ask(&mut autoscaler).map(|answer| {
            let age_milliseconds = self.freeze();
            let intent = self.decide(&mut autoscaler.mind, answer, age_milliseconds);
            let drains = intent.drained(|node, reason| self.drain(node, reason));
            let (mut tick, patch) = intent.patch(&drains);
            tick.written = patch.is_some_and(|patch| self.write(&patch));
            tick
        });
        self.autoscaler = autoscaler;
        tick.unwrap_or_default()
    }

    /// What the watches show.
    fn watch(&mut self, autoscaler: &mut Autoscaler) {
        if !self.strikes(Fault::StaleWatch) || autoscaler.view.cluster.is_none() {
            autoscaler.view = self.kubernetes.view(self.now, self.head.is_up(self.now));
        }
    }

    /// What the watches show, and what the head says.
    fn ask(&mut self, autoscaler: &mut Autoscaler) -> Option<Answered> {
        self.watch(autoscaler);
        let view = autoscaler.view.clone();
        let cluster = view.cluster.clone()?;
        if view.head().is_none() || !self.head.is_up(self.now) || self.strikes(Fault::LostReport) {
            return None;
        }
        let skewed = self.strikes(Fault::SkewedReport);
        let report = self.head.report(self.now, skewed);
        Some(Answered {
            cluster,
            view,
            report,
        })
    }

    /// The process is stopped between what it learns and what it does.
    fn freeze(&mut self) -> u64 {
        if !self.strikes(Fault::Freeze) {
            return 0;
        }
        let milliseconds = self.random.u64(1_000..30_000);
        self.pass(milliseconds);
        milliseconds
    }

    fn decide(&self, mind: &mut Mind, answer: Answered, age_milliseconds: u64) -> Intent {
        let Answered {
            cluster,
            view,
            report,
        } = answer;
        let wall = self.now + self.clock_ahead;
        mind.enter(&report);
        let plan = |snapshot: &_, memory: &_| {
            planner::signal::plan(snapshot, memory, &self.policy, &self.wishes, wall)
        };
        let Thought {
            observation, plan, ..
        } = mind.consider(&cluster, &view, &report, age_milliseconds, time(wall), plan);
        let drains = plan.terminate.iter().map(|termination| {
            let (node, reason) = apply::drain_of(termination, &observation)?;
            Some((node.clone(), reason))
        });
        Intent {
            drains: drains.collect(),
            plan,
            cluster,
            view,
            age_milliseconds,
        }
    }

    fn drain(&mut self, node: &RayNode, reason: DrainReason) -> Result<Drained, GcsError> {
        if self.strikes(Fault::LostDrain) {
            return Err(lost());
        }
        let answer = self.head.drain(node, reason, self.now);
        if self.strikes(Fault::LostDrainReply) {
            return Err(lost());
        }
        Ok(answer)
    }

    /// Whether a patch came to be.
    fn write(&mut self, patch: &json_patch::Patch) -> bool {
        if self.strikes(Fault::Conflict) {
            self.kubernetes
                .touch(|object| object["metadata"]["annotations"]["touched"] = "yes".into());
        }
        // A patch whose answer is lost was carried out all the same; nobody looks at answers here.
        !self.strikes(Fault::LostPatch) && self.kubernetes.patch(patch).is_ok()
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.faults.chance(fault);
        chance > 0.0 && self.random.f64() < chance
    }
}

impl Intent {
    /// Asks each node that is to go and still lives.
    fn drained(&self, mut ask: impl FnMut(&RayNode, DrainReason) -> Result<Drained, GcsError>) -> Drains {
        let asked = self.drains.iter().map(|drain| -> Answer {
            let (node, reason) = drain.as_ref()?;
            Some(ask(node, *reason).map(|answer| apply::for_now(*reason, answer)))
        });
        Drains::of(&self.plan, asked.collect())
    }

    /// What is to be written, now that some may have refused to go.
    fn patch(self, drains: &Drains) -> (Tick, Option<json_patch::Patch>) {
        let changes = apply::changes(&self.cluster, &self.view, &self.plan, drains);
        let patch = apply::patch(&self.cluster, &self.view, &changes);
        let tick = Tick {
            decisions: changes.iter().map(|change| change.decision.to_string()).collect(),
            removed: changes.into_iter().flat_map(|change| change.removed).collect(),
            written: false,
            rejected: drains.rejected,
            age_milliseconds: Some(self.age_milliseconds),
        };
        (tick, patch)
    }
}

fn lost() -> GcsError {
    GcsError::Deadline {
        asked: "a drain",
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
    }
}
