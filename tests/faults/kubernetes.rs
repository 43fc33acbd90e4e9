//! Kubernetes' side fails: no API server, no operator, and somebody who writes to the RayCluster all the time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Part, Testbed};

use crate::scene::{CLUSTER, SECOND, Scene, Witness, enter, figure, replicas};

/// Without an API server nothing can be written, and who owns the cluster is not known any more. What was asked for meanwhile comes as soon as it is back.
/// So that this can be seen the operator starts anew: by itself it waits for up to a minute before it looks whether the API server is back.
pub(crate) async fn the_api_server_is_away(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    let witness = Witness::of(scene);
    let fault = async {
        scene.wave_runs().await?;
        testbed.kill(Part::ApiServer).await?;
        tokio::time::sleep(60 * SECOND).await;
        testbed.start_part(Part::ApiServer).await?;
        let back = Instant::now();
        scene
            .becomes("a third worker is asked for", |group| replicas(group) == Some(3))
            .await?;
        figure("an API server that is back to a patch", back);
        testbed.restart(Part::Operator).await?;
        scene.workers_become(3).await
    };
    tokio::try_join!(scene.wave(2, 120), fault)?;
    witness.saw_only(3)?;
    scene.empty().await
}

/// Without the operator nothing becomes of what is asked for. It is asked for once.
pub(crate) async fn the_operator_is_away(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    let witness = Witness::of(scene);
    testbed.stop(Part::Operator).await?;
    let fault = async {
        scene
            .becomes("two workers are asked for", |group| replicas(group) == Some(2))
            .await?;
        let before = scene.namespace.object("RayCluster", CLUSTER).await?;
        tokio::time::sleep(20 * SECOND).await;
        let after = scene.namespace.object("RayCluster", CLUSTER).await?;
        let version = |cluster: &Value| cluster["metadata"]["resourceVersion"].clone();
        ensure!(
            version(&before) == version(&after),
            "it was written again: {before:#} {after:#}"
        );
        testbed.start_part(Part::Operator).await?;
        let back = Instant::now();
        scene.workers_become(2).await?;
        figure("an operator that is back to new workers", back);
        Ok(())
    };
    tokio::try_join!(scene.burst(2, 5), fault)?;
    witness.saw_only(2)?;
    scene.empty().await
}

/// Somebody changes the RayCluster many times a second, so that some of our patches are about one that is no more. Each is decided anew, none is lost,
/// and none of the other's changes either.
pub(crate) async fn somebody_else_writes(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    let since = testbed.logs(Part::Autoscaler(0))?.lines().count();
    let mut written = 0;
    let writing = async {
        loop {
            written += 1;
            touch(scene, written).await?;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let scaled = async {
        for _ in 0..3 {
            let witness = Witness::of(scene);
            scene.burst(3, 3).await?;
            witness.saw_only(3)?;
            scene.empty().await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = scaled => done?,
        failed = writing => return failed,
    }
    let cluster = scene.namespace.object("RayCluster", CLUSTER).await?;
    let touched = cluster["metadata"]["annotations"]["example.com/touched"].as_str();
    let touched = touched.and_then(|touched| touched.parse().ok());
    ensure!(
        touched.is_some_and(|touched: u64| touched == written || touched + 1 == written),
        "{written} writes, and the last that is there is {touched:?}"
    );
    let log = testbed.logs(Part::Autoscaler(0))?;
    let outcomes = |outcome: &str| {
        let said = format!("\"outcome\":\"{outcome}\"");
        log.lines()
            .skip(since)
            .filter(|line| line.contains(&said))
            .count()
    };
    let (patched, conflicts) = (outcomes("Patched"), outcomes("Conflict"));
    eprintln!("faults: {written} writes of somebody else: {patched} patches, and {conflicts} in conflict");
    ensure!(
        conflicts * 9 >= patched,
        "{conflicts} of {} patches were in conflict, which is less than a tenth",
        patched + conflicts
    );
    Ok(())
}

async fn touch(scene: &Scene, number: u64) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(scene.namespace.client().clone(), scene.namespace.name(), &kind);
    let touched = json!({"metadata": {"annotations": {"example.com/touched": number.to_string()}}});
    clusters
        .patch(CLUSTER, &PatchParams::default(), &Patch::Merge(touched))
        .await?;
    Ok(())
}
