//! Policies played against small histories.

use serde_json::{Value, json};

use super::history::Columns;

fn policy(averages: i64) -> Value {
    json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "chat"},
        "spec": {"target": {"name": "chat"}, "groups": [{
            "name": "gpu",
            "maxReplicas": 4,
            "signals": [{"name": "queue", "role": "Target", "averageValue": averages, "prometheus": {"query": "queue"}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        }]},
    })
}

/// Replicas step by step.
fn played(policy: &Value, csv: &str) -> Vec<(u64, bool)> {
    let told = super::backtest(policy, None, csv, 30).expect("it can be played");
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    let moments = told["policies"][0]["moments"].as_array().expect("a list").iter();
    moments
        .map(|moment| {
            let group = &moment["groups"]["gpu"];
            (
                group["replicas"].as_u64().expect("a number"),
                group["unknown"] == true,
            )
        })
        .collect()
}

#[test]
fn a_group_follows_what_was_measured() {
    let csv = "time,queue\n0,0\n30,8\n60,100\n90,\n120,4\n150,4\n180,4\n210,4\n240,4\n270,4\n";
    let replicas: Vec<u64> = played(&policy(4), csv)
        .into_iter()
        .map(|(replicas, _)| replicas)
        .collect();
    // To the maximum, held where nothing is known; then what has idled for a minute goes, and the rest when the window is over.
    assert_eq!(replicas, [0, 2, 4, 4, 2, 2, 1, 1, 1, 1]);
    let unknown: Vec<bool> = played(&policy(4), csv)
        .into_iter()
        .map(|(_, unknown)| unknown)
        .collect();
    assert_eq!(unknown.iter().position(|unknown| *unknown), Some(3));
}

#[test]
fn a_budget_holds_in_the_past_as_well() {
    let mut policy = policy(4);
    policy["spec"]["groups"][0]["disruption"] = json!({"maxRemoved": 1, "windowSeconds": 90});
    let csv = "time,queue\n0,16\n30,16\n60,0\n90,0\n120,0\n150,0\n180,0\n210,0\n240,0\n270,0\n300,0\n330,0\n";
    let replicas: Vec<u64> = played(&policy, csv)
        .into_iter()
        .map(|(replicas, _)| replicas)
        .collect();
    assert_eq!(replicas, [4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1]);
}

#[test]
fn a_history_is_read_in_either_form() {
    let csv = Columns::read("time,queue\n1970-01-01T00:01:00Z,2.5\n120,\n").expect("CSV");
    let (from, until) = csv.span().expect("it is not empty");
    assert_eq!((from.as_second(), until.as_second()), (60, 120));
    let metrics = "# TYPE gpu_queue gauge\nqueue_length{group=\"gpu\"} 2.5 60\nother 3 90.5\n# EOF\n";
    let metrics = Columns::read(metrics).expect("OpenMetrics");
    let times = |name: &str| {
        metrics
            .series(name)
            .map(|series| series.points.into_keys().collect::<Vec<_>>())
    };
    assert_eq!(times("gpu/queue-length"), Some(vec![60_000]));
    assert_eq!(
        (times("other"), times("queue-length")),
        (Some(vec![90_500]), None)
    );

    let wrong = |text: &str| format!("{:#}", Columns::read(text).expect_err("it is wrong"));
    insta::assert_snapshot!(
        [wrong("time\n"), wrong("time,a\nnow,1\n"), wrong("time,a\n1,2,3\n"), wrong("queue 3\n"), wrong("time,a\n1,x\n")].join("\n"),
        @r"
    it has no column but `time`
    line 2: now is neither seconds since 1970 nor a time such as 2026-11-01T08:00:00Z: expected four digit year (or leading sign for six digit year), but found end of input
    line 2: it has 2 numbers for 1 columns
    line 1: it is no sample with a time
    line 2: x is no number: invalid float literal
    "
    );
}

/// Played in steps of 30 s, with replicas that take so many seconds to start.
fn run(policy: &Value, cluster: Option<&Value>, csv: &str, start_seconds: u32) -> super::Run {
    let spec = super::read_policy(policy).expect("a policy");
    let with_demand = cluster.is_some();
    let cluster = super::cluster_of(policy, &spec, cluster).expect("a cluster");
    let questions = super::replay::questions(&spec, &cluster);
    let resources = with_demand.then(|| super::replay::resources(&cluster));
    let columns = Columns::read(csv).expect("CSV");
    let history = super::of_columns(&columns, &questions, resources).expect("a history");
    super::play(&spec, &cluster, &history, (30, start_seconds), with_demand).expect("it is played")
}

/// A head without CPUs, workers of four, and some that have a GPU as well.
fn cluster() -> Value {
    let group = |name: &str, limits: Value| {
        let container = json!({"name": "ray", "resources": {"limits": limits}});
        json!({
            "groupName": name, "replicas": 0, "minReplicas": 0, "maxReplicas": 3, "rayStartParams": {},
            "template": {"spec": {"containers": [container]}},
        })
    };
    json!({
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "chat"},
        "spec": {
            "enableInTreeAutoscaling": true,
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": {"containers": [{"name": "ray"}]}}},
            "workerGroupSpecs": [
                group("gpu", json!({"cpu": 4, "memory": "1Gi", "nvidia.com/gpu": 1})),
                group("cpu", json!({"cpu": 4, "memory": "1Gi"})),
            ],
        },
    })
}

#[test]
fn what_ray_asked_for_is_played_too() {
    // The GPU is used throughout, and nobody knows what was asked for at the time of the empty cell.
    let csv = "time,queue,ray/CPU,ray/GPU
        0,0,0,0\n30,0,9.5,1\n60,0,9.5,1\n90,0,30,1\n120,0,30,1\n150,0,1,1\n180,0,1,1\n210,0,,1\n240,0,1,1\n270,0,1,1";
    let run = |policy: &Value, cluster: Option<&Value>| super::Run {
        name: "chat".to_owned(),
        ..run(policy, cluster, csv, 20)
    };
    insta::assert_snapshot!(super::told::text(&[run(&policy(4), Some(&cluster()))]), @r"
    chat
    time                      gpu      cpu
    1970-01-01T00:00:00Z        0        0  Ray's demand; the minimum
    1970-01-01T00:00:30Z        1        2  Ray's demand
    1970-01-01T00:01:30Z        3        3  Ray's demand; the maximum
    1970-01-01T00:04:00Z        3        0  Ray's demand
    1970-01-01T00:04:30Z        1        0  Ray's demand

    gpu: 0 to 3 replicas, 0.17 replica hours, 3 changes of which 1 were taken back within 10 minutes, short by 0.00 replica hours
    cpu: 0 to 3 replicas, 0.16 replica hours, 3 changes of which 1 were taken back within 10 minutes, short by 0.00 replica hours
    what Ray asked for, taken for pieces of one unit: CPU: 30 at most, 0.69 hours of which 0.28 without a node; GPU: 1 at most, 0.07 hours of which 0.01 without a node; not known in 1 of 10 steps
    ");
    let json: Value =
        serde_json::from_str(&super::told::json(&[run(&policy(4), Some(&cluster()))])).expect("JSON");
    let told = &json["policies"][0];
    assert_eq!(told["unknownDemandSteps"], 1);
    assert_eq!(
        told["moments"][1]["demand"],
        json!({"asked": {"CPU": 9.5, "GPU": 1.0}, "unmet": {"CPU": 9.5, "GPU": 1.0}})
    );
    let svg = super::told::svg(&[run(&policy(4), Some(&cluster()))]);
    assert!(svg.contains("asked for by Ray, without a node"), "{svg}");

    // Without a cluster nobody knows what a worker offers, and without columns what was asked for.
    assert!(!super::told::text(&[run(&policy(4), None)]).contains("Ray"));
    let unmeasured = self::run(&policy(4), Some(&cluster()), "time,queue\n0,0\n", 0);
    let told = super::told::text(&[unmeasured]);
    assert!(told.contains("what Ray asked for was not measured"), "{told}");
}

#[test]
fn policies_are_told_apart() {
    let csv = "time,queue\n0,0\n30,8\n60,8\n90,8\n";
    let run = |averages| super::Run {
        name: format!("{averages} each"),
        prices: [("gpu".to_owned(), 3.6)].into(),
        ..run(&policy(averages), None, csv, 45)
    };
    let runs = [run(4), run(2)];
    insta::assert_snapshot!(super::told::text(&runs), @r"
    4 each
    time                      gpu
    1970-01-01T00:00:00Z        0  the minimum
    1970-01-01T00:00:30Z        2  signal queue

    gpu: 0 to 2 replicas, 0.05 replica hours, cost 0.18, 1 changes of which 0 were taken back within 10 minutes, short by 0.03 replica hours

    2 each
    time                      gpu
    1970-01-01T00:00:00Z        0  the minimum
    1970-01-01T00:00:30Z        4  the maximum

    gpu: 0 to 4 replicas, 0.10 replica hours, cost 0.36, 1 changes of which 0 were taken back within 10 minutes, short by 0.07 replica hours
    ");
    let svg = super::told::svg(&runs);
    assert_eq!(svg.matches("font-weight").count(), 6, "{svg}");
}
