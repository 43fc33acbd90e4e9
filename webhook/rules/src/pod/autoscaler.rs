//! In central mode the head does without the autoscaler that the operator has given it: another process does that work. In sidecar mode that
//! container runs Rayward in place of Ray's own, with the rights that the operator has given it.

use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::Request;
use super::growing::Growing;
use crate::edit::Edit;

/// The image of `rayward-autoscaler` that belongs to this version of us.
pub const SIDECAR_IMAGE: &str = concat!("rayward/autoscaler:", env!("CARGO_PKG_VERSION"));

/// Where its program is in the image.
const PROGRAM: &str = "/usr/local/bin/rayward-autoscaler";

/// An image that is called so is one of ours, from whatever registry its author takes it.
const OURS: &str = "rayward";

pub(super) fn choose(pod: &mut Growing, request: &Request<'_>) {
    if !pod.is(keys::NODE_TYPE_HEAD) {
        return;
    }
    let Some(path) = container(pod) else {
        return;
    };
    match request.mode {
        AutoscalerMode::Central => {
            pod.make(Edit::Remove {
                guard: path.key("name"),
                path,
            });
        }
        AutoscalerMode::Sidecar => replace(pod, &path, request.sidecar_image),
        AutoscalerMode::Ray | AutoscalerMode::Shadow => {}
    }
}

fn container(pod: &Growing) -> Option<Pointer> {
    let containers = Pointer::root().key("spec").key("containers");
    let has_name = |(_, container): &(usize, &Value)| container["name"] == keys::AUTOSCALER_CONTAINER;
    // The first container runs Ray, whatever it is called.
    let mut others = pod.items(&containers).iter().enumerate().skip(1);
    others.find(has_name).map(|(index, _)| containers.index(index))
}

/// The operator has given the variables.
fn replace(pod: &mut Growing, container: &Pointer, image: &str) {
    let at = container.key("image");
    let there = at.resolve(&pod.json).and_then(Value::as_str);
    if !there.is_some_and(|image| image.contains(OURS)) {
        pod.put(at.clone(), at, image.into());
    }
    let arguments = [
        "run",
        "--cluster-name=$(RAY_CLUSTER_NAME)",
        "--cluster-namespace=$(RAY_CLUSTER_NAMESPACE)",
    ];
    for (field, value) in [("command", json!([PROGRAM])), ("args", json!(arguments))] {
        let at = container.key(field);
        pod.put(at.clone(), at, value);
    }
}
