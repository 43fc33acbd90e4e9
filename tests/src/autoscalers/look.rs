//! Seen from outside: what the API server stores of a cluster as time passes, what it writes down of its callers, and which processes there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::future::ready;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;
use testbed::Namespace;
use tokio::task::JoinHandle;

/// Watches a cluster until it is dropped.
pub(super) struct Looker {
    seen: Arc<Mutex<Seen>>,
    watching: JoinHandle<()>,
}

/// What was seen, and when it was news.
#[derive(Default)]
struct Seen {
    /// The `replicas` of all groups together, whenever they changed.
    replicas: Vec<(SystemTime, u64)>,
    /// Worker Pods, by when they were first seen.
    workers: BTreeMap<String, SystemTime>,
}

impl Looker {
    pub(super) fn start(namespace: &Namespace, cluster: &str) -> Self {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
        let client = namespace.client().clone();
        let clusters: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace.name(), &kind);
        let pods: Api<Pod> = Api::namespaced(client, namespace.name());
        let this = watcher::Config::default().fields(&format!("metadata.name={cluster}"));
        let workers = format!("ray.io/cluster={cluster},ray.io/node-type=worker");
        let workers = watcher::Config::default().labels(&workers);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let watching = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                // A watch that fails is made anew.
                let clusters = watcher(clusters, this).default_backoff().applied_objects();
                let clusters = clusters.for_each(|cluster| {
                    if let Ok(cluster) = cluster {
                        locked(&seen).cluster(&cluster.data);
                    }
                    ready(())
                });
                let pods = watcher(pods, workers).default_backoff().applied_objects();
                let pods = pods.for_each(|pod| {
                    if let Ok(pod) = pod {
                        locked(&seen).worker(pod.name_any());
                    }
                    ready(())
                });
                tokio::join!(clusters, pods);
            }
        });
        Self { seen, watching }
    }

    /// When `replicas` first rose above nothing after this.
    pub(super) fn grown_after(&self, when: SystemTime) -> Result<SystemTime> {
        let seen = locked(&self.seen);
        let grown = seen.replicas.iter().find(|(at, count)| *at >= when && *count > 0);
        grown.map(|(at, _)| *at).context("it never grew")
    }

    /// When `replicas` came back to nothing after this, if they are there now.
    pub(super) fn emptied_after(&self, when: SystemTime) -> Result<SystemTime> {
        let seen = locked(&self.seen);
        let (at, count) = *seen.replicas.last().context("nothing was seen yet")?;
        ensure!(count == 0, "there are {count} replicas");
        ensure!(at >= when, "it was empty before");
        Ok(at)
    }

    /// How many worker Pods came after this.
    pub(super) fn workers_since(&self, when: SystemTime) -> usize {
        let seen = locked(&self.seen);
        seen.workers.values().filter(|at| **at >= when).count()
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().expect("nobody panics with it")
}

impl Seen {
    fn cluster(&mut self, cluster: &Value) {
        let groups = cluster["spec"]["workerGroupSpecs"]
            .as_array()
            .into_iter()
            .flatten();
        let replicas = groups.filter_map(|group| group["replicas"].as_u64()).sum();
        if self.replicas.last().is_none_or(|(_, last)| *last != replicas) {
            self.replicas.push((SystemTime::now(), replicas));
        }
    }

    fn worker(&mut self, name: String) {
        self.workers.entry(name).or_insert_with(SystemTime::now);
    }
}

/// How many requests of a user the API server has answered since then. One that watches counts when it begins.
pub(super) fn requests(log: &Path, user: &str, since: SystemTime) -> Result<usize> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let since = Timestamp::try_from(since)?;
    let mut count = 0;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).context("read a line of the audit log")?;
        if event["user"]["username"] != user {
            continue;
        }
        let at = event["requestReceivedTimestamp"].as_str().context("a time")?;
        let at: Timestamp = at.parse().context("read a time of the audit log")?;
        let ends_a_watch = event["verb"] == "watch" && event["stage"] == "ResponseComplete";
        count += usize::from(at >= since && !ends_a_watch);
    }
    Ok(count)
}

/// The processes whose command line has all of these words in it.
pub(super) fn processes(words: &[&str]) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may just have ended.
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if words.iter().all(|word| command.contains(word)) {
            found.push(pid);
        }
    }
    if found.len() > 4 {
        bail!("{found:?} are too many processes for {words:?}");
    }
    Ok(found)
}
