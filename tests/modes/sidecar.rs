//! Rayward beside the head, in place of Ray's own autoscaler.

use anyhow::{Result, ensure};
use testbed::Testbed;

use crate::scene::{REPLICAS, cluster, empty, has_patched, head, listed, said, stage, work};

/// The operator puts Ray's own autoscaler into the head, the webhook makes ours of it, and with the rights that the operator has given the head it
/// scales the cluster, up and down. The service for all clusters leaves it alone.
pub(crate) async fn the_container_in_the_head_scales(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("beside").await?;
    namespace.apply_all(&[cluster(Some("sidecar"))?]).await?;
    let (head, containers) = head(&namespace, "").await?;
    ensure!(containers == ["ray-head", "autoscaler"], "{containers:?}");
    let list = listed(&namespace).await?;
    ensure!(
        list.contains("rayward in the head") && !list.contains("kubectl"),
        "{list}"
    );
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await?;
    for replica in 0..REPLICAS {
        let said = said(testbed, replica, namespace.name(), 0)?;
        ensure!(!has_patched(&said), "replica {replica} has written: {said:?}");
    }
    Ok(())
}
