//! What a replica does: it renews its Lease and looks at the cluster, as far as it comes before it is stopped.

use std::time::Duration;

use tokio::sync::watch;

use super::world::{Rash, Request, What, World, untested};
use crate::adoption::Standing;
use crate::apply::Drains;
use crate::cluster::View;
use crate::gcs::Drained;
use crate::lease;
use crate::ownership::{Membership, Ownership, PERIOD, Sighted, Tenure};
use crate::simulation::{Answered, Autoscaler, Intent, lost};

/// A replica looks again after that.
const LOOK_MILLISECONDS: u64 = 1_000;
/// What shares are computed from, besides the name of the world.
const NAMESPACE: &str = "default";

pub(super) struct Replica {
    pub(super) name: String,
    pub(super) doing: Doing,
    membership: Membership,
    tenure: watch::Sender<Option<Tenure>>,
    ownership: Ownership,
    renewal: Option<Renewal>,
    renews_at: u64,
    /// Whether the cluster was its own at the last renewal: then it has a loop.
    looks: bool,
    autoscaler: Autoscaler,
    pub(super) stopped_until: u64,
    pub(super) slow_until: u64,
}

/// A renewal under way.
struct Renewal {
    sent: u64,
    listed_at: u64,
    told_at: u64,
    listed: Option<Vec<Sighted>>,
}

/// How far a look has come, and when it goes on.
pub(super) enum Doing {
    Resting {
        until: u64,
    },
    Asked {
        answer: Answered,
        at: u64,
        until: u64,
    },
    Decided {
        intent: Intent,
        at: u64,
        until: u64,
    },
    Drained {
        intent: Intent,
        drains: Drains,
        at: u64,
        until: u64,
    },
}

impl Replica {
    pub(super) fn new(name: String, now: u64) -> Self {
        let (tenure, told) = watch::channel(None);
        Self {
            membership: Membership::new(name.clone()),
            name,
            doing: Doing::Resting { until: now },
            tenure,
            ownership: Ownership::Shared(told),
            renewal: None,
            renews_at: now,
            looks: false,
            autoscaler: Autoscaler::default(),
            stopped_until: 0,
            slow_until: 0,
        }
    }

    /// A list arrives at the API server.
    pub(super) fn list(&mut self, now: u64, leases: &[Sighted]) {
        if let Some(renewal) = &mut self.renewal
            && renewal.listed.is_none()
            && renewal.listed_at <= now
        {
            renewal.listed = Some(leases.to_vec());
        }
    }
}

impl World {
    /// All that could write at this moment: those that are stopped could as well, if they were resumed.
    pub(super) fn holders(&self) -> Vec<&Replica> {
        let now = self.instant(self.now);
        let holds = |replica: &&Replica| replica.ownership.holds(NAMESPACE, &self.name, now);
        self.replicas.iter().filter(holds).collect()
    }

    /// As [`lease::Keeper`] does it.
    pub(super) fn renew(&mut self, index: usize) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        match replica.renewal.take() {
            None if replica.renews_at <= now => {
                let lands = now + self.delay(index);
                let listed_at = lands + self.delay(index);
                let told_at = listed_at + self.delay(index);
                let replica = &mut self.replicas[index];
                replica.renewal = Some(Renewal {
                    sent: now,
                    listed_at,
                    told_at,
                    listed: None,
                });
                self.under_way.push(Request {
                    by: replica.name.clone(),
                    arrives: lands,
                    what: What::Lease { released: false },
                });
            }
            Some(Renewal {
                sent,
                told_at,
                listed: Some(listed),
                ..
            }) if told_at <= now => {
                let (sent, told) = (
                    self.start + Duration::from_millis(sent),
                    self.start + Duration::from_millis(now),
                );
                let tenure = replica.membership.look(listed, sent, told);
                replica.tenure.send_replace(Some(tenure));
                replica.renews_at = now + milliseconds(PERIOD);
                replica.looks = replica.ownership.assigns(NAMESPACE, &self.name, told);
                if !replica.looks {
                    // Its loop is ended.
                    replica.autoscaler = Autoscaler::default();
                    replica.doing = Doing::Resting { until: now };
                }
            }
            Some(renewal) if now - renewal.sent > milliseconds(lease::DEADLINE) => {
                replica.renews_at = now + milliseconds(lease::RETRY);
            }
            waits => replica.renewal = waits,
        }
    }

    /// One look, as far as it comes.
    pub(super) fn look(&mut self, index: usize) -> Result<(), String> {
        let now = self.now;
        while self.replicas[index].looks {
            let resting = Doing::Resting {
                until: now + LOOK_MILLISECONDS,
            };
            match std::mem::replace(&mut self.replicas[index].doing, resting) {
                Doing::Resting { until } if until <= now => {
                    let mut autoscaler = std::mem::take(&mut self.replicas[index].autoscaler);
                    let answer = self.simulation.ask(&mut autoscaler);
                    let replica = &mut self.replicas[index];
                    replica.autoscaler = autoscaler;
                    let covers = |answer: &Answered| self.scope.covers(&answer.cluster);
                    if let Some(answer) = answer.filter(covers)
                        && self.reaches_head(&answer.view)
                    {
                        let until = now + self.delay(index);
                        self.replicas[index].doing = Doing::Asked {
                            answer,
                            at: now,
                            until,
                        };
                    }
                }
                Doing::Asked { answer, at, until } if until <= now => {
                    let standing = self.scope.standing(&answer.view);
                    let mind = &mut self.replicas[index].autoscaler.mind;
                    let intent = self.simulation.decide(mind, answer, now - at);
                    if self.rash != Some(Rash::Standing) && standing != Standing::Writer {
                        let differs = intent
                            .plan
                            .decisions
                            .iter()
                            .any(|decision| decision.from != decision.to);
                        self.lived.shadowed += u64::from(differs);
                    } else if self.may_write(index) {
                        let until = now + self.delay(index);
                        self.replicas[index].doing = Doing::Decided { intent, at, until };
                    } else {
                        self.lived.fenced += u64::from(!intent.plan.decisions.is_empty());
                    }
                }
                Doing::Decided { intent, at, until } if until <= now => {
                    let drains = self.drain(index, &intent)?;
                    let until = now + self.delay(index);
                    self.replicas[index].doing = Doing::Drained {
                        intent,
                        drains,
                        at,
                        until,
                    };
                }
                Doing::Drained {
                    intent,
                    mut drains,
                    at,
                    until,
                } if until <= now => {
                    let is_unsure = self.simulation.policy.is_unsure(now - at);
                    if is_unsure {
                        drains.keep_undrained(&intent.plan);
                    }
                    self.send(index, intent, &drains, if is_unsure { now } else { at })?;
                }
                waits => {
                    self.replicas[index].doing = waits;
                    break;
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self, index: usize, intent: &Intent) -> Result<Drains, String> {
        let (may_write, reaches) = (self.may_write(index), self.reaches_head(&intent.view));
        let mut asked = false;
        let drains = intent.drained(|node, reason| {
            if !may_write {
                return Ok(Drained::Rejected("the cluster is not ours any more".to_owned()));
            }
            asked |= reaches;
            if reaches {
                self.simulation.drain(node, reason)
            } else {
                Err(lost())
            }
        });
        if asked {
            self.judge_writer(index, "drains")?;
            if self.simulation.kubernetes.sidecar().is_some() {
                return Err(format!(
                    "at {} ms, drains beside the head's own autoscaler",
                    self.now
                ));
            }
        }
        Ok(drains)
    }

    /// The patch sets out, unless the cluster is not ours any more.
    fn send(&mut self, index: usize, intent: Intent, drains: &Drains, known: u64) -> Result<(), String> {
        let version = intent.cluster.metadata.resource_version.clone();
        let (tick, Some(mut patch)) = intent.patch(drains) else {
            return Ok(());
        };
        if !self.may_write(index) {
            self.lived.fenced += 1;
            return Ok(());
        }
        self.judge_writer(index, "writes")?;
        if self.rash == Some(Rash::Tests) {
            patch = untested(patch);
        }
        let arrives = self.now + self.delay_of_patch(index);
        let answered = arrives + self.delay(index);
        let replica = &mut self.replicas[index];
        replica.doing = Doing::Resting {
            until: answered + LOOK_MILLISECONDS,
        };
        self.under_way.push(Request {
            by: replica.name.clone(),
            arrives,
            what: What::Patch {
                patch,
                tick,
                version,
                known,
            },
        });
        Ok(())
    }

    /// Who writes is the only one that may.
    fn judge_writer(&self, index: usize, does: &str) -> Result<(), String> {
        let name = &self.replicas[index].name;
        let holders: Vec<&String> = self.holders().iter().map(|replica| &replica.name).collect();
        if holders == [name] {
            return Ok(());
        }
        Err(format!(
            "at {} ms, {name} {does}, and {holders:?} hold the cluster",
            self.now
        ))
    }

    fn may_write(&mut self, index: usize) -> bool {
        let now = self.instant(self.now);
        self.simulation.watch(&mut self.replicas[index].autoscaler);
        let Replica {
            ownership,
            autoscaler,
            ..
        } = &self.replicas[index];
        let (scope, view) = (&self.scope, &autoscaler.view);
        match self.rash {
            Some(Rash::Clock) => scope.standing(view) == Standing::Writer,
            Some(Rash::Standing) => ownership.holds(NAMESPACE, &self.name, now),
            Some(Rash::Tests) | None => ownership.may_write(scope, view, NAMESPACE, &self.name, now),
        }
    }

    /// A head that is no more does not answer.
    fn reaches_head(&self, view: &View) -> bool {
        let address = view.head().and_then(|head| head.ip);
        address == Some(self.simulation.kubernetes.head_address())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("it is short")
}
