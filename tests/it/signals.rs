//! Scaling by policies, end to end: by the clock, and by the answers of a server. That one only speaks as Prometheus does, and says what a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

const SECOND: Duration = Duration::from_secs(1);
const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");

/// A floor by the clock is recommended, followed, paused, and given up with the policy.
pub(crate) async fn a_policy_recommends_acts_pauses_and_goes(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("clock").await?;
    namespace.apply(BARE).await?;
    namespace.ready_head("demo", 240 * SECOND).await?;
    // From any minute to a day that comes once in four years.
    let floor = |mode: &str, replicas: u32| {
        json!({
            "target": {"name": "demo"},
            "mode": mode,
            "groups": [{"signals": [{
                "name": "always",
                "role": "Floor",
                "schedule": {"start": "* * * * *", "end": "0 0 29 2 *", "timeZone": "Europe/Berlin", "replicas": replicas},
            }]}],
        })
    };

    apply(&namespace, floor("Recommend", 2)).await?;
    let status = status(&namespace, "two replicas are recommended", |status| {
        status["desiredReplicas"] == 2 && status["limitedBy"] == "signal always"
    })
    .await?;
    ensure!(
        status["groups"][0]["replicas"] == 0,
        "nothing is done yet: {status}"
    );
    ensure!(
        condition(&status, "AbleToScale")["reason"] == "RecommendOnly",
        "{status}"
    );

    apply(&namespace, floor("Active", 2)).await?;
    workers(&namespace, 2).await?;

    apply(&namespace, floor("Paused", 1)).await?;
    self::status(&namespace, "the policy is paused", |status| {
        condition(status, "ScalingActive")["reason"] == "ScalingDisabled"
    })
    .await?;
    apply(&namespace, floor("Active", 1)).await?;
    workers(&namespace, 1).await?;

    namespace.delete("RayScalingPolicy", "demo").await?;
    workers(&namespace, 0).await
}

/// What cannot be followed is refused, everything at once.
pub(crate) async fn a_policy_that_cannot_be_followed_is_refused(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("refused").await?;
    let spec = json!({
        "target": {"name": "demo"},
        "groups": [
            {"name": "cpu", "signals": [
                {"name": "office", "role": "Floor", "schedule": {"start": "0 25 * * *", "end": "0 18 * * *"}},
                {"name": "queue", "role": "Guard", "averageValue": 3, "prometheus": {"query": "up", "server": "prometheus:9090"}},
            ]},
            {"name": "cpu"},
        ],
    });
    let refusal = apply(&namespace, spec)
        .await
        .expect_err("it is refused")
        .to_string();
    for expected in [
        "RW-A002 spec.groups[0].signals[0].schedule.start: `25` is no hour",
        "RW-A002 spec.groups[0].signals[0].schedule.replicas: it is missing",
        "RW-A002 spec.groups[0].signals[1].averageValue: a Guard has no such field",
        "RW-A002 spec.groups[0].signals[1].prometheus.server: this is no address of a server",
        "RW-A002 spec.groups[1].name: `cpu` is listed above already",
    ] {
        ensure!(refusal.contains(expected), "{expected:?} is not in {refusal}");
    }
    Ok(())
}

/// A Target grows and shrinks a group, a Guard holds it; a server that is gone, or a query that is wrong, takes nothing away.
pub(crate) async fn a_group_follows_a_server(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("metrics").await?;
    namespace.apply(BARE).await?;
    namespace.ready_head("demo", 240 * SECOND).await?;
    let numbers = Numbers::default();
    let (server, address) = serve(numbers.clone(), 0).await?;
    let policy = |query: &str| {
        let server = format!("http://{address}");
        json!({
            "target": {"name": "demo"},
            "groups": [{
                "name": "cpu",
                "signals": [
                    {"name": "queue", "role": "Target", "averageValue": 4, "prometheus": {"server": server, "query": query}},
                    {"name": "pressure", "role": "Guard", "prometheus": {"server": server, "query": "pressure"}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            }],
        })
    };
    apply(&namespace, policy("queue")).await?;
    status(&namespace, "nothing is known yet", |status| {
        told(status).contains("queue: the query finds no series")
    })
    .await?;

    numbers.set("8", "0");
    workers(&namespace, 2).await?;
    status(&namespace, "all is known", |status| {
        condition(status, "ScalingActive")["status"] == "True" && status["limitedBy"] == "signal queue"
    })
    .await?;

    numbers.set("0", "1");
    status(&namespace, "the guard holds", |status| {
        status["limitedBy"] == "signal pressure" && status["desiredReplicas"] == 2
    })
    .await?;
    numbers.set("4", "0");
    workers(&namespace, 1).await?;

    server.abort();
    status(
        &namespace,
        "the server is missed, and what there is stays",
        |status| {
            told(status).contains("queue: the server cannot be reached") && status["desiredReplicas"] == 1
        },
    )
    .await?;
    let (_server, _) = serve(numbers.clone(), address.port()).await?;
    status(&namespace, "all is known again", |status| {
        condition(status, "ScalingActive")["status"] == "True"
    })
    .await?;

    apply(&namespace, policy("sum(")).await?;
    status(
        &namespace,
        "the query is wrong, and what there is stays",
        |status| {
            told(status).contains("queue: the server refuses the query: it is no PromQL")
                && status["desiredReplicas"] == 1
        },
    )
    .await?;
    numbers.set("0", "0");
    apply(&namespace, policy("queue")).await?;
    workers(&namespace, 0).await
}

/// What the server answers to `queue` and to `pressure`.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Option<[&'static str; 2]>>>);

impl Numbers {
    fn set(&self, queue: &'static str, pressure: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some([queue, pressure]);
    }

    /// Nothing else is PromQL to it.
    fn answer(&self, path: &str) -> (&'static str, Value) {
        let numbers = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query = path.strip_prefix("/api/v1/query?query=");
        let place = ["queue", "pressure"].iter().position(|name| query == Some(name));
        let Some(place) = place else {
            return (
                "400 Bad Request",
                json!({"status": "error", "errorType": "bad_data", "error": "it is no PromQL"}),
            );
        };
        let series: Vec<_> = numbers
            .iter()
            .map(|numbers| json!({"metric": {}, "value": [0, numbers[place]]}))
            .collect();
        (
            "200 OK",
            json!({"status": "success", "data": {"resultType": "vector", "result": series}}),
        )
    }
}

/// Answers at a port until it is aborted.
async fn serve(numbers: Numbers, port: u16) -> Result<(AbortHandle, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n")
                && connection.read_buf(&mut head).await.is_ok_and(|read| read > 0)
            {}
            let head = String::from_utf8_lossy(&head);
            let (status, body) = numbers.answer(head.split(' ').nth(1).unwrap_or_default());
            let body = body.to_string();
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            // Whoever asked may be gone.
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    Ok((serving.abort_handle(), address))
}

async fn apply(namespace: &Namespace, spec: Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": spec,
    });
    namespace.apply_all(&[policy]).await?;
    Ok(())
}

fn condition<'s>(status: &'s Value, of: &str) -> &'s Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == of)
        .unwrap_or(&Value::Null)
}

/// What the condition says about signals that are not known.
fn told(status: &Value) -> &str {
    condition(status, "ScalingActive")["message"]
        .as_str()
        .unwrap_or_default()
}

async fn status(namespace: &Namespace, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    namespace
        .eventually(120 * SECOND, what, async || {
            let mut policy = namespace
                .object("RayScalingPolicy", "demo")
                .await
                .map_err(|error| error.to_string())?;
            let status = policy["status"].take();
            if is(&status) {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
        .await
}

async fn workers(namespace: &Namespace, wanted: usize) -> Result<()> {
    namespace
        .eventually(120 * SECOND, &format!("there are {wanted} workers"), async || {
            let pods = namespace
                .pods("ray.io/cluster=demo,ray.io/node-type=worker")
                .await
                .map_err(|error| error.to_string())?;
            if pods.len() == wanted {
                return Ok(());
            }
            let policy = namespace.object("RayScalingPolicy", "demo").await;
            let status = policy.map(|mut policy| policy["status"].take().to_string());
            Err(format!(
                "there are {}, and the policy says {status:?}",
                pods.len()
            ))
        })
        .await
}
