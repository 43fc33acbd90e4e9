//! A small world of replicas and API servers, in which everything that may go wrong does, on a clock of minutes.
//!
//! The claim: every API server accepts the certificate of every replica, at every minute, whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rustls_pki_types::ServerName;

use super::{Lifetimes, Replica, State, Step, decide};
use crate::authority::Authority;
use crate::certificate::Bundle;

const MINUTE: Duration = Duration::from_mins(1);
const LIFETIMES: Lifetimes = Lifetimes {
    authority: MINUTE.saturating_mul(240),
    leaf: MINUTE.saturating_mul(60),
    propagation: MINUTE.saturating_mul(3),
};
/// API servers may act on bundles this many minutes old.
const LAG_MAX: usize = 3;
/// A leaf is renewed with twenty minutes left: who is cut off for longer may lose it.
const PARTITION_MAX: u16 = 15;
/// Who is back needs this many minutes in touch: to see a successor that came meanwhile, and see it for long enough.
const RECOVERY: u16 = 4;
const MINUTES: u16 = 600;
const REPLICAS: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    /// The replica cannot reach the API server for some minutes. The API server can still reach it.
    CutOff(usize, u16),
    /// The replica forgets everything.
    Restart(usize),
    /// Somebody deletes the Secret, which is how one asks for new authorities.
    DeleteSecret,
}

struct World {
    now: Timestamp,
    secret: Option<State>,
    /// What the configurations have said in the last minutes, newest first.
    published: VecDeque<Bundle>,
    replicas: Vec<Running>,
    signers: usize,
    /// When somebody last began without a Secret.
    created: Timestamp,
}

struct Running {
    replica: Replica,
    /// It had nothing to serve until then.
    started: Timestamp,
    /// Minutes until the API server can be reached again.
    cut_off: u16,
    /// Minutes until it may be cut off once more: partitions that follow each other at once are one long partition.
    recovering: u16,
}

impl World {
    fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let replicas = (0..REPLICAS).map(|_| Running::start(now)).collect();
        Self {
            now,
            secret: None,
            published: VecDeque::from([Bundle::default()]),
            replicas,
            signers: 0,
            created: now,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::CutOff(replica, minutes) => self.replicas[replica].cut_off_for(minutes),
            Event::Restart(replica) => self.replicas[replica] = Running::start(self.now),
            Event::DeleteSecret => self.secret = None,
        }
    }

    /// What a pass of the keeper does, for each replica in turn.
    fn minute(&mut self) {
        self.now += MINUTE;
        self.published.push_front(self.published[0].clone());
        self.published.truncate(LAG_MAX + 1);
        for running in &mut self.replicas {
            if running.cut_off > 0 {
                running.cut_off -= 1;
                if running.replica.leaf.is_none() {
                    running.started = self.now;
                }
                continue;
            }
            running.recovering = running.recovering.saturating_sub(1);
            let replica = &mut running.replica;
            let bundles = vec![self.published[0].clone(), self.published[0].clone()];
            loop {
                replica.observe(bundles.clone(), self.secret.as_ref(), self.now);
                let Some(state) = replica.advance(self.secret.as_ref(), self.now).expect("issued") else {
                    break;
                };
                let signer = state.current.clone();
                let before = self.secret.replace(state);
                if before.is_none() {
                    self.created = self.now;
                }
                self.signers += usize::from(before.is_none_or(|before| before.current != signer));
            }
            let state = self.secret.as_ref().expect("created");
            replica.renew(state, self.now).expect("issued");
            self.published[0] = state.bundle();
        }
    }

    fn check(&self) {
        let name = ServerName::try_from("rayward.test").expect("a name");
        for (number, Running { replica, started, .. }) in self.replicas.iter().enumerate() {
            let Some(leaf) = &replica.leaf else { continue };
            // Who starts where there was no Secret has nothing to serve that anybody could know, and is not ready.
            let propagated = leaf
                .authority()
                .is_some_and(|authority| self.published.iter().all(|bundle| bundle.contains(authority)));
            if !propagated && *started + MINUTE * 4 >= self.now && self.created + MINUTE * 4 >= self.now {
                continue;
            }
            for (age, bundle) in self.published.iter().enumerate() {
                if age > 0 && *bundle == self.published[age - 1] {
                    continue;
                }
                let verified = bundle.verify(&leaf.key().cert, &name, self.now);
                assert!(
                    verified.is_ok(),
                    "at {} replica {number} serves {leaf:?}, refused by {bundle:?} of {age} minutes ago: {verified:?}\n{:?}",
                    self.now,
                    self.secret,
                );
            }
        }
    }
}

impl Running {
    fn start(now: Timestamp) -> Self {
        Self {
            replica: Replica::new(vec!["rayward.test".to_owned()], LIFETIMES),
            started: now,
            cut_off: 0,
            recovering: 0,
        }
    }

    fn cut_off_for(&mut self, minutes: u16) {
        if self.recovering == 0 {
            self.cut_off = minutes;
            self.recovering = RECOVERY;
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..REPLICAS, 1..PARTITION_MAX).prop_map(|(replica, minutes)| Event::CutOff(replica, minutes)),
        2 => (0..REPLICAS).prop_map(Event::Restart),
        1 => Just(Event::DeleteSecret),
    ]
}

fn live(events: &[(u16, Event)]) -> World {
    let mut world = World::new();
    for minute in 0..MINUTES {
        for (_, event) in events.iter().filter(|(at, _)| *at == minute) {
            world.happen(event);
        }
        world.minute();
        world.check();
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_certificate_is_trusted_at_every_instant(events in prop::collection::vec((0..MINUTES, event()), 0..24)) {
        let world = live(&events);
        prop_assert!(world.signers >= 4, "ten hours hold at least three rotations");
        prop_assert!(world.published[0].iter().count() <= 8, "bundles do not grow for ever");
    }
}

/// Found by chance once, each: two partitions that overlap, and a replica that reaches the API server for the first time when the Secret is gone.
#[test]
fn rare_stories() {
    live(&[(362, Event::CutOff(1, 14)), (373, Event::CutOff(1, 12))]);
    live(&[(0, Event::CutOff(0, 2)), (2, Event::DeleteSecret)]);
}

#[test]
fn a_rotation_step_by_step() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let new = |at| Authority::generate(at, LIFETIMES.authority).expect("issued");
    let mut state = State {
        current: new(now),
        next: None,
        retired: Vec::new(),
    };
    let step = |state: &State, seen, minutes| decide(Some(state), seen, now + MINUTE * minutes, &LIFETIMES);

    assert_eq!(decide(None, None, now, &LIFETIMES), Step::Create);
    assert_eq!(step(&state, None, 159), Step::Keep);
    assert_eq!(step(&state, None, 160), Step::Announce);
    assert_eq!(
        step(&state, None, 240),
        Step::Create,
        "too late for anything else"
    );

    state.next = Some(new(now + MINUTE * 160));
    assert_eq!(step(&state, None, 200), Step::Keep, "nobody has read it back yet");
    assert_eq!(
        step(&state, Some(MINUTE * 2), 200),
        Step::Keep,
        "some API server may not have read it"
    );
    assert_eq!(step(&state, Some(MINUTE * 3), 200), Step::Switch);
    assert_eq!(
        step(&state, None, 240),
        Step::Switch,
        "the old one is of no use any more"
    );
}
