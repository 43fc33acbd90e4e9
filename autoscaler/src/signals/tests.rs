//! Answers of servers, policies, and what both come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use jiff::Timestamp;
use kube::api::DynamicObject;
use planner::signal::{Composed, Factor, Reading};
use ray::scaling_policy::Role;
use ray::scaling_policy::status::GroupStatus;
use serde_json::{Value, json};

use super::access::Endpoint;
use super::policies::{Policies, ScalingPolicy};
use super::prometheus::{Failure, Of, read};
use super::queries::{Answer, Queries, Query};
use super::{Settings, status, wish};
use crate::adoption::Shadowed;
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::signals::{Fleet, GroupTold, status::Heard};

#[test]
fn only_one_number_is_an_answer() {
    let said = |status: u16, answer: Value| match read(status, answer.to_string().as_bytes())
        .and_then(|numbers| numbers.number(None))
    {
        Ok(value) => format!("{value}"),
        Err(failure) => failure.to_string(),
    };
    let result = |of: &str, result: Value| {
        said(
            200,
            json!({"status": "success", "data": {"resultType": of, "result": result}}),
        )
    };
    let series = |value: &str| json!({"metric": {}, "value": [1.5, value]});
    insta::assert_snapshot!(
        [
            result("vector", json!([series("2.5")])),
            result("scalar", json!([1.5, "3"])),
            result("vector", json!([])),
            result("vector", json!([series("1"), series("2")])),
            result("vector", json!([series("NaN")])),
            result("vector", json!([series("+Inf")])),
            result("vector", json!([{"metric": {}, "histogram": [1.5, {}]}])),
            result("matrix", json!([])),
            result("string", json!([1.5, "text"])),
            said(400, json!({"status": "error", "errorType": "bad_data", "error": "parse error"})),
            said(200, json!({"status": "success", "warnings": ["a store is gone"], "data": {"resultType": "vector", "result": [series("1")]}})),
            said(503, json!("busy")),
            said(200, json!("hello")),
        ]
        .join("\n"),
        @r"
    2.5
    3
    the query finds no series
    the query finds 2 series: put it into sum(), max() or the like
    the query yields NaN
    the query yields +Inf
    the query yields a histogram, not a number
    the query yields a matrix, not a number
    the query yields a string, not a number
    the server refuses the query: parse error
    the answer is not complete: a store is gone
    the server answers with status 503
    the server does not answer as Prometheus does
    "
    );
}

#[test]
fn one_answer_serves_a_fleet() {
    let series = |namespace: &str, cluster: &str, group: &str, value: &str| {
        json!({
            "metric": {"namespace": namespace, "ray_io_cluster": cluster, "ray_io_group": group, "pod": "x"},
            "value": [0, value],
        })
    };
    let all = json!([
        series("ml", "b", "gpu", "4"),
        series("ml", "a", "cpu", "1"),
        series("ml", "a", "gpu", "2"),
        series("ops", "a", "cpu", "NaN"),
        {"metric": {}, "value": [0, "9"]},
    ]);
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": all}});
    let numbers = read(200, answer.to_string().as_bytes()).expect("an answer");
    let said = |namespace: &str, cluster: &str, group: Option<&str>| {
        let of = Of {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            group: group.map(str::to_owned),
        };
        match numbers.number(Some(&of)) {
            Ok(number) => number.to_string(),
            Err(failure) => failure.to_string(),
        }
    };
    insta::assert_snapshot!(
        [
            said("ml", "a", Some("gpu")),
            said("ml", "b", None),
            said("ml", "a", None),
            said("ops", "a", None),
            said("ml", "b", Some("cpu")),
            said("ml", "c", None),
        ]
        .join("\n"),
        @r#"
    2
    4
    the query finds 2 series: put it into sum(), max() or the like
    the query yields NaN
    no series of the query has the labels namespace="ml", ray_io_cluster="b", ray_io_group="cpu"
    no series of the query has the labels namespace="ml", ray_io_cluster="c"
    "#
    );
}

/// A server that answers every query with its length, and counts.
async fn server() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = |State(asked): State<Arc<AtomicUsize>>, RawQuery(query): RawQuery| async move {
        asked.fetch_add(1, Ordering::Relaxed);
        let length = query.unwrap_or_default().len().to_string();
        json!({"status": "success", "data": {"resultType": "scalar", "result": [0, length]}}).to_string()
    };
    let router = Router::new()
        .route("/prefix/api/v1/query", get(answer))
        .with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}/prefix", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

#[tokio::test]
async fn each_query_is_asked_once_a_round_however_many_want_its_answer() {
    // It may be there already.
    let _ = certs::install_provider();
    let (address, asked) = server().await;
    let settings = Settings {
        servers: Vec::new(),
        credentials: None,
        period: Duration::from_hours(1),
    };
    let queries = Queries::new(settings, None);
    let query = |promql: &str| Query {
        endpoint: Endpoint {
            server: Some(address.clone()),
            ..Endpoint::default()
        },
        promql: promql.to_owned(),
        of: None,
    };
    for _ in 0..100 {
        for one in [query("up"), query("sum(up)")] {
            assert_eq!(queries.ask(&one, Instant::now()), Answer::default());
        }
    }
    let asking = tokio::spawn(queries.clone().run(Metrics::new()));
    let answered = async {
        while queries.ask(&query("sum(up)"), Instant::now()).now.is_err()
            || queries.ask(&query("up"), Instant::now()).now.is_err()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .expect("both are answered");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(queries.ask(&query("up"), Instant::now()).now, Ok(8.0));
    // A new one is asked at once; those that have been answered are not asked again for it.
    let third = async {
        while queries.ask(&query("max(up)"), Instant::now()).now.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), third)
        .await
        .expect("it is answered");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    // A hundred clusters want a number each of one answer.
    let of = |cluster: usize| Query {
        of: Some(Of {
            namespace: "ml".to_owned(),
            cluster: cluster.to_string(),
            group: None,
        }),
        ..query("sum by (ray_io_cluster) (up)")
    };
    let clusters = async {
        for cluster in 0..100 {
            queries.ask(&of(cluster), Instant::now());
        }
        while (0..100).any(|cluster| queries.ask(&of(cluster), Instant::now()).now == Err(Failure::NotYet)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), clusters)
        .await
        .expect("all are answered");
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // An answer that nobody renews says nothing in the end.
    let late = queries.ask(&query("up"), Instant::now() + Duration::from_hours(4));
    assert_eq!((late.now, late.last), (Err(Failure::TooLate), Some(8.0)));
    asking.abort();
}

pub(super) fn policy(name: &str, created: &str, spec: &Value) -> Arc<ScalingPolicy> {
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ml", "generation": 3, "creationTimestamp": created},
        "spec": spec,
    }))
    .expect("an object");
    ScalingPolicy::read(("ml".to_owned(), name.to_owned()), &object, None)
}

pub(super) fn cluster(name: &str, labels: &Value) -> Cluster {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": "ml", "labels": labels},
        "spec": {},
    }))
    .expect("an object");
    Cluster::read(&object).expect("a cluster")
}

pub(super) const OLD: &str = "2026-11-01T00:00:00Z";
const NEW: &str = "2026-11-02T00:00:00Z";

#[test]
fn a_group_follows_the_oldest_policy_that_names_it() {
    let floor = |replicas: u32| json!([{"name": "floor", "role": "Floor", "schedule": {"start": "* * * * *", "end": "0 0 1 1 *", "replicas": replicas}}]);
    let policies = Policies::of_these(vec![
        policy(
            "new",
            NEW,
            &json!({"target": {"name": "demo"}, "groups": [{"signals": floor(1)}]}),
        ),
        policy(
            "old",
            OLD,
            &json!({"target": {"name": "demo"}, "groups": [{"name": "gpu", "signals": floor(2)}]}),
        ),
        policy(
            "other",
            OLD,
            &json!({"target": {"name": "elsewhere"}, "groups": [{"signals": floor(3)}]}),
        ),
        policy(
            "service",
            OLD,
            &json!({"target": {"kind": "RayService", "name": "chat"}, "groups": [{"signals": floor(4)}]}),
        ),
    ]);
    let of = |cluster: &Cluster| {
        let followed = policies.of(&cluster.metadata, &["cpu", "gpu"]);
        let rows = followed.iter().map(|row| {
            let other = row
                .other
                .map(|other| format!(", but {other} is older"))
                .unwrap_or_default();
            format!("{} by {}{other}", row.group, row.policy.key.1)
        });
        rows.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(of(&cluster("demo", &json!({}))), @r"
    gpu by old
    cpu by new
    gpu by new, but old is older
    ");
    let made_for_chat =
        json!({"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "chat"});
    insta::assert_snapshot!(of(&cluster("chat-x7k2p", &made_for_chat)), @r"
    cpu by service
    gpu by service
    ");
    assert_eq!(of(&cluster("chat", &json!({}))), "");
}

#[test]
fn a_policy_that_goes_bad_is_followed_as_it_was() {
    let good = policy(
        "a",
        OLD,
        &json!({"target": {"name": "demo"}, "groups": [{"minReplicas": 2}]}),
    );
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "ml", "generation": 4},
        "spec": {"target": {"name": "demo"}, "groups": []},
    }))
    .expect("an object");
    let bad = ScalingPolicy::read(good.key.clone(), &object, Some(&good));
    assert_eq!(bad.problems.len(), 1);
    let policies = Policies::of_these(vec![bad]);
    let cluster = cluster("demo", &json!({}));
    let followed = policies.of(&cluster.metadata, &["cpu"]);
    assert_eq!(followed[0].wants.min_replicas, Some(2));
}

#[test]
fn what_is_not_known_for_long_falls_back() {
    let signal = |fallback: Value| {
        json!({"target": {"name": "demo"}, "groups": [{"signals": [{
            "name": "queue", "role": "Target", "averageValue": 2, "fallback": fallback,
            "prometheus": {"query": "sum(queue{c=\"$cluster\",n=\"$namespace\",g=\"$group\"})"},
        }]}]})
    };
    let reading = |fallback: Value, failures: u32| {
        let policies = Policies::of_these(vec![policy("a", OLD, &signal(fallback))]);
        let cluster = cluster("demo", &json!({}));
        let followed = policies.of(&cluster.metadata, &["cpu"]);
        let ask = |query: &Query| {
            assert_eq!(query.promql, "sum(queue{c=\"demo\",n=\"ml\",g=\"cpu\"})");
            Answer {
                now: Err(Failure::Empty),
                last: Some(7.0),
                failures,
                age: None,
            }
        };
        let (wish, heard) = wish::wish(&followed[0], &cluster, ask, Timestamp::UNIX_EPOCH);
        assert_eq!(heard[0].problem.as_deref(), Some("the query finds no series"));
        wish.signals[0].reading
    };
    assert_eq!(reading(Value::Null, 9), Reading::Unknown);
    assert_eq!(
        reading(json!({"behavior": "Static", "replicas": 4}), 2),
        Reading::Unknown
    );
    assert_eq!(
        reading(json!({"behavior": "Static", "replicas": 4}), 3),
        Reading::Replicas(4)
    );
    assert_eq!(
        reading(json!({"behavior": "Last", "failures": 1}), 1),
        Reading::Value(planner::signal::Milli(7000))
    );
    assert_eq!(reading(json!({"behavior": "Ignore"}), 3), Reading::Silent);
}

/// A group that its maximum lets have three, with what its signals stand for.
fn at_maximum(proposals: &[(&str, Option<u64>)]) -> Composed {
    let proposals = proposals
        .iter()
        .map(|(name, replicas)| ((*name).to_owned(), *replicas));
    Composed {
        group: "cpu".to_owned(),
        from: 1,
        to: 3,
        by: Factor::Maximum,
        proposals: proposals.collect(),
    }
}

#[test]
fn a_status_says_what_decided_and_what_is_not_known() {
    let spec = json!({"target": {"name": "demo"}, "groups": [{"maxReplicas": 3}]});
    let policies = Policies::of_these(vec![policy("a", OLD, &spec)]);
    let cluster = cluster("demo", &json!({}));
    let followed = policies.of(&cluster.metadata, &["cpu"]);
    let composed = at_maximum(&[("queue", Some(9)), ("gpu", None)]);
    let heard = |problem: Option<Failure>| Heard {
        role: Role::Target,
        value: None,
        age: None,
        problem: problem.map(|problem| problem.to_string()),
    };
    let heard = vec![vec![heard(None), heard(Some(Failure::Empty))]];
    let told = status::told(&cluster, &followed, &[composed], heard);
    let clusters = [("ml".to_owned(), "demo".to_owned())];
    let rows: Vec<_> = told.groups.iter().map(|told| told.status.clone()).collect();
    let at = |second| Timestamp::from_second(second).expect("a time");
    let status = |written: &Value, now| {
        let policy = followed[0].policy;
        json!(status::status(policy, &clusters, rows.clone(), written, now))
    };
    let first = status(&Value::Null, at(0));
    insta::assert_json_snapshot!(first, @r#"
    {
      "conditions": [
        {
          "lastTransitionTime": "1970-01-01T00:00:00Z",
          "message": "the policy can be followed",
          "observedGeneration": 3,
          "reason": "Valid",
          "status": "True",
          "type": "Ready"
        },
        {
          "lastTransitionTime": "1970-01-01T00:00:00Z",
          "message": "gpu: the query finds no series",
          "observedGeneration": 3,
          "reason": "FailedGetSignals",
          "status": "False",
          "type": "ScalingActive"
        },
        {
          "lastTransitionTime": "1970-01-01T00:00:00Z",
          "message": "nothing keeps the number of replicas from changing",
          "observedGeneration": 3,
          "reason": "ReadyForNewScale",
          "status": "True",
          "type": "AbleToScale"
        },
        {
          "lastTransitionTime": "1970-01-01T00:00:00Z",
          "message": "cpu is bounded by the maximum",
          "observedGeneration": 3,
          "reason": "TooManyReplicas",
          "status": "True",
          "type": "ScalingLimited"
        }
      ],
      "desiredReplicas": 3,
      "groups": [
        {
          "cluster": "demo",
          "desiredReplicas": 3,
          "limitedBy": "the maximum",
          "name": "cpu",
          "reason": "TooManyReplicas",
          "replicas": 1,
          "signals": [
            {
              "name": "queue",
              "replicas": 9
            },
            {
              "name": "gpu",
              "problem": "the query finds no series"
            }
          ]
        }
      ],
      "limitedBy": "the maximum",
      "mode": "Active",
      "observedGeneration": 3,
      "replicas": 1
    }
    "#);
    assert_eq!(status(&first, at(60)), first, "nothing has changed since");
}

#[test]
fn of_a_cluster_that_somebody_else_scales_it_is_shown_what_would_be_done() {
    let policies = Policies::of_these(vec![policy(
        "a",
        OLD,
        &json!({"target": {"name": "demo"}, "groups": [{}]}),
    )]);
    let cluster = cluster("demo", &json!({}));
    let followed = policies.of(&cluster.metadata, &["cpu"]);
    let composed = at_maximum(&[]);
    let told = status::told(&cluster, &followed, &[composed], Vec::new());
    let mut told = told.shadowed(&Shadowed::ByHead("old".to_owned()));
    let row = told.groups.remove(0).status;
    assert_eq!((row.replicas, row.desired_replicas), (1, 3));
    let clusters = [("ml".to_owned(), "demo".to_owned())];
    let policy = followed[0].policy;
    let status = status::status(policy, &clusters, vec![row], &Value::Null, Timestamp::UNIX_EPOCH);
    let mut conditions = status.conditions.iter();
    let able = conditions
        .find(|condition| condition.of == "AbleToScale")
        .expect("a condition");
    assert_eq!(
        (able.status.as_str(), able.reason.as_str()),
        ("False", "Shadowed")
    );
    assert_eq!(
        able.message,
        "demo: the maximum, only shown: the head old has an autoscaler of its own"
    );
}

#[test]
fn a_number_from_outside_is_a_floor_of_the_only_group() {
    let spec = json!({"target": {"name": "demo"}, "replicas": 3, "groups": [{"name": "cpu"}]});
    let policies = Policies::of_these(vec![policy("a", OLD, &spec)]);
    let cluster = cluster("demo", &json!({}));
    let followed = policies.of(&cluster.metadata, &["cpu"]);
    let ask = |_: &Query| unreachable!("nothing is measured");
    let (wish, heard) = wish::wish(&followed[0], &cluster, ask, Timestamp::UNIX_EPOCH);
    assert_eq!((wish.signals[0].reading, heard.len()), (Reading::Replicas(3), 1));
    let clusters = ["demo", "other"].map(|name| ("ml".to_owned(), name.to_owned()));
    let selector = |clusters| {
        let policy = followed[0].policy;
        status::status(policy, clusters, Vec::new(), &Value::Null, Timestamp::UNIX_EPOCH).selector
    };
    assert_eq!(selector(&[]), None);
    assert_eq!(
        selector(&clusters[..1]).as_deref(),
        Some("ray.io/cluster=demo,ray.io/group=cpu")
    );
    assert_eq!(
        selector(&clusters).as_deref(),
        Some("ray.io/cluster in (demo,other),ray.io/group=cpu")
    );
}

#[test]
fn a_policy_whose_cluster_is_gone_says_so() {
    let spec = json!({"target": {"kind": "RayService", "name": "chat"}, "groups": [{"name": "cpu"}]});
    let policy = policy("a", OLD, &spec);
    let fleet = Fleet::default();
    let made_for_chat = |name| {
        let labels =
            json!({"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "chat"});
        Arc::new(cluster(name, &labels))
    };
    let key = |name: &str| ("ml".to_owned(), name.to_owned());
    for name in ["chat-old", "chat-new", "other"] {
        let cluster = if name == "other" {
            Arc::new(cluster(name, &json!({})))
        } else {
            made_for_chat(name)
        };
        fleet.see(&key(name), Some(&cluster));
    }
    assert_eq!(fleet.of(&policy), [key("chat-new"), key("chat-old")]);
    assert_eq!(fleet.changed().len(), 1);
    fleet.see(&key("chat-old"), Some(&made_for_chat("chat-old")));
    assert!(fleet.changed().is_empty(), "nothing that matters has changed");
    fleet.see(&key("chat-old"), None);
    fleet.see(&key("chat-new"), None);
    let status = status::status(
        &policy,
        &fleet.of(&policy),
        Vec::new(),
        &Value::Null,
        Timestamp::UNIX_EPOCH,
    );
    let told = status.conditions.iter();
    let told: Vec<_> = told
        .map(|condition| format!("{} {}: {}", condition.of, condition.reason, condition.message))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    Ready Valid: the policy can be followed
    ScalingActive NoCluster: RayService chat has no cluster that Rayward scales
    AbleToScale NoCluster: RayService chat has no cluster that Rayward scales
    ");
}

#[test]
fn only_another_reason_is_news() {
    let row = |group: &str, limited_by: &str, reason: &str| GroupStatus {
        cluster: "demo".to_owned(),
        name: group.to_owned(),
        replicas: 1,
        desired_replicas: 2,
        limited_by: limited_by.to_owned(),
        reason: reason.to_owned(),
        signals: Vec::new(),
    };
    let before = [
        row("a", "signal queue", "Signal"),
        row("b", "Ray's demand", "RayDemand"),
    ];
    let now = [
        row("a", "the maximum", "TooManyReplicas"),
        row("b", "Ray's demand", "RayDemand"),
        row("c", "Ray's demand", "RayDemand"),
        row("d", "signal queue", "Signal"),
    ];
    let now = now.map(|status| GroupTold {
        policy: ("ml".to_owned(), "a".to_owned()),
        status,
        heard: Vec::new(),
    });
    insta::assert_snapshot!(status::news(&before.iter().collect::<Vec<_>>(), now.iter()).join("\n"), @r"
    a of demo: 1 -> 2 replicas by the maximum (was signal queue)
    d of demo: 1 -> 2 replicas by signal queue
    ");
}
