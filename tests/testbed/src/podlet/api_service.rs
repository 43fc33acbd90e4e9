//! The Service `kubernetes.default`: the API server on port 443, where programs in Pods look for it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::env::Environment;

const PORT: u16 = 443;

/// Relays connections to the API server until `tasks` is dropped.
pub(super) async fn serve(address: Ipv4Addr, api_server: SocketAddr, tasks: &mut JoinSet<()>) -> Result<()> {
    let listener = TcpListener::bind((address, PORT)).await;
    let listener = listener.with_context(|| format!("listen on {address}:{PORT} for the API server"))?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                if let Ok(mut server) = TcpStream::connect(api_server).await {
                    // How a connection ends is the matter of those who talk over it.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Ok(())
}

/// What every container's environment says about it.
pub(super) fn environment(address: Ipv4Addr) -> Environment {
    [
        ("KUBERNETES_SERVICE_HOST", address.to_string()),
        ("KUBERNETES_SERVICE_PORT", PORT.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", PORT.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
