//! A job, or the template of one: where it runs, how long it may take, and how often it is tried. How it is submitted stands in
//! `submission`, what goes when it ends in `deletion`. The rules for its cluster are those of any cluster, at the template's place.

use ray::job::JobSpec;
use ray::object::Kind;
use ray::path::Pointer;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// What comes of a job that KubeRay refuses.
pub(crate) const WHY_REFUSED: &str = "KubeRay marks the job ValidationFailed, and no change of it helps any more: it must be deleted \
    and made again. Of a RayCronJob with such a template no jobs are made.";
const WHY_NO_TOKENS: &str = "What submits a job cannot prove who it is to such a cluster, so KubeRay marks the job ValidationFailed \
    for good.";
/// In a cluster selector, the name of the cluster.
const SELECTED_CLUSTER: &str = "ray.io/cluster";

/// What describes a job.
pub(crate) const JOBS: &[Kind] = &[Kind::Job, Kind::CronJob];

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-J001",
        summary: "a job is suspended without shutdownAfterJobFinishes",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/suspend: true",
            passes: "{/spec/suspend: true, /spec/shutdownAfterJobFinishes: true}",
        },
        check: Check::Job(suspended_jobs_shut_down),
    },
    Rule {
        code: "RW-J002",
        summary: "ttlSecondsAfterFinished is negative",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/ttlSecondsAfterFinished: -1, /spec/shutdownAfterJobFinishes: true}",
            passes: "{/spec/ttlSecondsAfterFinished: 0, /spec/shutdownAfterJobFinishes: true}",
        },
        check: Check::Job(ttl_is_not_negative),
    },
    Rule {
        code: "RW-J003",
        summary: "ttlSecondsAfterFinished is set without shutdownAfterJobFinishes",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/ttlSecondsAfterFinished: 60",
            passes: "{/spec/ttlSecondsAfterFinished: 60, /spec/shutdownAfterJobFinishes: true}",
        },
        check: Check::Job(ttl_has_a_shutdown),
    },
    Rule {
        code: "RW-J021",
        summary: "a job with a clusterSelector is suspended",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/suspend: true, /spec/shutdownAfterJobFinishes: true}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/shutdownAfterJobFinishes: true}",
        },
        check: Check::Job(selected_clusters_are_not_suspended),
    },
    Rule {
        code: "RW-J022",
        summary: "a job has neither a rayClusterSpec nor a clusterSelector",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/rayClusterSpec: null",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}}",
        },
        check: Check::Job(has_a_cluster),
    },
    Rule {
        code: "RW-J023",
        summary: "a clusterSelector names no cluster",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {app: shared}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}}",
        },
        check: Check::Job(selector_names_a_cluster),
    },
    Rule {
        code: "RW-J025",
        summary: "a job with a clusterSelector has a backoffLimit",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/backoffLimit: 1}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/backoffLimit: 0}",
        },
        check: Check::Job(selected_clusters_are_tried_once),
    },
    Rule {
        code: "RW-J030",
        summary: "the cluster of a job has enableK8sTokenAuth",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_NO_TOKENS,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/rayClusterSpec/authOptions: {mode: token, enableK8sTokenAuth: true}",
            passes: "/spec/rayClusterSpec/authOptions: {mode: token, enableK8sTokenAuth: false}",
        },
        check: Check::Job(no_kubernetes_tokens),
    },
    Rule {
        code: "RW-J033",
        summary: "activeDeadlineSeconds is not positive",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/activeDeadlineSeconds: 0",
            passes: "/spec/activeDeadlineSeconds: 1",
        },
        check: Check::Job(deadline_is_positive),
    },
    Rule {
        code: "RW-J034",
        summary: "preRunningDeadlineSeconds is not positive",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/preRunningDeadlineSeconds: 0",
            passes: "/spec/preRunningDeadlineSeconds: 1",
        },
        check: Check::Job(starting_deadline_is_positive),
    },
    Rule {
        code: "RW-J035",
        summary: "backoffLimit is negative",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/backoffLimit: -1",
            passes: "/spec/backoffLimit: 0",
        },
        check: Check::Job(retries_are_not_negative),
    },
    Rule {
        code: "RW-G014",
        summary: "a job has both a rayClusterSpec and a clusterSelector",
        action: Action::Warn,
        kinds: JOBS,
        why: "KubeRay takes the cluster that is selected, and says nothing of the one that it does not make.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/clusterSelector: {ray.io/cluster: shared}",
            passes: "/spec/clusterSelector: {}",
        },
        check: Check::Job(has_one_cluster),
    },
    Rule {
        code: "RW-G062",
        summary: "a job or a service is changed that KubeRay has given up",
        action: Action::Warn,
        kinds: &[Kind::Job, Kind::Service],
        why: "KubeRay never looks again at a job that it once refused, nor at a service that did not start in time.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/backoffLimit: 1, /status/jobDeploymentStatus: ValidationFailed, old: {/spec/backoffLimit: -1, /status/jobDeploymentStatus: ValidationFailed}}",
            passes: "{/spec/backoffLimit: 1, /status/jobDeploymentStatus: Initializing, old: {/spec/backoffLimit: 2, /status/jobDeploymentStatus: Initializing}}",
        },
        check: Check::Change(is_not_given_up),
    },
];

fn suspended_jobs_shut_down(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if job.suspend == Some(true) && !job.shuts_down() {
        findings
            .at(job.path.key("suspend"))
            .problem("only a job that takes its cluster away can be suspended")
            .hint("set shutdownAfterJobFinishes to true");
    }
}

fn ttl_is_not_negative(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(seconds) = job.ttl_seconds_after_finished.filter(|seconds| *seconds < 0) {
        findings
            .at(job.path.key("ttlSecondsAfterFinished"))
            .problem(format!("a cluster cannot stay for {seconds} seconds"))
            .hint("use 0 or more");
    }
}

fn ttl_has_a_shutdown(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let ttl = job.ttl_seconds_after_finished.filter(|seconds| *seconds > 0);
    if let Some(seconds) = ttl.filter(|_| !job.shuts_down()) {
        findings
            .at(job.path.key("ttlSecondsAfterFinished"))
            .problem(format!(
                "the cluster does not go when the job finishes, so neither does it after {seconds} seconds"
            ))
            .hint("set shutdownAfterJobFinishes to true, or take this field out");
    }
}

fn selected_clusters_are_not_suspended(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if job.suspend == Some(true) && job.selects_a_cluster() {
        findings
            .at(job.path.key("suspend"))
            .problem("a job in the cluster of a clusterSelector cannot be suspended")
            .hint("set it to false, or give the job a rayClusterSpec of its own");
    }
}

fn has_a_cluster(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if job.cluster.is_none() && !job.selects_a_cluster() {
        findings
            .at(job.path.clone())
            .problem("the job has no cluster to run in")
            .hint("add a rayClusterSpec, or a clusterSelector with the name of a RayCluster");
    }
}

fn selector_names_a_cluster(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let named = job.cluster_selector.get(SELECTED_CLUSTER);
    if job.selects_a_cluster() && named.is_none_or(String::is_empty) {
        findings
            .at(job.path.key("clusterSelector"))
            .problem("it does not say which cluster")
            .hint(format!("add {SELECTED_CLUSTER} with the name of a RayCluster"));
    }
}

fn selected_clusters_are_tried_once(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if job.selects_a_cluster() && job.backoff_limit.is_some_and(|limit| limit > 0) {
        findings
            .at(job.path.key("backoffLimit"))
            .problem("a job is tried again in a new cluster, and a clusterSelector has only the one")
            .hint("set it to 0, or give the job a rayClusterSpec of its own");
    }
}

fn no_kubernetes_tokens(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let auth = job.cluster.as_ref().and_then(|cluster| cluster.auth.as_ref());
    if let Some(auth) = auth.filter(|auth| auth.enable_k8s_token_auth == Some(true)) {
        findings
            .at(auth.path.key("enableK8sTokenAuth"))
            .problem("KubeRay cannot submit jobs to a cluster that takes Kubernetes tokens")
            .hint("take this field out; mode: token alone works");
    }
}

fn deadline_is_positive(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    is_positive(
        job,
        "activeDeadlineSeconds",
        job.active_deadline_seconds,
        findings,
    );
}

fn starting_deadline_is_positive(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    is_positive(
        job,
        "preRunningDeadlineSeconds",
        job.pre_running_deadline_seconds,
        findings,
    );
}

fn is_positive(job: &JobSpec, field: &'static str, seconds: Option<i32>, findings: &mut Findings) {
    if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
        findings
            .at(job.path.key(field))
            .problem(format!("nothing can be done within {seconds} seconds"))
            .hint("use 1 or more, or take the field out for no limit");
    }
}

fn retries_are_not_negative(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(limit) = job.backoff_limit.filter(|limit| *limit < 0) {
        findings
            .at(job.path.key("backoffLimit"))
            .problem(format!("a job cannot be tried again {limit} times"))
            .hint("use 0 or more");
    }
}

fn has_one_cluster(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(cluster) = job.cluster.as_ref().filter(|_| job.selects_a_cluster()) {
        findings
            .at(cluster.path.clone())
            .problem("this cluster is never made, since the job runs in the one of its clusterSelector")
            .hint("take one of the two out");
    }
}

fn is_not_given_up(_: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let status = &old.json["status"];
    let refused = status["jobDeploymentStatus"] == "ValidationFailed";
    let late = status["conditions"].as_array().is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["reason"] == "InitializingTimeout")
    });
    if refused || late {
        findings
            .at(Pointer::root().key("spec"))
            .problem(if refused {
                "KubeRay has refused this job, and does not look at it again"
            } else {
                "this service did not start in time, and KubeRay does not look at it again"
            })
            .hint("delete it and make it anew");
    }
}
