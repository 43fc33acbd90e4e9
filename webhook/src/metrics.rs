//! What is counted, and the one log event of each request. Labels are closed sets; names of objects are in the log only.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use certs::keeper::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rules::Operation;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admit::{Endpoint, Event};

/// From a tenth of a millisecond, which a small review takes, to the longest that an API server waits.
const SECONDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing against it.
    Allowed,
    /// Allowed, and changed.
    Patched,
    /// Refused.
    Denied,
    /// Not understood.
    Malformed,
    /// Larger than any object can be.
    TooLarge,
    /// Not answerable: the API server did not tell what we had to know.
    Unknown,
    /// Sent away because of too many others.
    Shed,
    /// Not answered in time.
    Late,
    /// A fault of ours.
    Panicked,
    /// Not ours: a wrong path or method, or a body that broke off.
    Other,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unknown => "unknown",
            Self::Shed => "shed",
            Self::Late => "late",
            Self::Panicked => "panicked",
            Self::Other => "other",
        }
    }
}

/// Why a request was not answered.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, as the API server was told.
    pub reason: String,
}

impl Failure {
    /// What the server itself answers in our place.
    fn of_status(status: StatusCode) -> Self {
        let outcome = match status {
            StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
            _ => Outcome::Other,
        };
        let reason = status.to_string();
        Self { outcome, reason }
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<EndpointLabels, Histogram>,
    findings: Family<FindingLabels, Counter>,
    inflight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    kind: &'static str,
    operation: &'static str,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    code: &'static str,
    action: &'static str,
}

impl Metrics {
    /// All metrics, registered, besides what is known of certificates.
    pub fn register(registry: &mut Registry, certificates: watch::Receiver<Status>) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            findings: Family::default(),
            inflight: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("rayward_webhook");
        registry.register(
            "requests",
            "Requests by what became of them",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From the head of the request to the answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "findings",
            "Findings by rule and by what came of them",
            metrics.findings.clone(),
        );
        registry.register("inflight", "Requests in work", metrics.inflight.clone());
        registry.register(
            "build",
            "What is running",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(Certificates(certificates)));
        metrics
    }
}

/// A request in work.
pub struct Observed<'m> {
    metrics: &'m Metrics,
    endpoint: &'static str,
    started: Instant,
    inflight: InFlight<'m>,
}

impl Metrics {
    /// Counts, times and logs a request, also one that is never answered.
    pub fn begin(&self, path: &str) -> Observed<'_> {
        let path = path.trim_start_matches('/');
        let mut names = Endpoint::ALL.into_iter().map(Endpoint::name);
        Observed {
            metrics: self,
            endpoint: names.find(|name| *name == path).unwrap_or("other"),
            started: Instant::now(),
            inflight: InFlight::new(&self.inflight),
        }
    }
}

impl Observed<'_> {
    /// The answer, or what stands in its place, is ready.
    pub fn end(self, response: &Response) {
        let Self {
            metrics,
            endpoint,
            started,
            inflight,
        } = self;
        let elapsed = started.elapsed();
        drop(inflight);
        let answered = response.extensions().get::<Event>().ok_or_else(|| {
            let failure = response.extensions().get::<Failure>().cloned();
            failure.unwrap_or_else(|| Failure::of_status(response.status()))
        });
        let outcome = answered
            .as_ref()
            .map_or_else(|failure| failure.outcome, |event| event.outcome);
        metrics
            .seconds
            .get_or_create(&EndpointLabels { endpoint })
            .observe(elapsed.as_secs_f64());
        let (kind, operation) = answered
            .as_ref()
            .map_or(("other", "other"), |event| event.labels());
        let labels = RequestLabels {
            endpoint,
            kind,
            operation,
            outcome,
        };
        metrics.requests.get_or_create(&labels).inc();
        for (code, action) in answered.iter().flat_map(|event| &event.findings) {
            let (code, action) = (rules::label(code), action.label());
            metrics
                .findings
                .get_or_create(&FindingLabels { code, action })
                .inc();
        }
        match answered {
            Ok(event) => log(endpoint, elapsed, event),
            Err(failure) => log_failure(endpoint, elapsed, &failure),
        }
    }
}

fn log(endpoint: &str, elapsed: Duration, event: &Event) {
    let mut codes: Vec<&str> = event.findings.iter().map(|(code, _)| &**code).collect();
    codes.dedup();
    tracing::info!(
        endpoint,
        outcome = event.outcome.as_str(),
        duration_us = micros(elapsed),
        uid = event.uid,
        kind = event.kind,
        operation = operation(event.operation),
        namespace = event.namespace,
        name = event.name,
        user = event.user,
        dry_run = event.dry_run,
        codes = codes.join(","),
        break_glass = event.break_glass,
        patch_operations = event.patch_operations,
        "request"
    );
}

fn log_failure(endpoint: &str, elapsed: Duration, Failure { outcome, reason }: &Failure) {
    let (panicked, outcome, duration_us) = (*outcome == Outcome::Panicked, outcome.as_str(), micros(elapsed));
    if panicked {
        tracing::error!(endpoint, outcome, duration_us, reason, "request failed");
    } else {
        tracing::warn!(endpoint, outcome, duration_us, reason, "request failed");
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

impl Event {
    /// Kind and operation as closed sets.
    fn labels(&self) -> (&'static str, &'static str) {
        let kind = match self.ray_kind {
            Some(kind) => kind.name(),
            None if self.kind == "Pod" => "Pod",
            None => "other",
        };
        (kind, operation(self.operation))
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Connect => "connect",
    }
}

/// Counts a request for as long as it is alive: also one whose client hangs up.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The state of certificates, read when somebody asks.
struct Certificates(watch::Receiver<Status>);

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.borrow().clone();
        let in_sync = ConstGauge::new(i64::from(status.distrust.is_none()));
        in_sync.encode(encoder.encode_descriptor(
            "ca_bundle_in_sync",
            "Whether the API server would accept our certificate",
            None,
            in_sync.metric_type(),
        )?)?;
        let expiries = [
            ("leaf", status.leaf_not_after),
            ("authority", status.authority_not_after),
        ];
        let mut descriptor = encoder.encode_descriptor(
            "cert_not_after",
            "When the certificate expires, as seconds since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (certificate, not_after) in expiries {
            if let Some(not_after) = not_after {
                let labels = [("certificate", certificate)];
                ConstGauge::new(not_after.as_second()).encode(descriptor.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Certificates")
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}
