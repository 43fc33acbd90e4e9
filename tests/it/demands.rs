//! Everything that Ray can ask for, and everything that a user may write meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::cluster::{BARE, BURST, run, workers_become, workers_become_at_least};
use crate::guide;
use crate::scaling::{event_of, explain};

const SECOND: Duration = Duration::from_secs(1);
const DEMANDS: &str = include_str!("../fixtures/workloads/demands.py");

/// The guide's cluster of four groups: GPUs, labels, placement groups of all four strategies, slices of two hosts and `request_resources` each come to the
/// group that has them. What none has is said. In the end the minimum is left.
pub(crate) async fn each_finds_its_group(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("demands").await?;
    namespace.apply(&guide::cluster("shapes.yaml")?).await?;
    let head = ready(&namespace).await?;
    let said = run(&namespace, &head, &["python", "-c", DEMANDS]).await?;
    for line in [
        "STRICT_SPREAD of 2 is on 2 nodes",
        "STRICT_PACK of 2 is on 1 nodes",
        "4 CPUs are there",
        "done",
    ] {
        ensure!(said.contains(line), "`{line}` is not in {said}");
    }
    workers_become(&namespace, "demo", 1).await?;
    let left = namespace.pods("ray.io/group=small").await?;
    ensure!(left.len() == 1, "the minimum of `small` is what is left");
    Ok(())
}

/// What no group of the guide's first cluster can ever hold is told at once, by an Event and by `explain`.
pub(crate) async fn what_no_group_can_hold_is_told(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("hopeless").await?;
    namespace.apply(&guide::cluster("first.yaml")?).await?;
    let head = ready(&namespace).await?;
    let ask = "import ray, time; ray.init(address='auto'); f = ray.remote(num_cpus=100)(int).remote(); time.sleep(60)";
    let ask = ["python", "-c", ask];
    let waiting = run(&namespace, &head, &ask);
    let told = async {
        event_of(&namespace, "NoGroupFits", "1 x {CPU: 100}").await?;
        let server = format!("--server=http://{}", testbed.autoscaler_admin_address(0));
        let said = explain(&format!("{}/demo", namespace.name()), &[&server]).await?;
        let text = String::from_utf8(said.stdout)?;
        ensure!(
            text.contains("not onto cpu: its nodes have {CPU: 1}, and {CPU: 100} is asked for"),
            "{text}"
        );
        Ok(())
    };
    tokio::select! {
        done = waiting => done.map(drop),
        told = told => told,
    }
}

/// Minimum, maximum and suspension, edited while the cluster runs.
pub(crate) async fn what_a_user_writes_meanwhile_holds(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("edits").await?;
    namespace.apply(BARE).await?;
    let head = ready(&namespace).await?;

    edit(&namespace, "/spec/workerGroupSpecs/0/minReplicas", json!(1)).await?;
    workers_become(&namespace, "demo", 1).await?;
    edit(&namespace, "/spec/workerGroupSpecs/0/maxReplicas", json!(1)).await?;
    let done = run(&namespace, &head, &["python", "-c", BURST, "3", "2"]).await?;
    ensure!(done.contains("3 tasks done on 1 nodes"), "{done}");

    edit(&namespace, "/spec/suspend", json!(true)).await?;
    namespace
        .eventually(60 * SECOND, "all Pods are gone", async || {
            let pods = namespace
                .pods("ray.io/cluster=demo")
                .await
                .map_err(|error| error.to_string())?;
            if pods.is_empty() {
                Ok(())
            } else {
                Err(format!("{} are left", pods.len()))
            }
        })
        .await?;
    edit(&namespace, "/spec/workerGroupSpecs/0/minReplicas", json!(0)).await?;
    edit(&namespace, "/spec/suspend", json!(false)).await?;
    let head = ready(&namespace).await?;
    let done = run(&namespace, &head, &["python", "-c", BURST, "1", "1"]).await?;
    ensure!(done.contains("1 tasks done on 1 nodes"), "{done}");
    workers_become(&namespace, "demo", 0).await
}

/// The GCS of one of two clusters is frozen. That costs the other nothing, is said, and is over when it thaws: nothing was removed meanwhile.
pub(crate) async fn a_frozen_head_costs_only_its_own_cluster(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("frozen").await?;
    let frozen = BARE
        .replace("name: demo", "name: frozen")
        .replace("minReplicas: 0", "minReplicas: 1");
    namespace.apply(&frozen).await?;
    namespace.apply(BARE).await?;
    let frozen = namespace.ready_head("frozen", 240 * SECOND).await?;
    let frozen = frozen.metadata.name.unwrap_or_default();
    let head = ready(&namespace).await?;
    workers_become(&namespace, "frozen", 1).await?;

    signal(&namespace, &frozen, "STOP").await?;
    let burst = ["python", "-c", BURST, "1", "1"];
    let meanwhile = run(&namespace, &head, &burst);
    // No longer than it takes: a node gives its head up after a minute.
    let frozen = async {
        workers_become_at_least(&namespace, "demo", 1).await?;
        event_of(&namespace, "HeadUnreachable", "no answer within 3 s").await?;
        reachable(&namespace, "False").await?;
        signal(&namespace, &frozen, "CONT").await
    };
    let (done, ()) = tokio::try_join!(meanwhile, frozen)?;
    ensure!(done.contains("1 tasks done on 1 nodes"), "{done}");
    event_of(&namespace, "HeadReachable", "answers again").await?;
    reachable(&namespace, "True").await?;
    let never = namespace.object("RayCluster", "demo").await?;
    let said = condition(&never);
    ensure!(said.is_none(), "of a head that has always answered: {said:?}");
    workers_become(&namespace, "frozen", 1).await
}

/// The condition of the cluster whose head was frozen comes to say so.
async fn reachable(namespace: &Namespace, status: &str) -> Result<()> {
    let what = format!("HeadReachable is {status}");
    namespace
        .eventually(30 * SECOND, &what, async || {
            let cluster = namespace.object("RayCluster", "frozen").await;
            let cluster = cluster.map_err(|error| error.to_string())?;
            match condition(&cluster) {
                Some(condition) if condition["status"] == status => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
}

fn condition(cluster: &Value) -> Option<&Value> {
    let mut conditions = cluster["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == "rayward.dev/HeadReachable")
}

async fn signal(namespace: &Namespace, head: &str, signal: &str) -> Result<()> {
    let freeze = format!("pkill -{signal} gcs_server");
    run(namespace, head, &["sh", "-c", &freeze]).await.map(drop)
}

pub(crate) async fn ready(namespace: &Namespace) -> Result<String> {
    let head = namespace.ready_head("demo", 240 * SECOND).await?;
    Ok(head.metadata.name.unwrap_or_default())
}

/// As `kubectl edit` would.
pub(crate) async fn edit(namespace: &Namespace, path: &str, value: Value) -> Result<()> {
    let kind = GroupVersionKind::gvk("ray.io", "v1", "RayCluster");
    let clusters: Api<DynamicObject> = Api::namespaced_with(
        namespace.client().clone(),
        namespace.name(),
        &ApiResource::from_gvk(&kind),
    );
    let edits = serde_json::from_value(json!([{"op": "add", "path": path, "value": value}]))?;
    clusters
        .patch("demo", &PatchParams::default(), &Patch::<()>::Json(edits))
        .await?;
    Ok(())
}
