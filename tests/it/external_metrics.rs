//! What a metrics adapter is in a real cluster: a server of `external.metrics.k8s.io` behind the API server, where Kubernetes' own controllers look. It
//! has one metric, and the test says what that is.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use testbed::Namespace;

use crate::signals::condition;

/// The one metric.
pub(crate) const METRIC: &str = "queue";
const GROUP: &str = "external.metrics.k8s.io";
const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";

/// The server.
pub(crate) struct ExternalMetrics(Arc<AtomicU32>);

impl ExternalMetrics {
    /// Serves, and is found by the API server. Nobody else in this world may do so at the same time.
    pub(crate) async fn start(namespace: &Namespace) -> Result<Self> {
        let number = Arc::new(AtomicU32::new(0));
        let router = Router::new()
            .route(&format!("/apis/{GROUP}/v1beta1"), get(resources))
            .route(
                &format!("/apis/{GROUP}/v1beta1/namespaces/{{namespace}}/{METRIC}"),
                get(values),
            )
            .with_state(Arc::clone(&number));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen for the API server")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls()?)))?;
        tokio::spawn(server.serve(router.into_make_service()));

        // The API server calls the name itself: there is nobody here who would lead an address of a Service anywhere.
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "external-metrics"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        let api_service = json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API_SERVICE},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": true,
                "service": {"namespace": namespace.name(), "name": "external-metrics", "port": port},
            },
        });
        namespace.apply_all(&[service, api_service]).await?;
        let patience = std::time::Duration::from_secs(60);
        namespace
            .eventually(patience, "the API server finds the metrics", async || {
                let status = namespace.object("APIService", API_SERVICE).await?["status"].take();
                ensure!(condition(&status, "Available")["status"] == "True", "{status}");
                Ok(())
            })
            .await?;
        Ok(Self(number))
    }

    /// From now on the metric is this.
    pub(crate) fn say(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// An API that does not answer keeps whole namespaces from going.
    pub(crate) async fn end(self, namespace: &Namespace) -> Result<()> {
        namespace.delete("APIService", API_SERVICE).await
    }
}

fn tls() -> Result<ServerConfig> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key.into())?;
    Ok(tls)
}

async fn resources() -> Json<Value> {
    Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/v1beta1"),
        "resources": [{
            "name": METRIC,
            "singularName": "",
            "namespaced": true,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }],
    }))
}

async fn values(State(number): State<Arc<AtomicU32>>) -> Json<Value> {
    Json(json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": format!("{GROUP}/v1beta1"),
        "metadata": {},
        "items": [{
            "metricName": METRIC,
            "metricLabels": {},
            "timestamp": format!("{:.0}", Timestamp::now()),
            "value": number.load(Ordering::Relaxed).to_string(),
        }],
    }))
}
