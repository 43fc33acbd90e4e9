//! What the last looks at each cluster showed and led to, for whoever asks why. Nothing here is asked for a decision, and a restart begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use jiff::Timestamp;
use planner::{Plan, Snapshot};
use serde::{Deserialize, Serialize};

use crate::adoption::Shadowed;
use crate::cluster::View;
use crate::patience::Pass;
use crate::signals::GroupTold;
use crate::tick::Outcome;
use crate::waiting::Waiting;

/// How many decisions are told.
const HISTORY_MAX: usize = 20;

/// A page for each cluster that is looked after here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<RwLock<Pages>>);

/// By namespace and name.
type Pages = BTreeMap<(String, String), Arc<RwLock<Entry>>>;

/// The page of one cluster, which goes with whoever writes it.
#[derive(Debug)]
pub(crate) struct Page {
    journal: Journal,
    key: (String, String),
    entry: Arc<RwLock<Entry>>,
}

/// What is known of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Why nothing is decided, since when; nothing while something is.
    pub(crate) held: Option<(Timestamp, String)>,
    /// The last look that led to a plan.
    pub(crate) look: Option<Arc<Look>>,
    /// The youngest first.
    pub(crate) history: VecDeque<Past>,
}

/// A look at a cluster.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    /// Why nothing that is decided is carried out, if somebody else scales the cluster.
    pub(crate) shadowed: Option<Shadowed>,
    pub(crate) head: SocketAddr,
    /// Ray's name of the life of that head.
    pub(crate) session: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) plan: Plan,
    /// What came of the scaling policies.
    pub(crate) policies: Vec<GroupTold>,
    pub(crate) passes: BTreeMap<String, Pass>,
    /// Workers that are no Ray nodes yet: their groups, and what they wait for.
    pub(crate) waiting: BTreeMap<String, (String, Waiting)>,
}

/// A decision of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) changes: Vec<String>,
}

impl Journal {
    /// Begins the page of a cluster.
    pub(crate) fn page(&self, namespace: &str, name: &str) -> Page {
        let key = (namespace.to_owned(), name.to_owned());
        let entry = Arc::<RwLock<Entry>>::default();
        write(&self.0).insert(key.clone(), entry.clone());
        Page {
            journal: self.clone(),
            key,
            entry,
        }
    }

    /// What is known of a cluster, if it is looked after here.
    pub(crate) fn read(&self, namespace: &str, name: &str) -> Option<Entry> {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = pages.get(&(namespace.to_owned(), name.to_owned()))?.read();
        Some(entry.unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Tells of each cluster, by namespace and name.
    pub(crate) fn each(&self, mut tell: impl FnMut(&str, &str, &Entry)) {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for ((namespace, name), entry) in pages.iter() {
            tell(
                namespace,
                name,
                &entry.read().unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

impl Page {
    /// Nothing is decided, for this reason.
    pub(crate) fn held(&self, reason: &str, now: Timestamp) {
        let mut entry = write(&self.entry);
        if entry.held.as_ref().is_none_or(|(_, known)| known != reason) {
            entry.held = Some((now, reason.to_owned()));
        }
    }

    /// A plan was made, and this came of it.
    pub(crate) fn looked(&self, look: Look) {
        let mut entry = write(&self.entry);
        entry.held = None;
        if matches!(
            look.outcome,
            Outcome::Patched | Outcome::Conflict | Outcome::Failed
        ) {
            entry.history.truncate(HISTORY_MAX - 1);
            entry.history.push_front(Past {
                at: look.at,
                outcome: look.outcome,
                changes: look.plan.decisions.iter().map(ToString::to_string).collect(),
            });
        }
        entry.look = Some(Arc::new(look));
    }
}

impl Drop for Page {
    /// Whoever looks after the cluster next may have begun a page of its own already.
    fn drop(&mut self) {
        let mut pages = write(&self.journal.0);
        if pages
            .get(&self.key)
            .is_some_and(|entry| Arc::ptr_eq(entry, &self.entry))
        {
            pages.remove(&self.key);
        }
    }
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Workers that wait, of a view, with their groups.
pub(crate) fn waiting(view: &View) -> impl Iterator<Item = (String, (String, Waiting))> {
    let workers = view.pods.values().filter(|pod| !pod.is_head);
    workers.filter_map(|pod| {
        let waiting = pod.waiting.clone()?;
        Some((pod.name.clone(), (pod.group.clone(), waiting)))
    })
}
