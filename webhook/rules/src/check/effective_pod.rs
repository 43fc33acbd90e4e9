//! The pod that KubeRay makes of a template, as the API server will look at it: names of containers and volumes, and what is mounted
//! where. Ports, variables and what the pod does over its life have files of their own.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Volume;
use ray::cluster::NodeGroup;
use ray::label;
use ray::object::Kind;

use crate::effective::{
    self, EffectivePod, LOGS_PATH, LOGS_VOLUME, SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME,
};
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source};

const WHY_REFUSED: &str =
    "The API server refuses every such pod, one attempt after the other; nothing is ever started.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P001",
        summary: "two containers of a pod have one name",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/containers/1: {name: autoscaler, image: mine}}",
            passes: "/spec/headGroupSpec/template/spec/containers/1: {name: autoscaler, image: mine}",
        },
        check: Check::EffectivePods(container_names_are_unique),
    },
    Rule {
        code: "RW-P002",
        summary: "the name of a container or a volume is not a DNS label",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/name: ray_head",
            passes: "/spec/headGroupSpec/template/spec/containers/0/name: ray-head",
        },
        check: Check::Group(names_are_labels),
    },
    Rule {
        code: "RW-P003",
        summary: "two volumes of a pod have one name",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/volumes: [{name: data, emptyDir: {}}, {name: data, emptyDir: {}}]",
            passes: "/spec/headGroupSpec/template/spec/volumes: [{name: data, emptyDir: {}}, {name: data-2, emptyDir: {}}]",
        },
        check: Check::Group(volume_names_are_unique),
    },
    Rule {
        code: "RW-P004",
        summary: "two volumes are mounted at one path",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /a}]}",
            passes: "{/spec/headGroupSpec/template/spec/volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {medium: Memory}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /dev/shm}]}",
        },
        check: Check::EffectivePods(mount_paths_are_unique),
    },
    Rule {
        code: "RW-P005",
        summary: "a volume is mounted that the pod does not have",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {volumeMounts: [{name: data, mountPath: /data}]}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {volumeMounts: [{name: data, mountPath: /data}]}, \
                /spec/headGroupSpec/template/spec/volumes: [{name: data, emptyDir: {}}]}",
        },
        check: Check::EffectivePods(mounts_have_a_volume),
    },
    Rule {
        code: "RW-P006",
        summary: "a volume has the name of one that KubeRay would make, and another nature",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay takes the author's volume for its own and mounts it where Ray shares objects or keeps its logs.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/volumes: [{name: shared-mem, emptyDir: {}}]",
            passes: "/spec/headGroupSpec/template/spec/volumes: [{name: shared-mem, emptyDir: {medium: Memory}}]",
        },
        check: Check::EffectivePods(volumes_are_not_taken_for_others),
    },
    Rule {
        code: "RW-P007",
        summary: "a container beside Ray's has no image",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/1: {name: logs}",
            passes: "/spec/headGroupSpec/template/spec/containers/1: {name: logs, image: fluent/fluent-bit:3.2.2}",
        },
        check: Check::Group(sidecars_have_an_image),
    },
    Rule {
        code: "RW-P008",
        summary: "the autoscaler's logs are not where Ray looks for them",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "`ray status` and the dashboard read what the autoscaler has written from the volume that both have at /tmp/ray.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/volumes: [{name: mine, emptyDir: {}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: mine, mountPath: /tmp/ray}]}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/volumes: [{name: mine, emptyDir: {}}], \
                /spec/autoscalerOptions: {volumeMounts: [{name: mine, mountPath: /tmp/ray}]}, \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: mine, mountPath: /tmp/ray}]}",
        },
        check: Check::EffectivePods(logs_are_shared),
    },
];

/// The operator can be told to add no container that waits, and then authors bring their own of that name.
fn container_names_are_unique(pods: &[EffectivePod<'_>], findings: &mut Findings) {
    for pod in pods {
        let mut named = BTreeMap::new();
        for container in &pod.containers {
            let Some(earlier) = named.insert(container.name, container) else {
                continue;
            };
            let Some(place) = container.place.as_ref().or(earlier.place.as_ref()) else {
                continue;
            };
            let draft = findings.at(place.key("name"));
            if container.place.is_some() {
                draft
                    .problem(format!(
                        "\"{}\" is also the name of an earlier container",
                        container.name
                    ))
                    .hint("give each container and init container of a pod a name of its own");
                continue;
            }
            let draft = draft.problem(format!(
                "KubeRay adds a container called \"{}\" itself",
                container.name
            ));
            let draft = if container.name == effective::WAIT_CONTAINER {
                draft.only(Action::Warn)
            } else {
                draft
            };
            draft.hint("call yours something else, or leave it out");
        }
    }
}

fn names_are_labels(group: &dyn NodeGroup, findings: &mut Findings) {
    let containers = group
        .containers()
        .map(|(place, container)| (place.key("name"), container.name.as_str()));
    let place = group.pod_path().key("volumes");
    let volumes = volumes(group)
        .enumerate()
        .map(|(index, volume)| (place.index(index).key("name"), volume.name.as_str()));
    for (path, name) in containers
        .chain(volumes)
        .filter(|(_, name)| !label::is_dns_label(name))
    {
        findings
            .at(path)
            .problem(format!(
                "\"{name}\" cannot be the name of a container or a volume"
            ))
            .hint("use up to 63 lower-case letters, digits and hyphens, with no hyphen at either end");
    }
}

fn volume_names_are_unique(group: &dyn NodeGroup, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, volume) in volumes(group).enumerate() {
        if !names.insert(&volume.name) {
            findings
                .at(group.pod_path().key("volumes").index(index).key("name"))
                .problem(format!(
                    "\"{}\" is also the name of an earlier volume",
                    volume.name
                ))
                .hint("give each volume a name of its own, or leave one out");
        }
    }
}

/// The operator compares paths letter by letter, and so does the API server; the kernel does not.
fn mount_paths_are_unique(pods: &[EffectivePod<'_>], findings: &mut Findings) {
    for pod in pods {
        for container in &pod.containers {
            let mut mounted = BTreeMap::new();
            for mount in &container.mounts {
                let Some(earlier) = mounted.insert(mount.path.trim_end_matches('/'), mount) else {
                    continue;
                };
                let Some(place) = container.place_of(mount).or_else(|| container.place_of(earlier)) else {
                    continue;
                };
                let same = earlier.path == mount.path;
                let draft = findings.at(place.key("mountPath")).problem(format!(
                    "volumes \"{}\" and \"{}\" are both mounted at {}",
                    earlier.volume, mount.volume, mount.path
                ));
                if same {
                    draft.hint("mount one of them elsewhere, or leave it out");
                } else {
                    draft
                        .only(Action::Warn)
                        .hint("one hides the other; write the path without a slash at its end");
                }
            }
        }
    }
}

fn mounts_have_a_volume(pods: &[EffectivePod<'_>], findings: &mut Findings) {
    for pod in pods {
        let volumes: BTreeSet<&str> = pod.volumes.iter().copied().collect();
        for container in &pod.containers {
            for mount in container
                .mounts
                .iter()
                .filter(|mount| !volumes.contains(mount.volume))
            {
                let Some(place) = container.place_of(mount) else {
                    continue;
                };
                findings
                    .at(place.key("name"))
                    .problem(format!("the pod has no volume called \"{}\"", mount.volume))
                    .hint("add it to the volumes of the pod's template, or correct the name");
            }
        }
    }
}

fn volumes_are_not_taken_for_others(pods: &[EffectivePod<'_>], findings: &mut Findings) {
    for pod in pods {
        let is_mounted = is_mounted_by_operator(pod);
        for (index, volume) in volumes(pod.group).enumerate() {
            let (path, right, wanted) = match volume.name.as_str() {
                SHARED_MEMORY_VOLUME => (
                    SHARED_MEMORY_PATH,
                    is_memory(volume),
                    "an emptyDir of medium Memory",
                ),
                LOGS_VOLUME => (LOGS_PATH, volume.empty_dir.is_some(), "an emptyDir"),
                _ => continue,
            };
            if !right && is_mounted(&volume.name) {
                findings
                    .at(pod.group.pod_path().key("volumes").index(index))
                    .problem(format!(
                        "KubeRay will mount this volume at {path}, because of its name"
                    ))
                    .hint(format!("make it {wanted}, or call it something else"));
            }
        }
    }
}

fn is_mounted_by_operator(pod: &EffectivePod<'_>) -> impl Fn(&str) -> bool {
    let mounts = pod
        .containers
        .iter()
        .flat_map(|container| container.mounts.iter().map(move |mount| (container, mount)));
    let added = mounts.filter(|(container, mount)| container.place_of(mount).is_none());
    let volumes: BTreeSet<String> = added.map(|(_, mount)| mount.volume.to_owned()).collect();
    move |volume| volumes.contains(volume)
}

fn sidecars_have_an_image(group: &dyn NodeGroup, findings: &mut Findings) {
    let ray = group.ray_container_path();
    let others = group.containers().filter(|(place, _)| *place != *ray);
    for (place, container) in others {
        if container.image.as_deref().unwrap_or_default().is_empty() {
            findings
                .at(place.key("image"))
                .problem(format!("container \"{}\" has no image", container.name))
                .hint("name one; only the container that runs Ray can have one chosen for it");
        }
    }
}

/// Who mounts a volume of their own at /tmp/ray mounts it for the autoscaler too, or has its logs in another one.
fn logs_are_shared(pods: &[EffectivePod<'_>], findings: &mut Findings) {
    let Some(head) = pods.first() else { return };
    let mut added = head
        .containers
        .iter()
        .filter(|container| container.place.is_none());
    if !added.any(|container| container.name == ray::keys::AUTOSCALER_CONTAINER) {
        return;
    }
    let ray = head.group.ray_container_path();
    let mut at_logs = head.containers.iter().filter_map(|container| {
        let mount = container.mounts.iter().find(|mount| mount.path == LOGS_PATH)?;
        let runs = container.place.as_ref() == Some(ray) || container.name == ray::keys::AUTOSCALER_CONTAINER;
        runs.then_some((container, mount))
    });
    let (Some((container, of_ray)), Some((_, of_autoscaler))) = (at_logs.next(), at_logs.next()) else {
        return;
    };
    if of_ray.volume != of_autoscaler.volume
        && let Some(place) = container.place_of(of_ray)
    {
        findings
            .at(place.key("name"))
            .problem(format!(
                "Ray has volume \"{}\" at {LOGS_PATH}, but the autoscaler has \"{}\"",
                of_ray.volume, of_autoscaler.volume
            ))
            .hint(format!(
                "call the volume {LOGS_VOLUME}, or add it to autoscalerOptions.volumeMounts"
            ));
    }
}

fn volumes(group: &dyn NodeGroup) -> impl Iterator<Item = &Volume> {
    let pod = group.template().spec.as_ref();
    pod.and_then(|pod| pod.volumes.as_ref()).into_iter().flatten()
}

fn is_memory(volume: &Volume) -> bool {
    volume
        .empty_dir
        .as_ref()
        .is_some_and(|volume| volume.medium.as_deref() == Some("Memory"))
}
