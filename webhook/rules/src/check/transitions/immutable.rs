//! What cannot change: who reconciles an object, and where its GCS keeps its data. The CRDs compare the old value with the new one only
//! where both are written; what they miss is refused here too.

use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;

use super::{clusters, runs, text};
use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_MANAGED: &str = "Whoever reconciled the object so far lets go of it at once, and leaves its pods and finalizers behind for nobody.";
const WHY_BACKEND: &str =
    "The GCS would start with an empty store: every actor, job and placement group that it knew of is lost.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-T001",
        summary: "managedBy changes",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_MANAGED,
        source: Source::Schema,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/managedBy: ray.io/kuberay-operator, old: {/spec/managedBy: kueue.x-k8s.io/multikueue}}",
            passes: "{/spec/managedBy: ray.io/kuberay-operator, /spec/suspend: true, old: {/spec/managedBy: ray.io/kuberay-operator}}",
        },
        check: Check::Change(managed_by_stays),
    },
    Rule {
        code: "RW-T002",
        summary: "the backend of fault tolerance changes",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_BACKEND,
        source: Source::Schema,
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, old: {/spec/gcsFaultToleranceOptions: {backend: redis, redisAddress: 'redis:6379'}}}",
            passes: "{/spec/gcsFaultToleranceOptions: {backend: redis, redisAddress: 'redis:6380'}, old: {/spec/gcsFaultToleranceOptions: {backend: redis, redisAddress: 'redis:6379'}}}",
        },
        check: Check::Change(backend_stays),
    },
    Rule {
        code: "RW-T013",
        summary: "a running object is handed to another controller, or taken from it",
        action: Action::Deny,
        kinds: &[Kind::Cluster, Kind::Job, Kind::Service],
        why: WHY_MANAGED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/managedBy: kueue.x-k8s.io/multikueue, old: {}}",
            passes: "{/spec/managedBy: ray.io/kuberay-operator, old: {}}",
        },
        check: Check::Change(controller_stays),
    },
    Rule {
        code: "RW-T014",
        summary: "the backend of fault tolerance changes from or to what goes without saying",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: WHY_BACKEND,
        source: Source::Hole,
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, old: {/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}}}",
            passes: "{/spec/gcsFaultToleranceOptions: {backend: redis, redisAddress: 'redis:6379'}, old: {/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}}}",
        },
        check: Check::Change(implied_backend_stays),
    },
];

fn managed_by_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let way = new.object.kind().cluster_path();
    let mut here = Pointer::root();
    for step in way.steps() {
        here = here.step(step.clone());
        let place = here.key("managedBy");
        if let (Some(now), Some(before)) = (text(new, &place), text(old, &place))
            && now != before
        {
            findings
                .at(place)
                .problem(format!("\"{now}\" cannot take over from \"{before}\""))
                .hint(format!("leave \"{before}\", or make a new object"));
        }
    }
}

/// What says nothing is KubeRay's own. A suspended object has nothing that could be left behind.
fn controller_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let place = Pointer::root().key("spec").key("managedBy");
    let (now, before) = (text(new, &place), text(old, &place));
    let foreign = |controller: Option<&str>| controller.is_some_and(|name| name != keys::MANAGED_BY_KUBERAY);
    let both_say = now.is_some() && before.is_some();
    let suspended = old.json["spec"]["suspend"] == true;
    if !both_say && !suspended && foreign(now) != foreign(before) {
        let told = |controller: Option<&str>| controller.unwrap_or(keys::MANAGED_BY_KUBERAY).to_owned();
        findings
            .at(place)
            .problem(format!(
                "\"{}\" cannot take over from \"{}\" while this runs",
                told(now),
                told(before)
            ))
            .hint("suspend it first, or make a new object");
    }
}

fn backend_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((path, now, before)) = backends(new, old) else {
        return;
    };
    if let (Some(now), Some(before)) = (now, before)
        && now != before
    {
        findings
            .at(path)
            .problem(format!("the GCS cannot move from {before} to {now}"))
            .hint(format!("leave {before}, or make a new cluster"));
    }
}

fn implied_backend_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    const IMPLIED: &str = "redis";
    let Some((path, now, before)) = backends(new, old) else {
        return;
    };
    let both_say = now.is_some() && before.is_some();
    let (now, before) = (now.unwrap_or(IMPLIED), before.unwrap_or(IMPLIED));
    let live = clusters(new, old).is_some_and(|(_, old)| runs(old));
    if live && !both_say && now != before {
        findings
            .at(path)
            .problem(format!("the GCS cannot move from {before} to {now}"))
            .hint(format!("leave {before}, or make a new cluster"));
    }
}

/// Where the backend stands, what it is to be and what it was, as far as that was said.
fn backends<'a>(new: &Subject<'a>, old: &Subject<'a>) -> Option<(Pointer, Option<&'a str>, Option<&'a str>)> {
    let (new, old) = clusters(new, old)?;
    let (new, old) = new.fault_tolerance.as_ref().zip(old.fault_tolerance.as_ref())?;
    Some((
        new.path.key("backend"),
        new.backend.as_deref(),
        old.backend.as_deref(),
    ))
}
