//! Several replicas of the autoscaler share the clusters.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use testbed::{Part, Testbed};

use crate::scene::{
    SECOND, cluster, empty, has_patched, head, length, lines, owner, said, stage, start, work,
};

/// The owner of a cluster ends in order, and the other takes over before its Lease could have run out. Then that one is killed, and is followed
/// as soon as its Lease has.
pub(crate) async fn a_killed_owner_is_followed(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("followed").await?;
    namespace.apply_all(&[cluster(None)?]).await?;
    let (head, _) = head(&namespace, "").await?;
    let first = owner(&namespace, 60 * SECOND, &[]).await?;

    let stopping = Instant::now();
    testbed.stop(Part::Autoscaler(first)).await?;
    owner(&namespace, 60 * SECOND, &[first]).await?;
    ensure!(
        stopping.elapsed() < 6 * SECOND,
        "after an orderly end it took {:?}",
        stopping.elapsed()
    );
    work(&namespace, &head, "1", "1").await?;

    start(testbed, first).await?;
    let owner_now = owner(&namespace, 60 * SECOND, &[]).await?;
    let killing = Instant::now();
    testbed.kill(Part::Autoscaler(owner_now)).await?;
    owner(&namespace, 60 * SECOND, &[owner_now]).await?;
    ensure!(
        (6 * SECOND..16 * SECOND).contains(&killing.elapsed()),
        "after a kill it took {:?}",
        killing.elapsed()
    );
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await?;
    start(testbed, owner_now).await
}

/// The owner hangs, the other takes over and scales; then the owner goes on. Until it has waited for as long as everybody who comes back, it
/// writes nothing, and there are never more workers than there is work.
pub(crate) async fn a_paused_owner_writes_no_more(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("paused").await?;
    namespace.apply_all(&[cluster(None)?]).await?;
    let (head, _) = head(&namespace, "").await?;
    let paused = owner(&namespace, 60 * SECOND, &[]).await?;
    testbed.pause(Part::Autoscaler(paused)).await?;
    let since = length(testbed, paused)?;
    let mut seen = BTreeSet::new();
    let meddling = async {
        let other = owner(&namespace, 30 * SECOND, &[paused]).await?;
        let patched = async || {
            let said = said(testbed, other, namespace.name(), 0)?;
            ensure!(has_patched(&said), "it has said {said:?}");
            anyhow::Ok(())
        };
        namespace
            .eventually(30 * SECOND, "the other has written", patched)
            .await?;
        testbed.resume(Part::Autoscaler(paused)).await
    };
    let watching = async {
        loop {
            for pod in namespace.pods("ray.io/node-type=worker").await? {
                seen.insert(pod.name_any());
            }
            tokio::time::sleep(SECOND / 5).await;
        }
    };
    tokio::select! {
        both = async { tokio::try_join!(work(&namespace, &head, "3", "15"), meddling) } => drop(both?),
        failed = watching => return failed,
    }
    ensure!(
        seen.len() == 3,
        "three tasks need three workers, there were {seen:?}"
    );
    empty(&namespace).await?;
    namespace
        .eventually(30 * SECOND, "the one that was paused acts again", async || {
            let lines = lines(testbed, paused, since)?;
            let acts = lines.iter().position(|line| line["acts"] == true);
            let Some(acts) = acts else {
                anyhow::bail!("it has not said so");
            };
            let before = &lines[..acts];
            ensure!(before.iter().any(|line| line["acts"] == false), "it did not wait");
            ensure!(!has_patched(before), "it has written before: {before:?}");
            Ok(())
        })
        .await
}
