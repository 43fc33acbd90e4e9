//! The stand-in for a `ClusterIP`: one address, whose connections go to the replicas that say they are ready.
//!
//! A connection is not looked into. It stays with its replica until one of both ends it, as it does behind kube-proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::probe::Probe;

/// How fresh the knowledge of who is ready is. `EndpointSlice`s take longer in a real cluster.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One replica behind the address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    pub port: u16,
    pub admin_port: u16,
}

/// Listens on `port` of the loopback until the world ends.
pub(crate) async fn start(port: u16, backends: Vec<Backend>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("listen on port {port} for a Service"))?;
    let endpoints: Arc<[Endpoint]> = backends
        .iter()
        .map(|backend| Endpoint {
            port: backend.port,
            ready: AtomicBool::new(false),
        })
        .collect();
    for (index, backend) in backends.iter().enumerate() {
        tokio::spawn(watch(
            Arc::clone(&endpoints),
            index,
            Probe::http(backend.admin_port, "/readyz"),
        ));
    }
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(forward(connection, Arc::clone(&endpoints), turn));
        }
    });
    Ok(())
}

struct Endpoint {
    port: u16,
    ready: AtomicBool,
}

async fn watch(endpoints: Arc<[Endpoint]>, index: usize, probe: Probe) {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        endpoints[index]
            .ready
            .store(probe.ask().await.is_ok(), Ordering::Relaxed);
    }
}

/// To the next ready replica in turn; while none is ready, to one that still accepts, as kube-proxy falls back to endpoints that
/// terminate but serve (KEP-1669). Without any the connection is closed.
async fn forward(mut connection: TcpStream, endpoints: Arc<[Endpoint]>, turn: usize) {
    let ready: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| endpoint.ready.load(Ordering::Relaxed))
        .collect();
    let candidates = match ready.len() {
        0 => endpoints.iter().collect(),
        replicas => vec![ready[turn % replicas]],
    };
    for endpoint in candidates {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.port));
        if let Ok(Ok(mut replica)) = timeout(Duration::from_secs(1), TcpStream::connect(target)).await {
            // Or a request in two writes would wait for an acknowledgement that the kernel delays by 40 ms.
            let _ = (connection.set_nodelay(true), replica.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut connection, &mut replica).await;
            return;
        }
    }
}
