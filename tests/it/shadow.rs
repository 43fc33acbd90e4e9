//! Clusters that Ray's own autoscaler scales while we look on, since they ask for that.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::{Namespace, Part, Testbed};

use crate::cluster::{BARE, BURST, run, workers_become};
use crate::scaling::explain;

const SECOND: Duration = Duration::from_secs(1);
/// What we are called as a writer.
pub(crate) const OURS: &str = "rayward-autoscaler";

/// Ray's own autoscaler scales the cluster up and down, and by a floor that it knows nothing of we would have more: that is said in `explain`, in the log and
/// in metrics once it lasts, and once it is over. In the cluster nothing of ours is left: no write, no condition, no Event.
pub(crate) async fn what_asks_to_be_shadowed_is_not_touched(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("shadowed").await?;
    namespace.apply_all(&[floor(), cluster()?]).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?;
    let containers = head.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<_> = containers.map(|container| container.name.as_str()).collect();
    ensure!(containers == ["ray-head", "autoscaler"], "{containers:?}");
    let head = head.metadata.name.context("a name")?;

    let (done, ()) = tokio::try_join!(
        run(&namespace, &head, &["python", "-c", BURST, "2", "5"]),
        differs(&namespace),
    )?;
    ensure!(done.contains("2 tasks done"), "{done}");
    namespace.delete("RayScalingPolicy", "demo").await?;
    workers_become(&namespace, "demo", 0).await?;
    let agrees = async || {
        let said = said(&namespace, "shadow agrees again")?;
        ensure!(said.iter().any(|line| line["group"] == "cpu"), "{said:?}");
        anyhow::Ok(())
    };
    namespace
        .eventually(60 * SECOND, "they agree in the end", agrees)
        .await?;
    measured(testbed, "rayward_autoscaler_shadow_lag_seconds_count").await?;
    untouched(&namespace).await
}

fn cluster() -> Result<Value> {
    let mut cluster = testbed::documents(BARE)?.remove(0);
    cluster["metadata"]["annotations"] = json!({"rayward.dev/autoscaler": "shadow"});
    Ok(cluster)
}

/// As many as there may be, at any time.
fn floor() -> Value {
    let always = json!({"start": "* * * * *", "end": "0 0 29 2 *", "timeZone": "Etc/UTC", "replicas": 3});
    json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayScalingPolicy",
        "metadata": {"name": "demo"},
        "spec": {
            "target": {"name": "demo"},
            "groups": [{"signals": [{"name": "always", "role": "Floor", "schedule": always}]}],
        },
    })
}

/// What we would have is told, as something that is not carried out.
async fn differs(namespace: &Namespace) -> Result<()> {
    let testbed = namespace.testbed();
    let lasts = async || {
        let said = said(namespace, "shadow differs")?;
        let line = said.first().with_context(|| "nothing was said".to_owned())?;
        let shows = line["group"] == "cpu" && line["ours"] == 3 && line["theirs"].as_u64() < Some(3);
        ensure!(shows, "{line}");
        anyhow::Ok(())
    };
    namespace
        .eventually(120 * SECOND, "a difference that lasts is told", lasts)
        .await?;
    measured(
        testbed,
        r#"rayward_autoscaler_shadow_differences_total{ours="More"}"#,
    )
    .await?;
    measured(testbed, r#"rayward_autoscaler_shadowed_clusters{why="Asked"}"#).await?;
    let server = format!("--server=http://{}", testbed.autoscaler_admin_address(0));
    let told = explain(&format!("{}/demo", namespace.name()), &[&server]).await?;
    let told = String::from_utf8(told.stdout)?;
    for what in [
        "Only shadowed: its mode is shadow",
        "decided, and not carried out: cpu: ",
        " -> 3 replicas",
    ] {
        ensure!(told.contains(what), "`{what}` is not in {told}");
    }
    Ok(())
}

/// All that was written was written by others.
async fn untouched(namespace: &Namespace) -> Result<()> {
    let cluster = namespace.object("RayCluster", "demo").await?;
    let writers = writers(&cluster);
    ensure!(
        writers.iter().any(|writer| writer.starts_with("python")),
        "Ray's own autoscaler has written: {writers:?}"
    );
    ensure!(
        writers
            .iter()
            .all(|writer| !writer.contains("rayward-autoscaler")),
        "we have written: {writers:?}"
    );
    let conditions = cluster["status"]["conditions"].to_string();
    ensure!(!conditions.contains("rayward.dev/"), "{conditions}");
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    let events = events.list(&ListParams::default()).await?.items;
    let mut ours = events
        .iter()
        .filter(|event| event.reporting_controller.as_deref() == Some(OURS));
    ensure!(ours.next().is_none(), "{events:#?}");
    let said = said(namespace, "tick")?;
    ensure!(said.is_empty(), "we have acted: {said:?}");
    Ok(())
}

/// Who has written an object, as far as what was written is still there.
pub(crate) fn writers(object: &Value) -> BTreeSet<&str> {
    let fields = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    fields.filter_map(|entry| entry["manager"].as_str()).collect()
}

/// What the autoscaler has logged with this message of the clusters of a namespace.
fn said(namespace: &Namespace, message: &str) -> Result<Vec<Value>> {
    let log = namespace.testbed().logs(Part::Autoscaler(0))?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of = |line: &Value| line["namespace"] == namespace.name() && line["message"] == message;
    Ok(lines.filter(of).collect())
}

async fn measured(testbed: &Testbed, name: &str) -> Result<()> {
    let value = testbed.autoscaler_metric(0, name).await?;
    ensure!(value >= 1.0, "{name} is {value}");
    Ok(())
}
