//! RayServices.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use testbed::{Namespace, Testbed};

use crate::samples::offline_service;

/// The official sample answers HTTP through its Service, both applications of it.
pub(crate) async fn official_sample_answers(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("service").await?;
    namespace.apply_all(&offline_service(testbed)?).await?;
    namespace
        .eventually(Duration::from_secs(360), "the RayService is Ready", async || {
            let service = namespace
                .object("RayService", "rayservice-sample")
                .await
                .map_err(|error| error.to_string())?;
            let ready = service["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            if ready {
                Ok(())
            } else {
                Err(format!("status: {}", service["status"]))
            }
        })
        .await?;
    for (route, question, answer) in [
        ("/fruit", r#"["MANGO", 2]"#, "6"),
        ("/calc", r#"["MUL", 3]"#, "15"),
    ] {
        let said = namespace
            .eventually(Duration::from_secs(60), "the Service answers", async || {
                post(&namespace, "rayservice-sample-serve-svc", route, question).await
            })
            .await?;
        ensure!(
            said == answer,
            "{question} to {route} should give {answer}, it gave {said}"
        );
    }
    Ok(())
}

/// The answer of a Service to an HTTP POST, through the API server's proxy.
async fn post(namespace: &Namespace, service: &str, route: &str, body: &str) -> Result<String, String> {
    let path = format!(
        "/api/v1/namespaces/{}/services/{service}:8000/proxy{route}",
        namespace.name()
    );
    let request = Request::post(path)
        .body(body.as_bytes().to_vec())
        .map_err(|error| error.to_string())?;
    namespace
        .client()
        .request_text(request)
        .await
        .map_err(|error| error.to_string())
}
