use std::collections::VecDeque;
use std::sync::Arc;

use insta::assert_snapshot;
use planner::{Memory, Policy};
use ray::scaling_policy::Role;
use ray::scaling_policy::status::{GroupStatus, SignalStatus};
use serde_json::json;

use super::explain;
use crate::adoption::Shadowed;
use crate::journal::{Entry, Journal, Look, Past, waiting};
use crate::observe::observe;
use crate::patience::Patience;
use crate::signal_metrics::signal_metrics;
use crate::signals::{GroupTold, Heard};
use crate::tests::{cluster, looked, report, time, told, view};
use crate::tick::Outcome;
use crate::waiting::{Reason, Waiting};

/// A cluster of one group with a busy node, one that finds no place, and more work than it may have nodes for.
fn entry() -> Entry {
    let cluster = cluster(&json!({ "replicas": 2, "maxReplicas": 2 }));
    let mut view = view("a running\nb pending");
    let stuck = Arc::make_mut(view.pods.get_mut("b").expect("b is there"));
    stuck.waiting = Some(Waiting {
        reason: Reason::Unschedulable,
        since: Some(time(0)),
        message: "Unschedulable: 0/2 nodes are available".to_owned(),
    });
    let report = report("a busy", 9);
    let mut observation = observe(&cluster, &view, &report, 0);
    let waits = Patience::new(10).judge(&cluster, &view, &observation.snapshot, time(20));
    waits.mark(&mut observation.snapshot, &view);
    let look = Look {
        at: time(20),
        policies: vec![wanted()],
        passes: waits.passes,
        waiting: waiting(&view).collect(),
        ..looked(observation.snapshot, Outcome::Waiting)
    };
    Entry {
        held: None,
        look: Some(Arc::new(look)),
        history: VecDeque::from([Past {
            at: time(0),
            outcome: Outcome::Patched,
            changes: vec!["small: 1 -> 2 replicas, 1 node for tasks and actors".to_owned()],
        }]),
    }
}

/// A policy that wants more than there may be.
fn wanted() -> GroupTold {
    let signal = |name: &str, replicas, problem: Option<&str>| SignalStatus {
        name: name.to_owned(),
        replicas,
        problem: problem.map(str::to_owned),
    };
    let heard = |role, value, problem: Option<&str>| Heard {
        role,
        value,
        age: value.map(|_| std::time::Duration::from_secs(3)),
        problem: problem.map(str::to_owned),
    };
    let gone = Some("the query finds no series");
    GroupTold {
        policy: ("default".to_owned(), "chat".to_owned()),
        status: GroupStatus {
            cluster: "demo".to_owned(),
            name: "small".to_owned(),
            replicas: 2,
            desired_replicas: 2,
            limited_by: "the maximum".to_owned(),
            signals: vec![
                signal("queue", Some(5), None),
                signal("pressure", None, gone),
                signal("office", Some(1), None),
            ],
            ..GroupStatus::default()
        },
        heard: vec![
            heard(Role::Target, Some(20.0), None),
            heard(Role::Guard, None, gone),
            heard(Role::Floor, None, None),
        ],
    }
}

#[test]
fn what_signals_say_is_measured() {
    let journal = Journal::default();
    let page = journal.page("default", "demo");
    let look = entry().look.expect("there is one");
    page.looked(Arc::into_inner(look).expect("nobody else has it"));
    assert_snapshot!(told(&signal_metrics(&journal)), @r#"
    rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="office",role="Floor"} 1
    rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="pressure",role="Guard"} 0
    rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="queue",role="Target"} 1
    rayward_autoscaler_signal_replicas{namespace="default",policy="chat",signal="office",role="Floor"} 1
    rayward_autoscaler_signal_replicas{namespace="default",policy="chat",signal="queue",role="Target"} 5
    rayward_autoscaler_signal_value{namespace="default",policy="chat",signal="queue",role="Target"} 20.0
    rayward_autoscaler_signals_left_out 0
    "#);
}

#[test]
fn for_people() {
    assert_snapshot!(explain("default", "demo", &entry()), @r"
    RayCluster default/demo

    Last look 2030-01-01T10:00:20Z at the head 10.0.0.1:6379: Waiting

    Groups
      small: 2 replicas (from 0 to 2), nodes: 1 busy, 1 stuck
        passed over until 2030-01-01T10:01:20Z, or until a Pod of it runs: b waits: Unschedulable: 0/2 nodes are available
        it is at its maximum; raise maxReplicas for more
        policy chat: 2 -> 2 replicas, decided by the maximum
          queue (Target): 20, 3 s old, stands for 5 replicas
          pressure (Guard): not known, the query finds no series
          office (Floor): on, stands for 1 replicas

    Waits without a place
      5 x {CPU: 1}
        not onto small: it has reached its maximum of 2 nodes

    Pods that are not Ray nodes yet
      b since 2030-01-01T10:00:00Z: Unschedulable: 0/2 nodes are available

    Last decisions
      2030-01-01T10:00:00Z Patched: small: 1 -> 2 replicas, 1 node for tasks and actors
    ");
}

#[test]
fn what_is_only_shadowed_says_so() {
    let cluster = cluster(&json!({ "replicas": 1 }));
    let report = report("a busy", 1);
    let snapshot = observe(&cluster, &view("a running"), &report, 0).snapshot;
    let mut entry = entry();
    let look = Arc::get_mut(entry.look.as_mut().expect("there is one")).expect("nobody else has it");
    look.plan = planner::plan(&snapshot, &Memory::default(), &Policy::default());
    look.shadowed = Some(Shadowed::Asked);
    let text = explain("default", "demo", &entry).to_string();
    for line in [
        "Only shadowed: its mode is shadow; Rayward only looks on",
        "    decided, and not carried out: small: 1 -> 2 replicas, 1 node for tasks and actors",
    ] {
        assert!(text.lines().any(|said| said == line), "`{line}` is not in {text}");
    }
}

#[test]
fn what_holds_is_said_first() {
    let entry = Entry {
        held: Some((time(0), "there is no running head".to_owned())),
        ..Entry::default()
    };
    assert_snapshot!(explain("default", "demo", &entry), @r"
    RayCluster default/demo

    Nothing is decided since 2030-01-01T10:00:00Z: there is no running head
    ");
}

#[test]
fn programs_read_what_people_read() {
    let explanation = explain("default", "demo", &entry());
    let json = serde_json::to_string(&explanation).expect("it is JSON");
    let again: super::Explanation = serde_json::from_str(&json).expect("it is read again");
    assert_eq!(again.to_string(), explanation.to_string());
}
