//! What the signals of scaling policies say, told anew at each scrape from what was seen last. The names of policies and signals are the users', so
//! there may be any number of them: only so many are told, and how many are not is told as well.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::journal::Journal;

/// Each has three series.
const SIGNALS_MAX: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    policy: String,
    signal: String,
    role: &'static str,
}

/// Of all groups that a policy is about together.
struct Said {
    value: Option<f64>,
    replicas: Option<u64>,
    known: bool,
}

/// What can be said of all signals now.
pub(crate) fn signal_metrics(journal: &Journal) -> Registry {
    let mut all: BTreeMap<Labels, Said> = BTreeMap::new();
    journal.each(|_, _, entry| {
        let told = entry.look.iter().flat_map(|look| &look.policies);
        for (told, signal, heard) in told.flat_map(|told| {
            told.status
                .signals
                .iter()
                .zip(&told.heard)
                .map(move |(signal, heard)| (told, signal, heard))
        }) {
            let labels = Labels {
                namespace: told.policy.0.clone(),
                policy: told.policy.1.clone(),
                signal: signal.name.clone(),
                role: heard.role.name(),
            };
            let said = all.entry(labels).or_insert(Said {
                value: None,
                replicas: None,
                known: true,
            });
            said.value = [said.value, heard.value].into_iter().flatten().reduce(f64::max);
            said.replicas = [said.replicas, signal.replicas]
                .into_iter()
                .flatten()
                .reduce(u64::saturating_add);
            said.known &= heard.problem.is_none();
        }
    });
    let left_out = all.len().saturating_sub(SIGNALS_MAX);
    let (values, replicas, known) = (
        Family::<Labels, Gauge<f64, AtomicU64>>::default(),
        Family::<Labels, Gauge>::default(),
        Family::<Labels, Gauge>::default(),
    );
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for (labels, said) in all.into_iter().take(SIGNALS_MAX) {
        if let Some(value) = said.value {
            values.get_or_create(&labels).set(value);
        }
        if let Some(stands_for) = said.replicas {
            replicas.get_or_create(&labels).set(whole(stands_for));
        }
        known.get_or_create(&labels).set(said.known.into());
    }
    let unseen = Gauge::<i64>::default();
    unseen.set(whole(left_out as u64));
    let mut registry = Registry::with_prefix("rayward_autoscaler");
    registry.register(
        "signal_value",
        "What a signal of a scaling policy measures, the highest of its groups",
        values,
    );
    registry.register(
        "signal_replicas",
        "How many replicas a signal of a scaling policy stands for, all its groups together",
        replicas,
    );
    registry.register(
        "signal_known",
        "Whether everything about a signal of a scaling policy is known",
        known,
    );
    registry.register(
        "signals_left_out",
        "Signals of scaling policies that are not told here, since there are too many",
        unseen,
    );
    registry
}
