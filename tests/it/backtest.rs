//! Policies are played against what a real Prometheus has measured.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Prometheus, Role, Testbed};

use crate::cluster::{BARE, BURST, run};
use crate::prometheus::UP;

/// Longer than this world is old: at first nothing is known.
const RANGE: &str = "3h";
const SECOND: Duration = Duration::from_secs(1);

/// As many replicas as targets are up, two times over, from when they are.
pub(crate) async fn a_policy_is_played_against_a_real_prometheus(testbed: &Testbed) -> Result<()> {
    let _up = UP.read().await;
    let prometheus = testbed.prometheus().await?;
    let query = "2 * count(up == 1)";
    testbed
        .eventually(60 * SECOND, "something is up", async || {
            let series = prometheus.query(query).await?;
            ensure!(!series.is_empty(), "nothing is");
            anyhow::Ok(())
        })
        .await?;
    let signal = json!({"name": "up", "role": "Target", "averageValue": 1, "prometheus": {"query": query}});
    let policy = policy("default", &json!([signal]));
    testbed
        .eventually(60 * SECOND, "replicas follow what was up", async || {
            let run = played(prometheus, &policy, None, &["--range", RANGE, "--step", "1"]).await?;
            let moments = run["moments"].as_array().context("moments")?;
            // In three pieces.
            ensure!(moments.len() == 3 * 3600 + 1, "there are {}", moments.len());
            let group = |moment: usize| &moments[moment]["groups"]["cpu"];
            ensure!(
                group(0)["unknown"] == true && group(0)["replicas"] == 0,
                "{}",
                group(0)
            );
            let most = run["groups"]["cpu"]["mostReplicas"]
                .as_u64()
                .context("a number")?;
            ensure!(most >= 2 && most.is_multiple_of(2), "{}", run["groups"]);
            Ok(())
        })
        .await
}

/// Tasks of a real Ray, for which no policy asked, are played as well: three replicas come for them, and something waited until they ran.
pub(crate) async fn what_ray_asked_for_is_played(
    namespace: &Namespace,
    prometheus: &Prometheus,
    head: &str,
) -> Result<()> {
    run(namespace, head, &["python", "-c", BURST, "3", "5"]).await?;
    let policy = policy(namespace.name(), &json!([]));
    namespace
        .eventually(60 * SECOND, "three replicas are played", async || {
            let played = played(
                prometheus,
                &policy,
                Some(BARE),
                &["--range", "10m", "--step", "2"],
            );
            let run = played.await?;
            let told = json!({"groups": run["groups"], "demand": run["demand"]});
            let number = |of: &str| run["demand"]["CPU"][of].as_f64().context("a number");
            let is_played = run["groups"]["cpu"]["mostReplicas"] == 3 && number("most")? >= 3.0;
            let is_known = run["unknownDemandSteps"].as_u64() < Some(300);
            ensure!(is_played && is_known && number("unmetHours")? > 0.0, "{told}");
            anyhow::Ok(())
        })
        .await
}

fn policy(namespace: &str, signals: &Value) -> Value {
    json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {"target": {"name": "demo"}, "groups": [{"name": "cpu", "signals": signals}]},
    })
}

/// What `simulate` makes of a policy.
async fn played(
    prometheus: &Prometheus,
    policy: &Value,
    cluster: Option<&str>,
    arguments: &[&str],
) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, policy.to_string())?;
    let (variable, value) = Role::Autoscaler.environment();
    let mut play = tokio::process::Command::new("/proc/self/exe");
    play.env(variable, value)
        .args(["simulate", "--format", "json"])
        .args(arguments)
        .args(["--from-prometheus", &prometheus.url(), "--policy"])
        .arg(&file);
    if let Some(cluster) = cluster {
        let file = folder.path().join("cluster.yaml");
        std::fs::write(&file, cluster)?;
        play.arg(&file);
    }
    let output = play.output().await?;
    ensure!(output.status.success(), "{output:?}");
    let mut told: Value = serde_json::from_slice(&output.stdout)?;
    Ok(told["policies"][0].take())
}
