//! Asking a part over HTTP whether it is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An HTTP GET on our loopback that answers 200 when all is well.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    port: u16,
    path: &'static str,
    tls: bool,
}

/// Beyond this a part counts as not answering.
const PATIENCE: Duration = Duration::from_millis(500);

impl Probe {
    pub(crate) const fn http(port: u16, path: &'static str) -> Self {
        Self {
            port,
            path,
            tls: false,
        }
    }

    /// Over TLS, without looking at the certificate.
    pub(crate) const fn https(port: u16, path: &'static str) -> Self {
        Self {
            port,
            path,
            tls: true,
        }
    }

    pub(crate) async fn ask(&self) -> Result<()> {
        let asked = async {
            if self.tls {
                self.ask_over_tls().await
            } else {
                self.ask_in_clear().await
            }
        };
        timeout(PATIENCE, asked).await.context("no answer")?
    }

    /// By hand: this runs ten times a second for each replica, and a connection of its own each time is the point.
    async fn ask_in_clear(&self) -> Result<()> {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            self.path
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200"), "{} says {status}", self.path);
        Ok(())
    }

    async fn ask_over_tls(&self) -> Result<()> {
        let mut config = kube::Config::new(format!("https://127.0.0.1:{}", self.port).parse()?);
        config.accept_invalid_certs = true;
        let client = kube::Client::try_from(config)?;
        let request = http::Request::get(self.path).body(Vec::new())?;
        match client.request_text(request).await {
            Ok(_) => Ok(()),
            Err(error) => bail!("{}: {error}", self.path),
        }
    }
}
