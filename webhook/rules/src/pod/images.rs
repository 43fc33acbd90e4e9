//! Images from mirrors, and by their digests. The manifest of a cluster keeps the name that its author gave an image; the pod gets the same
//! image from where, and as exactly as, the policy wants it.

use ray::image::Image;
use ray::keys;
use ray::path::Pointer;
use serde_json::Value;

use super::growing::Growing;
use crate::policy::{Images, Policy};

pub(super) fn replace(pod: &mut Growing, policy: &Policy) {
    let Some(images) = &policy.spec.images else { return };
    if !pod.is(keys::NODE_TYPE_HEAD) && !pod.is(keys::NODE_TYPE_WORKER) {
        return;
    }
    let spec = Pointer::root().key("spec");
    for list in ["initContainers", "containers"].map(|list| spec.key(list)) {
        for index in 0..pod.items(&list).len() {
            replace_one(pod, &list.index(index).key("image"), images, policy);
        }
    }
}

/// A digest may stand under the name that the image has, or under the one that it gets.
fn replace_one(pod: &mut Growing, place: &Pointer, images: &Images, policy: &Policy) {
    let written = place.resolve(&pod.json).and_then(Value::as_str);
    let Some(written) = written.filter(|written| !written.is_empty()) else {
        return;
    };
    let mut image = Image::parse(written);
    let mirror = images.mirrored(&image);
    let at_mirror = mirror.as_ref().map(|(_, repository)| Image {
        repository: repository.clone(),
        ..image.clone()
    });
    let digest = images
        .digest(&image)
        .or_else(|| images.digest(at_mirror.as_ref()?));
    let mut set = |image: &Image, field: &'static str, name: &str| {
        let said = Pointer::root().key("images").key(field).key(name.to_owned());
        pod.by(policy.author(&said));
        pod.put(place.clone(), place.clone(), image.to_string().into());
    };
    if let Some((name, digest)) = digest {
        image.digest = Some(digest.to_owned());
        set(&image, "digests", name);
    }
    if let Some((from, repository)) = mirror {
        image.repository = repository;
        set(&image, "mirrors", from);
    }
}
