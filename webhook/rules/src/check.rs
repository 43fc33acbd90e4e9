//! Runs the rules over an object. Which rules there are stands in the files below, a table and its functions in each.

mod accelerators;
mod auth;
mod autoscaling;
mod cluster;
mod cron_job;
mod custom;
mod declared;
mod deletion;
mod documents;
mod effective_pod;
mod elasticity;
mod embedded_storage;
mod environment;
mod fault_tolerance;
mod gangs;
mod history_server;
mod image;
mod image_match;
mod job;
mod lifecycle;
pub(crate) mod memory;
mod metadata;
mod network_policy;
mod pod_identity;
mod pod_lifecycle;
pub(crate) mod policy;
mod ports;
mod priority;
pub(crate) mod queues;
mod reading;
mod resources;
mod schema;
mod service;
mod start_command;
mod submission;
mod tls;
mod tpu;
mod transitions;
mod upgrade;
mod workers;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ray::object::{Kind, Object};
use serde_json::Value;

use crate::effective;
use crate::facts::Facts;
use crate::finding::{Finding, Findings};
use crate::policy::Policy;
use crate::ratchet;
use crate::request::Request;
use crate::rule::{Action, Holds, Rule, Subject, table};

/// The rules, a topic each.
pub(crate) const TABLES: &[&[Rule]] = &[
    reading::RULES,
    schema::RULES,
    metadata::RULES,
    cluster::RULES,
    workers::RULES,
    declared::RULES,
    autoscaling::RULES,
    priority::RULES,
    elasticity::RULES,
    lifecycle::RULES,
    image::RULES,
    image_match::RULES,
    resources::RULES,
    memory::RULES,
    accelerators::RULES,
    tpu::RULES,
    effective_pod::RULES,
    start_command::RULES,
    environment::RULES,
    ports::RULES,
    pod_lifecycle::RULES,
    pod_identity::RULES,
    fault_tolerance::RULES,
    embedded_storage::RULES,
    auth::RULES,
    tls::RULES,
    network_policy::RULES,
    history_server::RULES,
    job::RULES,
    submission::RULES,
    deletion::RULES,
    service::RULES,
    upgrade::RULES,
    documents::RULES,
    cron_job::RULES,
    queues::RULES,
    gangs::RULES,
    policy::images::RULES,
    policy::accelerators::RULES,
    policy::replicas::RULES,
    policy::selection::RULES,
    transitions::immutable::RULES,
    transitions::cluster::RULES,
    transitions::groups::RULES,
    transitions::job::RULES,
    transitions::service::RULES,
];

/// Those for each kind, since most are for few: first those about objects by themselves, then those about writes.
static BY_KIND: LazyLock<BTreeMap<Kind, [Vec<&Rule>; 2]>> = LazyLock::new(|| {
    let lists = |kind| {
        let rules = table().filter(|rule| rule.kinds.contains(&kind));
        let (on_write, alone) = rules.partition(|rule| rule.is_about_writes());
        (kind, [alone, on_write])
    };
    Kind::ALL.map(lists).into()
});

/// Everything that is wrong with the object that `request` would make, from the top of it down, and with the change itself. What the
/// object had wrong before is marked as excused, and so is everything that a controller writes; writes that could not make anything
/// worse are not looked at.
pub fn check(request: &Request<'_>, facts: &Facts) -> Vec<Finding> {
    if ratchet::cannot_do_harm(request) {
        return Vec::new();
    }
    let (kind, json) = (request.kind, request.object);
    let policy = &*facts.policies.of(request);
    let (object, mut findings) = check_object(kind, json, facts, policy);
    findings.extend(custom::findings(request, policy));
    findings.extend(policy::selection::findings(request, facts));
    let new = Subject {
        object: &object,
        json,
        facts,
        policy,
    };
    let [_, rules] = &BY_KIND[&kind];
    let on_write = |old: Option<&Subject<'_>>| {
        run(rules, facts, |rule, found| {
            rule.run_on_write(&new, old, request.others, found);
        })
    };
    if let Some(old_json) = request.old {
        let (old, mut before) = check_object(kind, old_json, facts, policy);
        before.extend(custom::violations(&unchanged(request, old_json), policy));
        ratchet::excuse_known(&mut findings, json, &before, old_json);
        findings.extend(on_write(Some(&Subject {
            object: &old,
            json: old_json,
            facts,
            policy,
        })));
    } else {
        findings.extend(on_write(None));
    }
    if facts.is_controller(request.user) {
        for finding in &mut findings {
            finding.excused = true;
        }
    }
    findings.sort_by(|left, right| (&left.path, &left.code).cmp(&(&right.path, &right.code)));
    findings
}

/// The object written over itself, which is no change.
fn unchanged<'a>(request: &Request<'a>, old: &'a Value) -> Request<'a> {
    Request {
        object: old,
        old: Some(old),
        ..*request
    }
}

fn check_object(kind: Kind, json: &Value, facts: &Facts, policy: &Policy) -> (Object, Vec<Finding>) {
    let (object, problems) = Object::read(kind, json);
    let mut findings = reading::findings(problems);
    let subject = Subject {
        object: &object,
        json,
        facts,
        policy,
    };
    let pods = effective::pods(&object);
    let [rules, _] = &BY_KIND[&kind];
    findings.extend(run(rules, facts, |rule, found| {
        rule.run(&subject, &pods, found);
    }));
    (object, findings)
}

/// What the rules find. Where it takes a fact that nobody knows to say whether a rule holds, it warns and names the fact.
fn run(rules: &[&'static Rule], facts: &Facts, look: impl Fn(&Rule, &mut Findings)) -> Vec<Finding> {
    let mut all = Vec::new();
    for rule in rules {
        let doubt = match rule.holds(facts) {
            Holds::No => continue,
            Holds::Yes => None,
            Holds::Perhaps(unknown) => Some(unknown),
        };
        let before = all.len();
        all = Findings::after(all, rule, |found| look(rule, found));
        if let Some(unknown) = doubt {
            for finding in &mut all[before..] {
                finding.action = finding.action.min(Action::Warn);
                finding.hint = format!("{}; {unknown}", finding.hint);
            }
        }
    }
    all
}
