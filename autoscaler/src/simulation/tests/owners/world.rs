//! Replicas, their Leases and what is under way between them and the API server, around one simulated cluster. The head may carry Ray's own autoscaler.
//!
//! Whether a replica may write is asked of the functions of the service; what came of it is judged from outside, by who all could write at that
//! moment and by what the cluster was when the write arrived.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use json_patch::{Patch, PatchOperation};
use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;

use super::replica::Replica;
use crate::adoption::{Scope, Sidecar};
use crate::ownership::Sighted;
use crate::simulation::{Autoscaler, Faults, Scenario, Simulation, Tick};

/// Replicas and requests go on so often; the cluster does once a second.
pub(super) const STEP_MILLISECONDS: u64 = 250;
/// Ray's own autoscaler looks so often.
const RAY_MILLISECONDS: u64 = 5_000;
/// Once nothing has gone wrong with replicas for so long, one of them holds the cluster.
pub(super) const HANDED_OVER_MILLISECONDS: u64 = 20_000;

/// The world.
pub(super) struct World {
    pub(super) simulation: Simulation,
    pub(super) random: Rng,
    pub(super) now: u64,
    pub(super) replicas: Vec<Replica>,
    /// Of the replicas and the network.
    pub(super) trouble: Trouble,
    pub(super) lived: Lived,
    /// How long a request takes at most, while all is well.
    pub(super) delay_milliseconds: u64,
    pub(super) rash: Option<Rash>,
    pub(super) start: Instant,
    /// What shares are computed from, another one in each world.
    pub(super) name: String,
    pub(super) scope: Scope,
    leases: BTreeMap<String, Lease>,
    /// Marks never come twice.
    marks: u64,
    came: u64,
    pub(super) under_way: Vec<Request>,
    /// In the head.
    rays_own: Autoscaler,
    last_holder: Option<String>,
    /// Until when something may still go wrong with replicas by what has happened so far.
    troubled_until: u64,
}

/// How often things go wrong with each replica in each step, from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// By SIGSTOP, for up to half a minute.
    pub(super) stopped: f64,
    /// The network is slow, for up to a quarter of a minute.
    pub(super) slow: f64,
    pub(super) killed: f64,
    pub(super) released: f64,
    pub(super) lease_deleted: f64,
    /// The head is made anew.
    pub(super) head: f64,
    /// Somebody sets who is to scale the cluster.
    pub(super) mode: f64,
}

/// A replica that forgets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rash {
    /// To ask the clock before it writes.
    Clock,
    /// To test for what it looked at.
    Tests,
    /// To look for an autoscaler in the head.
    Standing,
}

/// What worlds came to, all together.
#[derive(Clone, Debug, Default)]
pub(super) struct Lived {
    pub(super) ticks: u64,
    pub(super) written: u64,
    /// What was decided and not done, since the cluster was not its own any more.
    pub(super) fenced: u64,
    /// Patches that arrived when their sender held the cluster no more, and were refused.
    pub(super) late_and_refused: u64,
    /// The same, carried out: nobody else had written.
    pub(super) late_and_done: u64,
    pub(super) handed_over: u64,
    /// Looks at what another writes that came to another decision.
    pub(super) shadowed: u64,
    pub(super) written_by_rays_own: u64,
}

struct Lease {
    uid: u64,
    mark: u64,
    released: bool,
}

pub(super) struct Request {
    pub(super) by: String,
    pub(super) arrives: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Lease {
        released: bool,
    },
    Patch {
        patch: Patch,
        tick: Tick,
        version: Option<String>,
        /// What came after that could not be known when it was sent.
        known: u64,
    },
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Result<Self, String> {
        let simulation = Simulation::new(scenario).map_err(|error| error.to_string())?;
        Ok(Self {
            simulation,
            random: Rng::with_seed(seed),
            now: 0,
            replicas: Vec::new(),
            trouble: Trouble::default(),
            lived: Lived::default(),
            delay_milliseconds: STEP_MILLISECONDS,
            rash: None,
            start: Instant::now(),
            name: format!("demo-{seed}"),
            scope: Scope::Central {
                default_mode: AutoscalerMode::Central,
            },
            leases: BTreeMap::new(),
            marks: 0,
            came: 0,
            under_way: Vec::new(),
            rays_own: Autoscaler::default(),
            last_holder: None,
            troubled_until: 0,
        })
    }

    /// One more replica.
    pub(super) fn come(&mut self) {
        self.came += 1;
        let name = format!("replica-{}", self.came);
        self.replicas.push(Replica::new(name, self.now));
        self.disturb(0);
    }

    /// SIGSTOP, and SIGCONT after that time.
    pub(super) fn stop(&mut self, replica: usize, milliseconds: u64) {
        self.replicas[replica].stopped_until = self.now + milliseconds;
        self.disturb(milliseconds);
    }

    /// What it sent is under way still.
    pub(super) fn kill(&mut self, replica: usize) -> String {
        self.disturb(0);
        self.replicas.remove(replica).name
    }

    /// It ends as it should.
    pub(super) fn release(&mut self, replica: usize) {
        let arrives = self.now + self.delay(replica);
        let by = self.kill(replica);
        self.under_way.push(Request {
            by,
            arrives,
            what: What::Lease { released: true },
        });
    }

    /// Its requests take their time.
    pub(super) fn slow_down(&mut self, replica: usize, milliseconds: u64) {
        self.replicas[replica].slow_until = self.now + milliseconds;
        self.disturb(milliseconds + SLOWEST_MILLISECONDS);
    }

    pub(super) fn make_head_anew(&mut self, sidecar: Option<Sidecar>) {
        let (now, head) = (self.simulation.now, &mut self.simulation.head);
        self.simulation.kubernetes.delete_head(sidecar, head, now);
    }

    pub(super) fn set_mode(&mut self, mode: AutoscalerMode) {
        self.simulation
            .kubernetes
            .touch(|object| object["metadata"]["annotations"][keys::AUTOSCALER] = mode.to_string().into());
    }

    /// Nothing goes wrong any more, and nothing new is asked for.
    pub(super) fn calm_down(&mut self) {
        self.simulation.faults = Faults::default();
        self.simulation.events.clear();
        self.simulation.head.keep_running();
        self.trouble = Trouble::default();
        for replica in &mut self.replicas {
            (replica.stopped_until, replica.slow_until) = (0, 0);
        }
        if self.replicas.is_empty() {
            self.come();
        }
        self.disturb(SLOWEST_MILLISECONDS);
    }

    /// A second passes.
    pub(super) fn second(&mut self) -> Result<(), String> {
        for _ in 0..1_000 / STEP_MILLISECONDS {
            self.step()?;
        }
        Ok(())
    }

    /// A moment passes.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.now += STEP_MILLISECONDS;
        if self.now.is_multiple_of(1_000) {
            self.lived.ticks += 1;
            self.simulation.pass(1_000);
            self.simulation.misfortune();
            let Simulation {
                kubernetes,
                head,
                now,
                ..
            } = &mut self.simulation;
            kubernetes.tell_status(head, *now);
        }
        if self.now.is_multiple_of(RAY_MILLISECONDS) {
            self.rays_own_looks();
        }
        self.misfortune();
        self.arrive()?;
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].stopped_until <= self.now {
                self.renew(replica);
                self.look(replica)?;
            }
        }
        self.judge_holders()
    }

    /// The replica that looks after the cluster.
    pub(super) fn owner(&self) -> Option<usize> {
        let holder = self.holders().first()?.name.clone();
        self.replicas.iter().position(|replica| replica.name == holder)
    }

    fn judge_holders(&mut self) -> Result<(), String> {
        let holders: Vec<String> = self
            .holders()
            .iter()
            .map(|replica| replica.name.clone())
            .collect();
        let at = |what: String| Err(format!("at {} ms: {what}", self.now));
        if holders.len() > 1 {
            return at(format!("{holders:?} hold the cluster"));
        }
        let is_calm = self.now > self.troubled_until + HANDED_OVER_MILLISECONDS;
        let Some(holder) = holders.into_iter().next() else {
            return if is_calm && !self.replicas.is_empty() {
                at("nobody holds the cluster".to_owned())
            } else {
                Ok(())
            };
        };
        if self.last_holder.as_ref() != Some(&holder) {
            self.lived.handed_over += u64::from(self.last_holder.is_some());
            self.last_holder = Some(holder);
        }
        Ok(())
    }

    fn disturb(&mut self, milliseconds: u64) {
        self.troubled_until = self.troubled_until.max(self.now + milliseconds);
    }

    fn misfortune(&mut self) {
        let trouble = self.trouble;
        let strikes = |random: &mut Rng, chance: f64| chance > 0.0 && random.f64() < chance;
        for replica in (0..self.replicas.len()).rev() {
            if strikes(&mut self.random, trouble.stopped) {
                let milliseconds = self.random.u64(500..30_000);
                self.stop(replica, milliseconds);
            }
            if strikes(&mut self.random, trouble.slow) {
                let milliseconds = self.random.u64(1_000..15_000);
                self.slow_down(replica, milliseconds);
            }
            if strikes(&mut self.random, trouble.lease_deleted) {
                self.leases.remove(&self.replicas[replica].name);
                self.disturb(0);
            }
            if strikes(&mut self.random, trouble.killed) {
                self.kill(replica);
            } else if strikes(&mut self.random, trouble.released)
                && self.replicas[replica].stopped_until <= self.now
            {
                self.release(replica);
            }
        }
        // Each that is gone is made anew after some seconds.
        if self.replicas.len() < 2 && self.random.u8(0..40) == 0 {
            self.come();
        }
        if strikes(&mut self.random, trouble.mode) {
            let mode = *self.random.choice(&AutoscalerMode::ALL).expect("there are some");
            self.set_mode(mode);
        }
        if strikes(&mut self.random, trouble.head) {
            // The webhook takes the container out where we are to write; but it may be away.
            let mode = self.simulation.kubernetes.cluster().mode();
            let is_ours = mode.unwrap_or_default() == AutoscalerMode::Central;
            let sidecar = (!is_ours || self.random.u8(0..4) == 0).then_some(Sidecar::Ray);
            self.make_head_anew(sidecar);
        }
    }

    /// How long a request or an answer takes.
    pub(super) fn delay(&mut self, replica: usize) -> u64 {
        let most = if self.replicas[replica].slow_until > self.now {
            SLOWEST_MILLISECONDS
        } else {
            self.delay_milliseconds
        };
        self.random.u64(0..=most / STEP_MILLISECONDS) * STEP_MILLISECONDS
    }

    /// The API server asks webhooks before it writes, and some of them take their time.
    pub(super) fn delay_of_patch(&mut self, replica: usize) -> u64 {
        if self.trouble.slow > 0.0 && self.random.u8(0..4) == 0 {
            self.random.u64(0..=SLOWEST_MILLISECONDS / STEP_MILLISECONDS) * STEP_MILLISECONDS
        } else {
            self.delay(replica)
        }
    }

    pub(super) fn instant(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    /// What was sent arrives, whether or not its sender still runs.
    fn arrive(&mut self) -> Result<(), String> {
        let now = self.now;
        let is_there = |request: &mut Request| request.arrives <= now;
        let arrived: Vec<Request> = self.under_way.extract_if(.., is_there).collect();
        for Request { by, what, .. } in arrived {
            match what {
                What::Lease { released } => {
                    self.marks += 1;
                    let mark = self.marks;
                    let uid = self.leases.get(&by).map_or(mark, |lease| lease.uid);
                    self.leases.insert(by, Lease { uid, mark, released });
                }
                What::Patch {
                    patch,
                    tick,
                    version,
                    known,
                } => self.patch(&by, &patch, tick, version.as_ref(), known)?,
            }
        }
        let listed: Vec<Sighted> = self
            .leases
            .iter()
            .map(|(replica, lease)| lease.sighted(replica))
            .collect();
        for replica in &mut self.replicas {
            replica.list(now, &listed);
        }
        Ok(())
    }

    fn patch(
        &mut self,
        by: &str,
        patch: &Patch,
        mut tick: Tick,
        version: Option<&String>,
        known: u64,
    ) -> Result<(), String> {
        let before = self.simulation.replicas();
        let cluster = self.simulation.kubernetes.cluster();
        let (found, mode) = (cluster.metadata.resource_version.clone(), cluster.mode());
        tick.written = self.simulation.write(patch);
        let is_late = !self.holders().iter().any(|holder| holder.name == by);
        if !tick.written {
            self.lived.late_and_refused += u64::from(is_late);
            return Ok(());
        }
        self.lived.written += 1;
        self.lived.late_and_done += u64::from(is_late);
        let at = |what: &str| Err(format!("at {} ms, {by} {what}: {tick:?}", self.now));
        if self.simulation.kubernetes.sidecar().is_some() {
            return at("writes beside the head's own autoscaler");
        }
        if mode.unwrap_or_default() != AutoscalerMode::Central {
            return at("writes what is not its own to write");
        }
        if found.as_ref() != version {
            return at("writes to what was written since it looked");
        }
        self.simulation.judge(&before, &tick, known)
    }

    /// Ray's own autoscaler, if there is one: it reads what it writes to, and tests for nothing.
    fn rays_own_looks(&mut self) {
        if self.simulation.kubernetes.sidecar().is_none() {
            self.rays_own = Autoscaler::default();
            return;
        }
        let mut autoscaler = std::mem::take(&mut self.rays_own);
        autoscaler.view.cluster = None;
        if let Some(answer) = self.simulation.ask(&mut autoscaler) {
            let intent = self.simulation.decide(&mut autoscaler.mind, answer, 0);
            let drains = intent.drained(|node, reason| self.simulation.drain(node, reason));
            if let (_, Some(patch)) = intent.patch(&drains) {
                let written = self.simulation.write(&untested(patch));
                self.lived.written_by_rays_own += u64::from(written);
            }
        }
        self.rays_own = autoscaler;
    }
}

/// In trouble, a request takes up to that.
const SLOWEST_MILLISECONDS: u64 = 6_000;

impl Lease {
    fn sighted(&self, replica: &str) -> Sighted {
        Sighted {
            replica: replica.to_owned(),
            uid: self.uid.to_string(),
            mark: self.mark.to_string(),
            released: self.released,
        }
    }
}

pub(super) fn untested(Patch(operations): Patch) -> Patch {
    let tests = |operation: &PatchOperation| matches!(operation, PatchOperation::Test(_));
    Patch(
        operations
            .into_iter()
            .filter(|operation| !tests(operation))
            .collect(),
    )
}
