//! One instant query, over the HTTP API of Prometheus, which Thanos, Mimir and others speak too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::body::{self, Bytes};
use axum::http::{Request, Uri};
use kube::client::Body;
use kube::{Client, Config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::queries::Query;
use super::replay::Point;

/// An answer that takes longer is of no use to a loop that looks every second or two.
const DEADLINE: Duration = Duration::from_secs(3);
/// One number is short; a series for each of many thousand groups fits.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A range of time is asked for by people, who have more patience.
const RANGE_DEADLINE: Duration = Duration::from_mins(1);
const RANGE_BYTES_MAX: usize = 64 << 20;

/// Why a number is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
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
    #[error("no series of the query has the labels {0}")]
    NotAmong(Of),
    #[error("the query yields a {0}, not a number")]
    WrongType(String),
    #[error("the query yields {0}")]
    NotANumber(String),
    #[error("the answer is not complete: {0}")]
    Partial(String),
}

/// A series of an answer that has one for each cluster or group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Of {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
    pub(crate) group: Option<String>,
}

impl fmt::Display for Of {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            cluster,
            group,
        } = self;
        write!(
            formatter,
            "namespace=\"{namespace}\", ray_io_cluster=\"{cluster}\""
        )?;
        match group {
            Some(group) => write!(formatter, ", ray_io_group=\"{group}\""),
            None => Ok(()),
        }
    }
}

/// What a query yields: series by namespace and cluster, then by group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers(Vec<(Labels, Result<f64, Failure>)>);

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
struct Labels {
    namespace: String,
    ray_io_cluster: String,
    ray_io_group: String,
}

impl Numbers {
    /// The number of one series, or the only number.
    pub(super) fn number(&self, of: Option<&Of>) -> Result<f64, Failure> {
        let all = self.0.as_slice();
        let Some(of) = of else {
            return match all {
                [(_, number)] => number.clone(),
                [] => Err(Failure::Empty),
                several => Err(Failure::Several(several.len())),
            };
        };
        let key = (of.namespace.as_str(), of.cluster.as_str());
        let key_of = |labels: &Labels| key.cmp(&(labels.namespace.as_str(), labels.ray_io_cluster.as_str()));
        let from = all.partition_point(|(labels, _)| key_of(labels).is_gt());
        let mut meant = all[from..]
            .iter()
            .take_while(|(labels, _)| key_of(labels).is_eq())
            .filter(|(labels, _)| of.is_group_of(labels));
        match (meant.next(), meant.count()) {
            (Some((_, number)), 0) => number.clone(),
            (None, _) => Err(Failure::NotAmong(of.clone())),
            (Some(_), others) => Err(Failure::Several(others + 1)),
        }
    }
}

impl Of {
    fn is_group_of(&self, labels: &Labels) -> bool {
        self.group
            .as_ref()
            .is_none_or(|group| *group == labels.ray_io_group)
    }

    fn is(&self, labels: &Labels) -> bool {
        let named = (&labels.namespace, &labels.ray_io_cluster) == (&self.namespace, &self.cluster);
        named && self.is_group_of(labels)
    }
}

/// A server that can be asked.
#[derive(Clone)]
pub(crate) struct Server {
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
    pub(crate) fn new(address: &str) -> Result<Self, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let address: Uri = address.parse().map_err(|error| unreachable(&error))?;
        let mut config = Config::new(address);
        config.connect_timeout = Some(DEADLINE);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| unreachable(&error))?;
        Ok(Self { client })
    }

    /// What a query yields now.
    pub(super) async fn ask(&self, query: &str) -> Result<Numbers, Failure> {
        tokio::time::timeout(DEADLINE, self.answer(query))
            .await
            .unwrap_or(Err(Failure::TooLate))
    }

    /// What a query yielded from one time to another, in steps; times are in seconds since 1970, those of points in milliseconds.
    pub(crate) async fn range(
        &self,
        query: &Query,
        (from, until): (i64, i64),
        step: u32,
    ) -> Result<Vec<(i64, Point)>, Failure> {
        let promql = utf8_percent_encode(&query.promql, NON_ALPHANUMERIC);
        let path = format!("/api/v1/query_range?query={promql}&start={from}&end={until}&step={step}");
        let asked = tokio::time::timeout(RANGE_DEADLINE, self.get(&path, RANGE_BYTES_MAX));
        let (status, bytes) = asked.await.unwrap_or(Err(Failure::TooLate))?;
        read_range(status, &bytes, query.of.as_ref())
    }

    async fn answer(&self, query: &str) -> Result<Numbers, Failure> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let path = format!("/api/v1/query?query={query}");
        let (status, bytes) = self.get(&path, ANSWER_BYTES_MAX).await?;
        read(status, &bytes)
    }

    async fn get(&self, path: &str, bytes_max: usize) -> Result<(u16, Bytes), Failure> {
        let request = Request::get(path)
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
        let bytes = body::to_bytes(body::Body::new(response.into_body()), bytes_max)
            .await
            .map_err(|_| Failure::Unreadable)?;
        Ok((status, bytes))
    }
}

fn succeeded(status: u16, bytes: &[u8]) -> Result<Answer, Failure> {
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
    Ok(answer)
}

/// What an answer over a range of time says, by time. Where several series have a number at one time, there is no number.
fn read_range(status: u16, bytes: &[u8], of: Option<&Of>) -> Result<Vec<(i64, Point)>, Failure> {
    let answer = succeeded(status, bytes)?;
    if answer.data["resultType"] != "matrix" {
        return Err(Failure::WrongType(answer.data["resultType"].to_string()));
    }
    let mut points: BTreeMap<i64, Point> = BTreeMap::new();
    let series = answer.data["result"].as_array().ok_or(Failure::Unreadable)?;
    let meant = series
        .iter()
        .filter(|series| of.is_none_or(|of| of.is(&labels(series))));
    for sample in meant.filter_map(|series| series["values"].as_array()).flatten() {
        let (Some(seconds), Some(Ok(value))) = (sample[0].as_f64(), sample[1].as_str().map(str::parse))
        else {
            return Err(Failure::Unreadable);
        };
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let at = (seconds * 1000.0).round() as i64;
        let point = points
            .get(&at)
            .map_or(Point::Value(value), |before| match before {
                Point::Value(_) => Point::Several(2),
                Point::Several(several) => Point::Several(several + 1),
            });
        points.insert(at, point);
    }
    Ok(points.into_iter().collect())
}

/// What an answer says.
pub(super) fn read(status: u16, bytes: &[u8]) -> Result<Numbers, Failure> {
    let answer = succeeded(status, bytes)?;
    let result = &answer.data["result"];
    let mut numbers = match answer.data["resultType"].as_str() {
        Some("scalar") => vec![(Labels::default(), number(result))],
        Some("vector") => {
            let series = result.as_array().ok_or(Failure::Unreadable)?.iter();
            let series = series.map(|series| {
                let number = match series.get("value") {
                    Some(sample) => number(sample),
                    None => Err(Failure::WrongType("histogram".to_owned())),
                };
                (labels(series), number)
            });
            series.collect()
        }
        Some(other) => return Err(Failure::WrongType(other.to_owned())),
        None => return Err(Failure::Unreadable),
    };
    numbers.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Numbers(numbers))
}

fn labels(series: &Value) -> Labels {
    Labels::deserialize(&series["metric"]).unwrap_or_default()
}

fn number(sample: &Value) -> Result<f64, Failure> {
    let text = sample[1].as_str().ok_or(Failure::Unreadable)?;
    let value: f64 = text.parse().map_err(|_| Failure::Unreadable)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Failure::NotANumber(text.to_owned()))
    }
}
