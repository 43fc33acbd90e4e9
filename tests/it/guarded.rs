//! Servers that want to see who asks: a real Prometheus with a certificate and a password, and, since Prometheus itself knows neither tokens nor keys in
//! headers, one of our own that does as the proxies before it do.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use testbed::Namespace;
use tokio::net::TcpListener;

use crate::signals::{apply, status, told};

const RIGHT: &str = include_str!("../../manifests/optional/prometheus-secrets.yaml");
/// Where our own listens. Every world has a network of its own.
const PROXY_PORT: u16 = 9092;

/// The addresses that the autoscaler has to be told.
pub(crate) fn servers() -> [String; 2] {
    [
        format!("https://127.0.0.1:{}", testbed::GUARDED_PROMETHEUS_PORT),
        format!("http://127.0.0.1:{PROXY_PORT}"),
    ]
}

/// One with a certificate and a password gets to see ours, once we may read the Secret for it, and only where the Secret names it.
pub(crate) async fn a_guarded_one_is_shown_what_it_wants(namespace: &Namespace) -> Result<()> {
    let [server, _] = servers();
    let shown = namespace.testbed().guarded_prometheus().await?;
    let source = json!({"server": server, "query": "vector(2)", "secret": "monitoring", "headers": {"X-Scope-OrgID": "vision"}});
    recommend(namespace, json!([floor("two", &source)])).await?;
    let says = async |what: &str| {
        let of = format!("Secret {}/monitoring {what}", namespace.name());
        let told = |status: &Value| told(status).contains(&of);
        status(namespace, &of, told).await.map(drop)
    };
    says("may not be read: give us the Role `rayward-prometheus-secrets` there").await?;
    namespace.apply(RIGHT).await?;
    says("is not there").await?;
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "monitoring"}, "stringData": shown});
    namespace.apply_all(&[secret.clone()]).await?;
    says("is not for https://").await?;
    secret["metadata"]["annotations"] = json!({"rayward.dev/prometheus-servers": server});
    namespace.apply_all(&[secret]).await?;
    status(namespace, "the guarded one is heard", |status| {
        status["desiredReplicas"] == 2
    })
    .await
    .map(drop)
}

/// A token and a header from Secrets are sent to the server that the Secrets name; without them it says nothing.
pub(crate) async fn tokens_and_headers_are_shown(namespace: &Namespace) -> Result<()> {
    let [_, server] = servers();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT)).await;
    let listener = listener.context("listen for the autoscaler")?;
    let router = Router::new().route("/api/v1/query", get(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    let signals = |token: &Value, key: &Value| {
        let source = |query: &str, secret: &Value| {
            let mut source = json!({"server": server, "query": query});
            if !secret.is_null() {
                source["secret"] = secret.clone();
            }
            source
        };
        json!([
            floor("token", &source("token", token)),
            floor("key", &source("key", key))
        ])
    };
    recommend(namespace, signals(&Value::Null, &Value::Null)).await?;
    status(namespace, "neither is heard", |status| {
        let refused = |signal: &str| format!("{signal}: the server answers with status 401");
        let told = told(status);
        told.contains(&refused("token")) && told.contains(&refused("key"))
    })
    .await?;
    let secret = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "annotations": {"rayward.dev/prometheus-servers": server}},
            "stringData": data,
        })
    };
    let secrets = [
        secret("token", json!({"token": TOKEN})),
        secret("key", json!({"header.X-Api-Key": KEY})),
    ];
    namespace.apply(RIGHT).await?;
    namespace.apply_all(&secrets).await?;
    recommend(namespace, signals(&"token".into(), &"key".into())).await?;
    status(namespace, "both are heard", |status| {
        let signals = &status["groups"][0]["signals"];
        signals[0]["replicas"] == 2 && signals[1]["replicas"] == 3
    })
    .await?;
    serving.abort();
    Ok(())
}

const TOKEN: &str = "open-sesame";
const KEY: &str = "alibaba";

/// `token` is answered to those who show that, and `key` likewise.
async fn answer(
    headers: HeaderMap,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    let shows = |header: &str, value: &str| headers.get(header).is_some_and(|shown| shown == value);
    let number = match parameters.get("query").map(String::as_str) {
        Some("token") if shows("authorization", &format!("Bearer {TOKEN}")) => "2",
        Some("key") if shows("x-api-key", KEY) => "3",
        _ => return Err(StatusCode::UNAUTHORIZED),
    };
    Ok(Json(
        json!({"status": "success", "data": {"resultType": "scalar", "result": [0, number]}}),
    ))
}

fn floor(name: &str, source: &Value) -> Value {
    json!({"name": name, "role": "Floor", "prometheus": source})
}

async fn recommend(namespace: &Namespace, signals: Value) -> Result<()> {
    let group = json!({"name": "cpu", "signals": signals});
    let spec = json!({"target": {"name": "demo"}, "mode": "Recommend", "groups": [group]});
    apply(namespace, spec).await
}
