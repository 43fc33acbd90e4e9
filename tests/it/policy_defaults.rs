//! What policies fill in and demand, on the real API server, and that the real operator never replaces anything because of it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::policy::policies;

const PATIENCE: Duration = Duration::from_secs(60);
const APPLIED_AGAIN: usize = 100;

const CLUSTER: &str = "
  rayVersion: 2.52.0
  headGroupSpec:
    rayStartParams: {}
    template: {spec: {containers: [{name: ray-head}]}}
  workerGroupSpecs:
    - groupName: gpu
      replicas: 0
      minReplicas: 0
      maxReplicas: 4
      rayStartParams: {}
      template: {spec: {containers: [{name: ray-worker}]}}
";

/// A bare cluster with a group for GPUs is made complete, and a greedy one refused in the policy's name. Then the policy changes: the
/// unchanged manifests of a service and of a cluster that would be made anew, applied a hundred times, leave both as they are.
pub(crate) async fn a_policy_completes_and_never_replaces(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("complete").await?;
    let bare = object("RayCluster", "bare", &json!({"suspend": true}))?;
    let recreated = object(
        "RayCluster",
        "recreated",
        &json!({"upgradeStrategy": {"type": "Recreate"}}),
    )?;
    let service = object("RayService", "service", &json!({}))?;
    apply_policy(&namespace, "registry.example.com/ray", 1).await?;
    in_force(&namespace, &bare, "registry.example.com/ray:2.52.0").await?;

    namespace
        .apply_all(&[bare.clone(), recreated.clone(), service.clone()])
        .await?;
    let stored = namespace.object("RayCluster", "bare").await?;
    let worker = &stored["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0];
    ensure!(
        worker["image"] == "registry.example.com/ray:2.52.0-gpu"
            && worker["resources"]["limits"]
                == json!({"cpu": 1, "memory": "2Gi", "nvidia.com/gpu": "1", "vpc.amazonaws.com/efa": 1}),
        "{worker:#}"
    );
    let pod = &stored["spec"]["workerGroupSpecs"][0]["template"]["spec"];
    ensure!(
        pod["terminationGracePeriodSeconds"] == 91
            && [&worker["livenessProbe"], &worker["readinessProbe"]] == [&probe(1), &probe(1)],
        "{pod:#}"
    );
    let mut greedy = bare.clone();
    greedy["spec"]["workerGroupSpecs"][0]["maxReplicas"] = json!(9);
    let Err(refusal) = namespace.dry_run(&greedy).await else {
        bail!("nine GPUs are more than the policy allows");
    };
    let told = format!("the policy {} allows 8", policy_name(&namespace));
    ensure!(refusal.to_string().contains(&told), "{refusal}");

    let before = namespace
        .eventually(PATIENCE, "both clusters have a head", async || {
            let heads = heads(&namespace).await?;
            ensure!(heads.len() == 2, "there are {heads:?}");
            Ok(heads)
        })
        .await?;
    apply_policy(&namespace, "elsewhere.example.com/ray", 2).await?;
    let mut other = bare.clone();
    other["metadata"]["name"] = json!("other");
    in_force(&namespace, &other, "elsewhere.example.com/ray:2.52.0").await?;
    for manifest in [&bare, &recreated, &service] {
        unchanged(&namespace, manifest).await?;
    }
    let after = heads(&namespace).await?;
    ensure!(after == before, "there were {before:?}, and are {after:?}");
    policies(testbed)
        .delete(&policy_name(&namespace), &DeleteParams::default())
        .await?;
    Ok(())
}

/// An object of that kind with the cluster above.
fn object(kind: &str, name: &str, more: &Value) -> Result<Value> {
    let mut cluster = testbed::documents(&format!("spec: {CLUSTER}"))?.remove(0)["spec"].take();
    let fields = more.as_object().context("fields")?;
    for (field, value) in fields {
        cluster[field] = value.clone();
    }
    let spec = match kind {
        "RayService" => json!({"rayClusterConfig": cluster}),
        _ => cluster,
    };
    Ok(json!({"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

fn policy_name(namespace: &Namespace) -> String {
    format!("defaults-{}", namespace.name())
}

async fn apply_policy(namespace: &Namespace, repository: &str, gpus: u32) -> Result<()> {
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayAdmissionPolicy",
        "metadata": {"name": policy_name(namespace)},
        "spec": {
            "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
            "images": {"templates": [{"name": "ours", "image": format!("{repository}:{{version}}{{accelerator}}")}]},
            "accelerators": [{
                "kind": "NVIDIA",
                "maxPerCluster": 8,
                "given": {"groups": ["gpu*"], "amount": gpus},
                "resources": {"limits": {"vpc.amazonaws.com/efa": 1}},
            }],
            "head": {"resources": {"limits": {"cpu": 1, "memory": "2Gi"}}},
            "workers": {
                "resources": {"limits": {"cpu": gpus, "memory": "2Gi"}},
                "terminationGracePeriodSeconds": 90 + gpus,
                "livenessProbe": probe(gpus),
                "readinessProbe": probe(gpus),
            },
        },
    });
    namespace.testbed().apply(&policy).await?;
    Ok(())
}

/// One that is not KubeRay's.
fn probe(seconds: u32) -> Value {
    json!({"exec": {"command": ["true"]}, "periodSeconds": seconds})
}

/// Waits until a new object's head would get this image.
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

/// However often the same is applied, the operator sees one spec. That of a cluster stays one generation; into that of a service the operator itself
/// writes empty objects, which every application takes out again.
async fn unchanged(namespace: &Namespace, manifest: &Value) -> Result<()> {
    let kind = manifest["kind"].as_str().context("kind")?;
    let name = manifest["metadata"]["name"].as_str().context("name")?;
    let stored = namespace.object(kind, name).await?;
    for _ in 0..APPLIED_AGAIN {
        let again = namespace
            .apply_all(std::slice::from_ref(manifest))
            .await?
            .remove(0)
            .object;
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        ensure!(
            said(&again["spec"]) == said(&stored["spec"])
                && (kind == "RayService" || generation(&again) == generation(&stored)),
            "{kind} {name} changed from {:#} to {:#}",
            stored["spec"],
            again["spec"]
        );
    }
    Ok(())
}

/// Without empty objects.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| **value != json!({}));
            fields.map(|(key, value)| (key.clone(), said(value))).collect()
        }
        Value::Array(items) => items.iter().map(said).collect(),
        other => other.clone(),
    }
}

/// The heads that are there, by what never comes twice.
async fn heads(namespace: &Namespace) -> Result<Vec<Option<String>>> {
    let pods = namespace.pods("ray.io/node-type=head").await?;
    let mut heads: Vec<_> = pods.into_iter().map(|pod| pod.metadata.uid).collect();
    heads.sort();
    Ok(heads)
}
