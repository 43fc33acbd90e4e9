//! What pods have where their author says nothing about it.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::path::Pointer;
use serde_json::Value;

use super::super::{Fill, Filled};
use super::author;
use crate::policy::{NodeDefaults, Resources};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[head, workers];

fn head(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    if let Some(defaults) = &subject.policy.spec.head {
        fill(&cluster.head, "head", defaults, subject, filled);
    }
}

fn workers(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let groups = cluster.worker_groups.iter();
    let defaults = subject.policy.spec.workers.iter();
    for (group, defaults) in groups.flat_map(|group| defaults.clone().map(move |defaults| (group, defaults)))
    {
        fill(group, "workers", defaults, subject, filled);
    }
}

fn fill(
    group: &dyn NodeGroup,
    topic: &str,
    defaults: &NodeDefaults,
    subject: &Subject<'_>,
    filled: &mut Filled,
) {
    // A pod that runs nothing is not made complete by its priority.
    if group.ray_container().is_none() {
        return;
    }
    if let Some(resources) = &defaults.resources {
        let at = Pointer::root().key(topic.to_owned()).key("resources");
        amounts(group, resources, &at, subject, filled);
    }
    let names = [
        ("serviceAccountName", &defaults.service_account_name),
        ("priorityClassName", &defaults.priority_class_name),
    ];
    for (field, name) in names {
        let place = group.pod_path().key(field);
        let written = place.resolve(subject.json);
        if let Some(name) = name
            && written.is_none_or(|written| written.is_null() || written == "")
        {
            filled.insert_for(author(subject, &[topic, field]), place, name.clone().into());
        }
    }
    let seconds = defaults.termination_grace_period_seconds.map(Value::from);
    let seconds = seconds.map(|seconds| {
        let field = "terminationGracePeriodSeconds";
        (field, group.pod_path().key(field), seconds)
    });
    let probes = defaults.probes().map(|(field, probe)| {
        let place = group.ray_container_path().key(field);
        (field, place, Value::Object(probe.0.clone()))
    });
    for (field, place, value) in seconds.into_iter().chain(probes) {
        if place.resolve(subject.json).is_none_or(Value::is_null) {
            filled.insert_for(author(subject, &[topic, field]), place, value);
        }
    }
}

/// Resources that a policy gives the container that runs Ray, and has `at` this place. Whoever states one of request and limit has decided on
/// that resource.
pub(super) fn amounts(
    group: &dyn NodeGroup,
    resources: &Resources,
    at: &Pointer,
    subject: &Subject<'_>,
    filled: &mut Filled,
) {
    let place = group.ray_container_path().key("resources");
    let is_stated = |name: &str| {
        let written = |list| place.key(list).key(name.to_owned()).resolve(subject.json);
        ["limits", "requests"]
            .into_iter()
            .any(|list| written(list).is_some_and(|amount| !amount.is_null()))
    };
    for (list, amounts) in resources.lists() {
        for (name, amount) in amounts.iter().filter(|(name, _)| !is_stated(name)) {
            let [place, at] = [&place, at].map(|amounts| amounts.key(list).key(name.clone()));
            if !filled.contains(&place) {
                filled.insert_for(subject.policy.author(&at), place, amount.0.clone());
            }
        }
    }
}
