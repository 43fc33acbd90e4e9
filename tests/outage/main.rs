//! All replicas of the webhook away at once, and back again. A binary of its own, since in the shared world every other test would notice.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Options, Part, Test, Testbed};

const PATIENCE: Duration = Duration::from_secs(60);
const APPLIED_AGAIN: usize = 20;
const POLICY: &str = "outage";

const MANIFESTS: &str = "
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: recreated}
spec:
  upgradeStrategy: {type: Recreate}
  rayVersion: 2.52.0
  headGroupSpec:
    rayStartParams: {}
    template: {spec: {containers: [{name: ray-head}]}}
  workerGroupSpecs:
    - groupName: cpu
      replicas: 0
      minReplicas: 0
      maxReplicas: 4
      rayStartParams: {}
      template: {spec: {containers: [{name: ray-worker}]}}
---
apiVersion: ray.io/v1
kind: RayService
metadata: {name: service}
spec:
  rayClusterConfig:
    rayVersion: 2.52.0
    headGroupSpec:
      rayStartParams: {}
      template: {spec: {containers: [{name: ray-head}]}}
    workerGroupSpecs:
      - groupName: cpu
        replicas: 0
        minReplicas: 0
        maxReplicas: 4
        rayStartParams: {}
        template: {spec: {containers: [{name: ray-worker}]}}
";

fn main() -> ExitCode {
    testbed::dispatch();
    // No Node: Pods that are only there, and wait for one, show all that there is to see.
    let options = Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        autoscaler_replicas: 0,
        ..Options::default()
    };
    let tests = vec![Test::world("outage::nothing_is_replaced", nothing_is_replaced)];
    testbed::run_tests(tests, options)
}

/// A policy has filled in what a service and a cluster with `upgradeStrategy: Recreate` do not say. Then the webhook goes, the policy changes,
/// and the webhook comes back. Unchanged manifests, applied all the while, start no second cluster and take no Pod away.
async fn nothing_is_replaced(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("outage").await?;
    let manifests = testbed::documents(MANIFESTS)?;
    apply_policy(testbed, "registry.example.com/ray").await?;
    in_force(&namespace, &manifests[0], "registry.example.com/ray:2.52.0").await?;
    namespace.apply_all(&manifests).await?;
    let before = namespace
        .eventually(PATIENCE, "both clusters have a head", async || {
            let there = There::look(&namespace, "head").await?;
            ensure!(there.clusters.len() == 2 && there.pods.len() == 2, "{there:?}");
            anyhow::Ok(there)
        })
        .await?;

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

async fn apply_policy(testbed: &Testbed, repository: &str) -> Result<()> {
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "images": {"templates": [{"name": "ours", "image": format!("{repository}:{{version}}")}]},
            "head": {"resources": {"limits": {"cpu": 1, "memory": "2Gi"}}},
            "workers": {"terminationGracePeriodSeconds": 90},
        },
    });
    testbed.apply(&policy).await?;
    Ok(())
}

/// Waits until a new cluster's head would get this image.
async fn in_force(namespace: &Namespace, new: &Value, image: &str) -> Result<()> {
    let what = format!("the policy gives {image}");
    namespace
        .eventually(PATIENCE, &what, async || {
            let would_be = namespace.dry_run(new).await?.object;
            let given = &would_be["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"];
            ensure!(given == image, "it gives {given}");
            anyhow::Ok(())
        })
        .await
}

/// The clusters, and their Pods of one type, by what never comes twice.
#[derive(Debug, PartialEq, Eq)]
struct There {
    clusters: BTreeSet<String>,
    pods: BTreeSet<Option<String>>,
}

impl There {
    async fn look(namespace: &Namespace, node_type: &str) -> Result<Self> {
        let clusters = namespace.objects("RayCluster").await?;
        let pods = namespace.pods(&format!("ray.io/node-type={node_type}")).await?;
        Ok(Self {
            clusters: clusters
                .iter()
                .map(|cluster| cluster["metadata"]["uid"].to_string())
                .collect(),
            pods: pods.into_iter().map(|pod| pod.metadata.uid).collect(),
        })
    }
}
