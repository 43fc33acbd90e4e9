//! Who may write what on an object that is wrong already, and how findings are known again when lists change.

use ray::fixture::{Sample, cluster, sample};
use ray::object::Kind;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::excuse_known;
use crate::finding::Finding;
use crate::{Action, Edit, Facts, Operation, Policy, Request, check, defaults, judge};

const OPERATOR: &str = "system:serviceaccount:ray-system:kuberay-operator";
const KUEUE: &str = "system:serviceaccount:kueue-system:kueue-controller-manager";
const AUTOSCALER: &str = "system:serviceaccount:rayward-system:rayward-autoscaler";

fn update<'a>(kind: Kind, new: &'a Value, old: &'a Value, user: &'a str) -> Request<'a> {
    Request {
        user,
        ..Request::new(Operation::Update, kind, new, Some(old))
    }
}

/// What becomes of an update by `user`: each code with the action taken.
fn codes(kind: Kind, new: &Value, old: &Value, user: &str) -> String {
    let request = update(kind, new, old, user);
    let verdict = judge(check(&request, &Facts::default()), &request, &Policy::default());
    let told = |finding: &Finding| format!("{} {}", finding.code, finding.action);
    verdict.findings.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// Wrong in a way that is refused, and in one that is warned of.
fn bad(kind: Kind) -> Sample {
    sample(kind, "demo").group("cpu").bounds(4, 2).replicas(11)
}

#[test]
fn writes_that_cannot_do_harm_are_not_looked_at() {
    for kind in Kind::ALL {
        let old = bad(kind).build();
        for new in [
            bad(kind).set(
                "/metadata/finalizers",
                json!(["ray.io/gcs-ft-redis-cleanup-finalizer"]),
            ),
            bad(kind).set("/metadata/labels", json!({"team": "a"})),
            bad(kind).set("/status/state", json!("ready")),
            bad(kind).replicas(12),
            bad(kind).set_group("/scaleStrategy/workersToDelete", json!(["demo-cpu-worker-x"])),
            bad(kind)
                .bounds(5, 2)
                .set("/metadata/deletionTimestamp", json!("2026-11-23T00:00:00Z")),
        ] {
            let new = new.build();
            let request = update(kind, &new, &old, "somebody");
            assert_eq!(check(&request, &Facts::default()), [], "{kind}");
            assert_eq!(
                defaults(&request, &Facts::default()),
                Vec::<Edit>::new(),
                "{kind}"
            );
        }
        let deletion = Request {
            operation: Operation::Delete,
            object: &Value::Null,
            ..update(kind, &old, &old, "somebody")
        };
        assert_eq!(check(&deletion, &Facts::default()), []);
        // A bound is no replica.
        let new = bad(kind).bounds(5, 2).build();
        assert_ne!(
            check(&update(kind, &new, &old, "somebody"), &Facts::default()),
            [],
            "{kind}"
        );
    }
}

#[test]
fn controllers_are_never_refused() {
    let old = cluster("demo").group("cpu").set_cluster("/suspend", json!(true));
    // Kueue starts what it had suspended, on nodes of its choice, and turns it back when it evicts.
    let started = old
        .clone()
        .set_cluster("/suspend", json!(false))
        .set_group("/template/spec/nodeSelector", json!({"pool": "spot"}))
        .set_group(
            "/template/spec/tolerations",
            json!([{"key": "spot", "operator": "Exists"}]),
        );
    for (new, old) in [(&started, &old), (&old, &started)] {
        assert_eq!(
            codes(Kind::Cluster, &new.clone().build(), &old.clone().build(), KUEUE),
            ""
        );
    }
    // Whatever else they write carries on what a user wrote.
    let worse = started.clone().bounds(4, 2).build();
    for user in [KUEUE, OPERATOR, AUTOSCALER] {
        let told = codes(Kind::Cluster, &worse, &started.clone().build(), user);
        assert_eq!(told, "RW-C009 Warn", "{user}");
    }
    assert_eq!(
        codes(Kind::Cluster, &worse, &started.build(), "somebody"),
        "RW-C009 Deny"
    );
}

#[test]
fn suspending_is_never_refused_for_what_was_wrong_before() {
    for kind in [Kind::Cluster, Kind::Job] {
        let suspended = bad(kind)
            .set("/spec/shutdownAfterJobFinishes", json!(true))
            .set("/spec/suspend", json!(true));
        let running = suspended.clone().set("/spec/suspend", json!(false)).build();
        let told = codes(kind, &suspended.build(), &running, "somebody");
        assert!(told.contains("RW-C009 Warn") && !told.contains("Deny"), "{told}");
    }
}

#[test]
fn a_group_is_known_by_its_name_wherever_it_stands() {
    let group = |sample: Sample, name: &str| sample.group(name).bounds(4, 2);
    let old = group(cluster("demo").group("a"), "b").build();
    let moved = group(cluster("demo"), "b").group("a").build();
    assert_eq!(codes(Kind::Cluster, &moved, &old, "somebody"), "RW-C009 Warn");
    let renamed = group(cluster("demo").group("a"), "c").build();
    assert_eq!(
        codes(Kind::Cluster, &renamed, &old, "somebody"),
        "RW-T006 Warn, RW-C009 Deny"
    );
}

#[test]
fn a_container_is_known_by_its_name_too() {
    let with = |containers: &[&str]| {
        let container = |name: &&str| json!({"name": name, "image": "rayproject/ray:2.60.0", "resources": {"limits": {"memory": "4GB", "cpu": 1}}});
        let containers: Vec<Value> = containers.iter().map(container).collect();
        cluster("demo")
            .set_cluster("/headGroupSpec/template/spec/containers", json!(containers))
            .build()
    };
    let actions = |new: &Value, old: &Value| {
        let told = codes(Kind::Cluster, new, old, "somebody");
        let quantities = told.split(", ").filter(|told| told.starts_with("RW-G011"));
        quantities.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(actions(&with(&["ray", "proxy"]), &with(&["ray"])), "RW-G011 Warn");
    assert_eq!(actions(&with(&["proxy", "ray"]), &with(&["ray"])), "RW-G011 Deny");
    assert_eq!(actions(&with(&["head"]), &with(&["ray"])), "RW-G011 Deny");
}

#[test]
fn of_twins_each_is_excused_for_itself() {
    let twin = |sample: Sample| sample.group("cpu").bounds(4, 2);
    let old = twin(cluster("demo")).build();
    let new = twin(twin(cluster("demo"))).build();
    assert_eq!(
        codes(Kind::Cluster, &new, &old, "somebody"),
        "RW-C009 Warn, RW-M009 Deny, RW-C009 Deny"
    );
}

/// As many twins as an object has room for: to count them anew for each finding would take for ever.
#[test]
fn a_long_list_is_counted_once() {
    let items = vec![json!({"name": "twin"}); 100_000];
    let object = json!({ "items": items });
    let finding = |index| Finding {
        code: "RW-C009".into(),
        path: Pointer::root().key("items").index(index),
        problem: String::new(),
        hint: String::new(),
        action: Action::Deny,
        excused: false,
        policy: None,
    };
    let before: Vec<_> = (0..100_000).map(finding).collect();
    let mut after = before.clone();
    excuse_known(&mut after, &object, &before, &object);
    assert!(after.iter().all(|finding| finding.excused));
}
