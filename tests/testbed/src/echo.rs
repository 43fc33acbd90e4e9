//! What an admission webhook costs before it has looked at anything: our own server with its TLS, and behind it somebody who takes the
//! body and says yes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use certs::files::Files;
use certs::resolver::Resolver;
use rayward_webhook::connection::Doorman;
use rayward_webhook::server;
use tokio::sync::watch;

/// How it is started.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Where it is called.
    #[arg(long)]
    listen: SocketAddr,
    /// What it proves itself with.
    #[arg(long)]
    tls_cert_file: PathBuf,
    /// The private key.
    #[arg(long)]
    tls_key_file: PathBuf,
}

impl Args {
    /// Serves until it is killed.
    pub(crate) async fn run(self) -> Result<()> {
        let files = Files {
            certificate: self.tls_cert_file,
            key: self.tls_key_file,
            authority: None,
        };
        let resolver = Arc::new(Resolver::default());
        resolver.swap(files.read().await?.leaf.key().clone());
        let tls = Arc::new(resolver.server_config(&["http/1.1"]));
        let listener =
            std::net::TcpListener::bind(self.listen).with_context(|| format!("listen on {}", self.listen))?;
        listener.set_nonblocking(true)?;
        let (_stay, leaving) = watch::channel(false);
        let router = Router::new().route("/echo", post(yes));
        server::serve(
            listener,
            tls,
            Doorman::new(leaving),
            router,
            std::future::pending(),
        )
        .await?;
        Ok(())
    }
}

async fn yes(_: Bytes) -> impl axum::response::IntoResponse {
    const ANSWER: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"","allowed":true}}"#;
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}
