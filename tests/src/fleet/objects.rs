//! What a fleet is made of, as it is written to the API server.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::Namespace;

use super::heads::{self, Heads};

/// The groups of each cluster, and the CPUs of their workers.
pub(super) const GROUPS: [(&str, &str); 3] = [("small", "4"), ("middle", "8"), ("large", "16")];

/// What policies ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queries {
    /// One of so many.
    Shared(usize),
    /// One that nobody else asks.
    Own,
}

pub(super) fn name_of(number: usize) -> String {
    format!("cluster-{number:04}")
}

pub(super) fn clusters(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
    Api::namespaced_with(namespace.client().clone(), namespace.name(), &kind)
}

pub(super) fn replicas(cluster: &DynamicObject) -> i64 {
    let groups = cluster.data["spec"]["workerGroupSpecs"].as_array();
    let replicas = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group["replicas"].as_i64());
    replicas.sum()
}

/// A RayCluster with the Pod of its head, which runs.
pub(super) async fn cluster(namespace: &Namespace, heads: &Heads, number: usize) -> Result<()> {
    let name = name_of(number);
    let pod_name = format!("{name}-head");
    let address = heads::address(number);
    heads.add(address, &pod_name);
    let cluster = serde_json::from_value(manifest(&name))?;
    clusters(namespace)
        .create(&PostParams::default(), &cluster)
        .await
        .with_context(|| format!("create {name}"))?;
    let pods: Api<Pod> = Api::namespaced(namespace.client().clone(), namespace.name());
    pods.create(&PostParams::default(), &head(&name, &pod_name)?)
        .await
        .with_context(|| format!("create {pod_name}"))?;
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    pods.patch_status(&pod_name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .with_context(|| format!("let {pod_name} run"))?;
    Ok(())
}

fn manifest(name: &str) -> Value {
    let pod = |container: &str, cpu: &str| {
        let container = json!({
            "name": container,
            "image": "rayproject/ray:2.60.0",
            "resources": {"limits": {"cpu": cpu, "memory": "8Gi"}},
        });
        json!({"spec": {"containers": [container]}})
    };
    let group = |name: &str, cpu: &str| {
        json!({
            "groupName": name,
            "replicas": 0,
            "minReplicas": 0,
            "maxReplicas": 10,
            "rayStartParams": {},
            "template": pod("ray-worker", cpu),
        })
    };
    json!({
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {
            "rayVersion": "2.60.0",
            "enableInTreeAutoscaling": true,
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod("ray-head", "1")},
            "workerGroupSpecs": GROUPS.map(|(name, cpu)| group(name, cpu)),
        },
    })
}

/// As the operator would make it. Nobody is to look for a node for it.
fn head(cluster: &str, name: &str) -> Result<Pod> {
    let labels = json!({
        "ray.io/cluster": cluster,
        "ray.io/node-type": "head",
        "ray.io/group": "headgroup",
    });
    let container = json!({"name": "ray-head", "image": "rayproject/ray:2.60.0"});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }))?)
}

/// Nothing is asked for in a cluster any more.
pub(super) async fn empty(namespace: &Namespace, number: usize) -> Result<()> {
    let edits = (0..GROUPS.len())
        .map(|group| json!({"op": "replace", "path": format!("/spec/workerGroupSpecs/{group}/replicas"), "value": 0}));
    let edits = serde_json::from_value(edits.collect())?;
    clusters(namespace)
        .patch(
            &name_of(number),
            &PatchParams::default(),
            &Patch::<()>::Json(edits),
        )
        .await?;
    Ok(())
}

pub(super) fn policies(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("rayward.dev", "v1alpha1", "RayScalingPolicy");
    let kind = ApiResource::from_gvk_with_plural(&kind, "rayscalingpolicies");
    Api::namespaced_with(namespace.client().clone(), namespace.name(), &kind)
}

/// The policy of one group of one cluster.
pub(super) async fn policy(namespace: &Namespace, number: usize, queries: Queries) -> Result<()> {
    let (group, _) = GROUPS[number % GROUPS.len()];
    let cluster = name_of(number / GROUPS.len());
    let name = format!("{cluster}-{group}");
    let query = match queries {
        Queries::Shared(count) => format!("sum(queue{{shard=\"{}\"}})", number % count),
        Queries::Own => "sum(queue{ray_io_cluster=\"$cluster\",ray_io_group=\"$group\"})".to_owned(),
    };
    let signal =
        json!({"name": "queue", "role": "Target", "averageValue": 4, "prometheus": {"query": query}});
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": name},
        "spec": {"target": {"name": cluster}, "groups": [{"name": group, "signals": [signal]}]},
    });
    policies(namespace)
        .patch(&name, &PatchParams::apply("fleet").force(), &Patch::Apply(policy))
        .await
        .with_context(|| format!("apply {name}"))?;
    Ok(())
}

/// Everything that a policy asks is known, and it says so of what is written there now.
pub(super) fn is_followed(policy: &DynamicObject) -> bool {
    let conditions = policy.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "ScalingActive"
            && condition["status"] == "True"
            && condition["observedGeneration"] == json!(policy.metadata.generation)
    })
}
