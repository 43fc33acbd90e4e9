//! When authorities come and go, as decisions over plain values: what the Secret holds, what the API servers were seen to trust,
//! and the time. Reading, writing and waiting are in [`keeper`](crate::keeper).
//!
//! One authority signs (`current`). Well before it expires a second one is announced (`next`): it goes into every bundle but signs
//! nothing. Once every bundle has been seen with it for long enough that every API server must have read it, it becomes current. The
//! old one stays in the bundle, its key destroyed, until the last certificate that it may have signed has expired. So at every
//! instant, every certificate that some replica serves is vouched for by every bundle that some API server may hold.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, CLOCK_SKEW, IssueError, Leaf};
use crate::certificate::{Bundle, Certificate};

/// Bundles hold a few authorities; more than this was not put there by us.
const RETIRED_MAX: usize = 8;

/// How long things live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// An authority, from its making to its expiry; its successor is announced when a third of this is left.
    pub authority: Duration,
    /// A serving certificate; it is renewed when a third of this is left.
    pub leaf: Duration,
    /// How long every API server surely takes to act on a bundle that could be read back from one of them.
    pub propagation: Duration,
}

impl Default for Lifetimes {
    /// A year for authorities: rotation is safe but need not be frequent, since the key is no more exposed than the permission to
    /// edit webhook configurations. Two weeks for leaves: an API server may be out of our reach for four days before one expires. A
    /// minute for propagation: it takes milliseconds while all is well.
    fn default() -> Self {
        Self {
            authority: Duration::from_hours(365 * 24),
            leaf: Duration::from_hours(14 * 24),
            propagation: Duration::from_mins(1),
        }
    }
}

/// What all replicas share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The authority that signs.
    pub current: Authority,
    /// The authority that will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Authority>,
    /// Authorities that no longer sign, still to be trusted for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
}

/// An authority that has signed its last certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// To be trusted,
    pub certificate: Certificate,
    /// until all it signed has expired.
    pub until: Timestamp,
}

/// What to do to the [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Start with a new authority: there is none that works.
    Create,
    /// Make the successor known.
    Announce,
    /// Let the successor sign.
    Switch,
    /// Forget the authorities whose last certificate has expired.
    Prune,
}

/// The whole policy of rotation. `next_seen` is how long every bundle has been seen with the next authority in it.
pub fn decide(
    state: Option<&State>,
    next_seen: Option<Duration>,
    now: Timestamp,
    lifetimes: &Lifetimes,
) -> Step {
    let Some(State {
        current,
        next,
        retired,
    }) = state
    else {
        return Step::Create;
    };
    let next = next.as_ref().filter(|next| !expired(next.certificate(), now));
    if expired(current.certificate(), now) {
        return if next.is_some() {
            Step::Switch
        } else {
            Step::Create
        };
    }
    if next.is_none() && due(current.certificate(), lifetimes.authority, now) {
        return Step::Announce;
    }
    if next.is_some() && next_seen.is_some_and(|seen| seen >= lifetimes.propagation) {
        return Step::Switch;
    }
    if retired.iter().any(|retired| retired.until <= now) {
        return Step::Prune;
    }
    Step::Keep
}

impl State {
    /// What the API servers are to trust.
    pub fn bundle(&self) -> Bundle {
        let living = std::iter::once(&self.current)
            .chain(&self.next)
            .map(Authority::certificate);
        living
            .chain(self.retired.iter().map(|retired| &retired.certificate))
            .cloned()
            .collect()
    }
}

/// One replica: the certificate it serves, and what it has seen of the bundles since it started.
#[derive(Debug)]
pub struct Replica {
    names: Vec<String>,
    lifetimes: Lifetimes,
    leaf: Option<Leaf>,
    observed: Vec<Bundle>,
    seen: Vec<(Certificate, Timestamp)>,
}

impl Replica {
    /// A replica that has just started, to be called by these names.
    pub fn new(names: Vec<String>, lifetimes: Lifetimes) -> Self {
        Self {
            names,
            lifetimes,
            leaf: None,
            observed: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Takes note of the bundles as the API server has them now, one for each webhook of ours.
    pub fn observe(&mut self, bundles: Vec<Bundle>, state: Option<&State>, now: Timestamp) {
        let trusted = state.map(State::bundle).unwrap_or_default();
        let trusted = trusted
            .iter()
            .filter(|authority| bundles.iter().all(|bundle| bundle.contains(authority)));
        self.seen = trusted
            .map(|authority| (authority.clone(), self.seen_since(authority).unwrap_or(now)))
            .collect();
        self.observed = bundles;
    }

    /// The state that should be written in place of `state`, if it should change.
    pub fn advance(&self, state: Option<&State>, now: Timestamp) -> Result<Option<State>, IssueError> {
        let next = state.and_then(|state| state.next.as_ref());
        let next_seen = next.and_then(|next| self.seen_for(next.certificate(), now));
        let authority = || Authority::generate(now, self.lifetimes.authority);
        let retire = |certificate: Certificate| {
            let until = (now + self.lifetimes.leaf + CLOCK_SKEW).min(certificate.not_after());
            Retired { certificate, until }
        };
        let advanced = match (decide(state, next_seen, now, &self.lifetimes), state.cloned()) {
            (Step::Keep, _) => None,
            // Whoever starts anew without knowing what was before (somebody deleted the Secret) does not pull the rug from under
            // replicas that still serve certificates of an authority that the bundles know.
            (Step::Create, _) | (_, None) => Some(State {
                current: authority()?,
                next: None,
                retired: self
                    .known_authorities(now)
                    .iter()
                    .take(RETIRED_MAX)
                    .cloned()
                    .map(retire)
                    .collect(),
            }),
            (Step::Announce, Some(state)) => Some(State {
                next: Some(authority()?),
                ..state
            }),
            (
                Step::Switch,
                Some(State {
                    current,
                    next,
                    mut retired,
                }),
            ) => {
                retired.push(retire(current.certificate().clone()));
                next.map(|next| State {
                    current: next,
                    next: None,
                    retired,
                })
            }
            (Step::Prune, Some(mut state)) => {
                state.retired.retain(|retired| retired.until > now);
                Some(state)
            }
        };
        Ok(advanced)
    }

    /// The certificate to serve from now on, if it should change. Call it with the state as it was just read: only then is it sure
    /// that the authority had not been retired long before.
    pub fn renew(&mut self, state: &State, now: Timestamp) -> Result<Option<&Leaf>, IssueError> {
        let current = state.current.certificate();
        let keep = self.leaf.as_ref().is_some_and(|leaf| {
            let signer = leaf.authority();
            !expired(leaf.certificate(), now)
                && if signer == Some(current) {
                    !due(leaf.certificate(), self.lifetimes.leaf, now)
                } else {
                    // Another replica switched before we could see for ourselves that everybody trusts the successor.
                    self.seen_for(current, now)
                        .is_none_or(|seen| seen < self.lifetimes.propagation)
                }
        });
        if keep {
            return Ok(None);
        }
        self.leaf = Some(state.current.issue(&self.names, now, self.lifetimes.leaf)?);
        Ok(self.leaf.as_ref())
    }

    fn known_authorities(&self, now: Timestamp) -> Bundle {
        self.observed
            .iter()
            .flat_map(Bundle::iter)
            .filter(|known| !expired(known, now))
            .cloned()
            .collect()
    }

    fn seen_since(&self, authority: &Certificate) -> Option<Timestamp> {
        self.seen
            .iter()
            .find(|(seen, _)| seen == authority)
            .map(|(_, since)| *since)
    }

    fn seen_for(&self, authority: &Certificate, now: Timestamp) -> Option<Duration> {
        self.seen_since(authority)
            .map(|since| now.duration_since(since).unsigned_abs())
    }
}

fn expired(certificate: &Certificate, now: Timestamp) -> bool {
    certificate.not_after() <= now
}

/// Whether less than a third of its life is left.
fn due(certificate: &Certificate, life: Duration, now: Timestamp) -> bool {
    certificate.not_after() <= now + life / 3
}

#[cfg(test)]
mod tests;
