//! What policy wants in a pod, from the most special to the most general: its accelerators first, then all heads or all workers. Who
//! speaks first is right.

use ray::path::Pointer;
use ray::{accelerator, keys};
use serde_json::Value;

use super::growing::Growing;
use super::{containers, metadata, placement};
use crate::policy::{PodDefaults, Policy};

/// What policy wants in a pod, and where it says so.
pub(super) struct Wanted<'p> {
    pub(super) defaults: &'p PodDefaults,
    policy: &'p Policy,
    place: Pointer,
}

impl Wanted<'_> {
    /// The policy that says so in this field.
    pub(super) fn author(&self, field: &'static str) -> &str {
        self.policy.author(&self.place.key(field))
    }

    /// The policy that has put this key into a field.
    pub(super) fn author_of_key(&self, field: &'static str, key: &str) -> &str {
        self.policy.author(&self.place.key(field).key(key.to_owned()))
    }

    /// The policy that has put this item into a field.
    pub(super) fn author_of_item(&self, field: &'static str, index: usize) -> &str {
        self.policy.author(&self.place.key(field).index(index))
    }
}

pub(super) fn inject(pod: &mut Growing, policy: &Policy) {
    for wanted in wanted(&pod.json, policy) {
        metadata::labels(pod, &wanted);
        metadata::annotations(pod, &wanted);
        placement::node_selector(pod, &wanted);
        placement::tolerations(pod, &wanted);
        placement::affinity(pod, &wanted);
        placement::capacity(pod, &wanted);
        placement::spread(pod, &wanted);
        placement::runtime_class(pod, &wanted);
        metadata::pull_secrets(pod, &wanted);
        containers::security(pod, &wanted);
        containers::environment(pod, &wanted);
        containers::volumes(pod, &wanted);
        containers::shared_memory(pod, &wanted);
        containers::startup_probe(pod, &wanted);
    }
}

fn wanted<'p>(pod: &Value, policy: &'p Policy) -> Vec<Wanted<'p>> {
    let accelerators = policy.spec.accelerators.iter().enumerate();
    let of_accelerators =
        accelerators
            .filter(|(_, policy)| uses(pod, &policy.kind))
            .map(|(index, policy)| {
                let place = Pointer::root().key("accelerators").index(index);
                (policy.pod.as_ref(), place)
            });
    let (nodes, field) = match pod["metadata"]["labels"][keys::NODE_TYPE].as_str() {
        Some(keys::NODE_TYPE_HEAD) => (&policy.spec.head, "head"),
        Some(keys::NODE_TYPE_WORKER) => (&policy.spec.workers, "workers"),
        _ => return Vec::new(),
    };
    if !pod["spec"]["containers"][0].is_object() {
        return Vec::new();
    }
    let of_nodes = nodes
        .iter()
        .map(|nodes| (nodes.pod.as_ref(), Pointer::root().key(field)));
    of_accelerators
        .chain(of_nodes)
        .filter_map(|(defaults, place)| {
            Some(Wanted {
                defaults: defaults?,
                policy,
                place: place.key("pod"),
            })
        })
        .collect()
}

/// Whether a container asks for accelerators of this kind.
fn uses(pod: &Value, kind: &str) -> bool {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let amounts =
        containers.flat_map(|container| ["limits", "requests"].map(|which| &container["resources"][which]));
    let asked = amounts
        .filter_map(Value::as_object)
        .flatten()
        .filter(|(_, amount)| !matches!(amount.as_str(), Some("0")) && amount.as_i64() != Some(0));
    accelerator::of_kind(kind).is_some_and(|kind| asked.clone().any(|(resource, _)| kind.goes_by(resource)))
}
