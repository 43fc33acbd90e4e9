//! Changes of a RayJob that has been started: most of them come too late.

use ray::object::Kind;
use ray::path::Pointer;
use serde_json::Value;

use super::{at, clusters, text};
use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_LATE: &str =
    "KubeRay reads it when it starts the job, and not again: the job goes on as it was, without a word.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-T003",
        summary: "the cluster of a started job changes",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: WHY_LATE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec/workerGroupSpecs/0/maxReplicas: 20, old: {/status/jobDeploymentStatus: Running}}",
            passes: "{/spec/rayClusterSpec/workerGroupSpecs/0/maxReplicas: 20, old: {/status/jobDeploymentStatus: Suspended}}",
        },
        check: Check::Change(cluster_comes_in_time),
    },
    Rule {
        code: "RW-T008",
        summary: "a job is suspended that cannot be",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "KubeRay suspends only jobs that start or run; for any other the flag does nothing.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/suspend: true, /spec/shutdownAfterJobFinishes: true, \
                old: {/spec/shutdownAfterJobFinishes: true, /status/jobDeploymentStatus: Complete}}",
            passes: "{/spec/suspend: true, /spec/shutdownAfterJobFinishes: true, \
                old: {/spec/shutdownAfterJobFinishes: true, /status/jobDeploymentStatus: Running}}",
        },
        check: Check::Change(suspension_comes_in_time),
    },
    Rule {
        code: "RW-T012",
        summary: "how a started job is submitted changes",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "KubeRay looks for the job where the new mode would have put it, while what the old one made is still at work. \
            (A job that waits to be submitted by hand is refused any other mode, which is RW-J036.)",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/submissionMode: HTTPMode, old: {/spec/submissionMode: K8sJobMode, /status/jobDeploymentStatus: Running}}",
            passes: "{/spec/submissionMode: HTTPMode, old: {/spec/submissionMode: K8sJobMode, /status/jobDeploymentStatus: Suspended}}",
        },
        check: Check::Change(submission_comes_in_time),
    },
    Rule {
        code: "RW-T015",
        summary: "what a started job runs changes",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: WHY_LATE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/entrypoint: python other.py, old: {/status/jobDeploymentStatus: Running}}",
            passes: "{/spec/entrypoint: python other.py, old: {/status/jobDeploymentStatus: ''}}",
        },
        check: Check::Change(entrypoint_comes_in_time),
    },
    Rule {
        code: "RW-T016",
        summary: "a job is corrected that KubeRay has given up",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "Nothing leads out of the status ValidationFailed: KubeRay does not look at the job again, however right it becomes.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/ttlSecondsAfterFinished: 60, /spec/shutdownAfterJobFinishes: true, old: {/status/jobDeploymentStatus: ValidationFailed}}",
            passes: "{/spec/ttlSecondsAfterFinished: 60, /spec/shutdownAfterJobFinishes: true, old: {/status/jobDeploymentStatus: Running}}",
        },
        check: Check::Change(corrections_come_in_time),
    },
];

/// A job that is suspended or tried again starts from the object as it is then.
const STARTED: [&str; 5] = ["Initializing", "Running", "Waiting", "Complete", "Failed"];

fn cluster_comes_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let (Some((cluster, before)), Some(status)) = (clusters(new, old), started(old)) else {
        return;
    };
    if at(new, &cluster.path) != at(old, &before.path) {
        findings
            .at(cluster.path.clone())
            .problem(format!(
                "the job is {status}, and its cluster stays as it was made"
            ))
            .hint("make a new RayJob, or suspend this one and start it again");
    }
}

fn suspension_comes_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let suspends = new.json["spec"]["suspend"] == true && old.json["spec"]["suspend"] != true;
    let Some(status) =
        started(old).filter(|status| suspends && !matches!(*status, "Initializing" | "Running"))
    else {
        return;
    };
    findings
        .at(place("suspend"))
        .problem(format!("the job is {status}, and that cannot be suspended"))
        .hint("delete the RayJob if it should go");
}

fn submission_comes_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let place = place("submissionMode");
    let (now, before) = (text(new, &place), text(old, &place));
    let Some(status) = started(old).filter(|status| *status != "Waiting" && now != before) else {
        return;
    };
    findings
        .at(place)
        .problem(format!(
            "the job is {status}, and was submitted by {}",
            before.unwrap_or("K8sJobMode")
        ))
        .hint("make a new RayJob, or suspend this one first");
}

fn entrypoint_comes_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    const READ_ONCE: &[&str] = &[
        "entrypoint",
        "entrypointNumCpus",
        "entrypointNumGpus",
        "entrypointResources",
        "runtimeEnvYAML",
        "metadata",
        "jobId",
        "submitterPodTemplate",
        "submitterConfig",
    ];
    let Some(status) = started(old) else { return };
    let (now, before) = (&new.json["spec"], &old.json["spec"]);
    for field in READ_ONCE.iter().filter(|field| now[**field] != before[**field]) {
        findings
            .at(place(field))
            .problem(format!("the job is {status}, and this is not read again"))
            .hint("make a new RayJob");
    }
}

fn corrections_come_in_time(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    if status(old) == "ValidationFailed" && new.json["spec"] != old.json["spec"] {
        findings
            .at(Pointer::root().key("spec"))
            .problem("KubeRay has refused this job for good, and does not look at it again")
            .hint("delete the RayJob and create it anew");
    }
}

fn place(field: &'static str) -> Pointer {
    Pointer::root().key("spec").key(field)
}

fn started<'a>(job: &Subject<'a>) -> Option<&'a str> {
    Some(status(job)).filter(|status| STARTED.contains(status))
}

/// Empty before KubeRay has seen it.
fn status<'a>(job: &Subject<'a>) -> &'a str {
    let status: &Value = &job.json["status"]["jobDeploymentStatus"];
    status.as_str().unwrap_or_default()
}
