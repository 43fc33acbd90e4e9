//! Writes what policies are told, when it changes. A policy may be about clusters that several replicas look after: each replica writes the rows of
//! its own and keeps those of the others, upon the version of the policy that it has seen.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Event, Recorder};
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use ray::scaling_policy::status::{GroupStatus, Status};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::fleet::{ClusterKey, Fleet};
use super::policies::{Policies, PolicyKey, ScalingPolicy, resource};
use super::status::{Told, news, status};
use crate::NAME;
use crate::ownership::Ownership;

/// A status need not be newer than people look.
const WRITE_PERIOD: Duration = Duration::from_secs(2);
/// A thousand policies should not wait for each other.
const WRITES_AT_ONCE: usize = 8;
/// How many are written before reports are taken again.
const WRITES_MAX: usize = 256;
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// All that is to be told.
pub(super) struct Statuses {
    client: Client,
    recorder: Recorder,
    ownership: Ownership,
    fleet: Fleet,
    interval: Interval,
    /// The last looks at clusters that are or were ours.
    looks: BTreeMap<ClusterKey, Told>,
    changed: BTreeSet<PolicyKey>,
    /// Where in the list of policies to begin, when there were too many for one round.
    next: usize,
    /// Versions of policies whose status is as it should be: the one that was seen, and the one that came of writing.
    settled: BTreeMap<PolicyKey, [Option<String>; 2]>,
}

impl Statuses {
    pub(super) fn new(client: Client, ownership: Ownership, fleet: Fleet) -> Self {
        let mut interval = tokio::time::interval(WRITE_PERIOD);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            recorder: Recorder::new(client.clone(), NAME),
            client,
            ownership,
            fleet,
            interval,
            looks: BTreeMap::new(),
            changed: BTreeSet::new(),
            next: 0,
            settled: BTreeMap::new(),
        }
    }

    /// Takes what is reported, and writes it down when it is time to; for ever.
    pub(super) async fn keep(
        mut self,
        policies: watch::Receiver<Arc<Policies>>,
        stored: Store<DynamicObject>,
        mut reported: mpsc::UnboundedReceiver<Told>,
    ) {
        loop {
            tokio::select! {
                Some(told) = reported.recv() => self.take(told),
                _ = self.interval.tick() => {
                    while let Ok(told) = reported.try_recv() {
                        self.take(told);
                    }
                    let policies = policies.borrow().clone();
                    self.write(&policies.all, &stored).await;
                }
            }
        }
    }

    fn take(&mut self, told: Told) {
        let before = self.looks.get(&told.cluster);
        self.changed.extend(told.changes(before));
        self.looks.insert(told.cluster.clone(), told);
    }

    /// Writes what is not as it should be.
    async fn write(&mut self, policies: &[Arc<ScalingPolicy>], stored: &Store<DynamicObject>) {
        if !self.fleet.is_complete() {
            return;
        }
        let moved = self.fleet.changed();
        let moved = policies.iter().filter(|policy| moved.contains(&policy.key.0));
        self.changed.extend(moved.map(|policy| policy.key.clone()));
        let fleet = &self.fleet;
        self.looks.retain(|cluster, _| fleet.has(cluster));
        let now = Timestamp::now();
        let mut unwritten = Vec::new();
        let begin = std::mem::take(&mut self.next).min(policies.len());
        let (before, after) = policies.split_at(begin);
        for (passed, policy) in after.iter().chain(before).enumerate() {
            if unwritten.len() == WRITES_MAX {
                self.next = (begin + passed) % policies.len();
                self.interval.reset_immediately();
                break;
            }
            let (namespace, name) = &policy.key;
            let Some(object) = stored.get(&ObjectRef::new_with(name, resource()).within(namespace)) else {
                continue;
            };
            let version = &object.metadata.resource_version;
            let settled = self.settled.get(&policy.key);
            // A mode may end by the clock.
            let in_mode = object.data["status"]["mode"] == policy.mode(now).name();
            let is_settled = in_mode && settled.is_some_and(|versions| versions.contains(version));
            if is_settled && !self.changed.contains(&policy.key) {
                continue;
            }
            let written = &object.data["status"];
            match self.wanted(policy, written) {
                None => drop(self.settled.remove(&policy.key)),
                Some((wanted, _)) if json!(wanted) == *written => self.settle(&policy.key, [version; 2]),
                Some((wanted, news)) => unwritten.push((policy, object, wanted, news)),
            }
        }
        let this = &*self;
        let writing = unwritten.into_iter().map(async |(policy, object, wanted, news)| {
            let after = this.apply(policy, &object, &wanted).await;
            if after.is_ok() {
                this.announce(&object, news).await;
            }
            (policy, object, after)
        });
        let writing = stream::iter(writing.collect::<Vec<_>>());
        let written: Vec<_> = writing.buffer_unordered(WRITES_AT_ONCE).collect().await;
        for (policy, object, after) in written {
            match after {
                Ok(after) => self.settle(&policy.key, [&object.metadata.resource_version, &after]),
                Err(Again) => drop(self.settled.remove(&policy.key)),
            }
        }
        let there: BTreeSet<_> = policies.iter().map(|policy| &policy.key).collect();
        self.changed.retain(|key| there.contains(key));
        self.settled.retain(|key, _| there.contains(key));
    }

    fn settle(&mut self, policy: &PolicyKey, versions: [&Option<String>; 2]) {
        self.changed.remove(policy);
        self.settled.insert(policy.clone(), versions.map(Clone::clone));
    }

    /// The status that a policy should have, and what is news in it; nothing while there is nothing to say.
    fn wanted(&self, policy: &ScalingPolicy, written: &Value) -> Option<(Status, Vec<String>)> {
        let clusters = self.fleet.of(policy);
        let before: Vec<GroupStatus> = serde_json::from_value(written["groups"].clone()).unwrap_or_default();
        let (mut rows, mut all_news) = (Vec::new(), Vec::new());
        let mut looked = clusters.is_empty();
        for cluster in &clusters {
            let before: Vec<_> = before.iter().filter(|row| row.cluster == cluster.1).collect();
            let ours = self.looks.get(cluster).filter(|told| {
                told.at > policy.read_at && self.ownership.holds(&cluster.0, &cluster.1, Instant::now())
            });
            let Some(told) = ours else {
                rows.extend(before.into_iter().cloned());
                continue;
            };
            looked = true;
            let now = told.rows(&policy.key);
            all_news.extend(news(&before, now.clone()));
            rows.extend(now.map(|told| told.status.clone()));
        }
        if rows.is_empty() && !looked && policy.problems.is_empty() && written.is_null() {
            return None;
        }
        let status = status(policy, &clusters, rows, written, Timestamp::now());
        Some((status, all_news))
    }

    async fn apply(
        &self,
        policy: &ScalingPolicy,
        object: &DynamicObject,
        status: &Status,
    ) -> Result<Option<String>, Again> {
        let (namespace, name) = &policy.key;
        let resource = resource();
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let patch = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"resourceVersion": object.metadata.resource_version},
            "status": status,
        });
        let (parameters, patch) = (PatchParams::apply(NAME).force(), Patch::Apply(patch));
        let written = tokio::time::timeout(WRITE_DEADLINE, api.patch_status(name, &parameters, &patch)).await;
        match written {
            Ok(Ok(written)) => Ok(written.metadata.resource_version),
            // It is gone, and with it whoever would read its status.
            Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => Ok(None),
            // Somebody else wrote meanwhile.
            Ok(Err(kube::Error::Api(answer))) if answer.code == 409 => Err(Again),
            Ok(Err(error)) => {
                tracing::warn!(namespace, policy = name, error = %error, "the status of a policy was not written");
                Err(Again)
            }
            Err(_) => {
                tracing::warn!(
                    namespace,
                    policy = name,
                    "the status of a policy was not written in time"
                );
                Err(Again)
            }
        }
    }

    /// Says on the policy what decides now.
    async fn announce(&self, object: &DynamicObject, news: Vec<String>) {
        let regarding: ObjectReference = object.object_ref(&resource());
        for note in news {
            let event = Event::normal("Decide", "LimitedBy", note);
            self.recorder.publish(&regarding, event).await;
        }
    }
}

/// The next round tries again.
struct Again;
