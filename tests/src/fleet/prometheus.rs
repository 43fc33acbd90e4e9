//! A server that speaks as Prometheus does, says zero to everything, and counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Where it listens.
pub(super) const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

/// The server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Prometheus {
    /// How often each query was put.
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Prometheus {
    pub(super) async fn start() -> Result<Self> {
        let server = Self::default();
        let listener = TcpListener::bind(ADDRESS)
            .await
            .with_context(|| format!("listen on {ADDRESS}"))?;
        let router = Router::new()
            .route("/api/v1/query", get(answer))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(server)
    }

    /// How often each query was put.
    pub(super) fn asked(&self) -> BTreeMap<String, u64> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(server): State<Prometheus>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Json<Value> {
    let query = parameters.get("query").cloned().unwrap_or_default();
    *server.all().entry(query).or_default() += 1;
    Json(json!({"status": "success", "data": {"resultType": "scalar", "result": [0, "0"]}}))
}
