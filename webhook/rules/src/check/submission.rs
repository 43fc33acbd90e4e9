//! How a job gets to Ray: by a Kubernetes Job, over HTTP, from beside the head, or by hand. Whatever the way, KubeRay asks the
//! dashboard of the head how the job is doing.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::job::JobSpec;
use ray::object::Kind;
use ray::path::Pointer;
use ray::version::RayVersion;

use super::job::{JOBS, WHY_REFUSED};
use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const BY_KUBERNETES_JOB: &str = "K8sJobMode";
const BY_HTTP: &str = "HTTPMode";
const BY_HAND: &str = "InteractiveMode";
const BESIDE_THE_HEAD: &str = "SidecarMode";

const DASHBOARD: &str = "dashboard";
/// The first version of Ray whose `ray job submit` takes metadata.
const TAKES_METADATA: RayVersion = RayVersion::new(2, 6, 0);

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-J024",
        summary: "a job in SidecarMode has a clusterSelector",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/submissionMode: SidecarMode}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/submissionMode: HTTPMode}",
        },
        check: Check::Job(sidecar_has_a_head_of_its_own),
    },
    Rule {
        code: "RW-J026",
        summary: "a job in InteractiveMode has a backoffLimit",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: InteractiveMode, /spec/backoffLimit: 1}",
            passes: "{/spec/submissionMode: InteractiveMode, /spec/backoffLimit: 0}",
        },
        check: Check::Job(nobody_submits_twice_by_hand),
    },
    Rule {
        code: "RW-J027",
        summary: "a job in SidecarMode has a submitterPodTemplate",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: SidecarMode, /spec/submitterPodTemplate: {spec: {restartPolicy: Never, containers: [{name: submit}]}}}",
            passes: "{/spec/submissionMode: K8sJobMode, /spec/submitterPodTemplate: {spec: {restartPolicy: Never, containers: [{name: submit}]}}}",
        },
        check: Check::Job(sidecar_has_no_pod_template),
    },
    Rule {
        code: "RW-J028",
        summary: "a job in SidecarMode has a submitterConfig",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: SidecarMode, /spec/submitterConfig: {}}",
            passes: "{/spec/submissionMode: HTTPMode, /spec/submitterConfig: {backoffLimit: 1}}",
        },
        check: Check::Job(sidecar_has_no_config),
    },
    Rule {
        code: "RW-J029",
        summary: "the head of a job in SidecarMode has another restartPolicy than Never",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: SidecarMode, /spec/rayClusterSpec/headGroupSpec/template/spec/restartPolicy: OnFailure}",
            passes: "{/spec/submissionMode: SidecarMode, /spec/rayClusterSpec/headGroupSpec/template/spec/restartPolicy: Never}",
        },
        check: Check::Job(sidecar_is_not_restarted),
    },
    Rule {
        code: "RW-J036",
        summary: "a job that waits in InteractiveMode gets another submissionMode",
        action: Action::Deny,
        kinds: &[Kind::Job],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobStatus"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: HTTPMode, /status/jobDeploymentStatus: Waiting, old: {/spec/submissionMode: InteractiveMode, /status/jobDeploymentStatus: Waiting}}",
            passes: "{/spec/submissionMode: InteractiveMode, /spec/jobId: mine, /status/jobDeploymentStatus: Waiting, old: {/spec/submissionMode: InteractiveMode, /status/jobDeploymentStatus: Waiting}}",
        },
        check: Check::Job(only_interactive_jobs_wait),
    },
    Rule {
        code: "RW-G013",
        summary: "submissionMode is none that KubeRay knows",
        action: Action::Deny,
        kinds: JOBS,
        why: "KubeRay takes the job for running without ever having submitted it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/submissionMode: HttpMode",
            passes: "/spec/submissionMode: HTTPMode",
        },
        check: Check::Job(mode_is_known),
    },
    Rule {
        code: "RW-G018",
        summary: "the head lists ports, but none called dashboard",
        action: Action::Deny,
        kinds: &[Kind::Job, Kind::CronJob, Kind::Service],
        why: "KubeRay looks for the dashboard by the name of its port, and goes on looking for ever: nothing is submitted.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/rayClusterSpec/headGroupSpec/template/spec/containers/0/ports: [{name: gcs-server, containerPort: 6379}]",
            passes: "/spec/rayClusterSpec/headGroupSpec/template/spec/containers/0/ports: [{name: gcs-server, containerPort: 6379}, {name: dashboard, containerPort: 8265}]",
        },
        check: Check::Cluster(dashboard_can_be_found),
    },
    Rule {
        code: "RW-G021",
        summary: "submitterPodTemplate is none for a Kubernetes Job",
        action: Action::Deny,
        kinds: JOBS,
        why: "The API server refuses the Kubernetes Job, or the operator fails on it, over and over; the job is never submitted.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/submitterPodTemplate: {spec: {containers: [{name: submit}]}}",
            passes: "/spec/submitterPodTemplate: {spec: {restartPolicy: Never, containers: [{name: submit}]}}",
        },
        check: Check::Job(submitter_can_run),
    },
    Rule {
        code: "RW-G061",
        summary: "a job has metadata that KubeRay cannot pass on to its rayVersion",
        action: Action::Deny,
        kinds: JOBS,
        why: "Ray's command takes metadata since 2.6. KubeRay goes by rayVersion and, where that is older or no version, fails to \
            submit the job, over and over; up to 1.6 also where it is absent.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/metadata: {team: vision}, /spec/rayClusterSpec/rayVersion: 2.5.1}",
            passes: "{/spec/metadata: {team: vision}, /spec/rayClusterSpec/rayVersion: 2.6.0}",
        },
        check: Check::Job(metadata_can_be_passed_on),
    },
];

/// How it is submitted. The CRD fills in the default.
fn mode(job: &JobSpec) -> &str {
    job.submission_mode.as_deref().unwrap_or(BY_KUBERNETES_JOB)
}

fn sidecar_has_a_head_of_its_own(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if mode(job) == BESIDE_THE_HEAD && job.selects_a_cluster() {
        findings
            .at(job.path.key("submissionMode"))
            .problem("nothing can be put beside the head of a cluster that is there already")
            .hint("use K8sJobMode or HTTPMode with a clusterSelector");
    }
}

fn nobody_submits_twice_by_hand(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if mode(job) == BY_HAND && job.backoff_limit.is_some_and(|limit| limit > 0) {
        findings
            .at(job.path.key("backoffLimit"))
            .problem("a job in InteractiveMode is not tried again")
            .hint("set it to 0");
    }
}

fn sidecar_has_no_pod_template(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if mode(job) == BESIDE_THE_HEAD && job.submitter_pod_template.is_some() {
        no_submitter(job, "submitterPodTemplate", findings);
    }
}

fn sidecar_has_no_config(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if mode(job) == BESIDE_THE_HEAD && job.has_submitter_config {
        no_submitter(job, "submitterConfig", findings);
    }
}

fn no_submitter(job: &JobSpec, field: &'static str, findings: &mut Findings) {
    findings
        .at(job.path.key(field))
        .problem("in SidecarMode no pod of its own submits the job")
        .hint("take it out, or use K8sJobMode");
}

fn sidecar_is_not_restarted(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(cluster) = job.cluster.as_ref().filter(|_| mode(job) == BESIDE_THE_HEAD) else {
        return;
    };
    let pod = cluster.head.template.spec.as_ref();
    let policy = pod.and_then(|pod| pod.restart_policy.as_deref()).unwrap_or("");
    if !matches!(policy, "" | "Never") {
        findings
            .at(cluster.head.pod_path().key("restartPolicy"))
            .problem(format!(
                "with {policy}, the head would submit its job again and again"
            ))
            .hint("set it to Never in SidecarMode");
    }
}

/// Only what has been stored has a status, so this is about updates.
fn only_interactive_jobs_wait(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if subject.json["status"]["jobDeploymentStatus"] == "Waiting" && mode(job) != BY_HAND {
        findings
            .at(job.path.key("submissionMode"))
            .problem(format!(
                "the job waits to be submitted by hand, so it cannot become {}",
                mode(job)
            ))
            .hint("keep InteractiveMode, or make another job");
    }
}

fn mode_is_known(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let known = match subject.facts.operator {
        Some(Operator::V1_4) => &[BY_KUBERNETES_JOB, BY_HTTP, BY_HAND][..],
        _ => &[BY_KUBERNETES_JOB, BY_HTTP, BY_HAND, BESIDE_THE_HEAD],
    };
    if !known.contains(&mode(job)) {
        findings
            .at(job.path.key("submissionMode"))
            .problem(format!("\"{}\" is no way to submit a job", mode(job)))
            .hint(format!("use one of {}", known.join(", ")));
    }
}

/// Where the head lists no port, the service in front of it gets all of Ray's.
fn dashboard_can_be_found(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let listed = cluster.head.ray_container().and_then(|ray| ray.ports.as_ref());
    let Some(listed) = listed.filter(|ports| !ports.is_empty()) else {
        return;
    };
    let of_service = cluster
        .head
        .service
        .iter()
        .filter_map(|service| service.spec.as_ref());
    let mut of_service = of_service.filter_map(|service| service.ports.as_ref()).flatten();
    let found = listed.iter().any(|port| port.name.as_deref() == Some(DASHBOARD))
        || of_service.any(|port| port.name.as_deref() == Some(DASHBOARD));
    if !found {
        findings
            .at(cluster.head.ray_container_path().key("ports"))
            .problem(format!(
                "no port here is called {DASHBOARD}, so KubeRay does not find it"
            ))
            .hint("add {name: dashboard, containerPort: 8265}, or list no ports at all");
    }
}

fn submitter_can_run(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let template = job.submitter_pod_template.as_ref();
    if let Some(template) = template.filter(|_| mode(job) == BY_KUBERNETES_JOB) {
        check_submitter(
            template,
            &job.path.key("submitterPodTemplate").key("spec"),
            findings,
        );
    }
}

fn check_submitter(template: &PodTemplateSpec, place: &Pointer, findings: &mut Findings) {
    let containers = template.spec.as_ref().map_or(&[][..], |pod| &pod.containers);
    if containers.is_empty() {
        findings
            .at(place.key("containers"))
            .problem("there is no container to submit the job from")
            .hint("add one, or leave the whole template out");
    }
    for (index, _) in containers
        .iter()
        .enumerate()
        .filter(|(_, container)| container.name.is_empty())
    {
        findings
            .at(place.key("containers").index(index).key("name"))
            .problem("a container needs a name")
            .hint("give it one, such as submitter");
    }
    let policy = template
        .spec
        .as_ref()
        .and_then(|pod| pod.restart_policy.as_deref());
    if !matches!(policy, Some("Never" | "OnFailure")) {
        findings
            .at(place.key("restartPolicy"))
            .problem(match policy {
                Some(policy) => format!("a Kubernetes Job cannot have pods with restartPolicy {policy}"),
                None => "it counts as Always where it is absent, and a Kubernetes Job cannot have such pods"
                    .to_owned(),
            })
            .hint("set it to Never");
    }
}

/// Only the command `ray job submit` is asked for the version; over HTTP metadata is simply sent.
fn metadata_can_be_passed_on(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let Some(cluster) = &job.cluster else { return };
    if job.metadata.is_empty() || !matches!(mode(job), BY_KUBERNETES_JOB | BESIDE_THE_HEAD) {
        return;
    }
    let place = cluster.path.key("rayVersion");
    match (&cluster.ray_version, subject.facts.operator) {
        (None, Some(Operator::V1_7)) => {}
        (None, operator) => {
            let draft = findings
                .at(place)
                .problem("KubeRay needs it to pass on the job's metadata");
            let draft = if operator.is_none() {
                draft.only(Action::Warn)
            } else {
                draft
            };
            draft.hint("state the version of Ray, or take the job's metadata out");
        }
        (Some(version), _) if !takes_metadata(version) => {
            findings
                .at(place)
                .problem(format!(
                    "by \"{version}\" KubeRay cannot tell that Ray takes the job's metadata"
                ))
                .hint("state a plain version from 2.6.0 on, or take the job's metadata out");
        }
        (Some(_), _) => {}
    }
}

/// KubeRay reads this one strictly, and pre-releases count as older than everything.
fn takes_metadata(version: &str) -> bool {
    let plain = version
        .strip_prefix('v')
        .unwrap_or(version)
        .chars()
        .all(|c| c.is_ascii_digit() || c == '.');
    plain
        && version
            .parse::<RayVersion>()
            .is_ok_and(|version| version >= TAKES_METADATA)
}
