//! Scaling by policies, end to end, where it takes no Prometheus: by the clock, and what is refused.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::cluster::BARE;

const SECOND: Duration = Duration::from_secs(1);

/// A floor by the clock is recommended, followed once its time has come, paused, given up no faster than a budget allows, and all of it with the policy.
pub(crate) async fn a_policy_recommends_acts_pauses_and_goes(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("clock").await?;
    namespace.apply(BARE).await?;
    namespace.ready_head("demo", 240 * SECOND).await?;
    let between = |start: &str, end: &str, mode: &str, replicas: u32| {
        json!({
            "target": {"name": "demo"},
            "mode": mode,
            "groups": [{"signals": [{
                "name": "hours",
                "role": "Floor",
                "schedule": {"start": start, "end": end, "timeZone": "Etc/UTC", "replicas": replicas},
            }]}],
        })
    };
    // From any minute to a day that comes once in four years.
    let floor = |mode: &str, replicas: u32| between("* * * * *", "0 0 29 2 *", mode, replicas);

    apply(&namespace, floor("Recommend", 2)).await?;
    let status = status(&namespace, "two replicas are recommended", |status| {
        status["desiredReplicas"] == 2 && status["limitedBy"] == "signal hours"
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

    let minute = next_minute()?;
    let at = |minute: u64| format!("{} {} * * *", minute % 60, minute / 60 % 24);
    apply(&namespace, between(&at(minute), &at(minute + 10), "Active", 2)).await?;
    self::status(
        &namespace,
        "nothing is wanted before the time has come",
        |status| condition(status, "AbleToScale")["status"] == "True" && status["desiredReplicas"] == 0,
    )
    .await?;
    workers(&namespace, 2).await?;
    ensure!(unix_seconds()? >= minute * 60, "they came too early");

    apply(&namespace, floor("Paused", 1)).await?;
    self::status(&namespace, "the policy is paused", |status| {
        condition(status, "ScalingActive")["reason"] == "ScalingDisabled"
    })
    .await?;
    one_goes_and_no_more(&namespace).await?;
    paused_for_now(&namespace).await?;

    namespace.delete("RayScalingPolicy", "demo").await?;
    workers(&namespace, 0).await
}

/// Nothing wants the two workers any more, and only one may go in an hour. What has gone is noted on the cluster.
async fn one_goes_and_no_more(namespace: &Namespace) -> Result<()> {
    let budget = json!({"maxRemoved": 1, "windowSeconds": 3600});
    let spec = json!({"target": {"name": "demo"}, "groups": [{"disruption": budget}]});
    apply(namespace, spec).await?;
    workers(namespace, 1).await?;
    status(namespace, "the other one stays", |status| {
        status["limitedBy"] == "the disruption budget, which is used up for now"
            && status["desiredReplicas"] == 1
            && condition(status, "ScalingLimited")["reason"] == "DisruptionBudget"
    })
    .await?;
    let cluster = namespace.object("RayCluster", "demo").await?;
    let noted = &cluster["metadata"]["annotations"]["rayward.dev/removed"];
    let noted: Value = serde_json::from_str(noted.as_str().unwrap_or_default())?;
    let counts = noted["cpu"]
        .as_object()
        .into_iter()
        .flat_map(|counts| counts.values());
    ensure!(counts.eq([&json!(1)]), "{noted}");
    Ok(())
}

/// An annotation pauses the policy until its time is over; one that is no mode is refused.
async fn paused_for_now(namespace: &Namespace) -> Result<()> {
    let shell = namespace.testbed().shell(namespace.name()).await?;
    let annotate = async |annotations: &str| {
        let command = format!("kubectl annotate rsp/demo --overwrite {annotations} 2>&1");
        anyhow::Ok(shell.run(&command).await?.stdout)
    };
    let refused = annotate("rayward.dev/mode=off").await?;
    ensure!(refused.contains("`off` is no mode"), "{refused}");
    let until = format!("{:.0}", Timestamp::now() + 15 * SECOND);
    annotate(&format!("rayward.dev/mode=Paused rayward.dev/mode-until={until}")).await?;
    status(namespace, "the policy is paused", |status| {
        status["mode"] == "Paused"
    })
    .await?;
    status(namespace, "the time is over", |status| status["mode"] == "Active").await?;
    ensure!(Timestamp::now() >= until.parse()?, "it was over too early");
    Ok(())
}

/// The next minute that is not about to begin, in minutes since 1970.
fn next_minute() -> Result<u64> {
    Ok((unix_seconds()? + 15) / 60 + 1)
}

fn unix_seconds() -> Result<u64> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs())
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

/// What another policy is about is refused, by name or by labels, once there is such a cluster. A group that is not there only warns.
pub(crate) async fn what_another_policy_is_about_is_refused(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("overlap").await?;
    let policy = |name: &str, target: Value, group: &str| {
        json!({
            "apiVersion": "rayward.dev/v1alpha1",
            "kind": "RayScalingPolicy",
            "metadata": {"name": name},
            "spec": {"target": target, "groups": [{"name": group}]},
        })
    };
    let first = policy("first", json!({"name": "demo"}), "cpu");
    let by_labels = policy("by-labels", json!({"matchLabels": {"team": "vision"}}), "cpu");
    namespace.apply_all(&[first.clone(), first]).await?;
    namespace.dry_run(&by_labels).await?;
    // One that is suspended has no Pods.
    let cluster = BARE.replace(
        "  name: demo\nspec:",
        "  name: demo\n  labels: {team: vision}\nspec:\n  suspend: true",
    );
    namespace.apply(&cluster).await?;
    let by_name = policy("by-name", json!({"kind": "RayCluster", "name": "demo"}), "cpu");
    for second in [by_name, by_labels] {
        namespace
            .eventually(60 * SECOND, "the second is refused", async || {
                let expected = "RW-A003 spec.groups[0].name: the policy `first` is about `cpu`, too";
                match namespace.dry_run(&second).await {
                    Err(refusal) if refusal.to_string().contains(expected) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await?;
    }
    let other = policy("other", json!({"name": "demo"}), "cpus");
    let warnings = namespace.dry_run(&other).await?.warnings;
    let expected =
        "RW-A004 spec.groups[0].name: RayCluster demo has no group `cpus` (perhaps `cpu` is meant)";
    ensure!(
        warnings.iter().any(|warning| warning.contains(expected)),
        "{warnings:?}"
    );
    Ok(())
}

pub(crate) async fn apply(namespace: &Namespace, spec: Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": spec,
    });
    namespace.apply_all(&[policy]).await?;
    Ok(())
}

pub(crate) fn condition<'s>(status: &'s Value, of: &str) -> &'s Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == of)
        .unwrap_or(&Value::Null)
}

/// What the condition says about signals that are not known.
pub(crate) fn told(status: &Value) -> &str {
    condition(status, "ScalingActive")["message"]
        .as_str()
        .unwrap_or_default()
}

pub(crate) async fn status(namespace: &Namespace, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
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
