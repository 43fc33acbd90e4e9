//! The part of a kubelet's HTTP API that `kubectl logs` needs, over TLS with a certificate of its own making.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use futures::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::container::Session;
use super::{ContainerKey, Host};

/// A kubelet's; the network namespace is ours alone.
pub(super) const PORT: u16 = 10250;

/// Serves until `tasks` is dropped.
pub(super) async fn serve(host: &Arc<Host>, tasks: &mut JoinSet<()>) -> Result<()> {
    let address = SocketAddr::from((host.bridge.address, PORT));
    let key = rcgen::generate_simple_self_signed([address.ip().to_string()]).context("make a certificate")?;
    let (chain, secret) = (vec![key.cert.der().to_vec()], key.signing_key.serialize_der());
    let tls = RustlsConfig::from_der(chain, secret)
        .await
        .context("use the certificate")?;
    let listener = std::net::TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let server = axum_server::from_tcp_rustls(listener, tls).context("serve the kubelet API")?;
    let router = Router::new()
        .route(
            "/containerLogs/{namespace}/{pod}/{container}",
            get(container_logs),
        )
        .with_state(Arc::clone(host));
    tasks.spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            tracing::error!(%error, "serve the kubelet API");
        }
    });
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogOptions {
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    previous: bool,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
}

async fn container_logs(
    State(host): State<Arc<Host>>,
    UrlPath(key): UrlPath<ContainerKey>,
    Query(options): Query<LogOptions>,
) -> Response {
    match open_log(&host, &key, &options).await {
        Ok(body) => body.into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error:#}\n")).into_response(),
    }
}

async fn open_log(host: &Host, key: &ContainerKey, options: &LogOptions) -> Result<Body> {
    let path = log_file(host, key, options.previous)?;
    let mut file = File::open(&path)
        .await
        .with_context(|| format!("open {}", path.display()))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)
        .await
        .with_context(|| format!("read {}", path.display()))?;
    text.drain(..start_of_tail(&text, options.tail_lines));
    text.truncate(options.limit_bytes.unwrap_or(usize::MAX));
    if !options.follow || options.previous {
        return Ok(Body::from(text));
    }
    let session = host.sessions().get(key).map(Arc::downgrade).unwrap_or_default();
    let follower = Follower { file, session };
    let rest = stream::try_unfold(follower, async |mut follower| {
        let more = follower.more().await?;
        Ok::<_, std::io::Error>((!more.is_empty()).then_some((more, follower)))
    });
    Ok(Body::from_stream(stream::iter([Ok(text)]).chain(rest)))
}

/// A log that is being written for as long as the session lives.
struct Follower {
    file: File,
    session: Weak<Session>,
}

impl Follower {
    /// What was written since; nothing when there will be no more.
    async fn more(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            let over = self.session.strong_count() == 0;
            let mut text = Vec::new();
            self.file.read_to_end(&mut text).await?;
            if over || !text.is_empty() {
                return Ok(text);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The log of the newest run that a Pod of that name has, or of the one before.
fn log_file(host: &Host, (namespace, pod, container): &ContainerKey, previous: bool) -> Result<PathBuf> {
    let prefix = format!("{namespace}_{pod}_");
    let mut runs = Vec::new();
    for folder in fs::read_dir(&host.logs).into_iter().flatten() {
        let folder = folder?;
        if folder.file_name().to_string_lossy().starts_with(&prefix) {
            for log in fs::read_dir(folder.path().join(container)).into_iter().flatten() {
                let log = log?;
                runs.push((log.metadata()?.modified()?, log.path()));
            }
        }
    }
    runs.sort();
    let wanted = runs
        .into_iter()
        .rev()
        .nth(usize::from(previous))
        .map(|(_, path)| path);
    wanted.with_context(|| format!("container {container} of {namespace}/{pod} has no such log"))
}

/// Where the last `lines` lines begin.
fn start_of_tail(text: &[u8], lines: Option<usize>) -> usize {
    let Some(lines) = lines else { return 0 };
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    match lines {
        0 => text.len(),
        lines => ends.into_iter().nth(lines - 1).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        let tail = |text: &'static str, lines| &text[start_of_tail(text.as_bytes(), lines)..];
        assert_eq!(tail("a\nb\nc\n", None), "a\nb\nc\n");
        assert_eq!(tail("a\nb\nc\n", Some(2)), "b\nc\n");
        assert_eq!(tail("a\nb\nc", Some(2)), "b\nc");
        assert_eq!(tail("a\nb\n", Some(9)), "a\nb\n");
        assert_eq!(tail("a\nb\n", Some(0)), "");
    }
}
