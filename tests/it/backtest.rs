//! A policy is played against what a real Prometheus has measured.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Role, Testbed};

use crate::prometheus::UP;

/// Longer than this world is old: at first nothing is known.
const RANGE: &str = "3h";

/// As many replicas as targets are up, two times over, from when they are.
pub(crate) async fn a_policy_is_played_against_a_real_prometheus(testbed: &Testbed) -> Result<()> {
    let _up = UP.read().await;
    let prometheus = testbed.prometheus().await?;
    let query = "2 * count(up == 1)";
    testbed
        .eventually(Duration::from_secs(60), "something is up", async || {
            let series = prometheus.query(query).await?;
            ensure!(!series.is_empty(), "nothing is");
            anyhow::Ok(())
        })
        .await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("policy.yaml");
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": {"target": {"name": "demo"}, "groups": [{"name": "cpu", "signals": [
            {"name": "up", "role": "Target", "averageValue": 1, "prometheus": {"query": query}},
        ]}]},
    });
    std::fs::write(&file, policy.to_string())?;
    let (variable, value) = Role::Autoscaler.environment();
    let play = || {
        let mut play = tokio::process::Command::new("/proc/self/exe");
        play.env(variable, value)
            .args(["simulate", "--range", RANGE, "--step", "1", "--format", "json"])
            .args(["--from-prometheus", &prometheus.url(), "--policy"])
            .arg(&file);
        play
    };
    testbed
        .eventually(
            Duration::from_secs(60),
            "replicas follow what was up",
            async || {
                let output = play().output().await?;
                ensure!(output.status.success(), "{output:?}");
                let told: Value = serde_json::from_slice(&output.stdout)?;
                let run = &told["policies"][0];
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
            },
        )
        .await
}
