//! Watches each RayCluster and its Pods, and keeps a loop running for each cluster that is ours.
//!
//! One task owns all that was seen; a loop gets its own cluster through a channel that holds the latest view only. No lock is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use kube::api::DynamicObject;
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use ray::keys;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::adoption::Scope;
use crate::beside;
use crate::cluster::{Cluster, Pod, View};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::ownership::Ownership;
use crate::record::Recorder;
use crate::signals::Signals;
use crate::tick::{Loop, Settings};

/// Everything that was seen.
pub(crate) struct Watch {
    client: Client,
    scope: Scope,
    ownership: Ownership,
    metrics: Metrics,
    recorder: Recorder,
    signals: Signals,
    settings: Settings,
    journal: Journal,
    clusters: BTreeMap<ClusterKey, Seat>,
    /// Which cluster each Pod belongs to.
    pods: BTreeMap<(String, String), ClusterKey>,
}

/// Namespace and name.
type ClusterKey = (String, String);

/// A cluster with its latest view, and its loop if it is ours.
#[derive(Default)]
struct Seat {
    view: watch::Sender<View>,
    scaled: Option<AbortHandle>,
}

/// Whoever forgets a cluster looks after it no longer.
impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(scaled) = &self.scaled {
            scaled.abort();
        }
    }
}

/// The API of the kind RayCluster.
pub(crate) fn ray_cluster() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("ray.io", "v1", "RayCluster"),
        "rayclusters",
    )
}

/// How long a watch that broke waits before it is begun anew. There are only a few watches in all, and each second that one is blind for after the API
/// server is back is one in which clusters are not scaled.
#[derive(Debug)]
pub(crate) struct Rest(Duration);

impl Rest {
    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(4);
}

impl Default for Rest {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

impl Iterator for Rest {
    type Item = Duration;

    /// A little more than it would be, so that replicas do not come back together.
    fn next(&mut self) -> Option<Duration> {
        let rest = self.0;
        self.0 = (rest * 2).min(Self::MAX);
        Some(rest.mul_f64(1.0 + fastrand::f64() / 4.0))
    }
}

impl Backoff for Rest {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Watch {
    pub(crate) fn new(
        client: Client,
        scope: Scope,
        ownership: Ownership,
        metrics: Metrics,
        signals: Signals,
        settings: Settings,
        journal: Journal,
    ) -> Self {
        Self {
            recorder: Recorder::new(client.clone(), metrics.clone()),
            settings,
            journal,
            client,
            scope,
            ownership,
            metrics,
            signals,
            clusters: BTreeMap::new(),
            pods: BTreeMap::new(),
        }
    }

    /// Watches for ever. A watch that breaks is begun anew, with back-off; loops go on with what was seen last.
    pub(crate) async fn run(mut self) {
        let mut ownership = self.ownership.clone();
        let mut clusters = Listing::default();
        let mut pods = Listing::default();
        let mut cluster_events = self.cluster_events();
        let mut pod_events = watcher(self.pod_api(), self.pod_config())
            .backoff(Rest::default())
            .boxed();
        loop {
            tokio::select! {
                Some(event) = cluster_events.next() => self.on_cluster(event, &mut clusters),
                Some(event) = pod_events.next() => self.on_pod(event, &mut pods),
                () = ownership.changed() => self.enrol_all(),
                else => return,
            }
            if clusters.complete && pods.complete && !self.metrics.ready.swap(true, Ordering::Relaxed) {
                self.enrol_all();
                self.signals.fleet().complete();
                tracing::info!(clusters = self.clusters.len(), "ready");
            }
        }
    }

    fn on_cluster(&mut self, event: watcher::Result<watcher::Event<DynamicObject>>, listing: &mut Listing) {
        let Some(change) = listing.follow(event, "RayClusters") else {
            return;
        };
        match change {
            Change::Applied(object) => {
                let Some(cluster) = Cluster::read(&object) else {
                    return;
                };
                let key = key_of(&object);
                let cluster = Arc::new(cluster);
                let ours = self.scope.covers(&cluster).then_some(&cluster);
                self.signals.fleet().see(&key, ours);
                let seat = self.clusters.entry(key.clone()).or_default();
                seat.view.send_modify(|view| view.cluster = Some(cluster));
                self.enrol(&key);
            }
            Change::Gone(key) => self.forget(&key),
            Change::Listed(there) => {
                let known = self
                    .clusters
                    .iter()
                    .filter(|(_, seat)| seat.view.borrow().cluster.is_some());
                let gone: Vec<_> = known
                    .map(|(key, _)| key.clone())
                    .filter(|key| !there.contains(key))
                    .collect();
                for key in &gone {
                    self.forget(key);
                }
            }
        }
    }

    fn on_pod(&mut self, event: watcher::Result<watcher::Event<KubernetesPod>>, listing: &mut Listing) {
        let Some(change) = listing.follow(event, "Pods") else {
            return;
        };
        match change {
            Change::Applied(object) => {
                let Some((cluster, pod)) = Pod::read(&object) else {
                    return;
                };
                let key = key_of(&object);
                let cluster = (key.0.clone(), cluster);
                let seat = self.clusters.entry(cluster.clone()).or_default();
                seat.view
                    .send_modify(|view| drop(view.pods.insert(pod.name.clone(), Arc::new(pod))));
                self.pods.insert(key, cluster);
            }
            Change::Gone(key) => self.forget_pod(&key),
            Change::Listed(there) => {
                let gone: Vec<_> = self
                    .pods
                    .keys()
                    .filter(|key| !there.contains(*key))
                    .cloned()
                    .collect();
                for key in &gone {
                    self.forget_pod(key);
                }
            }
        }
    }

    /// Starts or stops the loop of a cluster, as it is ours or not. One that is given to others loses our conditions.
    fn enrol(&mut self, key: &ClusterKey) {
        if !self.metrics.ready.load(Ordering::Relaxed) {
            return;
        }
        let Some(seat) = self.clusters.get_mut(key) else {
            return;
        };
        let cluster = seat.view.borrow().cluster.clone();
        let cluster = cluster.filter(|_| self.ownership.assigns(&key.0, &key.1, Instant::now()));
        let ours = cluster.as_ref().is_some_and(|cluster| self.scope.covers(cluster));
        if let Some(cluster) = cluster
            && !ours
            && self.scope.is_central()
            && cluster.has_our_conditions()
        {
            let recorder = self.recorder.clone();
            tokio::spawn(async move { recorder.no_condition(&cluster).await });
        }
        match (&seat.scaled, ours) {
            (None, true) => {
                let (namespace, name) = key.clone();
                let scaling = Loop {
                    recorder: self.recorder.clone(),
                    client: self.client.clone(),
                    metrics: self.metrics.clone(),
                    scope: self.scope.clone(),
                    ownership: self.ownership.clone(),
                    page: self.journal.page(&namespace, &name),
                    views: seat.view.subscribe(),
                    settings: self.settings.clone(),
                    signals: self.signals.clone(),
                    namespace,
                    name,
                };
                seat.scaled = Some(tokio::spawn(scaling.run()).abort_handle());
            }
            (Some(_), false) => {
                self.stop(key);
            }
            _ => {}
        }
    }

    fn enrol_all(&mut self) {
        let keys: Vec<_> = self.clusters.keys().cloned().collect();
        for key in &keys {
            self.enrol(key);
        }
    }

    fn stop(&mut self, key: &ClusterKey) {
        let scaled = self.clusters.get_mut(key).and_then(|seat| seat.scaled.take());
        if let Some(scaled) = scaled {
            scaled.abort();
            tracing::info!(namespace = key.0, cluster = key.1, "no longer looked after");
        }
    }

    fn forget(&mut self, key: &ClusterKey) {
        self.signals.fleet().see(key, None);
        self.stop(key);
        if let Some(seat) = self.clusters.get(key) {
            seat.view.send_modify(|view| view.cluster = None);
            self.drop_if_empty(key);
        }
    }

    fn forget_pod(&mut self, key: &(String, String)) {
        let Some(cluster) = self.pods.remove(key) else {
            return;
        };
        if let Some(seat) = self.clusters.get(&cluster) {
            seat.view.send_modify(|view| drop(view.pods.remove(&key.1)));
            self.drop_if_empty(&cluster);
        }
    }

    fn drop_if_empty(&mut self, key: &ClusterKey) {
        let empty = |seat: &Seat| {
            let view = seat.view.borrow();
            view.cluster.is_none() && view.pods.is_empty()
        };
        if self.clusters.get(key).is_some_and(empty) {
            self.clusters.remove(key);
        }
    }

    fn cluster_events(&self) -> BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>> {
        let (client, kind) = (self.client.clone(), ray_cluster());
        match &self.scope {
            Scope::Central { .. } => watcher(Api::all_with(client, &kind), watcher::Config::default())
                .backoff(Rest::default())
                .boxed(),
            Scope::Beside { namespace, name, .. } => {
                beside::cluster(Api::namespaced_with(client, namespace, &kind), name.clone()).boxed()
            }
        }
    }

    fn pod_api(&self) -> Api<KubernetesPod> {
        match &self.scope {
            Scope::Central { .. } => Api::all(self.client.clone()),
            Scope::Beside { namespace, .. } => Api::namespaced(self.client.clone(), namespace),
        }
    }

    /// Heads and workers; the Pods of KubeRay's clean-up Jobs carry the cluster's label too.
    fn pod_config(&self) -> watcher::Config {
        let nodes = format!(
            "{} in ({}, {})",
            keys::NODE_TYPE,
            keys::NODE_TYPE_HEAD,
            keys::NODE_TYPE_WORKER
        );
        match &self.scope {
            Scope::Central { .. } => watcher::Config::default().labels(&nodes),
            Scope::Beside { name, .. } => {
                watcher::Config::default().labels(&format!("{nodes}, {}={name}", keys::CLUSTER))
            }
        }
    }
}

fn key_of<T: ResourceExt>(object: &T) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Follows a watch through its lists: an object that a new list does not name went while nobody looked.
#[derive(Default)]
struct Listing {
    listed: BTreeSet<(String, String)>,
    /// A whole list has been seen.
    complete: bool,
}

enum Change<T> {
    Applied(T),
    Gone((String, String)),
    /// A list has come to its end; nothing else exists.
    Listed(BTreeSet<(String, String)>),
}

impl Listing {
    fn follow<T: ResourceExt>(
        &mut self,
        event: watcher::Result<watcher::Event<T>>,
        watched: &str,
    ) -> Option<Change<T>> {
        match event {
            Ok(watcher::Event::Init) => self.listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                self.listed.insert(key_of(&object));
                return Some(Change::Applied(object));
            }
            Ok(watcher::Event::InitDone) => {
                self.complete = true;
                return Some(Change::Listed(std::mem::take(&mut self.listed)));
            }
            Ok(watcher::Event::Apply(object)) => return Some(Change::Applied(object)),
            Ok(watcher::Event::Delete(object)) => return Some(Change::Gone(key_of(&object))),
            Err(error) => tracing::warn!(watched, error = %error, "watch broken, begun anew"),
        }
        None
    }
}
