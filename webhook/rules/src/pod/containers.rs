//! What the containers of a pod get. The first one runs Ray, and alone gets variables, volumes and probes.

use ray::path::Pointer;
use ray::quantity::Quantity;
use serde_json::{Value, json};

use super::growing::Growing;
use super::wanted::Wanted;
use crate::policy::Fragment;

const SHARED_MEMORY: &str = "/dev/shm";
/// What KubeRay calls the volume that it mounts there where a container has none.
const KUBERAYS_SHARED_MEMORY: &str = "shared-mem";

/// Pod security standards ask every container, those that run first included.
pub(super) fn security(pod: &mut Growing, wanted: &Wanted<'_>) {
    let spec = Pointer::root().key("spec");
    pod.by(wanted.author("securityContext"));
    fill_fields(
        pod,
        &spec.key("securityContext"),
        wanted.defaults.security_context.as_ref(),
    );
    pod.by(wanted.author("containerSecurityContext"));
    for list in ["initContainers", "containers"].map(|list| spec.key(list)) {
        for index in 0..pod.items(&list).len() {
            let context = list.index(index).key("securityContext");
            fill_fields(pod, &context, wanted.defaults.container_security_context.as_ref());
        }
    }
}

fn fill_fields(pod: &mut Growing, place: &Pointer, fields: Option<&Fragment>) {
    for (field, value) in fields.iter().flat_map(|fields| &fields.0) {
        pod.fill(place.key(field.clone()), value.clone());
    }
}

pub(super) fn environment(pod: &mut Growing, wanted: &Wanted<'_>) {
    for (index, variable) in wanted.defaults.env.iter().enumerate() {
        pod.by(wanted.author_of_item("env", index));
        pod.add_named(&ray_container("env"), Value::Object(variable.0.clone()));
    }
}

pub(super) fn volumes(pod: &mut Growing, wanted: &Wanted<'_>) {
    for (index, volume) in wanted.defaults.volumes.iter().enumerate() {
        pod.by(wanted.author_of_item("volumes", index));
        let (volume, mount) = (volume.volume(), volume.mount());
        // Another volume of that name is the author's, and so is what is mounted from it.
        let taken = |there: &Value| there["name"] == volume["name"] && *there != volume;
        if mounted(pod, &mount["mountPath"]).is_none() && !pod.items(&pod_volumes()).iter().any(taken) {
            pod.add_named(&pod_volumes(), volume);
            pod.add(&ray_container("volumeMounts"), mount, |_| false);
        }
    }
}

pub(super) fn shared_memory(pod: &mut Growing, wanted: &Wanted<'_>) {
    let Some(size) = &wanted.defaults.shared_memory else {
        return;
    };
    pod.by(wanted.author("sharedMemory"));
    match mounted(pod, &json!(SHARED_MEMORY)) {
        None => {
            let volume =
                json!({"name": "rayward-shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}});
            let mount = json!({"name": volume["name"], "mountPath": SHARED_MEMORY});
            pod.add_named(&pod_volumes(), volume);
            pod.add(&ray_container("volumeMounts"), mount, |_| false);
        }
        Some(name) if name == KUBERAYS_SHARED_MEMORY => {
            let volumes = pod.items(&pod_volumes());
            if let Some(index) = volumes.iter().position(|volume| is_kuberays(volume, &pod.json)) {
                let place = pod_volumes().index(index).key("emptyDir").key("sizeLimit");
                pod.put(place.clone(), place, json!(size));
            }
        }
        Some(_) => {}
    }
}

/// KubeRay gives it the limit of memory, or else the request. Of any other size it is the author's, under KubeRay's name.
fn is_kuberays(volume: &Value, pod: &Value) -> bool {
    let resources = &pod["spec"]["containers"][0]["resources"];
    let amount = |amount: &Value| amount.as_str().and_then(|text| text.parse::<Quantity>().ok());
    let memory = amount(&resources["limits"]["memory"]).or_else(|| amount(&resources["requests"]["memory"]));
    volume["name"] == KUBERAYS_SHARED_MEMORY
        && volume["emptyDir"]["medium"] == "Memory"
        && memory.is_some()
        && amount(&volume["emptyDir"]["sizeLimit"]) == memory
}

pub(super) fn startup_probe(pod: &mut Growing, wanted: &Wanted<'_>) {
    if let Some(probe) = &wanted.defaults.startup_probe {
        pod.by(wanted.author("startupProbe"));
        pod.fill(ray_container("startupProbe"), Value::Object(probe.0.clone()));
    }
}

/// The name of the volume that the container has at a path.
fn mounted(pod: &Growing, path: &Value) -> Option<String> {
    let mounts = pod.items(&ray_container("volumeMounts")).iter();
    let bare = |path: &Value| path.as_str().map(|path| path.trim_end_matches('/').to_owned());
    let own = bare(path);
    let mut there = mounts.filter(|mount| bare(&mount["mountPath"]) == own);
    there
        .next()
        .map(|mount| mount["name"].as_str().unwrap_or_default().to_owned())
}

fn pod_volumes() -> Pointer {
    Pointer::root().key("spec").key("volumes")
}

fn ray_container(field: &'static str) -> Pointer {
    Pointer::root().key("spec").key("containers").index(0).key(field)
}
