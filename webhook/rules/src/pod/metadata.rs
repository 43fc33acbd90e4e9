//! Labels, annotations, and what a pod pulls its images with.

use ray::path::Pointer;
use serde_json::json;

use super::growing::Growing;
use super::wanted::Wanted;

pub(super) fn labels(pod: &mut Growing, wanted: &Wanted<'_>) {
    let labels = Pointer::root().key("metadata").key("labels");
    for (key, value) in &wanted.defaults.labels {
        pod.by(wanted.author_of_key("labels", key));
        pod.fill(labels.key(key.clone()), json!(value));
    }
}

pub(super) fn annotations(pod: &mut Growing, wanted: &Wanted<'_>) {
    let annotations = Pointer::root().key("metadata").key("annotations");
    for (key, value) in &wanted.defaults.annotations {
        pod.by(wanted.author_of_key("annotations", key));
        pod.fill(annotations.key(key.clone()), json!(value));
    }
}

pub(super) fn pull_secrets(pod: &mut Growing, wanted: &Wanted<'_>) {
    for (index, secret) in wanted.defaults.image_pull_secrets.iter().enumerate() {
        pod.by(wanted.author_of_item("imagePullSecrets", index));
        pod.add_named(
            &Pointer::root().key("spec").key("imagePullSecrets"),
            json!({"name": secret.name}),
        );
    }
}
