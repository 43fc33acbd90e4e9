//! Whose Pod is whose: from the watch, or by one short look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_was_watched_needs_no_call() {
    let api = Api::default();
    let (clusters, keep) = Clusters::watch(api.client(), AutoscalerMode::Central);
    let keeping = tokio::spawn(keep);
    clusters.watched.wait_until_ready().await.expect("watched");

    let calls = api.calls.load(Ordering::Relaxed);
    let cluster = clusters.of("team", "watched").await.expect("known");
    assert_eq!(cluster.mode, AutoscalerMode::Ray);
    insta::assert_json_snapshot!(cluster.object, @r#"
    {
      "metadata": {
        "labels": {
          "tier": "gold"
        },
        "name": "watched",
        "namespace": "team",
        "ownerReferences": [
          {
            "apiVersion": "ray.io/v1",
            "controller": true,
            "kind": "RayJob",
            "name": "train",
            "uid": "1"
          }
        ]
      }
    }
    "#);
    assert_eq!(api.calls.load(Ordering::Relaxed), calls);
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_newer_than_the_watch_is_looked_up_once_and_briefly() {
    let (clusters, _not_polled) = Clusters::watch(Api::default().client(), AutoscalerMode::Central);
    assert_eq!(
        clusters.of("team", "watched").await.expect("looked up").mode,
        AutoscalerMode::Ray
    );
    assert_eq!(
        clusters.of("team", "gone").await.expect("looked up"),
        Cluster::unknown("team", "gone", AutoscalerMode::Central)
    );
    let refused = clusters
        .of("team", "refused")
        .await
        .expect_err("unknown")
        .to_string();
    assert!(
        refused.starts_with("look up RayCluster team/refused: ApiError: not for you"),
        "{refused}"
    );
    assert_eq!(
        clusters
            .of("team", "late")
            .await
            .expect_err("unknown")
            .to_string(),
        "look up RayCluster team/late: no answer within 500ms"
    );
}

#[derive(Clone, Default)]
struct Api {
    calls: Arc<AtomicUsize>,
}

impl Api {
    fn client(&self) -> Client {
        let calls = self.calls.clone();
        let answer = move |request: http::Request<Body>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move {
                let watching = request.uri().query().unwrap_or_default().contains("watch=true");
                let name = request.uri().path().rsplit('/').next().unwrap_or_default();
                let (status, answer) = match name {
                    _ if watching => return std::future::pending().await,
                    "late" => return std::future::pending().await,
                    "rayclusters" => (
                        200,
                        json!({"metadata": {"resourceVersion": "1"}, "items": [watched()]}),
                    ),
                    "watched" => (200, watched()),
                    "gone" => (404, json!({"reason": "NotFound", "code": 404})),
                    _ => (
                        403,
                        json!({"message": "not for you", "reason": "Forbidden", "code": 403}),
                    ),
                };
                let status = StatusCode::from_u16(status).expect("a status");
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(status).body(body).expect("a response"))
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }
}

fn watched() -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {"name": "watched", "namespace": "team", "labels": {"tier": "gold"}, "annotations": {keys::AUTOSCALER: "ray"},
            "ownerReferences": [{"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "train", "uid": "1", "controller": true}]},
    })
}
