//! What the container that runs Ray asks of Kubernetes, and what Ray is told of it.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::path::Pointer;
use ray::quantity::Quantity;
use serde_json::{Map, Value};

use super::{Fill, Filled};
use crate::check::memory::RAY_BYTES_MIN;
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[devices, memory_limit, gpus_behind_unreadable_resources];

/// Devices cannot be overcommitted: whoever states one of request and limit has stated both.
fn devices(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    for group in cluster.groups() {
        for (stated, implied) in [("requests", "limits"), ("limits", "requests")] {
            let implied_amounts = amounts(group, implied, subject);
            let known = |name: &String| implied_amounts.is_some_and(|amounts| is_stated(amounts, name));
            let stated = amounts(group, stated, subject).into_iter().flat_map(Map::iter);
            for (name, amount) in stated.filter(|(name, amount)| keys::is_device(name) && !amount.is_null()) {
                if !known(name) {
                    filled.insert(place(group, implied).key(name.clone()), amount.clone());
                }
            }
        }
    }
}

/// Ray only knows of a memory limit. Without one it believes that all of the machine's memory is its own, and the kernel, which does not,
/// ends it at the worst moment. Nothing is filled in where Ray was told how much memory it has, which may be more,
/// nor where so little is asked for that it could not be meant for a limit.
fn memory_limit(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    for group in cluster.groups() {
        let own = group
            .resources()
            .keys()
            .any(|name| name.eq_ignore_ascii_case(keys::MEMORY));
        let params = &group.start_params().raw;
        let told = own
            || ["memory", "object-store-memory"]
                .iter()
                .any(|name| params.contains_key(*name));
        let limited =
            amounts(group, "limits", subject).is_some_and(|amounts| is_stated(amounts, keys::MEMORY));
        let request = amounts(group, "requests", subject).and_then(|amounts| amounts.get(keys::MEMORY));
        let enough = |amount: &&Value| quantity(amount).is_some_and(|bytes| bytes.ceil() >= RAY_BYTES_MIN);
        if let Some(request) = request.filter(enough).filter(|_| !told && !limited) {
            filled.insert(place(group, "limits").key(keys::MEMORY), request.clone());
        }
    }
}

/// The operator stops at custom resources that it cannot read, and does not tell Ray of its GPUs any more (KubeRay `common/pod.go`). What the
/// author wrote stands, since `ray start` can read it; so the GPUs are told here.
fn gpus_behind_unreadable_resources(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    for group in cluster.groups() {
        let params = group.start_params();
        let unreadable = params.resources.is_some()
            && params
                .problems
                .iter()
                .any(|problem| problem.path == params.path.key("resources"));
        if !unreadable || params.raw.contains_key("num-gpus") || !group.resources().is_empty() {
            continue;
        }
        // A request alone gets its limit at the same time as this.
        let amounts = ["limits", "requests"].map(|list| amounts(group, list, subject));
        let gpus = amounts
            .into_iter()
            .flatten()
            .flatten()
            .filter(|(name, amount)| keys::is_gpu(name) && !amount.is_null())
            .min_by_key(|(name, _)| *name)
            .and_then(|(_, amount)| quantity(amount));
        if let Some(gpus) = gpus.map(Quantity::ceil).filter(|gpus| *gpus > 0) {
            filled.insert(params.path.key("num-gpus"), gpus.to_string().into());
        }
    }
}

fn place(group: &dyn NodeGroup, list: &'static str) -> Pointer {
    group.ray_container_path().key("resources").key(list)
}

fn amounts<'a>(
    group: &dyn NodeGroup,
    list: &'static str,
    subject: &Subject<'a>,
) -> Option<&'a Map<String, Value>> {
    place(group, list).resolve(subject.json)?.as_object()
}

fn is_stated(amounts: &Map<String, Value>, name: &str) -> bool {
    amounts.get(name).is_some_and(|amount| !amount.is_null())
}

/// Also of a bare number.
pub(crate) fn quantity(amount: &Value) -> Option<Quantity> {
    match amount {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}
