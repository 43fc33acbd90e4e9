//! Rayward comes to a cluster that is older.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::{Namespace, Part, Testbed};

use crate::scene::{REPLICAS, SECOND, cluster, empty, has_patched, head, listed, said, stage, work};

/// A cluster is made where Rayward is not installed, and scaled by Ray's own autoscaler in its head. Rayward comes, and looks on. What
/// `clusters` says to do is done: the head is made anew, without, and is scaled by us.
pub(crate) async fn an_older_cluster_is_adopted(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("older").await?;
    for replica in 0..REPLICAS {
        testbed.stop(Part::Autoscaler(replica)).await?;
    }
    testbed.stop(Part::Webhook(0)).await?;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        testbed.delete(kind, "", "rayward").await?;
    }
    namespace.apply_all(&[cluster(None)?]).await?;
    let (older, containers) = head(&namespace, "").await?;
    ensure!(containers == ["ray-head", "autoscaler"], "{containers:?}");

    testbed.start_part(Part::Webhook(0)).await?;
    for replica in 0..REPLICAS {
        testbed.start_part(Part::Autoscaler(replica)).await?;
    }
    told(&namespace, &older).await?;
    a_policy_says_that_it_is_only_shown(&namespace, &older).await?;
    let next = format!("kubectl -n {} delete pod {older}", namespace.name());
    let list = listed(&namespace).await?;
    ensure!(list.contains("ray in the head") && list.contains(&next), "{list}");

    work(&namespace, &older, "2", "1").await?;
    empty(&namespace).await?;
    for replica in 0..REPLICAS {
        let said = said(testbed, replica, namespace.name(), 0)?;
        ensure!(!has_patched(&said), "replica {replica} has written: {said:?}");
    }
    agreed_in_the_end(testbed).await?;

    namespace.delete("Pod", &older).await?;
    let (newer, containers) = head(&namespace, &older).await?;
    ensure!(containers == ["ray-head"], "{containers:?}");
    work(&namespace, &newer, "2", "1").await?;
    empty(&namespace).await?;
    let patched = (0..REPLICAS).map(|replica| said(testbed, replica, namespace.name(), 0));
    let patched = patched.collect::<Result<Vec<_>>>()?;
    ensure!(
        patched.iter().filter(|said| has_patched(said)).count() == 1,
        "one replica should have written: {patched:?}"
    );
    let list = listed(&namespace).await?;
    ensure!(!list.contains("kubectl"), "{list}");
    Ok(())
}

/// The Event on the cluster names the head.
async fn told(namespace: &Namespace, head: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    namespace
        .eventually(
            60 * SECOND,
            "an Event says that the cluster is only shadowed",
            async || {
                let listed = events.list(&ListParams::default()).await?.items;
                let event = listed
                    .into_iter()
                    .find(|event| event.reason.as_deref() == Some("OnlyShadowed"))
                    .context("there is none")?;
                let note = event.note.unwrap_or_default();
                ensure!(note.contains(head), "{note}");
                anyhow::Ok(())
            },
        )
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

/// Ray's own autoscaler came to what we would have done, and how long that took was measured.
async fn agreed_in_the_end(testbed: &Testbed) -> Result<()> {
    for replica in 0..REPLICAS {
        let metrics = metrics(testbed, replica).await?;
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("rayward_autoscaler_shadow_lag_seconds_count "));
        if count.is_some_and(|count| count != "0") {
            return Ok(());
        }
    }
    bail!("no replica has compared anything")
}

async fn metrics(testbed: &Testbed, replica: usize) -> Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(testbed.autoscaler_admin_address(replica)).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
