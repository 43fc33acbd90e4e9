//! What there is in a world whose webhook goes away: a policy, and a service and a cluster that the operator would replace if their specs changed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Options, Testbed};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str = "outage";

pub(crate) const MANIFESTS: &str = "
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

/// No Node: Pods that are only there, and wait for one, show all that there is to see.
pub(crate) fn world() -> Options {
    Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        autoscaler_replicas: 0,
        ..Options::default()
    }
}

pub(crate) async fn apply_policy(testbed: &Testbed, repository: &str) -> Result<()> {
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
pub(crate) async fn in_force(namespace: &Namespace, new: &Value, image: &str) -> Result<()> {
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
pub(crate) struct There {
    pub(crate) clusters: BTreeSet<String>,
    pub(crate) pods: BTreeSet<Option<String>>,
}

impl There {
    pub(crate) async fn look(namespace: &Namespace, node_type: &str) -> Result<Self> {
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

    /// Those of the service and of the cluster, once both have a head.
    pub(crate) async fn once_there(namespace: &Namespace) -> Result<Self> {
        namespace
            .eventually(PATIENCE, "both clusters have a head", async || {
                let there = Self::look(namespace, "head").await?;
                ensure!(there.clusters.len() == 2 && there.pods.len() == 2, "{there:?}");
                anyhow::Ok(there)
            })
            .await
    }
}
