//! The results of the last audit as metrics, of the replica that made it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Pass;

/// The last results, shared with whoever is asked for metrics.
#[derive(Clone, Default)]
pub struct Results(Arc<Mutex<Option<Numbers>>>);

#[derive(Debug)]
struct Numbers {
    finished: i64,
    objects: BTreeMap<&'static str, i64>,
    findings: BTreeMap<(&'static str, &'static str), i64>,
}

impl Results {
    pub(super) fn set(&self, pass: &Pass) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut findings = BTreeMap::new();
        for ((code, action), count) in &pass.census.findings {
            let labels = (rules::label(code), action.label());
            *findings.entry(labels).or_default() += number(*count);
        }
        let objects = pass.census.objects.iter();
        self.replace(Some(Numbers {
            finished: pass.finished.as_second(),
            objects: objects
                .map(|(kind, count)| (kind.name(), number(*count)))
                .collect(),
            findings,
        }));
    }

    /// Another replica makes audits from now on.
    pub(super) fn clear(&self) {
        self.replace(None);
    }

    fn replace(&self, numbers: Option<Numbers>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }
}

impl Collector for Results {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(numbers) = &*numbers else {
            return Ok(());
        };
        let finished = ConstGauge::new(numbers.finished);
        finished.encode(encoder.encode_descriptor(
            "audit_last_run_timestamp",
            "When all objects were last looked at, as seconds since 1970",
            Some(&Unit::Seconds),
            finished.metric_type(),
        )?)?;
        let mut objects = encoder.encode_descriptor(
            "audit_objects",
            "Objects that were looked at",
            None,
            MetricType::Gauge,
        )?;
        for (kind, count) in &numbers.objects {
            ConstGauge::new(*count).encode(objects.encode_family(&[("kind", *kind)])?)?;
        }
        let mut findings = encoder.encode_descriptor(
            "audit_findings",
            "Findings about the objects that are there, by rule and by what would come of them if the object were written anew",
            None,
            MetricType::Gauge,
        )?;
        for ((code, action), count) in &numbers.findings {
            let labels = [("code", *code), ("action", *action)];
            ConstGauge::new(*count).encode(findings.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Results {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Results")
    }
}
