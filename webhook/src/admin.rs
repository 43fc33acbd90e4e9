//! Probes and metrics, on a plain port of their own so that they work while TLS does not.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use certs::keeper::Status;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::connection::Leaving;

/// What probes and scrapes look at.
#[derive(Clone)]
pub struct Admin {
    /// Whether the API server would accept our certificate.
    pub certificates: watch::Receiver<Status>,
    /// Whether it is known what policies there are.
    pub policies: watch::Receiver<bool>,
    /// Whether we are about to stop.
    pub leaving: Leaving,
    /// What is counted.
    pub registry: Arc<Registry>,
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Ready is who can be called: the API server would accept the certificate, no policy would be overlooked, and we are not about to stop.
async fn readyz(State(admin): State<Admin>) -> Response {
    if *admin.leaving.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if !*admin.policies.borrow() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the policies are not known yet\n",
        )
            .into_response();
    }
    match &admin.certificates.borrow().distrust {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
        None => "ok\n".into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => {
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, openmetrics)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
