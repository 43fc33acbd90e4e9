//! RayJobs.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::Testbed;

use crate::samples::offline_job;

/// The official sample, in K8sJobMode: a cluster comes up, the submitter's Pod submits, the job succeeds.
pub(crate) async fn official_sample_succeeds(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("job").await?;
    namespace.apply_all(&offline_job(testbed)?).await?;
    let status = namespace
        .eventually(Duration::from_secs(300), "the RayJob has ended", async || {
            let job = namespace
                .object("RayJob", "rayjob-sample")
                .await
                .map_err(|error| error.to_string())?;
            match job["status"]["jobDeploymentStatus"].as_str() {
                Some("Complete" | "Failed" | "ValidationFailed") => Ok(job["status"].clone()),
                _ => Err(format!("status: {}", job["status"])),
            }
        })
        .await?;
    ensure!(
        status["jobStatus"] == "SUCCEEDED",
        "the RayJob should have succeeded: {status:#}"
    );
    Ok(())
}
