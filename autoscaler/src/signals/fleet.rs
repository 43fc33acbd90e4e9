//! Which clusters there are that the autoscaler for all of them looks after, whichever of its replicas does: so that no policy is left with word of
//! a cluster that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::policies::ScalingPolicy;
use crate::cluster::Cluster;

/// Namespace and name.
pub(super) type ClusterKey = (String, String);

/// The clusters. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Fleet(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    clusters: BTreeMap<ClusterKey, Arc<Cluster>>,
    /// There are no others.
    complete: bool,
    /// Namespaces in which clusters have come, gone or changed their labels since that was asked for.
    changed: BTreeSet<String>,
}

impl Fleet {
    /// A cluster is there; or, without one, it is not.
    pub(crate) fn see(&self, key: &(String, String), cluster: Option<&Arc<Cluster>>) {
        let mut seen = self.seen();
        let labels = |cluster: &Arc<Cluster>| cluster.metadata.labels.clone();
        if seen.clusters.get(key).map(labels) != cluster.map(labels) {
            seen.changed.insert(key.0.clone());
        }
        match cluster {
            Some(cluster) => drop(seen.clusters.insert(key.clone(), Arc::clone(cluster))),
            None => drop(seen.clusters.remove(key)),
        }
    }

    /// All clusters have been seen.
    pub(crate) fn complete(&self) {
        self.seen().complete = true;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen().complete
    }

    pub(super) fn has(&self, key: &ClusterKey) -> bool {
        self.seen().clusters.contains_key(key)
    }

    /// Where something has changed since this was asked last.
    pub(super) fn changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.seen().changed)
    }

    /// The clusters that a policy is about.
    pub(super) fn of(&self, policy: &ScalingPolicy) -> Vec<ClusterKey> {
        let namespace = &policy.key.0;
        let seen = self.seen();
        let there = seen.clusters.range((namespace.clone(), String::new())..);
        let there = there.take_while(|(key, _)| key.0 == *namespace);
        there
            .filter(|(_, cluster)| policy.is_about(&cluster.metadata))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
