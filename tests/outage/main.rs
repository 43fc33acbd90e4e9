//! All replicas of the webhook away at once, and back again. A binary of its own, since in the shared world every other test would notice.

mod objects;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Part, Test, Testbed};

use objects::{MANIFESTS, PATIENCE, There, apply_policy, in_force, world};

const APPLIED_AGAIN: usize = 20;

fn main() -> ExitCode {
    testbed::dispatch();
    let tests = vec![Test::world("outage::nothing_is_replaced", nothing_is_replaced)];
    testbed::run_tests(tests, world())
}

/// A policy has filled in what a service and a cluster with `upgradeStrategy: Recreate` do not say. Then the webhook goes, the policy changes,
/// and the webhook comes back. Unchanged manifests, applied all the while, start no second cluster and take no Pod away.
async fn nothing_is_replaced(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("outage").await?;
    let manifests = testbed::documents(MANIFESTS)?;
    apply_policy(testbed, "registry.example.com/ray").await?;
    in_force(&namespace, &manifests[0], "registry.example.com/ray:2.52.0").await?;
    namespace.apply_all(&manifests).await?;
    let before = There::once_there(&namespace).await?;

    audited(testbed).await?;
    for replica in 0..testbed.webhook_replicas() {
        testbed.stop(Part::Webhook(replica)).await?;
    }
    apply_policy(testbed, "elsewhere.example.com/ray").await?;
    for manifest in &manifests {
        refused_meanwhile(&namespace, manifest).await?;
    }
    // One that starts looks at everything anew.
    testbed.restart(Part::Operator).await?;
    for replica in 0..testbed.webhook_replicas() {
        testbed.start_part(Part::Webhook(replica)).await?;
    }

    let mut other = manifests[0].clone();
    other["metadata"]["name"] = json!("other");
    in_force(&namespace, &other, "elsewhere.example.com/ray:2.52.0").await?;
    for _ in 0..APPLIED_AGAIN {
        namespace.apply_all(&manifests).await?;
    }
    // Workers show that the operator has read what was applied.
    for manifest in &manifests {
        namespace
            .apply_all(std::slice::from_ref(&with_a_worker(manifest)?))
            .await?;
    }
    namespace
        .eventually(PATIENCE, "both clusters have a worker", async || {
            let there = There::look(&namespace, "worker").await?;
            ensure!(there.pods.len() == 2, "{there:?}");
            anyhow::Ok(())
        })
        .await?;
    let after = There::look(&namespace, "head").await?;
    ensure!(after == before, "there were {before:?}, and are {after:?}");
    Ok(())
}

/// Nobody has installed the kind of reports in this world, and all objects are looked at nevertheless.
async fn audited(testbed: &Testbed) -> Result<()> {
    testbed
        .eventually(PATIENCE, "a replica has made an audit", async || {
            let logs = (0..testbed.webhook_replicas()).map(|replica| testbed.logs(Part::Webhook(replica)));
            let logs = logs.collect::<Result<Vec<_>>>()?.join("\n");
            ensure!(logs.contains(r#""message":"audited""#), "none has");
            anyhow::Ok(())
        })
        .await
}

/// While nobody can look at it and fill it in, a manifest is not stored, and what is stored stays as it is.
async fn refused_meanwhile(namespace: &Namespace, manifest: &Value) -> Result<()> {
    let kind = manifest["kind"].as_str().context("kind")?;
    let name = manifest["metadata"]["name"].as_str().context("name")?;
    let stored = namespace.object(kind, name).await?["spec"].take();
    for _ in 0..APPLIED_AGAIN {
        let Err(refusal) = namespace.apply_all(std::slice::from_ref(manifest)).await else {
            bail!("{kind} {name} was stored as it was written");
        };
        let expected = "failed calling webhook \"validate-ray.rayward.dev\"";
        ensure!(refusal.to_string().contains(expected), "{refusal}");
    }
    let now = namespace.object(kind, name).await?["spec"].take();
    ensure!(now == stored, "{kind} {name} changed from {stored:#} to {now:#}");
    Ok(())
}

/// Changes that are no reason for anybody to replace anything. The operator does not hand on a service's number of replicas, but does a
/// group that is added.
fn with_a_worker(manifest: &Value) -> Result<Value> {
    let mut manifest = manifest.clone();
    if manifest["kind"] == "RayCluster" {
        manifest["spec"]["workerGroupSpecs"][0]["replicas"] = json!(1);
        return Ok(manifest);
    }
    let groups = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"].as_array_mut();
    let groups = groups.context("groups")?;
    let mut added = groups[0].clone();
    added["groupName"] = json!("added");
    added["replicas"] = json!(1);
    groups.push(added);
    Ok(manifest)
}
