//! The API server, KubeRay's operator and a kubelet, as far as an autoscaler can tell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::{Patch, PatchError};
use ray::cluster::{NodeGroup, WorkerGroup};
use ray::keys;
use ray::path::Pointer;
use ray::resources::{Resources, node_resources};
use serde_json::Value;

use super::head::Head;
use crate::adoption::Sidecar;
use crate::cluster::{Cluster, Pod, Stage, View};
use crate::credentials::Access;
use crate::observe::labels;
use crate::simulate::{Misfit, read_cluster};
use crate::waiting::{Reason, Waiting};

/// The head's Pod.
pub(super) const HEAD: &str = "head";
/// A Pod that is deleted is gone after that.
const STOP_MILLISECONDS: u64 = 2_000;
/// A new head's Pod runs after that.
const HEAD_START_MILLISECONDS: u64 = 5_000;
/// From a running Pod to a node that Ray knows.
const JOIN_MILLISECONDS: u64 = 1_000;

/// One RayCluster and its Pods.
#[derive(Debug)]
pub(super) struct Kubernetes {
    object: Value,
    version: u64,
    /// As it was read when it changed last.
    cluster: Arc<Cluster>,
    pods: BTreeMap<String, SimulatedPod>,
    made: u64,
    fresh: BTreeMap<String, Fresh>,
    /// How many heads there have been before this one.
    heads: u8,
    /// What the next head is made with.
    next_sidecar: Option<Sidecar>,
}

/// What a new node of a group has.
#[derive(Debug)]
struct Fresh {
    resources: Resources,
    labels: BTreeMap<String, String>,
}

#[derive(Debug)]
struct SimulatedPod {
    group: String,
    slice: Option<String>,
    made: u64,
    runs_at: u64,
    /// Until it runs, there is no room for it.
    unschedulable: bool,
    /// Its containers have ended for good.
    failed: bool,
    gone_at: Option<u64>,
    /// The autoscaler beside Ray, in a head.
    sidecar: Option<Sidecar>,
}

/// How it goes with a new Pod.
pub(super) struct Start {
    pub(super) milliseconds: u64,
    pub(super) unschedulable: bool,
}

impl Kubernetes {
    /// A cluster of which there is the head so far.
    pub(super) fn new(object: &Value) -> Result<Self, Misfit> {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = "0".into();
        let cluster = read(&object)?;
        let fresh = |group: &dyn NodeGroup, name: &str| Fresh {
            resources: node_resources(group).unwrap_or_default(),
            labels: labels(group, name),
        };
        let groups = cluster.spec.worker_groups.iter();
        let mut fresh_nodes: BTreeMap<String, Fresh> = groups
            .map(|group| (group.name.clone(), fresh(group, &group.name)))
            .collect();
        let head = fresh(&cluster.spec.head, keys::HEAD_GROUP);
        fresh_nodes.insert(keys::HEAD_GROUP.to_owned(), head);
        let head = SimulatedPod::head(0, 0, None);
        Ok(Self {
            object,
            version: 0,
            cluster: Arc::new(cluster),
            pods: [(HEAD.to_owned(), head)].into(),
            made: 0,
            fresh: fresh_nodes,
            heads: 0,
            next_sidecar: None,
        })
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Carries a patch out, if all that it tests is so.
    pub(super) fn patch(&mut self, patch: &Patch) -> Result<(), PatchError> {
        let mut object = self.object.clone();
        json_patch::patch(&mut object, patch)?;
        self.write(object);
        Ok(())
    }

    /// Somebody else writes the RayCluster.
    pub(super) fn touch(&mut self, change: impl FnOnce(&mut Value)) {
        let mut object = self.object.clone();
        change(&mut object);
        self.write(object);
    }

    fn write(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.cluster = Arc::new(read(&object).expect("whoever writes leaves it readable"));
        self.object = object;
    }

    /// How many Pods of each group there are, in the order of the RayCluster; those that are being deleted aside.
    pub(super) fn counts(&self) -> Vec<u64> {
        let groups = self.cluster.spec.worker_groups.iter();
        groups.map(|group| self.of(group).count() as u64).collect()
    }

    /// Workers whose containers run or will.
    pub(super) fn workers(&self) -> Vec<String> {
        let there = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.gone_at.is_none() && !pod.failed);
        there
            .filter(|(name, _)| *name != HEAD)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Workers of a group that live and that nobody has listed for deletion.
    #[cfg(test)]
    pub(super) fn staying(&self, group: &WorkerGroup, head: &Head) -> u64 {
        let listed = |name: &String| group.workers_to_delete.contains(name);
        let staying = self
            .of(group)
            .filter(|(name, _)| !listed(name) && head.stays(name));
        staying.count() as u64
    }

    fn of<'a>(&'a self, group: &'a WorkerGroup) -> impl Iterator<Item = (&'a String, &'a SimulatedPod)> {
        let there = self.pods.iter().filter(|(_, pod)| pod.gone_at.is_none());
        there.filter(|(_, pod)| pod.group == group.name)
    }

    /// What a watch shows.
    pub(super) fn view(&self, now: u64, head_is_up: bool) -> View {
        let pod = |(name, pod): (&String, &SimulatedPod)| {
            let is_head = name == HEAD;
            let stage = if pod.gone_at.is_some() {
                Stage::Terminating
            } else if pod.failed {
                Stage::Finished
            } else if pod.runs_at <= now && (!is_head || head_is_up) {
                Stage::Running
            } else {
                Stage::Pending
            };
            let seen = Pod {
                name: name.clone(),
                is_head,
                group: pod.group.clone(),
                slice: pod.slice.clone(),
                ip: is_head.then_some(self.head_address()),
                stage,
                created: Some(time(pod.made)),
                started: (pod.runs_at <= now).then(|| time(pod.runs_at)),
                waiting: (pod.unschedulable && now < pod.runs_at).then(|| Waiting {
                    reason: Reason::Unschedulable,
                    since: Some(time(pod.made)),
                    message: "no node has room".to_owned(),
                }),
                sidecar: pod.sidecar,
                access: Access::default(),
            };
            (name.clone(), Arc::new(seen))
        };
        View {
            cluster: Some(Arc::clone(&self.cluster)),
            pods: self.pods.iter().map(pod).collect(),
        }
    }

    /// A moment passes: containers start, Pods that were deleted are gone.
    pub(super) fn step(&mut self, head: &mut Head, now: u64) {
        self.pods.retain(|name, pod| {
            let gone = pod.gone_at.is_some_and(|at| at <= now);
            if gone {
                head.forget(name, now);
            }
            !gone
        });
        for (name, pod) in &self.pods {
            let runs = pod.gone_at.is_none() && !pod.failed && pod.runs_at + JOIN_MILLISECONDS <= now;
            if let Some(fresh) = self.fresh.get(&pod.group)
                && runs
                && head.wants(name, now)
            {
                head.join(name, &pod.group, &fresh.resources, &fresh.labels, now);
            }
        }
    }

    /// The containers of a Pod end for good.
    pub(super) fn fail(&mut self, name: &str, head: &mut Head, now: u64) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.failed = true;
            head.kill(name, now);
        }
    }

    /// Somebody deletes the head's Pod. The next one is made with this beside Ray.
    #[cfg(test)]
    pub(super) fn delete_head(&mut self, next_sidecar: Option<Sidecar>, head: &mut Head, now: u64) {
        self.next_sidecar = next_sidecar;
        if let Some(pod) = self.pods.get_mut(HEAD) {
            pod.gone_at.get_or_insert(now + STOP_MILLISECONDS);
            head.restart(now, u64::MAX - now);
        }
    }

    /// The autoscaler in the head's Pod, as long as that is there.
    #[cfg(test)]
    pub(super) fn sidecar(&self) -> Option<Sidecar> {
        self.pods.get(HEAD)?.sidecar
    }

    /// Where the head that there is listens, or the last one did.
    pub(super) fn head_address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, self.heads.saturating_add(1)))
    }

    /// The operator writes into the status which Pods there are, and in how many Ray runs. So a patch that is under way while a node comes back is refused.
    #[cfg(test)]
    pub(super) fn tell_status(&mut self, head: &Head, now: u64) {
        let is_ready = |name: &&String| head.runs_in(name, now);
        let status = serde_json::json!({
            "readyWorkerReplicas": self.pods.keys().filter(is_ready).count(),
            "head": { "podIP": self.pods.get(HEAD).map(|_| self.head_address()) },
            "pods": self.pods.len(),
        });
        if self.object["status"] != status {
            self.touch(|object| object["status"] = status);
        }
    }

    /// The operator makes it so, group by group. A group of which a Pod is still going waits.
    pub(super) fn reconcile(&mut self, head: &mut Head, now: u64, mut start: impl FnMut() -> Start) {
        if !self.pods.contains_key(HEAD) {
            self.heads += 1;
            let runs_at = now + HEAD_START_MILLISECONDS;
            self.pods.insert(
                HEAD.to_owned(),
                SimulatedPod::head(now, runs_at, self.next_sidecar),
            );
            head.restart(now, HEAD_START_MILLISECONDS);
        }
        let cluster = Arc::clone(&self.cluster);
        for group in &cluster.spec.worker_groups {
            let going = self
                .pods
                .values()
                .any(|pod| pod.group == group.name && pod.gone_at.is_some());
            if going {
                continue;
            }
            let hosts = u64::try_from(group.hosts()).unwrap_or(1).max(1);
            let unwanted: Vec<String> = self
                .of(group)
                .filter(|(name, pod)| pod.failed || group.workers_to_delete.contains(name))
                .map(|(name, _)| name.clone())
                .collect();
            let failed = unwanted.iter().any(|name| self.pods[name].failed);
            let slices: Vec<Option<String>> = unwanted
                .iter()
                .map(|name| self.pods[name].slice.clone())
                .collect();
            let with_slices = self.of(group).filter(|(name, pod)| {
                unwanted.contains(name) || (pod.slice.is_some() && slices.contains(&pod.slice))
            });
            let unwanted: Vec<String> = with_slices.map(|(name, _)| name.clone()).collect();
            for name in &unwanted {
                self.delete(name, head, now);
            }
            if failed || (hosts > 1 && !unwanted.is_empty()) {
                continue;
            }
            let desired = u64::try_from(group.desired_replicas()).unwrap_or(0);
            for _ in self.of(group).count() as u64 / hosts..desired {
                self.make(group, hosts, now, &mut start);
            }
        }
    }

    fn make(&mut self, group: &WorkerGroup, hosts: u64, now: u64, start: &mut impl FnMut() -> Start) {
        self.made += 1;
        let slice = (hosts > 1).then(|| format!("{}-{}", group.name, self.made));
        for host in 0..hosts {
            let start = start();
            let pod = SimulatedPod {
                group: group.name.clone(),
                slice: slice.clone(),
                made: now,
                runs_at: now + start.milliseconds,
                unschedulable: start.unschedulable,
                failed: false,
                gone_at: None,
                sidecar: None,
            };
            self.pods
                .insert(format!("{}-{:05}-{host}", group.name, self.made), pod);
        }
    }

    fn delete(&mut self, name: &str, head: &mut Head, now: u64) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.gone_at = Some(now + STOP_MILLISECONDS);
            head.kill(name, now);
        }
    }

    /// Somebody sets a field of a group.
    pub(super) fn set(&mut self, group: usize, field: &str, value: impl Into<Value>) {
        let value = value.into();
        self.touch(|object| object["spec"]["workerGroupSpecs"][group][field] = value);
    }
}

impl SimulatedPod {
    fn head(made: u64, runs_at: u64, sidecar: Option<Sidecar>) -> Self {
        Self {
            group: keys::HEAD_GROUP.to_owned(),
            slice: None,
            made,
            runs_at,
            unschedulable: false,
            failed: false,
            gone_at: None,
            sidecar,
        }
    }
}

fn read(object: &Value) -> Result<Cluster, Misfit> {
    read_cluster(object, &Pointer::root().key("rayCluster"))
}

/// Simulated time as a date.
pub(super) fn time(milliseconds: u64) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(milliseconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}
