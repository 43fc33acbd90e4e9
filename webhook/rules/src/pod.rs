//! Pods that KubeRay's operator makes of a cluster, looked at when they are created. Nothing hashes them and the operator never
//! compares them with what it asked for, so what need not show in the cluster's own manifest is done here.

pub use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;
use ray::path::Pointer;
use serde_json::Value;

use crate::edit::Edit;

/// What to change in a pod of a cluster that is scaled by `mode`. In central mode the head does without the autoscaler that the
/// operator has given it: another process does that work. Pods of others are left alone.
pub fn defaults(pod: &Value, mode: AutoscalerMode) -> Vec<Edit> {
    if mode != AutoscalerMode::Central || !is_head(pod) {
        return Vec::new();
    }
    let containers = Pointer::root().key("spec").key("containers");
    // The first container runs Ray, whatever it is called.
    let others = containers
        .resolve(pod)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
        .skip(1);
    others
        .filter(|(_, container)| container["name"] == keys::AUTOSCALER_CONTAINER)
        .map(|(index, _)| containers.index(index))
        .map(|path| Edit::Remove {
            guard: path.key("name"),
            path,
        })
        .collect()
}

/// The pod that cleans up Redis behind a cluster carries the head's other labels, but not this one.
fn is_head(pod: &Value) -> bool {
    pod["metadata"]["labels"][keys::NODE_TYPE] == keys::NODE_TYPE_HEAD
}
