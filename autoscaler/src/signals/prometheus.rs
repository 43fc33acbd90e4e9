//! One instant query, over the HTTP API of Prometheus, which Thanos, Mimir and others speak too.

use std::time::Duration;

use axum::body;
use axum::http::{Request, Uri};
use kube::client::Body;
use kube::{Client, Config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// An answer that takes longer is of no use to a loop that looks every second or two.
const DEADLINE: Duration = Duration::from_secs(3);
/// One number is short; a hundred series by mistake still fit.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why a number is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Failure {
    #[error("there is no answer yet")]
    NotYet,
    #[error("no server is named: give one in the policy, or to the autoscaler with --prometheus")]
    NoServer,
    #[error("the autoscaler may not ask {0}: only those of --prometheus")]
    Forbidden(String),
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server has not answered within {} s", DEADLINE.as_secs())]
    TooLate,
    #[error("the server refuses the query: {0}")]
    Refused(String),
    #[error("the server answers with status {0}")]
    Status(u16),
    #[error("the server does not answer as Prometheus does")]
    Unreadable,
    #[error("the query finds no series")]
    Empty,
    #[error("the query finds {0} series: put it into sum(), max() or the like")]
    Several(usize),
    #[error("the query yields a {0}, not a number")]
    WrongType(String),
    #[error("the query yields {0}")]
    NotANumber(String),
    #[error("the answer is not complete: {0}")]
    Partial(String),
}

/// A server that can be asked.
#[derive(Clone)]
pub(super) struct Server {
    // It speaks HTTP and TLS, and it is here already.
    client: Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    #[serde(default)]
    data: Value,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

impl Server {
    pub(super) fn new(address: &str) -> Result<Self, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let address: Uri = address.parse().map_err(|error| unreachable(&error))?;
        let mut config = Config::new(address);
        config.connect_timeout = Some(DEADLINE);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| unreachable(&error))?;
        Ok(Self { client })
    }

    /// The number that a query yields now.
    pub(super) async fn ask(&self, query: &str) -> Result<f64, Failure> {
        tokio::time::timeout(DEADLINE, self.answer(query))
            .await
            .unwrap_or(Err(Failure::TooLate))
    }

    async fn answer(&self, query: &str) -> Result<f64, Failure> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = Request::get(format!("/api/v1/query?query={query}"))
            .body(Body::empty())
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let response = self.client.send(request).await.map_err(|error| {
            let mut message = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                message = error.to_string();
                cause = error.source();
            }
            Failure::Unreachable(message)
        })?;
        let status = response.status().as_u16();
        let bytes = body::to_bytes(body::Body::new(response.into_body()), ANSWER_BYTES_MAX)
            .await
            .map_err(|_| Failure::Unreadable)?;
        read(status, &bytes)
    }
}

/// What an answer says.
pub(super) fn read(status: u16, bytes: &[u8]) -> Result<f64, Failure> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| match status {
        200 => Failure::Unreadable,
        _ => Failure::Status(status),
    })?;
    if answer.status != "success" {
        return Err(Failure::Refused(answer.error.unwrap_or(answer.status)));
    }
    if !answer.warnings.is_empty() {
        return Err(Failure::Partial(answer.warnings.join("; ")));
    }
    let result = &answer.data["result"];
    let sample = match answer.data["resultType"].as_str() {
        Some("scalar") => result,
        Some("vector") => match result.as_array().map(Vec::as_slice) {
            Some([one]) if one.get("value").is_some() => &one["value"],
            Some([_]) => return Err(Failure::WrongType("histogram".to_owned())),
            Some([]) => return Err(Failure::Empty),
            Some(several) => return Err(Failure::Several(several.len())),
            None => return Err(Failure::Unreadable),
        },
        Some(other) => return Err(Failure::WrongType(other.to_owned())),
        None => return Err(Failure::Unreadable),
    };
    let text = sample[1].as_str().ok_or(Failure::Unreadable)?;
    let value: f64 = text.parse().map_err(|_| Failure::Unreadable)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Failure::NotANumber(text.to_owned()))
    }
}
