//! What a connection may do before and besides its requests: how many there are, and how old one grows.
//!
//! API servers keep a connection for as long as it works. Each is therefore asked to leave after a few minutes, so that the load
//! spreads to replicas that came later; and all are asked to leave when we are about to stop.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::AddExtension;
use axum::response::Response;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tower::Layer;

/// More than a few control planes ever open; few enough to stay within the usual limit of open files.
const CONNECTIONS_MAX: usize = 900;
/// A connection leaves at between one and two of these.
const AGE: Duration = Duration::from_mins(5);

/// Whether we are about to stop.
pub type Leaving = watch::Receiver<bool>;

/// Admits connections, and gives each an [`Connection`] that its requests can see.
#[derive(Clone, Debug)]
pub struct Doorman {
    places: Arc<Semaphore>,
    admitted: Arc<AtomicU64>,
    leaving: Leaving,
}

/// The connection that a request came by.
#[derive(Clone, Debug)]
pub struct Connection {
    leaves: Instant,
    leaving: Leaving,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Doorman {
    /// Admits connections until, and while, we are leaving.
    pub fn new(leaving: Leaving) -> Self {
        Self {
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            admitted: Arc::default(),
            leaving,
        }
    }

    fn admit(&self) -> io::Result<Connection> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| io::Error::other(format!("{CONNECTIONS_MAX} connections are open")))?;
        // Connections that came together do not leave together: consecutive ones are 89 seconds of the five minutes apart.
        let spread = self.admitted.fetch_add(89, Ordering::Relaxed) % AGE.as_secs();
        Ok(Connection {
            leaves: Instant::now() + AGE + Duration::from_secs(spread),
            leaving: self.leaving.clone(),
            _place: Arc::new(place),
        })
    }
}

impl<S> Accept<TcpStream, S> for Doorman {
    type Stream = TcpStream;
    type Service = AddExtension<S, Connection>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit().and_then(|connection| {
            // Answers are small and awaited.
            stream.set_nodelay(true)?;
            Ok((stream, Extension(connection).layer(service)))
        }))
    }
}

impl Connection {
    /// Asks the client to take another connection next time, where it is time to.
    pub fn close_in_time(&self, mut response: Response) -> Response {
        if *self.leaving.borrow() || Instant::now() >= self.leaves {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
