//! The routes, what guards them, and the life of the listener from the first connection to the last answer.
//!
//! A guard that strikes answers with a plain HTTP error and a reason. The API server then does what the failure policy of that
//! webhook says, which is for the installer to choose, not for us.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use ray::duration::GoDuration;
use rustls::ServerConfig;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admit::{Admission, Endpoint, Fault};
use crate::connection::{Connection, Doorman};
use crate::metrics::{Failure, Metrics, Outcome};

/// An update of the largest object that etcd takes, twice (as it was and as it is to be), with room for escapes.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Reviews in work at once; a review takes about a millisecond, so more of them would only share the same cores.
const REVIEWS_MAX: usize = 128;
/// What the API server gives a webhook that does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is left of the timeout for the way back.
const WAY_BACK: Duration = Duration::from_millis(100);
/// Also the longest silence between requests, so it is longer than the API server's own (90 s). Else we might hang up just when a
/// request is on its way.
const HEADER_TIMEOUT: Duration = Duration::from_secs(100);
/// After which a stop no longer waits for requests: longer than any of them is given.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// The four endpoints.
pub fn router(admission: Admission, metrics: Arc<Metrics>) -> Router {
    let admission = Arc::new(admission);
    let routes = Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        let answer = async move |State(admission): State<Arc<Admission>>, body: Bytes| {
            answer(&admission, endpoint, &body).await
        };
        router.route(&format!("/{}", endpoint.name()), post(answer))
    });
    guarded(routes.with_state(admission), metrics)
}

/// Answers over TLS until `leave` resolves, then to the end of what was begun.
///
/// HTTP/1.1 only: it is what API servers speak to webhooks, and it lets an answer close its connection.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Arc<ServerConfig>,
    doorman: Doorman,
    router: Router,
    leave: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls)).acceptor(doorman);
    let handle = Handle::<SocketAddr>::new();
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .http1_only()
        .handle(handle.clone())
        .first_request_timeout(HEADER_TIMEOUT);
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    let leaving = async {
        leave.await;
        handle.graceful_shutdown(Some(LAST_ANSWERS));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = server.serve(router.into_make_service()) => result,
        () = leaving => unreachable!("it only ever waits"),
    }
}

async fn answer(admission: &Admission, endpoint: Endpoint, body: &[u8]) -> Response {
    match admission.admit(endpoint, body).await {
        Ok((answer, event)) => {
            let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
            (Extension(event), json, answer).into_response()
        }
        Err(fault) => {
            let (status, outcome) = match fault {
                Fault::Malformed(_) => (StatusCode::BAD_REQUEST, Outcome::Malformed),
                Fault::Unknown(_) => (StatusCode::SERVICE_UNAVAILABLE, Outcome::Unknown),
            };
            failure(status, outcome, &fault.to_string())
        }
    }
}

/// What all routes share.
struct Guard {
    metrics: Arc<Metrics>,
    places: Semaphore,
}

/// Everything that stands before a route, from the inside out.
fn guarded(routes: Router, metrics: Arc<Metrics>) -> Router {
    let places = Semaphore::new(REVIEWS_MAX);
    let panicked = |_| {
        failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            Outcome::Panicked,
            "this request made us panic",
        )
    };
    routes
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::new(Guard { metrics, places }), guard))
}

/// One layer, since each copies all that is within it for every request.
async fn guard(
    State(guard): State<Arc<Guard>>,
    connection: Option<Extension<Connection>>,
    given: Result<Query<Given>, QueryRejection>,
    request: Request,
    next: Next,
) -> Response {
    let observed = guard.metrics.begin(request.uri().path());
    let response = match given {
        Ok(given) => in_time(&guard.places, &given, next.run(request)).await,
        Err(rejection) => rejection.into_response(),
    };
    observed.end(&response);
    match connection {
        Some(Extension(connection)) => connection.close_in_time(response),
        None => response,
    }
}

#[derive(Deserialize)]
struct Given {
    timeout: Option<String>,
}

/// Answers before the API server gives up, one way or the other. Who has waited for half of its time before its turn came is sent
/// away at once: there would hardly be time to serve it, and others wait behind it.
async fn in_time(places: &Semaphore, given: &Given, answer: impl Future<Output = Response>) -> Response {
    let given = given
        .timeout
        .as_deref()
        .and_then(timeout)
        .unwrap_or(TIMEOUT)
        .saturating_sub(WAY_BACK);
    let now = Instant::now();
    let Ok(place) = timeout_at(now + given / 2, places.acquire()).await else {
        return failure(
            StatusCode::TOO_MANY_REQUESTS,
            Outcome::Shed,
            "too many reviews are waiting",
        );
    };
    let _place = place.expect("nobody closes the semaphore");
    match timeout_at(now + given, answer).await {
        Ok(response) => response,
        Err(_) => failure(
            StatusCode::GATEWAY_TIMEOUT,
            Outcome::Late,
            &format!("no answer within {given:?}"),
        ),
    }
}

fn timeout(given: &str) -> Option<Duration> {
    let GoDuration(timeout) = given.parse().ok()?;
    timeout.try_into().ok()
}

fn failure(status: StatusCode, outcome: Outcome, reason: &str) -> Response {
    let told = format!("{reason}\n");
    let failure = Failure {
        outcome,
        reason: reason.to_owned(),
    };
    (status, Extension(failure), told).into_response()
}

#[cfg(test)]
mod tests;
