//! A group is driven from outside, through the subresource `scale` of its policy: by `kubectl scale`, and by a HorizontalPodAutoscaler.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::{Namespace, Shell, Testbed};

use crate::external_metrics::{ExternalMetrics, METRIC};

const PATIENCE: Duration = Duration::from_secs(120);
const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");

/// What is written there is a Floor of the one group; what there is, and the Pods, can be read there. Word of a cluster that is gone goes with it.
pub(crate) async fn a_group_is_driven_through_scale(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("door").await?;
    let shell = testbed.shell(namespace.name()).await?;
    let told = async |command: &str| anyhow::Ok(shell.run(command).await?.stdout);
    namespace.apply(BARE).await?;
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": {"target": {"name": "demo"}, "groups": [{"name": "cpu"}]},
    });
    namespace.apply_all(std::slice::from_ref(&policy)).await?;
    let closed = told("kubectl get rsp demo --subresource=scale").await?;
    ensure!(closed.contains("spec.replicas"), "{closed}");

    let scaled = told("kubectl scale rsp/demo --replicas=2").await?;
    ensure!(scaled.contains("scaled"), "{scaled}");
    namespace.ready_head("demo", 2 * PATIENCE).await?;
    let policies = policies(&namespace);
    let mut scale = eventually(&namespace, "there are two workers", async || {
        let scale = policies.get_scale("demo").await?;
        let status = scale.status.as_ref().context("it has a status")?;
        let selector = status.selector.clone().unwrap_or_default();
        let pods = namespace.pods(&selector).await?;
        let workers = pods.iter().filter(|pod| pod.name_any().contains("cpu")).count();
        ensure!(
            (status.replicas, workers, pods.len()) == (2, 2, 2),
            "{scale:?} with {} Pods",
            pods.len()
        );
        Ok(scale)
    })
    .await?;

    // Somebody writes what he has read, with another number.
    let spec = scale.spec.as_mut().context("it has a spec")?;
    ensure!(spec.replicas == Some(2), "{spec:?}");
    spec.replicas = Some(1);
    policies
        .replace_scale("demo", &PostParams::default(), &scale)
        .await?;
    shows(&namespace, &shell, 1).await?;
    driven_by_a_horizontal_pod_autoscaler(&namespace, &shell).await?;
    let events = told("kubectl get events.events.k8s.io -o custom-columns=N:.note").await?;
    ensure!(
        events.contains("cpu of demo: ") && events.contains("replicas by signal spec.replicas"),
        "{events}"
    );

    let mut several = policy.clone();
    several["spec"]["replicas"] = 1.into();
    several["spec"]["groups"] = json!([{"name": "cpu"}, {"name": "gpu"}]);
    let refusal = namespace
        .apply_all(&[several])
        .await
        .expect_err("one number for two groups")
        .to_string();
    ensure!(
        refusal.contains("spec.replicas") || refusal.contains("replicas takes a policy of one group"),
        "{refusal}"
    );

    namespace.delete("RayCluster", "demo").await?;
    eventually(
        &namespace,
        "the policy says that there is no cluster",
        async || {
            let status = namespace.object("RayScalingPolicy", "demo").await?["status"].take();
            let reasons: Vec<_> = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|condition| &condition["reason"])
                .collect();
            ensure!(reasons == ["Valid", "NoCluster", "NoCluster"], "{status}");
            ensure!(status["groups"] == Value::Array(Vec::new()), "{status}");
            Ok(())
        },
    )
    .await
}

/// Kubernetes' own controller follows a metric of its own through the door, up and down again.
async fn driven_by_a_horizontal_pod_autoscaler(namespace: &Namespace, shell: &Shell) -> Result<()> {
    let metrics = ExternalMetrics::start(namespace).await?;
    metrics.say(8);
    let external =
        json!({"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": "4"}});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "demo"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "rayward.dev/v1alpha1", "kind": "RayScalingPolicy", "name": "demo"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "External", "external": external}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    });
    let driven = async {
        namespace.apply_all(&[autoscaler]).await?;
        shows(namespace, shell, 2).await?;
        metrics.say(4);
        shows(namespace, shell, 1).await
    };
    let driven = driven.await;
    metrics.end(namespace).await?;
    driven
}

/// There are so many workers, since so many are written to the door.
async fn shows(namespace: &Namespace, shell: &Shell, workers: usize) -> Result<()> {
    let what = format!("{workers} are asked for and there");
    eventually(namespace, &what, async || {
        let pods = namespace.pods("ray.io/node-type=worker").await?;
        let shown = shell.run("kubectl get rsp demo --no-headers").await?.stdout;
        let columns: Vec<_> = shown.split_whitespace().take(8).collect();
        let replicas = workers.to_string();
        let expected = [
            "demo",
            "demo",
            "Active",
            &replicas,
            &replicas,
            "signal",
            "spec.replicas",
            "True",
        ];
        let driver = namespace.objects("HorizontalPodAutoscaler").await?;
        let driver = driver.first().map(|driver| &driver["status"]);
        ensure!(
            columns == expected && pods.len() == workers,
            "there are {}, it shows {shown}, and its HorizontalPodAutoscaler {driver:?}",
            pods.len()
        );
        Ok(())
    })
    .await
}

fn policies(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("rayward.dev", "v1alpha1", "RayScalingPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rayscalingpolicies");
    Api::namespaced_with(namespace.client().clone(), namespace.name(), &resource)
}

async fn eventually<T>(namespace: &Namespace, what: &str, is: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    namespace.eventually(PATIENCE, what, is).await
}
