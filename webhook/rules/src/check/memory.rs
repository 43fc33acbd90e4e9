//! What Ray is told of memory, CPUs and its object store, against what the container may use.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use ray::cluster::NodeGroup;
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::quantity::Quantity;

use super::resources::{limits, quantity};
use crate::effective::SHARED_MEMORY_PATH;
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G025",
        summary: "the object store is larger than the container's memory",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "`ray start` ends with \"The requested object store memory size is greater than the total available memory\".",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/rayStartParams: {object-store-memory: '2147483649'}",
            passes: "/spec/headGroupSpec/rayStartParams: {object-store-memory: '2147483648'}",
        },
        check: Check::Group(object_store_fits),
    },
    Rule {
        code: "RW-P202",
        summary: "Ray is told of more CPUs or memory than the container may use",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray places work by what it is told: with more memory than there is, nodes die of it; with more CPUs, all work is slowed.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/rayStartParams: {memory: '2147483649'}",
            passes: "/spec/workerGroupSpecs/0/rayStartParams: {memory: '2147483648', num-cpus: '1'}",
        },
        check: Check::Group(ray_is_told_what_there_is),
    },
    Rule {
        code: "RW-P203",
        summary: "the object store is smaller than Ray allows",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "`ray start` ends with \"Attempting to cap object store memory usage\".",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/rayStartParams: {object-store-memory: '78643199'}",
            passes: "/spec/headGroupSpec/rayStartParams: {object-store-memory: '78643200'}",
        },
        check: Check::Group(object_store_is_large_enough),
    },
    Rule {
        code: "RW-P204",
        summary: "/dev/shm is too small for the object store, or not memory",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Ray then keeps its objects on disk, many times slower; a store of more than 10 GB it refuses to start like that.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/rayStartParams: {object-store-memory: '1073741825'}, \
                /spec/headGroupSpec/template/spec/volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: shm, mountPath: /dev/shm}]}",
            passes: "{/spec/headGroupSpec/rayStartParams: {object-store-memory: '1073741824'}, \
                /spec/headGroupSpec/template/spec/volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: shm, mountPath: /dev/shm}]}",
        },
        check: Check::Group(shared_memory_holds_the_object_store),
    },
    Rule {
        code: "RW-P205",
        summary: "the container's memory is too little for Ray itself",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The processes of a node take about 400 MB before any work is done, and a container that takes more than its limit is killed.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/memory: 511Mi",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/memory: 512Mi",
        },
        check: Check::Group(ray_has_room),
    },
    Rule {
        code: "RW-P206",
        summary: "volumes in memory may take all the memory of the container",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "What is written to a volume of medium Memory counts against the limit of the container that wrote it, which is then killed.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/volumes: [{name: cache, emptyDir: {medium: Memory, sizeLimit: 2Gi}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: cache, mountPath: /cache}]}",
            passes: "{/spec/headGroupSpec/template/spec/volumes: [{name: cache, emptyDir: {medium: Memory, sizeLimit: 1Gi}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: cache, mountPath: /cache}]}",
        },
        check: Check::Group(volumes_leave_memory),
    },
];

/// What Ray takes at the least (Ray `ray_constants.py`).
const OBJECT_STORE_BYTES_MIN: i64 = 75 * 1024 * 1024;
/// A store of this size Ray does not put on disk without being told to.
const SLOW_STORE_BYTES_MAX: i64 = 10_000_000_000;
const ENV_ALLOW_SLOW_STORE: &str = "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE";
/// Of the memory that there is, Ray takes this part for its objects where nothing is said: 30 percent.
const DEFAULT_STORE_PERCENT: i64 = 30;
/// What the processes of a node take, with some room.
pub(crate) const RAY_BYTES_MIN: i64 = 512 * 1024 * 1024;

/// A store in a directory of its own is on disk, and is not measured.
fn object_store_fits(group: &dyn NodeGroup, findings: &mut Findings) {
    let (Some(store), Some(limit)) = (
        group.start_params().object_store_memory,
        limit(group, keys::MEMORY),
    ) else {
        return;
    };
    if store > limit.ceil() && !has_plasma_directory(group) {
        findings
            .at(group.start_params().path.key("object-store-memory"))
            .problem(format!(
                "{store} bytes, but the container's limit of memory is {limit}"
            ))
            .hint("leave it out, which gives 30 percent of the memory, or raise the limit");
    }
}

fn object_store_is_large_enough(group: &dyn NodeGroup, findings: &mut Findings) {
    if let Some(store) = group.start_params().object_store_memory
        && store < OBJECT_STORE_BYTES_MIN
    {
        findings
            .at(group.start_params().path.key("object-store-memory"))
            .problem(format!(
                "{store} bytes, and Ray wants at least {OBJECT_STORE_BYTES_MIN}"
            ))
            .hint("leave it out, or write it in bytes");
    }
}

fn ray_is_told_what_there_is(group: &dyn NodeGroup, findings: &mut Findings) {
    let params = group.start_params();
    let told = [
        (keys::CPU, "num-cpus", params.num_cpus),
        (keys::MEMORY, "memory", params.memory),
    ];
    for (name, param, told) in told {
        let own = group
            .resources()
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        let own = own.and_then(|(key, amount)| {
            let amount: Quantity = amount.parse().ok()?;
            Some((group.path().key("resources").key(key.clone()), amount.ceil()))
        });
        let Some((place, told)) = own.or_else(|| Some((params.path.key(param), told?))) else {
            continue;
        };
        if let Some(limit) = limit(group, name).filter(|limit| told > limit.ceil()) {
            findings
                .at(place)
                .problem(format!(
                    "Ray is told of {told}, but the container's limit of {name} is {limit}"
                ))
                .hint("leave it out and let the limit speak for itself");
        }
    }
}

/// KubeRay's own /dev/shm is as large as the memory of the container.
fn shared_memory_holds_the_object_store(group: &dyn NodeGroup, findings: &mut Findings) {
    if has_plasma_directory(group) {
        return;
    }
    let mut mounted = mounted_empty_dirs(group);
    let Some((place, _, volume)) = mounted.find(|(_, path, _)| is_shared_memory(path)) else {
        return;
    };
    if !is_memory(volume) {
        findings
            .at(place.key("emptyDir").key("medium"))
            .problem("Ray's objects will be on disk, since this is mounted at /dev/shm")
            .only(Action::Warn)
            .hint("set medium: Memory, or leave the volume out and KubeRay makes one");
        return;
    }
    let Some(size) = volume.size_limit.as_ref().and_then(quantity) else {
        return;
    };
    let told = group.start_params().object_store_memory;
    let default = || Some(limit(group, keys::MEMORY)?.ceil() / 100 * DEFAULT_STORE_PERCENT);
    let Some(store) = told.or_else(default).filter(|store| *store > size.ceil()) else {
        return;
    };
    let starts = told.is_none() || store <= SLOW_STORE_BYTES_MAX || group.env(ENV_ALLOW_SLOW_STORE).is_some();
    let what = if told.is_some() {
        "object-store-memory"
    } else {
        "the object store, 30 percent of the memory,"
    };
    let draft = findings
        .at(place.key("emptyDir").key("sizeLimit"))
        .problem(format!("/dev/shm has {size}, but {what} is {store} bytes"));
    let draft = if starts { draft.only(Action::Warn) } else { draft };
    draft.hint("raise the sizeLimit, or leave the volume out and KubeRay makes one that fits");
}

fn ray_has_room(group: &dyn NodeGroup, findings: &mut Findings) {
    if let Some(limit) = limit(group, keys::MEMORY)
        && limit.ceil() < RAY_BYTES_MIN
    {
        findings
            .at(group
                .ray_container_path()
                .key("resources")
                .key("limits")
                .key(keys::MEMORY))
            .problem(format!("{limit} is less than a node of Ray takes by itself"))
            .hint("give it 512Mi at the very least, better 2Gi");
    }
}

/// /dev/shm may be as large as all the memory, as KubeRay's own is: Ray measures its store.
fn volumes_leave_memory(group: &dyn NodeGroup, findings: &mut Findings) {
    let in_memory = |(place, path, volume): (Pointer, _, &EmptyDirVolumeSource)| {
        let size = volume.size_limit.as_ref().filter(|_| is_memory(volume))?;
        Some((place, path, quantity(size)?))
    };
    let mut volumes = mounted_empty_dirs(group).filter_map(in_memory).peekable();
    if volumes.peek().is_none() {
        return;
    }
    let Some(limit) = limit(group, keys::MEMORY) else {
        return;
    };
    let mut others: i64 = 0;
    for (place, path, size) in volumes {
        let too_much = if is_shared_memory(path) {
            size.ceil() > limit.ceil()
        } else {
            others = others.saturating_add(size.ceil());
            others >= limit.ceil()
        };
        if too_much {
            findings
                .at(place.key("emptyDir").key("sizeLimit"))
                .problem(format!(
                    "in memory there is room for {size} at {path}, and the container has {limit} for all"
                ))
                .hint("lower the sizeLimit, or raise the container's limit of memory");
        }
    }
}

fn limit(group: &dyn NodeGroup, name: &str) -> Option<Quantity> {
    let (_, limit) = limits(group.ray_container()?).find(|(limited, _)| *limited == name)?;
    quantity(limit)
}

fn has_plasma_directory(group: &dyn NodeGroup) -> bool {
    group.start_params().raw.contains_key("plasma-directory")
}

fn is_shared_memory(path: &str) -> bool {
    path.trim_end_matches('/') == SHARED_MEMORY_PATH
}

fn is_memory(volume: &EmptyDirVolumeSource) -> bool {
    volume.medium.as_deref() == Some("Memory")
}

/// The empty directories of the pod that are mounted into the container of Ray: where they stand, and at which path they are.
fn mounted_empty_dirs(group: &dyn NodeGroup) -> impl Iterator<Item = (Pointer, &str, &EmptyDirVolumeSource)> {
    let mounts = group.ray_container().and_then(|ray| ray.volume_mounts.as_ref());
    let paths: BTreeMap<&str, &str> = mounts
        .into_iter()
        .flatten()
        .map(|mount| (mount.name.as_str(), mount.mount_path.as_str()))
        .collect();
    let volumes = group
        .template()
        .spec
        .as_ref()
        .and_then(|pod| pod.volumes.as_ref());
    let place = group.pod_path().key("volumes");
    let numbered = volumes.into_iter().flatten().enumerate();
    numbered.filter_map(move |(index, volume)| {
        let empty_dir = volume.empty_dir.as_ref()?;
        Some((place.index(index), *paths.get(volume.name.as_str())?, empty_dir))
    })
}
