//! How well a node is used by what was placed on it: Ray's placement score (`_compute_score`), part by part.

use ray::resources::{Amount, Resources};

use crate::demand::Request;
use crate::snapshot::Policy;

/// Higher is better; the parts are compared from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// How well its labels suit the first request that has a say.
    labels: usize,
    /// It has no GPUs, or what was placed wants them.
    spares_gpus: bool,
    /// How many of the names that are asked for it has.
    names: usize,
    /// How much its least used resource is used.
    least_used: Use,
    /// How much its resources are used on average.
    used: Use,
    /// The priority of its group.
    priority: i32,
}

/// How far something is used, as a double.
///
/// Totals and what is free are exact. From them this is computed in doubles, step by step as Ray does: two nodes that Ray calls equally good
/// have to be equally good here, and two that differ only by Ray's rounding have to differ as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use(f64);

impl Score {
    pub(crate) fn new<'a>(
        total: &Resources,
        free: &Resources,
        placed: &[&Request],
        label: impl Fn(&str) -> Option<&'a str>,
        priority: i32,
        policy: &Policy,
    ) -> Self {
        let has_gpus = total.held("GPU") > Amount::ZERO;
        let wants_gpus = placed
            .iter()
            .any(|request| request.resources.get("GPU").is_some());
        let asked = |name: &str| {
            placed
                .iter()
                .any(|request| request.resources.get(name) > Some(Amount::ZERO))
        };
        let uses: Vec<f64> = uses(total, free).collect();
        Self {
            labels: placed
                .iter()
                .map(|request| request.preference(&label))
                .find(|&preference| preference > 0)
                .unwrap_or(0),
            spares_gpus: !(policy.conserve_gpu_nodes && has_gpus && !wants_gpus),
            names: total.iter().filter(|(name, _)| asked(name)).count(),
            least_used: Use(uses.iter().copied().min_by(f64::total_cmp).unwrap_or(0.0)),
            used: Use(mean(&uses)),
            priority,
        }
    }
}

/// The mean part of its resources that is used, as the order of removal looks at it: what is not listed as free is used up.
pub(crate) fn utilisation(total: &Resources, free: &Resources) -> Use {
    let used: Vec<f64> = total
        .iter()
        .map(|(name, total)| (total.to_f64(), free.get(name).unwrap_or_default().to_f64()))
        .filter(|(total, _)| *total > 0.0)
        .map(|(total, free)| (total - free) / total)
        .collect();
    Use(mean(&used))
}

/// The total times the cube of the part that is used, of each resource that is there and not used up from the start.
fn uses(total: &Resources, free: &Resources) -> impl Iterator<Item = f64> {
    total.iter().filter_map(|(name, total)| {
        let (total, free) = (total.to_f64(), free.get(name)?.to_f64());
        let used = ((total - free) / total).clamp(0.0, 1.0);
        (total != 0.0).then(|| total * used.powf(3.0))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a node has a handful of resources")]
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

impl PartialEq for Use {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Use {}

impl PartialOrd for Use {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Use {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
