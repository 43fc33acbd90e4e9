//! The testbed's Prometheus sees what an operator of Ray would scrape.

use std::time::Duration;

use anyhow::Result;
use testbed::Testbed;

/// Ray nodes, both our services and the KubeRay operator are scraped.
pub(crate) async fn everything_is_scraped(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("metrics").await?;
    namespace
        .apply(include_str!("../fixtures/bare-cluster.yaml"))
        .await?;
    namespace.ready_head("demo", Duration::from_secs(240)).await?;
    let prometheus = testbed.prometheus().await?;
    for query in [
        format!("ray_node_cpu_count{{namespace=\"{}\"}}", namespace.name()),
        "rayward_webhook_requests_total".to_owned(),
        "rayward_autoscaler_ticks_total".to_owned(),
        "up{job=\"kuberay-operator\"} == 1".to_owned(),
    ] {
        testbed
            .eventually(
                Duration::from_secs(60),
                &format!("Prometheus answers {query}"),
                async || {
                    let series = prometheus
                        .query(&query)
                        .await
                        .map_err(|error| error.to_string())?;
                    if series.is_empty() {
                        Err("no series".to_owned())
                    } else {
                        Ok(())
                    }
                },
            )
            .await?;
    }
    Ok(())
}
