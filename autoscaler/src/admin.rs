//! The admin port: /livez, /readyz, /metrics, and /clusters/NAMESPACE/NAME, which explains a cluster. Plain HTTP; nothing on it changes anything.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use tokio::net::TcpListener;

use crate::demand_metrics::demand_metrics;
use crate::explanation::explain;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::ray_metrics::ray_metrics;
use crate::signal_metrics::signal_metrics;

/// The admin port, bound and not yet served.
pub(crate) struct Admin {
    listener: TcpListener,
    metrics: Metrics,
    journal: Journal,
}

impl Admin {
    pub(crate) async fn bind(address: SocketAddr, metrics: Metrics, journal: Journal) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address} (--admin-listen)"))?;
        Ok(Self {
            listener,
            metrics,
            journal,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) async fn serve(self) -> io::Result<()> {
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/clusters/{namespace}/{name}", get(cluster))
            .with_state((self.metrics, self.journal));
        axum::serve(self.listener, router).await
    }
}

/// Ready once all clusters and Pods have been listed.
async fn readyz(State((metrics, _)): State<(Metrics, Journal)>) -> impl IntoResponse {
    if metrics.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "RayClusters and Pods have not all been listed yet\n",
        )
    }
}

/// What is known of a cluster, as JSON; 404 for one that is not looked after by this replica.
async fn cluster(
    State((_, journal)): State<(Metrics, Journal)>,
    Path((namespace, name)): Path<(String, String)>,
) -> impl IntoResponse {
    match journal.read(&namespace, &name) {
        Some(entry) => Ok(Json(explain(&namespace, &name, &entry))),
        None => Err((StatusCode::NOT_FOUND, "not looked after by this replica\n")),
    }
}

/// Our own metrics, and those under Ray's names.
async fn metrics(State((metrics, journal)): State<(Metrics, Journal)>) -> impl IntoResponse {
    let mut text = String::new();
    let encoded = encode_registry(&mut text, &metrics.registry)
        .and_then(|()| encode_registry(&mut text, &signal_metrics(&journal)))
        .and_then(|()| encode_registry(&mut text, &demand_metrics(&journal)))
        .and_then(|()| encode_registry(&mut text, &ray_metrics(&journal)))
        .and_then(|()| encode_eof(&mut text));
    let status = if encoded.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    (
        status,
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
}
