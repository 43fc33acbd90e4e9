use insta::assert_snapshot;
use planner::{Batch, Gang, Request};
use ray::resources::{Amount, Resources};
use serde_json::{Value, json};

use super::Recording;
use crate::gcs::Report;
use crate::simulate::simulate;
use crate::tests::report;

/// A head with one group of 4-CPU workers.
fn object() -> Value {
    let template =
        json!({ "spec": { "containers": [{ "name": "ray", "resources": { "limits": { "cpu": 4 } } }] } });
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": { "name": "demo", "namespace": "team", "uid": "u", "resourceVersion": "7", "managedFields": [] },
        "spec": {
            "enableInTreeAutoscaling": true,
            "headGroupSpec": { "rayStartParams": { "num-cpus": "0" }, "template": template },
            "workerGroupSpecs": [{
                "groupName": "small", "replicas": 0, "minReplicas": 0, "maxReplicas": 10, "rayStartParams": {},
                "scaleStrategy": { "workersToDelete": ["gone"] }, "template": template,
            }],
        },
        "status": { "state": "ready" },
    })
}

/// So many tasks of one CPU wait, and so many CPUs of the nodes stated are taken.
fn state(waiting: u64, taken: &[u8]) -> Report {
    let nodes: Vec<String> = (0..taken.len()).map(|index| format!("n{index} busy")).collect();
    let mut report = report(&nodes.join("\n"), waiting);
    for (node, taken) in report.nodes.iter_mut().zip(taken) {
        let free = Amount::units(4_u8 - taken);
        node.available = [("CPU", free)]
            .into_iter()
            .filter(|(_, free)| *free > Amount::ZERO)
            .collect();
    }
    report
}

/// What each step of the demand says, a line each.
fn told(scenario: &Value) -> String {
    let steps = scenario["demand"].as_array().expect("steps").iter();
    steps.map(Value::to_string).collect::<Vec<_>>().join("\n")
}

fn recorded(looks: &[(u64, Report)]) -> Value {
    let mut recording = Recording::new(&object());
    for (second, report) in looks {
        recording.look(report, *second);
    }
    recording.scenario(Some((3, 8)))
}

#[test]
fn what_waited_ran_and_ended_is_a_step() {
    let scenario = recorded(&[
        (0, state(0, &[])),
        (5, state(8, &[])),
        (20, state(0, &[4, 4])),
        (50, state(0, &[4, 2])),
        (60, state(0, &[0, 0])),
    ]);
    assert_snapshot!(told(&scenario), @r#"
    {"atSecond":5,"requests":[{"count":2,"labelSelectors":[[]],"resources":{"CPU":1}}],"runSeconds":30}
    {"atSecond":5,"requests":[{"count":6,"labelSelectors":[[]],"resources":{"CPU":1}}],"runSeconds":40}
    "#);
    assert_eq!(scenario["startSeconds"], json!([3, 8]));
    assert_eq!(
        scenario["rayCluster"]["metadata"],
        json!({ "name": "demo", "namespace": "team" })
    );
}

#[test]
fn whatever_is_still_there_at_the_end_has_no_end() {
    assert_snapshot!(told(&recorded(&[(0, state(4, &[])), (9, state(1, &[3]))])), @r#"{"atSecond":0,"requests":[{"count":4,"labelSelectors":[[]],"resources":{"CPU":1}}]}"#);
}

/// Where each that ends makes room for the next, that there are fewer waiting tells it.
#[test]
fn one_follows_the_other() {
    let looks: Vec<_> = (0..4).map(|second| (second, state(3 - second, &[1]))).collect();
    assert_snapshot!(told(&recorded(&looks)), @r#"
    {"atSecond":0,"requests":[{"count":1,"labelSelectors":[[]],"resources":{"CPU":1}}]}
    {"atSecond":0,"requests":[{"count":3,"labelSelectors":[[]],"resources":{"CPU":1}}],"runSeconds":1}
    "#);
}

#[test]
fn what_was_never_seen_to_wait_is_one_task_of_its_node() {
    assert_snapshot!(told(&recorded(&[(0, state(0, &[3, 1])), (7, state(0, &[0, 1]))])), @r#"
    {"atSecond":0,"requests":[{"count":1,"resources":{"CPU":1}}]}
    {"atSecond":0,"requests":[{"count":1,"resources":{"CPU":3}}],"runSeconds":7}
    "#);
}

#[test]
fn placement_groups_are_known_by_their_names() {
    let bundle = Request {
        resources: [("CPU", Amount::ONE)].into_iter().collect(),
        ..Request::default()
    };
    let mut waiting = state(0, &[]);
    waiting.demand.gangs.push(Gang {
        details: "0abc:STRICT_PACK|PENDING".to_owned(),
        bundles: vec![bundle; 2],
    });
    let mut placed = state(0, &[2]);
    placed.nodes[0]
        .labels
        .insert("_PG_0abc".to_owned(), String::new());
    let reserved: Resources = [
        ("CPU_group_0abc", 2_u8),
        ("CPU_group_0_0abc", 1),
        ("CPU_group_1_0abc", 1),
    ]
    .into_iter()
    .map(|(name, units)| (name, Amount::units(units)))
    .collect();
    placed.nodes[0].total.add(&reserved);
    let scenario = recorded(&[(2, waiting), (12, placed), (42, state(0, &[0]))]);
    assert_snapshot!(told(&scenario), @r#"{"atSecond":2,"gangs":[{"bundles":[{"resources":{"CPU":1}},{"resources":{"CPU":1}}],"details":"0abc:STRICT_PACK|PENDING"}],"runSeconds":30}"#);
}

#[test]
fn what_request_resources_asks_for_is_told_when_it_changes() {
    let asking = |count: Option<u64>| {
        let mut report = state(0, &[]);
        report.demand.constraint = count.map(|count| {
            let request = Request {
                resources: [("CPU", Amount::ONE)].into_iter().collect(),
                ..Request::default()
            };
            vec![Batch { request, count }]
        });
        report
    };
    let scenario = recorded(&[
        (0, asking(None)),
        (3, asking(Some(4))),
        (4, asking(Some(4))),
        (9, asking(None)),
    ]);
    assert_snapshot!(told(&scenario), @r#"
    {"atSecond":3,"constraint":[{"count":4,"resources":{"CPU":1}}]}
    {"atSecond":9,"constraint":[]}
    "#);
}

/// What was recorded can be played: eight tasks of half a minute need two nodes of four.
#[test]
fn a_recording_is_a_scenario() {
    let scenario = recorded(&[
        (0, state(0, &[])),
        (5, state(8, &[])),
        (20, state(0, &[4, 4])),
        (50, state(0, &[])),
    ]);
    let played: Value =
        serde_json::from_str(&simulate(&scenario.to_string()).expect("a scenario")).expect("JSON");
    let text = played.to_string();
    assert!(
        text.contains("small: 0 -> 2 replicas, 2 nodes for tasks and actors"),
        "{text}"
    );
}
