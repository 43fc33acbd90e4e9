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
    pub submitter_pod_template: Option<Box<PodTemplateSpec>>,
    /// How often the pod that submits it is tried again.
    pub submitter_backoff_limit: Option<i32>,
    /// Whether something was said about how it is submitted, even nothing in particular.
    pub has_submitter_config: bool,
    /// What is told about the job besides, for people.
    pub metadata: BTreeMap<String, String>,
    /// Its id in Ray, where that is not to be made up.
    pub job_id: Option<String>,
    /// What goes when it ends, instead of `shutdown_after_job_finishes`.
    pub deletion_strategy: Option<DeletionStrategy>,
    /// What goes when it ends, whichever way, as KubeRay 1.4 has it.
    pub deletion_policy: Option<String>,
    /// The cluster to make for it.
    pub cluster: Option<ClusterSpec>,
    /// The cluster to find for it. Empty where none is to be found.
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

/// What goes when a job ends.
#[derive(Clone, Debug)]
pub struct DeletionStrategy {
    /// Where it stands.
    pub path: Pointer,
    /// What goes when it succeeds, the older way.
    pub on_success: Option<DeletionPolicy>,
    /// What goes when it fails, the older way.
    pub on_failure: Option<DeletionPolicy>,
    /// What goes when, the newer way.
    pub rules: Vec<DeletionRule>,
}

/// What goes, the older way.
#[derive(Clone, Debug)]
pub struct DeletionPolicy {
    /// Where it stands.
    pub path: Pointer,
    /// `DeleteCluster`, `DeleteWorkers`, `DeleteSelf` or `DeleteNone`.
    pub policy: Option<String>,
}

/// What goes, and when.
#[derive(Clone, Debug)]
pub struct DeletionRule {
    /// Where it stands.
    pub path: Pointer,
    /// `DeleteCluster`, `DeleteWorkers`, `DeleteSelf` or `DeleteNone`.
    pub policy: Option<String>,
    /// The job has become `SUCCEEDED` or `FAILED`,
    pub job_status: Option<String>,
    /// or its deployment `Failed`,
    pub job_deployment_status: Option<String>,
    /// for so many seconds.
    pub ttl_seconds: Option<i32>,
}

impl JobSpec {
    /// Whether it runs in a cluster that is there already.
    pub fn selects_a_cluster(&self) -> bool {
        !self.cluster_selector.is_empty()
    }

    /// Whether its cluster goes when it ends.
    pub fn shuts_down(&self) -> bool {
        self.shutdown_after_job_finishes == Some(true)
    }

    pub(crate) fn read(place: &Place<'_>) -> Self {
        let submitter = place.object("submitterConfig");
        let job = Self {
            path: place.path.clone(),
            entrypoint: place.text("entrypoint"),
            entrypoint_resources: place.text("entrypointResources"),
            runtime_env_yaml: place.text("runtimeEnvYAML"),
            submission_mode: place.text("submissionMode"),
            submitter_pod_template: place
                .has("submitterPodTemplate")
                .then(|| place.typed("submitterPodTemplate")),
            submitter_backoff_limit: submitter.int("backoffLimit"),
            has_submitter_config: place.has("submitterConfig"),
            metadata: place.text_map("metadata"),
            job_id: place.text("jobId"),
            deletion_strategy: place.optional("deletionStrategy", DeletionStrategy::read),
            deletion_policy: place.text("deletionPolicy"),
            cluster: place.optional("rayClusterSpec", ClusterSpec::read),
            cluster_selector: place.text_map("clusterSelector"),
            shutdown_after_job_finishes: place.flag("shutdownAfterJobFinishes"),
            ttl_seconds_after_finished: place.int("ttlSecondsAfterFinished"),
            active_deadline_seconds: place.int("activeDeadlineSeconds"),
            pre_running_deadline_seconds: place.int("preRunningDeadlineSeconds"),
            backoff_limit: place.int("backoffLimit"),
            suspend: place.flag("suspend"),
            managed_by: place.text("managedBy"),
        };
        let _ = (
            place.number("entrypointNumCpus"),
            place.number("entrypointNumGpus"),
        );
        submitter.no_other_fields();
        place.no_other_fields();
        job
    }
}

impl DeletionStrategy {
    fn read(place: &Place<'_>) -> Self {
        let strategy = Self {
            path: place.path.clone(),
            on_success: place.optional("onSuccess", DeletionPolicy::read),
            on_failure: place.optional("onFailure", DeletionPolicy::read),
            rules: place
                .objects("deletionRules")
                .map(|rule| DeletionRule::read(&rule))
                .collect(),
        };
        place.no_other_fields();
        strategy
    }
}

impl DeletionPolicy {
    fn read(place: &Place<'_>) -> Self {
        Self {
            path: place.path.clone(),
            policy: place.only_text("policy"),
        }
    }
}

impl DeletionRule {
    fn read(place: &Place<'_>) -> Self {
        let condition = place.object("condition");
        let rule = Self {
            path: place.path.clone(),
            policy: place.text("policy"),
            job_status: condition.text("jobStatus"),
            job_deployment_status: condition.text("jobDeploymentStatus"),
            ttl_seconds: condition.int("ttlSeconds"),
        };
        condition.no_other_fields();
        place.no_other_fields();
        rule
    }
}
