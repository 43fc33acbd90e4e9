//! Scaling by policies, end to end: what the clock says, and what the real Prometheus scrapes from the real Ray.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use testbed::{Namespace, Part, Testbed};

const SECOND: Duration = Duration::from_secs(1);
const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");
/// Keeps two gauges in the head, which Ray exports as `ray_app_queue` and `ray_app_pressure`.
const GAUGES: &str = include_str!("../fixtures/workloads/gauges.py");

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
pub(crate) async fn a_group_follows_prometheus(testbed: &Testbed) -> Result<()> {
    let prometheus = testbed.prometheus().await?;
    let namespace = testbed.namespace("prom").await?;
    namespace.apply(BARE).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?.name_any();
    let server = prometheus.url();
    let policy = |query: &str| {
        let gauge =
            |name: &str| format!("sum({name}{{namespace=\"$namespace\",ray_io_cluster=\"$cluster\"}})");
        let query = if query.is_empty() {
            gauge("ray_app_queue")
        } else {
            query.to_owned()
        };
        json!({
            "target": {"name": "demo"},
            "groups": [{
                "name": "cpu",
                "signals": [
                    {"name": "queue", "role": "Target", "averageValue": 4, "prometheus": {"server": server, "query": query}},
                    {"name": "pressure", "role": "Guard", "prometheus": {"server": server, "query": gauge("ray_app_pressure")}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            }],
        })
    };
    apply(&namespace, policy("")).await?;
    let unknown = status(&namespace, "nothing is known yet", |status| {
        condition(status, "ScalingActive")["status"] == "False"
    })
    .await?;
    let message = condition(&unknown, "ScalingActive")["message"].to_string();
    ensure!(message.contains("queue: "), "{unknown}");

    set(&namespace, &head, "8 0").await?;
    workers(&namespace, 2).await?;
    status(&namespace, "all is known", |status| {
        condition(status, "ScalingActive")["status"] == "True" && status["limitedBy"] == "signal queue"
    })
    .await?;

    set(&namespace, &head, "0 1").await?;
    status(&namespace, "the guard holds", |status| {
        status["limitedBy"] == "signal pressure" && status["desiredReplicas"] == 2
    })
    .await?;
    set(&namespace, &head, "4 0").await?;
    workers(&namespace, 1).await?;

    testbed.kill(Part::Prometheus).await?;
    status(
        &namespace,
        "the server is missed, and its answer held to",
        |status| {
            let told = condition(status, "ScalingActive")["message"].to_string();
            told.contains("queue: the server cannot be reached") && status["desiredReplicas"] == 1
        },
    )
    .await?;
    testbed.start_part(Part::Prometheus).await?;
    status(&namespace, "all is known again", |status| {
        condition(status, "ScalingActive")["status"] == "True"
    })
    .await?;

    apply(&namespace, policy("sum(")).await?;
    status(&namespace, "the query is wrong", |status| {
        let told = condition(status, "ScalingActive")["message"].to_string();
        told.contains("queue: the server refuses the query") && status["desiredReplicas"] == 1
    })
    .await?;
    apply(&namespace, policy("")).await?;
    set(&namespace, &head, "0 0").await?;
    workers(&namespace, 0).await
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

/// Sets the gauges in the head.
async fn set(namespace: &Namespace, head: &str, values: &str) -> Result<()> {
    let values = values.split(' ').map(str::to_owned);
    let command = ["python", "-c", GAUGES]
        .map(str::to_owned)
        .into_iter()
        .chain(values);
    let output = namespace
        .exec(head, "ray-head", &command.collect::<Vec<_>>())
        .await?;
    ensure!(output.succeeded(), "set the gauges: {output:?}");
    Ok(())
}

fn condition<'s>(status: &'s Value, of: &str) -> &'s Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == of)
        .unwrap_or(&Value::Null)
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
