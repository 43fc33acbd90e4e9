//! What a cluster has besides its nodes.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::super::auth::TOKENS_SINCE;
use super::super::{Fill, Filled, ray_version_is};
use super::author;
use crate::check::queues::{QUEUE, is_elastic};
use crate::facts::{Gate, Operator};
use crate::policy::{Options, Redis, SecretKey};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[metadata, queue, fault_tolerance, authentication, encryption];

/// Where Redis is spoken of before there was a field for it.
const REDIS_ENV: [&str; 3] = ["RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"];
const REDIS_PARAMS: [&str; 2] = ["redis-password", "redis-username"];

fn metadata(_: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(options) = options(subject) else { return };
    let written = &subject.object.metadata;
    let lists = [
        ("labels", &options.labels, &written.labels),
        ("annotations", &options.annotations, &written.annotations),
    ];
    for (field, wanted, written) in lists {
        let place = Pointer::root().key("metadata").key(field);
        for (key, value) in wanted.iter().filter(|(key, _)| !written.contains_key(*key)) {
            let author = author(subject, &["options", field, key]);
            filled.insert_for(author, place.key(key.clone()), value.clone().into());
        }
    }
}

/// Kueue does not take clusters that scale unless they say that they are elastic, nor jobs that leave their cluster behind, nor cron jobs.
fn queue(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(name) = options(subject).and_then(|options| options.queue_name.as_ref()) else {
        return;
    };
    let metadata = &subject.object.metadata;
    let is_taken = match subject.object.kind() {
        Kind::Cluster | Kind::Service => true,
        Kind::Job => subject.json["spec"]["shutdownAfterJobFinishes"] == true,
        Kind::CronJob => false,
    };
    if is_taken
        && (!cluster.is_autoscaled() || is_elastic(subject.object))
        && !metadata.labels.contains_key(QUEUE)
    {
        let place = Pointer::root().key("metadata").key("labels").key(QUEUE);
        filled.insert_for(
            author(subject, &["options", "queueName"]),
            place,
            name.clone().into(),
        );
    }
}

/// Not where the author speaks of fault tolerance or of Redis in whichever other way. The older schema does not have the field.
fn fault_tolerance(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(redis) = options(subject).and_then(|options| options.gcs_fault_tolerance.as_ref()) else {
        return;
    };
    let annotations = &subject.object.metadata.annotations;
    let head = &cluster.head;
    let is_spoken_of = cluster.fault_tolerance.is_some()
        || annotations.contains_key(keys::FT_ENABLED)
        || annotations.contains_key(keys::EXTERNAL_STORAGE_NAMESPACE)
        || REDIS_ENV.iter().any(|name| head.env(name).is_some())
        || REDIS_PARAMS
            .iter()
            .any(|name| head.start_params.raw.contains_key(*name));
    if !is_spoken_of && head.ray_container().is_some() && has_newer_fields(subject) {
        let author = author(subject, &["options", "gcsFaultTolerance"]);
        filled.insert_for(
            author,
            cluster.path.key("gcsFaultToleranceOptions"),
            written(redis),
        );
    }
}

fn written(redis: &Redis) -> Value {
    let credential =
        |key: &SecretKey| json!({"valueFrom": {"secretKeyRef": {"name": key.secret, "key": key.key}}});
    let mut options = json!({"redisAddress": redis.redis_address});
    let credentials = [
        ("redisUsername", &redis.redis_username),
        ("redisPassword", &redis.redis_password),
    ];
    for (field, key) in credentials {
        if let Some(key) = key {
            options[field] = credential(key);
        }
    }
    options
}

fn authentication(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let wanted = options(subject).and_then(|options| options.token_authentication);
    let operator_knows = subject
        .facts
        .operator
        .is_some_and(|operator| operator >= Operator::V1_5);
    if wanted == Some(true)
        && cluster.auth.is_none()
        && operator_knows
        && has_newer_fields(subject)
        && ray_version_is(cluster, subject.facts, |version| version >= TOKENS_SINCE)
    {
        let author = author(subject, &["options", "tokenAuthentication"]);
        filled.insert_for(
            author,
            cluster.path.key("authOptions").key("mode"),
            "token".into(),
        );
    }
}

/// Not where a node is told of TLS in another way.
fn encryption(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let wanted = options(subject).and_then(|options| options.tls);
    let operator_knows = subject.facts.operator >= Some(Operator::V1_7);
    let can = operator_knows && subject.facts.gate(Gate::Mtls) == Some(true);
    let is_told = cluster.groups().any(|group| {
        let variables = group.ray_container().and_then(|ray| ray.env.as_ref());
        let mut variables = variables.into_iter().flatten();
        variables.any(|variable| variable.name.contains("RAY_TLS") || variable.name == "RAY_USE_TLS")
    });
    if wanted == Some(true) && can && cluster.tls.is_none() && !is_told && has_newer_fields(subject) {
        let author = author(subject, &["options", "tls"]);
        filled.insert_for(author, cluster.path.key("tlsOptions").key("enabled"), true.into());
    }
}

fn options<'p>(subject: &Subject<'p>) -> Option<&'p Options> {
    subject.policy.spec.options.as_ref()
}

fn has_newer_fields(subject: &Subject<'_>) -> bool {
    subject.json["apiVersion"] != "ray.io/v1alpha1"
}
