//! Rayward comes to a cluster that is older, and goes again.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::scene::{
    REPLICAS, SECOND, cluster, empty, explained, has_patched, head, install, length, listed, said, stage,
    uninstall, work,
};

/// A cluster is made where Rayward is not installed, and scaled by Ray's own autoscaler in its head. Rayward comes, and looks on. What
/// `clusters` says to do is done: the head is made anew, without, and is scaled by us. Then it leaves in the same way, Rayward goes, and Ray's own
/// autoscaler scales it again.
pub(crate) async fn an_older_cluster_is_adopted_and_given_back(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("older").await?;
    uninstall(testbed).await?;
    namespace.apply_all(&[cluster(None)?]).await?;
    let (older, containers) = head(&namespace, "").await?;
    ensure!(containers == ["ray-head", "autoscaler"], "{containers:?}");

    install(testbed).await?;
    told(&namespace, &older).await?;
    a_policy_says_that_it_is_only_shown(&namespace, &older).await?;
    annotate(&namespace, "ray").await?;
    no_longer_told(&namespace).await?;
    annotate(&namespace, "central").await?;
    told(&namespace, &older).await?;
    let list = listed(&namespace).await?;
    let next = next(&namespace, &older);
    ensure!(list.contains("ray in the head") && list.contains(&next), "{list}");

    works(&namespace, &older).await?;
    wrote(&namespace, [0; REPLICAS], 0)?;
    agreed_in_the_end(testbed).await?;

    namespace.delete("Pod", &older).await?;
    let (newer, containers) = head(&namespace, &older).await?;
    ensure!(containers == ["ray-head"], "{containers:?}");
    works(&namespace, &newer).await?;
    wrote(&namespace, [0; REPLICAS], 1)?;
    let list = listed(&namespace).await?;
    ensure!(!list.contains("kubectl"), "{list}");
    let condition = condition(&namespace).await?;
    ensure!(condition.is_null(), "it is adopted: {condition}");

    given_back(&namespace, &newer).await
}

/// As docs/guides/autoscaler-modes.md has it: the annotation, then what is next.
async fn given_back(namespace: &Namespace, head_before: &str) -> Result<()> {
    let testbed = namespace.testbed();
    annotate(namespace, "ray").await?;
    let list = listed(namespace).await?;
    let next = next(namespace, head_before);
    ensure!(list.contains("nobody") && list.contains(&next), "{list}");
    uninstall(testbed).await?;
    let mut logs = [0; REPLICAS];
    for (replica, log) in logs.iter_mut().enumerate() {
        *log = length(testbed, replica)?;
    }
    namespace.delete("Pod", head_before).await?;
    let (newest, containers) = head(namespace, head_before).await?;
    ensure!(containers == ["ray-head", "autoscaler"], "{containers:?}");
    works(namespace, &newest).await?;
    install(testbed).await?;
    let list = listed(namespace).await?;
    ensure!(
        list.contains("ray in the head") && !list.contains("kubectl"),
        "{list}"
    );
    wrote(namespace, logs, 0)
}

/// The cluster grows with its work, and shrinks without.
async fn works(namespace: &Namespace, head: &str) -> Result<()> {
    work(namespace, head, "2", "1").await?;
    empty(namespace).await
}

/// What `clusters` says under NEXT.
fn next(namespace: &Namespace, head: &str) -> String {
    format!("kubectl -n {} delete pod {head}", namespace.name())
}

/// So many replicas have written to the cluster, as they say after so many lines of their logs.
fn wrote(namespace: &Namespace, since: [usize; REPLICAS], count: usize) -> Result<()> {
    let logs = since.into_iter().enumerate();
    let logs = logs.map(|(replica, since)| said(namespace.testbed(), replica, namespace.name(), since));
    let logs = logs.collect::<Result<Vec<_>>>()?;
    let wrote = logs.iter().filter(|log| has_patched(log)).count();
    ensure!(wrote == count, "{count} replicas should have written: {logs:?}");
    Ok(())
}

/// An Event, the condition, `explain` and a metric say that the cluster is only shadowed, and for which head.
async fn told(namespace: &Namespace, head: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    let shadowed = ListParams::default().fields("reason=OnlyShadowed");
    let testbed = namespace.testbed();
    let all = async || {
        let event = events.list(&shadowed).await?.items.pop();
        let note = event.context("there is no Event")?.note.unwrap_or_default();
        ensure!(note.contains(head), "{note}");
        let condition = condition(namespace).await?;
        ensure!(
            condition["status"] == "False" && condition["message"] == note,
            "{condition}"
        );
        let explained = explained(namespace).await?;
        ensure!(
            explained.contains(&format!("Only shadowed: {note}")),
            "{explained}"
        );
        let mut counted = 0.0;
        for replica in 0..REPLICAS {
            let metric = r#"rayward_autoscaler_shadowed_clusters{why="Head"}"#;
            counted += testbed.autoscaler_metric(replica, metric).await?;
        }
        ensure!(counted > 0.0, "no replica counts it");
        anyhow::Ok(())
    };
    namespace
        .eventually(60 * SECOND, "all say that the cluster is only shadowed", all)
        .await
}

/// It is Ray's to scale, and the cluster says nothing of us.
async fn no_longer_told(namespace: &Namespace) -> Result<()> {
    namespace
        .eventually(60 * SECOND, "the condition is gone", async || {
            let condition = condition(namespace).await?;
            ensure!(condition.is_null(), "it says {condition}");
            anyhow::Ok(())
        })
        .await
}

/// A policy tells what it would come to, and whose head keeps us from doing it.
async fn a_policy_says_that_it_is_only_shown(namespace: &Namespace, head: &str) -> Result<()> {
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": {"target": {"name": "demo"}, "replicas": 1, "groups": [{"name": "cpu"}]},
    });
    namespace.apply_all(&[policy]).await?;
    namespace
        .eventually(60 * SECOND, "the policy says that it is only shown", async || {
            let mut policy = namespace
                .object("RayScalingPolicy", "demo")
                .await
                .map_err(|error| error.to_string())?;
            let status = policy["status"].take();
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            let able = conditions.find(|condition| condition["type"] == "AbleToScale");
            let names_the_head = |able: &Value| {
                able["reason"] == "Shadowed"
                    && able["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(head))
            };
            let is_shown = status["replicas"] == 0 && status["desiredReplicas"] == 1;
            if is_shown && able.is_some_and(names_the_head) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await?;
    namespace.delete("RayScalingPolicy", "demo").await
}

/// What the cluster says of its adoption.
async fn condition(namespace: &Namespace) -> Result<Value> {
    let cluster = namespace.object("RayCluster", "demo").await?;
    let mut conditions = cluster["status"]["conditions"].as_array().into_iter().flatten();
    let condition = conditions.find(|condition| condition["type"] == "rayward.dev/Adopted");
    Ok(condition.cloned().unwrap_or_default())
}

async fn annotate(namespace: &Namespace, mode: &str) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(namespace.client().clone(), namespace.name(), &kind);
    let annotated = json!({ "metadata": { "annotations": { "rayward.dev/autoscaler": mode } } });
    clusters
        .patch("demo", &PatchParams::default(), &Patch::Merge(annotated))
        .await?;
    Ok(())
}

/// Ray's own autoscaler came to what we would have done, and how long that took was measured.
async fn agreed_in_the_end(testbed: &Testbed) -> Result<()> {
    for replica in 0..REPLICAS {
        let count = "rayward_autoscaler_shadow_lag_seconds_count";
        if testbed.autoscaler_metric(replica, count).await? > 0.0 {
            return Ok(());
        }
    }
    bail!("no replica has compared anything")
}
