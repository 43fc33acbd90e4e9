//! In central mode the head does without the autoscaler that the operator has given it: another process does that work.

use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;
use ray::path::Pointer;
use serde_json::Value;

use super::growing::Growing;
use crate::edit::Edit;

pub(super) fn remove(pod: &mut Growing, mode: AutoscalerMode) {
    if mode != AutoscalerMode::Central || !pod.is(keys::NODE_TYPE_HEAD) {
        return;
    }
    let containers = Pointer::root().key("spec").key("containers");
    let has_name = |(_, container): &(usize, &Value)| container["name"] == keys::AUTOSCALER_CONTAINER;
    // The first container runs Ray, whatever it is called.
    let others = pod.items(&containers).iter().enumerate().skip(1);
    if let Some((index, _)) = others.clone().find(has_name) {
        let path = containers.index(index);
        pod.make(Edit::Remove {
            guard: path.key("name"),
            path,
        });
    }
}
