//! The note in a pod about what was put into it, by which policy and which version of us: for people, in the way they write fields.

use ray::keys;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::growing::Growing;
use crate::edit::Edit;

/// `{"version":"0.1.0","by":{"gpus":["spec.tolerations","spec.containers[0].env.NCCL_DEBUG"]}}`
pub(super) fn note(pod: &mut Growing) {
    if pod.put_in.is_empty() {
        return;
    }
    let text = annotation().resolve(&pod.json).and_then(Value::as_str);
    let earlier: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    let mut by = earlier
        .and_then(|earlier| earlier["by"].as_object().cloned())
        .unwrap_or_default();
    for (author, places) in &pod.put_in {
        let noted = by.entry(author.clone()).or_insert_with(|| json!([]));
        if let Some(noted) = noted.as_array_mut() {
            noted.extend(places.iter().map(|place| json!(place.field().to_string())));
        }
    }
    let note = json!({"version": env!("CARGO_PKG_VERSION"), "by": by});
    pod.make(Edit::Set {
        path: annotation(),
        value: note.to_string().into(),
    });
}

fn annotation() -> Pointer {
    Pointer::root()
        .key("metadata")
        .key("annotations")
        .key(keys::INJECTED)
}
