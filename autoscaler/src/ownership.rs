//! Which of several replicas looks after which cluster. Pure: time is an argument.
//!
//! Each replica renews a Lease of its own and lists those of all, every [`PERIOD`]. A cluster belongs to the one replica, of those that it knows
//! of, that scores highest for it (rendezvous hashing): when one comes or goes, only its own share changes hands.
//!
//! Two replicas never act on one cluster at a time, though they learn of each other at different times and any of them may be stopped for as
//! long as it likes:
//!
//! - What a replica knows of the others holds for [`TENURE`] after it *sent* the renewal that came before the list. By then it has looked again,
//!   or it acts no more. It asks the clock before each single write.
//! - A replica is taken for gone only when its Lease has not changed for [`LEASE`] since the change was *seen*, which is more: it has stopped
//!   acting by then. A Lease that somebody deleted only says that it was there until then; one that was released says that its holder writes no more, and
//!   is believed at once.
//! - One that comes, or comes back after others may have taken it for gone, waits for [`LEASE`]: by then all others have seen it, or act no more. It waits
//!   even where it sees no other, since somebody may have deleted that one's Lease; and again if its own was, before others may have seen it.
//!
//! What left a replica before it was stopped and arrives after is not stopped by a clock. A patch is refused by the API server if its cluster was written
//! since, for it names the version that was looked at. A drain of an idle node is refused by the head if the node has work by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::adoption::{Scope, Standing};
use crate::cluster::View;

/// How often a Lease is renewed, and those of the others are listed.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);
/// For how long a replica acts by what it knows: an API server may be away for as long and no cluster is without its owner.
const TENURE: Duration = Duration::from_secs(5);
/// How long a Lease may stay as it is before its holder is taken for gone. What it is longer than the tenure is for clocks that go at different speeds.
pub(crate) const LEASE: Duration = Duration::from_secs(8);

/// A Lease of another replica, as it was listed.
#[derive(Clone, Debug)]
pub(crate) struct Sighted {
    pub(crate) replica: String,
    /// Another one after it was deleted and made anew.
    pub(crate) uid: String,
    /// Another one after each renewal.
    pub(crate) mark: String,
    pub(crate) released: bool,
}

/// What one replica knows of the others.
#[derive(Debug)]
pub(crate) struct Membership {
    me: String,
    others: BTreeMap<String, Sighting>,
    renewed: Option<Renewed>,
}

#[derive(Debug)]
struct Sighting {
    mark: String,
    changed: Instant,
    released: bool,
    /// Somebody deleted it.
    missing: bool,
}

/// Our own Lease, as it was when we looked last.
#[derive(Debug)]
struct Renewed {
    /// When the renewal was sent.
    sent: Instant,
    uid: Option<String>,
    /// From when on we act.
    from: Instant,
}

/// Who shares the clusters, and when one replica may act upon that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    me: String,
    members: BTreeSet<String>,
    from: Instant,
    until: Instant,
}

/// Which clusters are ours, as it is known right now.
#[derive(Clone, Debug)]
pub(crate) enum Ownership {
    /// Nobody else is there to share them with: we are beside a head.
    Alone,
    /// Nothing before the first list.
    Shared(watch::Receiver<Option<Tenure>>),
}

impl Membership {
    pub(crate) fn new(me: String) -> Self {
        Self {
            me,
            others: BTreeMap::new(),
            renewed: None,
        }
    }

    /// Our Lease was renewed by a request sent at `renewed`; then this list came, at `now`.
    pub(crate) fn look(&mut self, listed: Vec<Sighted>, renewed: Instant, now: Instant) -> Tenure {
        let is_gone = |sighting: &Sighting| now.duration_since(sighting.changed) >= LEASE;
        let names: BTreeSet<String> = listed.iter().map(|lease| lease.replica.clone()).collect();
        let (mine, listed): (Vec<_>, Vec<_>) = listed.into_iter().partition(|lease| lease.replica == self.me);
        for lease in listed {
            let before = self.others.get(&lease.replica);
            let changed = before.filter(|before| before.mark == lease.mark);
            let sighting = Sighting {
                changed: changed.map_or(now, |before| before.changed),
                mark: lease.mark,
                released: lease.released,
                missing: false,
            };
            self.others.insert(lease.replica, sighting);
        }
        self.others.retain(|replica, sighting| {
            let deleted = !names.contains(replica);
            if deleted && !sighting.missing && !is_gone(sighting) {
                // Until just now it may have been renewed.
                sighting.changed = now;
            }
            sighting.missing = deleted;
            !deleted || !is_gone(sighting)
        });
        let there = self
            .others
            .iter()
            .filter(|(_, sighting)| !sighting.released && !is_gone(sighting));
        let members: BTreeSet<String> = there
            .map(|(replica, _)| replica.clone())
            .chain([self.me.clone()])
            .collect();
        let before = self.renewed.take();
        let uid = mine.into_iter().next().map(|mine| mine.uid);
        let from = match &before {
            // Nobody can have taken us for gone, or not have seen us yet.
            Some(before)
                if now.duration_since(before.sent) < LEASE && (uid.is_none() || uid == before.uid) =>
            {
                before.from
            }
            _ => now + LEASE,
        };
        self.renewed = Some(Renewed {
            sent: renewed,
            uid: uid.or(before.and_then(|before| before.uid)),
            from,
        });
        Tenure {
            me: self.me.clone(),
            members,
            from,
            until: renewed + TENURE,
        }
    }
}

impl Tenure {
    fn assigns(&self, namespace: &str, name: &str) -> bool {
        owner(&self.members, namespace, name) == Some(&self.me)
    }

    pub(crate) fn members(&self) -> &BTreeSet<String> {
        &self.members
    }

    pub(crate) fn has_begun(&self, now: Instant) -> bool {
        self.from <= now
    }

    fn holds(&self, now: Instant) -> bool {
        self.has_begun(now) && now < self.until
    }
}

impl Ownership {
    /// Whether we are to look after a cluster. True also when that is known no longer: then its loop goes on, and waits.
    pub(crate) fn assigns(&self, namespace: &str, name: &str, now: Instant) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(tenure) => tenure
                .borrow()
                .as_ref()
                .is_some_and(|tenure| tenure.has_begun(now) && tenure.assigns(namespace, name)),
        }
    }

    /// Whether we may act on a cluster right now.
    pub(crate) fn holds(&self, namespace: &str, name: &str, now: Instant) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(tenure) => tenure
                .borrow()
                .as_ref()
                .is_some_and(|tenure| tenure.holds(now) && tenure.assigns(namespace, name)),
        }
    }

    /// Whether we may write to a cluster right now: it is ours by the clock, and by what was seen last, which may be newer than what was decided from,
    /// nobody else writes to it.
    pub(crate) fn may_write(
        &self,
        scope: &Scope,
        view: &View,
        namespace: &str,
        name: &str,
        now: Instant,
    ) -> bool {
        self.holds(namespace, name, now) && scope.standing(view) == Standing::Writer
    }

    /// Waits until something may have changed.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Shared(tenure) => {
                if tenure.changed().await.is_err() {
                    // Nobody will ever tell.
                    std::future::pending::<()>().await;
                }
            }
            Self::Alone => std::future::pending().await,
        }
    }
}

/// Whose a cluster is.
fn owner<'a>(members: &'a BTreeSet<String>, namespace: &str, name: &str) -> Option<&'a String> {
    members
        .iter()
        .max_by_key(|member| (score(member, namespace, name), *member))
}

/// The same in every process of every version, or two of them would disagree: FNV-1a, and the finalizer of `SplitMix64`, without which the
/// last letters would decide too little.
fn score(member: &str, namespace: &str, name: &str) -> u64 {
    let parts = [member, "\0", namespace, "\0", name];
    let hash = ray::hash::fnv1a(parts.iter().flat_map(|part| part.bytes()));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
