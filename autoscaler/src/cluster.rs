//! What scaling looks at of a RayCluster and of its Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use kube::ResourceExt;
use kube::api::DynamicObject;
use ray::autoscaler_mode::AutoscalerMode;
use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::{Kind, Metadata, Object, Spec};
use serde_json::Value;

use crate::adoption::Sidecar;
use crate::condition;
use crate::credentials::Access;
use crate::waiting::{Reason, Waiting, waiting};

/// A RayCluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) metadata: Metadata,
    pub(crate) spec: ClusterSpec,
    /// Why its description cannot be trusted, if so.
    pub(crate) problem: Option<String>,
    /// What keeps the operator from making its workers' Pods, as the operator says in a condition.
    pub(crate) refusal: Option<Waiting>,
    /// Whether its head answers, as our own condition says. One that has always answered has none.
    pub(crate) head_answers: Option<bool>,
    /// Why it is only shadowed, as our own condition says.
    pub(crate) only_shadowed: Option<String>,
    /// Who wants to clean up before it goes.
    pub(crate) finalizers: Vec<String>,
}

/// A Pod of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) is_head: bool,
    /// The autoscaler beside Ray, in a head.
    pub(crate) sidecar: Option<Sidecar>,
    /// What a head wants to see of those who call it.
    pub(crate) access: Access,
    pub(crate) group: String,
    /// The slice that it is a host of, where a replica has several.
    pub(crate) slice: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) stage: Stage,
    /// When it was made; of two heads the younger one counts.
    pub(crate) created: Option<Timestamp>,
    /// When its Ray container came to run, at the first attempt.
    pub(crate) started: Option<Timestamp>,
    /// Why Ray does not run in it.
    pub(crate) waiting: Option<Waiting>,
}

/// How far a Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// Its containers have ended for good; the operator will replace it.
    Finished,
    /// Being deleted.
    Terminating,
}

/// A cluster with its Pods, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) pods: BTreeMap<String, Arc<Pod>>,
}

impl Cluster {
    /// Reads a RayCluster as the API server serves it.
    pub(crate) fn read(object: &DynamicObject) -> Option<Self> {
        let value = serde_json::to_value(object).ok()?;
        let (object, problems) = Object::read(Kind::Cluster, &value);
        let Spec::Cluster(spec) = object.spec else {
            return None;
        };
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        Some(Self {
            problem,
            refusal: refusal(&value),
            head_answers: condition::head_answers(&value),
            only_shadowed: condition::only_shadowed(&value),
            finalizers: serde_json::from_value(value["metadata"]["finalizers"].clone()).unwrap_or_default(),
            ..Self::written(object.metadata, spec)
        })
    }

    /// One of which nothing is known but what its author wrote.
    pub(crate) fn written(metadata: Metadata, spec: ClusterSpec) -> Self {
        Self {
            metadata,
            spec,
            problem: None,
            refusal: None,
            head_answers: None,
            only_shadowed: None,
            finalizers: Vec::new(),
        }
    }

    /// Whether it wants to be scaled at all, now.
    pub(crate) fn is_autoscaled(&self) -> bool {
        let managed_by = self.spec.managed_by.as_deref();
        self.spec.is_autoscaled()
            && self.spec.suspend != Some(true)
            && self.spec.idle_suspend != Some(true)
            && self.metadata.deletion_timestamp.is_none()
            && managed_by.is_none_or(|name| name.is_empty() || name == keys::MANAGED_BY_KUBERAY)
    }

    /// It says something of us.
    pub(crate) fn has_our_conditions(&self) -> bool {
        self.head_answers.is_some() || self.only_shadowed.is_some()
    }

    /// Who is to scale it, if it says so in words that we know.
    pub(crate) fn mode(&self) -> Option<AutoscalerMode> {
        let annotation = self.metadata.annotations.get(keys::AUTOSCALER)?;
        annotation.parse().ok()
    }
}

impl Pod {
    /// Reads a Pod of a cluster; tells the cluster's name with it.
    pub(crate) fn read(pod: &KubernetesPod) -> Option<(String, Self)> {
        let labels = pod.labels();
        let cluster = labels.get(keys::CLUSTER)?.clone();
        let status = pod.status.as_ref();
        let read = Self {
            name: pod.name_any(),
            is_head: labels.get(keys::NODE_TYPE)? == keys::NODE_TYPE_HEAD,
            sidecar: Sidecar::of(pod),
            access: Access::of(pod),
            group: labels.get(keys::GROUP)?.clone(),
            slice: labels.get(keys::REPLICA_NAME).cloned(),
            ip: status.and_then(|status| status.pod_ip.as_deref()?.parse().ok()),
            stage: Stage::of(pod),
            created: pod.creation_timestamp().map(|time| time.0),
            started: started(pod),
            waiting: waiting(pod),
        };
        Some((cluster, read))
    }
}

impl Stage {
    fn of(pod: &KubernetesPod) -> Self {
        if pod.metadata.deletion_timestamp.is_some() {
            return Self::Terminating;
        }
        match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
            Some("Failed" | "Succeeded") => Self::Finished,
            Some("Running") if ray_container_ended(pod) => Self::Finished,
            Some("Running") => Self::Running,
            _ => Self::Pending,
        }
    }
}

/// The operator replaces a Pod whose Ray container has ended and is not to be restarted (KubeRay `shouldDeletePod`).
fn ray_container_ended(pod: &KubernetesPod) -> bool {
    let never = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never"));
    let first = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first())
        .map(|container| &container.name);
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut ended = statuses.filter(|status| Some(&status.name) == first);
    never
        && ended.any(|status| {
            status
                .state
                .as_ref()
                .is_some_and(|state| state.terminated.is_some())
        })
}

fn started(pod: &KubernetesPod) -> Option<Timestamp> {
    let ray = &pod.spec.as_ref()?.containers.first()?.name;
    let mut statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    let status = statuses.find(|status| &status.name == ray && status.restart_count == 0)?;
    let running = status.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

/// The operator's word that it failed to make a worker's Pod. It takes the condition away as soon as all goes well.
fn refusal(cluster: &Value) -> Option<Waiting> {
    let mut conditions = cluster["status"]["conditions"].as_array()?.iter();
    let condition = conditions.find(|condition| {
        condition["type"] == "ReplicaFailure"
            && condition["status"] == "True"
            && condition["reason"] == "FailedCreateWorkerPod"
    })?;
    Some(Waiting {
        reason: Reason::NotCreated,
        since: condition["lastTransitionTime"].as_str()?.parse().ok(),
        message: condition["message"].as_str()?.replace('\n', ": "),
    })
}

impl View {
    /// The head that runs, the youngest if there are several.
    pub(crate) fn head(&self) -> Option<&Pod> {
        let heads = self
            .pods
            .values()
            .filter(|pod| pod.is_head && pod.stage == Stage::Running && pod.ip.is_some());
        heads.max_by_key(|pod| &pod.created).map(AsRef::as_ref)
    }
}
