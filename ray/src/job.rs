//! A `RayJob`: an entry point, and the cluster it runs in, made for it or there already.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::cluster::ClusterSpec;
use crate::path::Pointer;
use crate::read::Place;

/// What a `RayJob` asks for; also the template in a `RayCronJob`.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Where it stands in its object.
    pub path: Pointer,
    /// The command that the job is.
    pub entrypoint: Option<String>,
    /// Custom resources of the entry point, a JSON text.
    pub entrypoint_resources: Option<String>,
    /// Its runtime environment, a YAML text.
    pub runtime_env_yaml: Option<String>,
    /// How it is submitted: `K8sJobMode`, `HTTPMode`, `InteractiveMode` or `SidecarMode`.
    pub submission_mode: Option<String>,
    /// The pod that submits it.
    pub submitter_pod_template: Option<PodTemplateSpec>,
    /// The cluster to make for it.
    pub cluster: Option<ClusterSpec>,
    /// The cluster to find for it.
    pub cluster_selector: BTreeMap<String, String>,
    /// Whether its cluster goes when it ends.
    pub shutdown_after_job_finishes: Option<bool>,
    /// How long its cluster stays after that.
    pub ttl_seconds_after_finished: Option<i32>,
    /// How long it may take.
    pub active_deadline_seconds: Option<i32>,
    /// How long it may take to start.
    pub pre_running_deadline_seconds: Option<i32>,
    /// How often a failed one is tried again.
    pub backoff_limit: Option<i32>,
    /// Whether it should wait without a cluster.
    pub suspend: Option<bool>,
    /// Who reconciles it, if not KubeRay's operator.
    pub managed_by: Option<String>,
}

impl JobSpec {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        Self {
            path: place.path.clone(),
            entrypoint: place.text("entrypoint"),
            entrypoint_resources: place.text("entrypointResources"),
            runtime_env_yaml: place.text("runtimeEnvYAML"),
            submission_mode: place.text("submissionMode"),
            submitter_pod_template: place
                .has("submitterPodTemplate")
                .then(|| place.typed("submitterPodTemplate")),
            cluster: place
                .has("rayClusterSpec")
                .then(|| ClusterSpec::read(&place.object("rayClusterSpec"))),
            cluster_selector: place.text_map("clusterSelector"),
            shutdown_after_job_finishes: place.flag("shutdownAfterJobFinishes"),
            ttl_seconds_after_finished: place.int("ttlSecondsAfterFinished"),
            active_deadline_seconds: place.int("activeDeadlineSeconds"),
            pre_running_deadline_seconds: place.int("preRunningDeadlineSeconds"),
            backoff_limit: place.int("backoffLimit"),
            suspend: place.flag("suspend"),
            managed_by: place.text("managedBy"),
        }
    }
}
