//! Heads whose GCS keeps what it knows: a new head goes on where the old one ended.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::cluster::{BARE, BURST, run, workers_become};

const SECOND: Duration = Duration::from_secs(1);
const COUNTER: &str = include_str!("../fixtures/workloads/counter.py");

/// The head of a cluster whose GCS keeps its tables on a disk is killed while an actor lives on a worker. The worker stays, and so does the actor: nothing is
/// removed while the head is away, and what the next one knows is scaled on.
pub(crate) async fn a_new_head_goes_on_with_the_same_workers(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("tolerant").await?;
    let disk = testbed.work().join(namespace.name());
    std::fs::create_dir_all(&disk)?;
    namespace
        .apply_all(&[tolerant(&disk.display().to_string())?])
        .await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?.name_any();
    let count = ["python", "-c", COUNTER];
    let before = run(&namespace, &head, &count).await?;
    let (first, node) = before.trim().split_once(' ').context("a count and a node")?;
    ensure!(first == "1", "{before}");
    let workers = workers(&namespace).await?;
    ensure!(workers.len() == 1, "one actor needs one worker: {workers:?}");

    namespace.delete("Pod", &head).await?;
    let successor = namespace
        .eventually(240 * SECOND, "another head is ready", async || {
            match namespace.ready_head("demo", SECOND).await {
                Ok(pod) if pod.name_any() != head => Ok(pod.name_any()),
                Ok(_) => Err("the old head is still there".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
    let after = run(&namespace, &successor, &count).await?;
    ensure!(
        after.trim() == format!("2 {node}"),
        "the actor has counted {before}, then {after}"
    );
    let kept = self::workers(&namespace).await?;
    ensure!(kept == workers, "{workers:?} became {kept:?}");

    let done = run(&namespace, &successor, &["python", "-c", BURST, "2", "3"]).await?;
    ensure!(done.contains("2 tasks done on 2 nodes"), "{done}");
    workers_become(&namespace, "demo", 1).await?;
    let kept = self::workers(&namespace).await?;
    ensure!(kept == workers, "the busy one should be left: {kept:?}");
    run(&namespace, &successor, &["python", "-c", COUNTER, "end"]).await?;
    workers_become(&namespace, "demo", 0).await
}

/// KubeRay 1.6 knows of Redis only, so this says to Ray what 1.7 would: where the tables are, and to the workers, that a head that is away may come back.
fn tolerant(disk: &str) -> Result<Value> {
    let mut cluster = testbed::documents(BARE)?.remove(0);
    let variable = |name: &str, value: &str| json!({ "name": name, "value": value });
    let mut pod = |group: &str| {
        let place = format!("{group}/template/spec");
        cluster.pointer_mut(&place).map(Value::take).context("a Pod")
    };
    let (mut head, mut worker) = (pod("/spec/headGroupSpec")?, pod("/spec/workerGroupSpecs/0")?);
    head["containers"][0]["env"] = json!([
        variable("RAY_gcs_storage", "rocksdb"),
        variable("RAY_gcs_storage_path", "/data/gcs"),
    ]);
    head["containers"][0]["volumeMounts"] = json!([{ "name": "tables", "mountPath": "/data/gcs" }]);
    head["volumes"] = json!([{ "name": "tables", "hostPath": { "path": disk } }]);
    worker["containers"][0]["env"] = json!([variable("RAY_gcs_rpc_server_reconnect_timeout_s", "600")]);
    cluster["spec"]["headGroupSpec"]["template"]["spec"] = head;
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"] = worker;
    Ok(cluster)
}

async fn workers(namespace: &Namespace) -> Result<BTreeSet<String>> {
    let pods = namespace.pods("ray.io/node-type=worker").await?;
    Ok(pods.into_iter().map(|pod| pod.name_any()).collect())
}
