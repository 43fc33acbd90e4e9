//! Fault tolerance of the GCS, and the Redis behind it: said once, in `gcsFaultToleranceOptions`. The database that needs no Redis is in
//! `embedded_storage.rs`.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_TWICE: &str = "KubeRay sets it from gcsFaultToleranceOptions, and of two values nobody could say which counts. It records \
    an event and does nothing more for the object.";

/// Variables that the operator sets on the head.
const REDIS_ADDRESS: &str = "RAY_REDIS_ADDRESS";
const REDIS_PASSWORD: &str = "REDIS_PASSWORD";
const REDIS_USERNAME: &str = "REDIS_USERNAME";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C019",
        summary: "fault tolerance has both its annotation and its field",
        action: Action::Deny,
        kinds: &[Kind::Cluster, Kind::Job, Kind::Service],
        why: WHY_TWICE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/annotations: {ray.io/ft-enabled: 'false'}, /spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}}",
            passes: "{/metadata/annotations: {ray.io/ft-enabled: ''}, /spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}}",
        },
        check: Check::Cluster(fault_tolerance_is_declared_once),
    },
    Rule {
        code: "RW-C020",
        summary: "a Redis is given to a cluster without fault tolerance",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Ray would keep its state in Redis, and KubeRay, which was not told, would not clean up after it. It records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_REDIS_ADDRESS, value: 'redis:6379'}]",
            passes: "{/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_REDIS_ADDRESS, value: 'redis:6379'}], /metadata/annotations: {ray.io/ft-enabled: 'True'}}",
        },
        check: Check::Cluster(fault_tolerance_is_not_implied),
    },
    Rule {
        code: "RW-C021",
        summary: "the password of Redis is a start parameter",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_TWICE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}, /spec/headGroupSpec/rayStartParams: {redis-password: secret}}",
            passes: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379', redisPassword: {value: secret}}, /spec/headGroupSpec/rayStartParams: {redis-password: ''}}",
        },
        check: Check::Cluster(redis_password_is_no_start_parameter),
    },
    Rule {
        code: "RW-C022",
        summary: "the password of Redis is a variable of the head",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_TWICE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}, /spec/headGroupSpec/template/spec/containers/0/env: [{name: REDIS_PASSWORD, value: secret}]}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: REDIS_PASSWORD, value: secret}]",
        },
        check: Check::Cluster(redis_password_is_no_variable),
    },
    Rule {
        code: "RW-C023",
        summary: "the address of Redis is a variable of the head",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_TWICE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}, /spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_REDIS_ADDRESS, value: 'redis:6379'}]}",
            passes: "/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}",
        },
        check: Check::Cluster(redis_address_is_no_variable),
    },
    Rule {
        code: "RW-C024",
        summary: "the storage namespace of a fault tolerant cluster is an annotation",
        action: Action::Deny,
        kinds: &[Kind::Cluster, Kind::Job, Kind::Service],
        why: WHY_TWICE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}, /metadata/annotations: {ray.io/external-storage-namespace: demo}}",
            passes: "{/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379', externalStorageNamespace: demo}}",
        },
        check: Check::Cluster(storage_namespace_is_no_annotation),
    },
    Rule {
        code: "RW-C035",
        summary: "the user of Redis is not given in its field",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay passes the user on from gcsFaultToleranceOptions only. It records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/rayStartParams: {redis-username: ray}",
            passes: "/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379', redisUsername: {value: ray}}",
        },
        check: Check::Cluster(redis_user_has_a_field),
    },
];

fn fault_tolerance_is_declared_once(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if cluster.fault_tolerance.is_none() {
        return;
    }
    if let Some((path, text)) = subject.annotation(keys::FT_ENABLED) {
        findings
            .at(path)
            .problem(format!("\"{text}\" here, and gcsFaultToleranceOptions besides"))
            .hint("leave the annotation out; it is the old way");
    }
}

/// Any letter case of `true` enables it, and no other word.
fn fault_tolerance_is_not_implied(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let annotation = subject.annotation(keys::FT_ENABLED);
    let enabled = annotation.is_some_and(|(_, text)| text.eq_ignore_ascii_case("true"));
    if enabled || cluster.fault_tolerance.is_some() {
        return;
    }
    if let Some((path, _)) = cluster.head.env(REDIS_ADDRESS) {
        findings
            .at(path)
            .problem(format!("{REDIS_ADDRESS} is set, but fault tolerance is not"))
            .hint("give the address as gcsFaultToleranceOptions.redisAddress instead");
    }
}

fn redis_password_is_no_start_parameter(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let params = &cluster.head.start_params;
    let given = params
        .raw
        .get("redis-password")
        .is_some_and(|password| !password.is_empty());
    if given && cluster.fault_tolerance.is_some() {
        findings
            .at(params.path.key("redis-password"))
            .problem("the password has a field of its own in gcsFaultToleranceOptions")
            .hint("give it as gcsFaultToleranceOptions.redisPassword, best from a Secret");
    }
}

fn redis_password_is_no_variable(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    variable_has_a_field(cluster, REDIS_PASSWORD, "redisPassword", findings);
}

fn redis_address_is_no_variable(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    variable_has_a_field(cluster, REDIS_ADDRESS, "redisAddress", findings);
}

fn variable_has_a_field(cluster: &ClusterSpec, variable: &str, field: &str, findings: &mut Findings) {
    if cluster.fault_tolerance.is_none() {
        return;
    }
    if let Some((path, _)) = cluster.head.env(variable) {
        findings
            .at(path)
            .problem(format!(
                "KubeRay itself sets {variable} where gcsFaultToleranceOptions is given"
            ))
            .hint(format!("give it as gcsFaultToleranceOptions.{field} instead"));
    }
}

fn storage_namespace_is_no_annotation(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if cluster.fault_tolerance.is_none() {
        return;
    }
    if let Some((path, _)) = subject.annotation(keys::EXTERNAL_STORAGE_NAMESPACE) {
        findings
            .at(path)
            .problem("the namespace has a field of its own in gcsFaultToleranceOptions")
            .hint("give it as gcsFaultToleranceOptions.externalStorageNamespace instead");
    }
}

/// With fault tolerance or without.
fn redis_user_has_a_field(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let params = &cluster.head.start_params;
    let given = params
        .raw
        .get("redis-username")
        .is_some_and(|user| !user.is_empty());
    let param = given.then(|| params.path.key("redis-username"));
    let variable = cluster.head.env(REDIS_USERNAME).map(|(path, _)| path);
    for path in param.into_iter().chain(variable) {
        findings
            .at(path)
            .problem("KubeRay does not take the user of Redis from here")
            .hint("give it as gcsFaultToleranceOptions.redisUsername instead");
    }
}
