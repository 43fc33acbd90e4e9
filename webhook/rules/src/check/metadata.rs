//! Names. KubeRay makes names of services, pods and child objects out of an object's own, and all must fit. The limit of a
//! `RayCronJob` is written up twice, as M8 and as K1; here it is K1.

use ray::duration::GoDuration;
use ray::keys;
use ray::object::{Kind, Object};
use ray::path::Pointer;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_LENGTH: &str = "KubeRay lengthens the name for the objects it makes, and those names would be too long: \
    it records an event and does nothing more for the object.";
const WHY_FORM: &str = "Services are named after the object, and the name of a service begins with a letter: \
    KubeRay records an event and does nothing more for the object.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-M001",
        summary: "the name of a RayCluster is longer than 53 characters",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: WHY_LENGTH,
        source: Source::KubeRay("ValidateRayClusterMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/name: a-cluster-whose-name-goes-on-for-fifty-four-characters",
            passes: "/metadata/name: a-cluster-whose-name-goes-on-for-fiftythree-character",
        },
        check: Check::Object(name_is_short),
    },
    Rule {
        code: "RW-M002",
        summary: "the name of a RayCluster is not a DNS-1035 label",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: WHY_FORM,
        source: Source::KubeRay("ValidateRayClusterMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/name: 2nd-cluster",
            passes: "/metadata/name: cluster-2",
        },
        check: Check::Object(name_is_a_label),
    },
    Rule {
        code: "RW-M003",
        summary: "the name of a RayJob is longer than 47 characters",
        action: Action::Deny,
        kinds: &[Kind::Job],
        why: WHY_LENGTH,
        source: Source::KubeRay("ValidateRayJobMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayJob, /metadata/name: a-job-whose-name-goes-on-for-forty-eight-letters}",
            passes: "{kind: RayJob, /metadata/name: a-job-whose-name-goes-on-for-fortyseven-letters}",
        },
        check: Check::Object(name_is_short),
    },
    Rule {
        code: "RW-M004",
        summary: "the name of a RayJob is not a DNS-1035 label",
        action: Action::Deny,
        kinds: &[Kind::Job],
        why: WHY_FORM,
        source: Source::KubeRay("ValidateRayJobMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayJob, /metadata/name: nightly.train}",
            passes: "{kind: RayJob, /metadata/name: null, /metadata/generateName: nightly-train-}",
        },
        check: Check::Object(name_is_a_label),
    },
    Rule {
        code: "RW-M005",
        summary: "the name of a RayService is longer than 47 characters",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_LENGTH,
        source: Source::KubeRay("ValidateRayServiceMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayService, /metadata/name: null, /metadata/generateName: a-prefix-that-leaves-no-room-for-five-letters-}",
            passes: "{kind: RayService, /metadata/name: null, /metadata/generateName: a-prefix-that-leaves-room-for-five-letter-}",
        },
        check: Check::Object(name_is_short),
    },
    Rule {
        code: "RW-M006",
        summary: "the name of a RayService is not a DNS-1035 label",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_FORM,
        source: Source::KubeRay("ValidateRayServiceMetadata"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayService, /metadata/name: Answers}",
            passes: "{kind: RayService, /metadata/name: answers}",
        },
        check: Check::Object(name_is_a_label),
    },
    Rule {
        code: "RW-M007",
        summary: "the time that a RayService has to start is no duration",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: "KubeRay calls the service invalid and does nothing more for it.",
        source: Source::KubeRay("ValidateRayServiceMetadata"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{kind: RayService, /metadata/annotations: {ray.io/initializing-timeout: 5 minutes}}",
            passes: "{kind: RayService, /metadata/annotations: {ray.io/initializing-timeout: 5m30s}}",
        },
        check: Check::Object(initializing_timeout_is_a_duration),
    },
    Rule {
        code: "RW-K001",
        summary: "the name of a RayCronJob is longer than 36 characters",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: WHY_LENGTH,
        source: Source::KubeRay("ValidateRayCronJobMetadata"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/metadata/name: a-job-by-the-clock-with-thirty-seven-",
            passes: "/metadata/name: a-job-by-the-clock-with-thirty-sixxx",
        },
        check: Check::Object(name_is_short),
    },
    Rule {
        code: "RW-G060",
        summary: "the name of a RayCronJob leaves no room for those of its jobs",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: "KubeRay 1.6 puts six characters behind the name for each job, and then refuses the job, whose name is too long.",
        source: Source::Hole,
        operators: Operators {
            since: Operator::V1_6,
            until: Operator::V1_6,
        },
        gate: None,
        example: Example {
            fires: "/metadata/name: a-job-by-the-clock-with-forty-two-letterss",
            passes: "/metadata/name: a-job-by-the-clock-with-forty-one-letters",
        },
        check: Check::Object(name_leaves_room_for_jobs),
    },
    Rule {
        code: "RW-G031",
        summary: "the name of a RayCronJob is not a DNS-1035 label",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: "KubeRay makes the jobs, whose names begin with it, and then refuses each of them.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/name: 2nd-shift",
            passes: "/metadata/name: shift-2",
        },
        check: Check::Object(name_is_a_label),
    },
];

/// What the API server puts behind a prefix, and how much of the prefix it keeps.
const GENERATED_SUFFIX: &str = "xxxxx";
const GENERATED_PREFIX_MAX: usize = 58;

/// The name of the object, or one like it will get, and the field it comes from. Nothing for a manifest without either, which the
/// API server refuses itself.
fn name(object: &Object) -> Option<(Pointer, String)> {
    let metadata = Pointer::root().key("metadata");
    if let Some(name) = &object.metadata.name {
        return Some((metadata.key("name"), name.clone()));
    }
    let prefix: String = object
        .metadata
        .generate_name
        .as_ref()?
        .chars()
        .take(GENERATED_PREFIX_MAX)
        .collect();
    Some((metadata.key("generateName"), prefix + GENERATED_SUFFIX))
}

/// A cluster's name is followed by at most ten characters (`-serve-svc`) in a name of 63; the cluster of a job or a service has six
/// characters more than those, and the job of a `RayCronJob` another eleven, for the minute.
fn name_is_short(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    let chars_max = match object.kind() {
        Kind::Cluster => 53,
        Kind::Job | Kind::Service => 47,
        Kind::CronJob => 36,
    };
    check_length(object, chars_max, findings);
}

/// In KubeRay 1.6 it is not the minute but six random characters.
fn name_leaves_room_for_jobs(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    check_length(object, 41, findings);
}

fn check_length(object: &Object, chars_max: usize, findings: &mut Findings) {
    let Some((path, name)) = name(object) else { return };
    let chars = name.chars().count();
    if chars > chars_max {
        findings
            .at(path)
            .problem(format!(
                "\"{name}\" has {chars} characters, and KubeRay has room for {chars_max}"
            ))
            .hint(format!("take {} away", chars - chars_max));
    }
}

fn name_is_a_label(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    let Some((path, name)) = name(object) else { return };
    if !is_dns_1035_label(&name) {
        findings
            .at(path)
            .problem(format!("services cannot be named after \"{name}\""))
            .hint("use lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen");
    }
}

/// The length is another rule's affair.
fn is_dns_1035_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A positive duration, or a positive number of seconds. Empty counts as absent.
fn initializing_timeout_is_a_duration(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    let Some(text) = object
        .metadata
        .annotations
        .get(keys::INITIALIZING_TIMEOUT)
        .filter(|text| !text.is_empty())
    else {
        return;
    };
    let positive_duration = text
        .parse::<GoDuration>()
        .is_ok_and(|timeout| timeout.0.is_positive());
    let positive_seconds = text.parse::<i64>().is_ok_and(|seconds| seconds > 0);
    if !positive_duration && !positive_seconds {
        findings
            .at(Pointer::root()
                .key("metadata")
                .key("annotations")
                .key(keys::INITIALIZING_TIMEOUT))
            .problem(format!(
                "\"{text}\" is neither a positive duration nor a positive number of seconds"
            ))
            .hint("write it as 300, 5m or 1h30m");
    }
}
