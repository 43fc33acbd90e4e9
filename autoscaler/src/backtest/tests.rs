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

#[test]
fn policies_are_told_apart() {
    let csv = "time,queue\n0,0\n30,8\n60,8\n90,8\n";
    let run = |averages| {
        let spec = super::read_policy(&policy(averages)).expect("a policy");
        let cluster = super::cluster_of(&policy(averages), &spec, None).expect("a cluster");
        let questions = super::replay::questions(&spec, &cluster);
        let (from, until, history) =
            super::of_columns(&Columns::read(csv).expect("CSV"), &questions).expect("a history");
        let setting = super::Setting {
            cluster: &cluster,
            from,
            until,
            step_seconds: 30,
            start_seconds: 45,
        };
        super::Run {
            name: format!("{averages} each"),
            prices: [("gpu".to_owned(), 3.6)].into(),
            ..super::play(&spec, &setting, &history).expect("it is played")
        }
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
