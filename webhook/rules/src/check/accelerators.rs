//! GPUs and other devices: what a pod gets of them, and what Ray is told. TPUs, which come in slices, have a file of their own.

use std::collections::{BTreeMap, BTreeSet};

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::quantity::Quantity;
use ray::resources::Amount;

use super::resources::{limits, quantity, requests};
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_WHOLE: &str = "Devices are handed out whole: the API server refuses every pod of the group.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G009",
        summary: "Ray is told of another number of GPUs than the container has",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray places tasks by what it is told alone: some would find no device, or devices stand idle.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/rayStartParams: {num-gpus: '1'}",
            passes: "/spec/headGroupSpec/rayStartParams: {num-gpus: '0'}",
        },
        check: Check::Group(gpus_are_told_truly),
    },
    Rule {
        code: "RW-G024",
        summary: "a device is requested with another amount than its limit",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Devices cannot be overcommitted: the API server refuses every pod of the group.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/requests: {nvidia.com/gpu: 2}",
            passes: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/requests: {nvidia.com/gpu: '1000m'}",
        },
        check: Check::Group(devices_are_not_overcommitted),
    },
    Rule {
        code: "RW-P101",
        summary: "a group has accelerators of several kinds",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay tells Ray of one kind of GPU and one other accelerator of a node, the first by name; of the rest nothing is used.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits: {cpu: 1, memory: 2Gi, nvidia.com/gpu: 1, amd.com/gpu: 1}",
            passes: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits: {cpu: 1, memory: 2Gi, nvidia.com/gpu: 1, rdma/hca: 1}",
        },
        check: Check::Group(accelerators_are_of_one_kind),
    },
    Rule {
        code: "RW-P102",
        summary: "an amount of devices is not a whole number",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_WHOLE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits/nvidia.com~1gpu: 500m",
            passes: "/spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits/nvidia.com~1gpu: 1000m",
        },
        check: Check::Group(devices_are_whole),
    },
    Rule {
        code: "RW-P104",
        summary: "a container beside Ray's has accelerators",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay tells Ray of the devices of the first container only, and Ray's processes see no others.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/1: {name: model, image: mine, resources: {limits: {nvidia.com/gpu: 1}}}",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/1: {name: model, image: mine, resources: {limits: {rdma/hca: 1}}}",
        },
        check: Check::Group(ray_has_the_accelerators),
    },
    Rule {
        code: "RW-P106",
        summary: "Ray is not told of an accelerator",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay knows GPUs by names that end in gpu, slices such as nvidia.com/mig-1g.5gb, google.com/tpu and \
            aws.amazon.com/neuroncore; Ray's autoscaler knows no slices. Of others nobody counts on until Ray finds them on a running node, \
            so no group grows for them.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/gpu.intel.com~1i915: 1",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/gpu.intel.com~1i915: 1, \
                /spec/workerGroupSpecs/0/rayStartParams: {num-gpus: '1'}}",
        },
        check: Check::Cluster(ray_is_told_of_accelerators),
    },
    Rule {
        code: "RW-P107",
        summary: "Ray is told of another number of TPU chips or Neuron cores than the container has",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray places tasks by what it is told alone: some would find no device, or devices stand idle.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: r#"{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/aws.amazon.com~1neuroncore: 2,
                /spec/workerGroupSpecs/0/rayStartParams: {resources: '{"neuron_cores": 4}'}}"#,
            passes: r#"{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/aws.amazon.com~1neuroncore: 2,
                /spec/workerGroupSpecs/0/rayStartParams: {resources: '{"neuron_cores": 2}'}}"#,
        },
        check: Check::Group(custom_accelerators_are_told_truly),
    },
    Rule {
        code: "RW-P108",
        summary: "a custom resource of a node is not a whole number",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "`ray start` takes whole amounts only and ends with \"Resource quantities must all be whole numbers\".",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: r#"/spec/workerGroupSpecs/0/rayStartParams: {resources: '{"licence": 0.5}'}"#,
            passes: r#"/spec/workerGroupSpecs/0/rayStartParams: {resources: '{"licence": 1.0}'}"#,
        },
        check: Check::Group(custom_resources_are_whole),
    },
    Rule {
        code: "RW-P109",
        summary: "the start parameter `resources` names what has a parameter of its own",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray puts its own count of CPUs, GPUs and memory in the place of what `resources` says.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: r#"/spec/workerGroupSpecs/0/rayStartParams: {resources: '{"CPU": 4}'}"#,
            passes: r#"/spec/workerGroupSpecs/0/rayStartParams: {resources: '{"cpu": 4}'}"#,
        },
        check: Check::Group(resources_are_custom),
    },
];

/// Ray's name of GPUs, whoever made them.
const GPU: &str = "GPU";
/// What the names of all of Huawei's begin with: `huawei.com/Ascend910`.
const ASCEND: &str = "huawei.com/Ascend";
/// Accelerators with a name of their own in Ray: in Kubernetes, in Ray, and whether KubeRay knows of it.
const CUSTOM: [(&str, &str, bool); 6] = [
    (keys::TPU, "TPU", true),
    ("aws.amazon.com/neuroncore", "neuron_cores", true),
    ("aws.amazon.com/neuron", "neuron_cores", false),
    ("aws.amazon.com/neurondevice", "neuron_cores", false),
    ("habana.ai/gaudi", "HPU", false),
    (ASCEND, "NPU", false),
];

/// The operator itself only counts limits, and takes the first of them that looks like GPUs. Where a device is shared, or comes in
/// another way, it is for the author to say what it is to Ray.
fn gpus_are_told_truly(group: &dyn NodeGroup, findings: &mut Findings) {
    let (Some((place, told)), Some(container)) = (told_gpus(group), group.ray_container()) else {
        return;
    };
    if has_uncounted_gpus(group) {
        return;
    }
    let gpus = limits(container)
        .filter(|(name, _)| keys::is_gpu(name))
        .find_map(|(_, amount)| quantity(amount));
    let limit = gpus.map_or(0, Quantity::ceil);
    if told != limit {
        findings
            .at(place)
            .problem(format!(
                "Ray is told of {told} GPUs, but the container's limit is {limit}"
            ))
            .hint("leave it out and let the limit speak for itself");
    }
}

/// The group's own resources come before its start parameters.
fn told_gpus(group: &dyn NodeGroup) -> Option<(Pointer, i64)> {
    let own = group
        .resources()
        .iter()
        .find(|(name, _)| keys::is_gpu(&name.to_ascii_lowercase()));
    let own = own.and_then(|(name, amount)| {
        let amount: Quantity = amount.parse().ok()?;
        Some((group.path().key("resources").key(name.clone()), amount.ceil()))
    });
    let params = group.start_params();
    own.or_else(|| Some((params.path.key("num-gpus"), params.num_gpus?)))
}

/// GPUs under a name that the operator does not take for some, by a claim, or by an annotation.
fn has_uncounted_gpus(group: &dyn NodeGroup) -> bool {
    let by_name = group
        .ray_container()
        .is_some_and(|ray| limits(ray).any(|(name, _)| is_other_gpu(name)));
    let claims = group
        .ray_container()
        .and_then(|ray| ray.resources.as_ref()?.claims.as_ref());
    let metadata = group.template().metadata.as_ref();
    let mut annotations = metadata
        .and_then(|metadata| metadata.annotations.as_ref())
        .into_iter()
        .flatten();
    by_name
        || claims.is_some_and(|claims| !claims.is_empty())
        || annotations.any(|(key, _)| key.starts_with("gpu-"))
}

fn devices_are_not_overcommitted(group: &dyn NodeGroup, findings: &mut Findings) {
    for (place, container) in group.containers() {
        let limits = container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref());
        for (name, requested) in requests(container).filter(|(name, _)| keys::is_device(name)) {
            let place = place.key("resources").key("requests").key(name.clone());
            match limits.and_then(|limits| limits.get(name)) {
                None => findings
                    .at(place)
                    .problem(format!("{} requested without a limit", requested.0))
                    .hint(format!("set the limit of {name} to {} too", requested.0)),
                Some(limit) if quantity(limit) != quantity(requested) => findings
                    .at(place)
                    .problem(format!("{} requested, but the limit is {}", requested.0, limit.0))
                    .hint("leave the request out; it follows the limit"),
                Some(_) => {}
            }
        }
    }
}

/// Shared devices go by several names at once, and are no kind of their own.
fn accelerators_are_of_one_kind(group: &dyn NodeGroup, findings: &mut Findings) {
    let kind = |name: &'static str, resource: &String| {
        if name == GPU {
            resource.clone()
        } else {
            name.to_owned()
        }
    };
    // Kubernetes wants a limit for what is only requested, and gets it from our defaults.
    let stated = group
        .ray_container()
        .into_iter()
        .flat_map(|ray| limits(ray).chain(requests(ray)));
    let names: BTreeSet<_> = stated
        .filter(|(name, _)| is_accelerator(name) && !is_other_gpu(name))
        .filter(|(_, amount)| quantity(amount) != Some(Quantity::ZERO))
        .map(|(name, _)| name)
        .collect();
    let mut known = names.into_iter().map(|name| (kind(ray_name(name), name), name));
    let Some((first_kind, first)) = known.next() else {
        return;
    };
    for (_, name) in known.filter(|(kind, _)| *kind != first_kind) {
        findings
            .at(group
                .ray_container_path()
                .key("resources")
                .key("limits")
                .key(name.clone()))
            .problem(format!("the container has {first} already"))
            .hint("make a worker group for each kind of accelerator");
    }
}

/// Request and limit follow each other, so one finding speaks for both.
fn devices_are_whole(group: &dyn NodeGroup, findings: &mut Findings) {
    const NANOS: i128 = 1_000_000_000;
    for (place, container) in group.containers() {
        let devices = requests(container).chain(limits(container));
        let devices: BTreeMap<_, _> = devices.filter(|(name, _)| keys::is_device(name)).collect();
        for (name, amount) in devices {
            let whole = |amount: Quantity| amount.nanos() >= 0 && amount.nanos() % NANOS == 0;
            if !quantity(amount).is_none_or(whole) {
                findings
                    .at(place.key("resources"))
                    .problem(format!("{} of {name} is not a whole number of devices", amount.0))
                    .hint("use a whole number; parts of a GPU have resource names of their own");
            }
        }
    }
}

fn ray_has_the_accelerators(group: &dyn NodeGroup, findings: &mut Findings) {
    let pod = group.template().spec.as_ref();
    let others = pod
        .map_or(&[][..], |pod| &pod.containers)
        .iter()
        .enumerate()
        .skip(1);
    for (index, container) in others {
        for (name, _) in limits(container).filter(|(name, _)| is_accelerator(name)) {
            findings
                .at(group
                    .containers_path()
                    .index(index)
                    .key("resources")
                    .key("limits")
                    .key(name.clone()))
                .problem(format!(
                    "Ray is not told of what container \"{}\" has",
                    container.name
                ))
                .hint("give it to the first container, which runs Ray, if Ray is to use it");
        }
    }
}

/// The first of each kind that goes untold is enough: where several names stand for one device, they are told together.
fn ray_is_told_of_accelerators(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for group in cluster.groups() {
        let mut kinds: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for name in accelerators(group) {
            kinds.entry(ray_name(name)).or_default().push(name);
        }
        for (ray, names) in kinds {
            // Ray's autoscaler goes by the ending alone.
            let seen = |name: &&&String| match custom(name) {
                Some((.., known)) => known,
                None => name.ends_with("gpu") || (keys::is_gpu(name) && !cluster.is_autoscaled()),
            };
            let told = if ray == GPU {
                told_gpus(group).is_some()
            } else {
                custom_resources(group).any(|(_, told, _)| told == ray)
            };
            if told || names.iter().any(|name| seen(&name)) {
                continue;
            }
            let name = names[0];
            let who = if keys::is_gpu(name) {
                "Ray's autoscaler"
            } else {
                "KubeRay"
            };
            let hint = if ray == GPU {
                "say num-gpus in rayStartParams, 0 if it is none to Ray".to_owned()
            } else {
                format!("say {{\"{ray}\": <number>}} in the start parameter resources")
            };
            findings
                .at(group
                    .ray_container_path()
                    .key("resources")
                    .key("limits")
                    .key(name.clone()))
                .problem(format!("{who} does not know {name} for an accelerator"))
                .hint(hint);
        }
    }
}

fn custom_accelerators_are_told_truly(group: &dyn NodeGroup, findings: &mut Findings) {
    let limits = group.ray_container().into_iter().flat_map(limits);
    for (name, limit) in limits {
        let (Some((_, ray, true)), Some(limit)) = (custom(name), quantity(limit)) else {
            continue;
        };
        let told = custom_resources(group).find(|(_, told, _)| *told == ray);
        if let Some((place, _, told)) = told.filter(|(.., told)| *told != Amount::units(limit.ceil())) {
            findings
                .at(place)
                .problem(format!(
                    "Ray is told of {told} {ray}, but the container's limit is {}",
                    limit.ceil()
                ))
                .hint(format!("leave {ray} out and let the limit speak for itself"));
        }
    }
}

fn custom_resources_are_whole(group: &dyn NodeGroup, findings: &mut Findings) {
    for (place, name, amount) in custom_resources(group) {
        let whole = amount
            .times(Amount::ONE)
            .is_some_and(|units| Amount::units(units) == amount);
        if !whole {
            findings
                .at(place)
                .problem(format!("{amount} {name} is not a whole number"))
                .hint("let the node have a whole number; tasks and actors may ask for parts of it");
        }
    }
}

fn resources_are_custom(group: &dyn NodeGroup, findings: &mut Findings) {
    const OWN: [(&str, &str); 4] = [
        ("CPU", "num-cpus"),
        ("GPU", "num-gpus"),
        ("memory", "memory"),
        ("object_store_memory", "object-store-memory"),
    ];
    let params = group.start_params();
    for (name, param) in OWN {
        if params
            .resources
            .as_ref()
            .is_some_and(|resources| resources.get(name).is_some())
        {
            findings
                .at(params.path.key("resources"))
                .problem(format!("what it says of {name} has no effect"))
                .hint(format!("say it in {param}"));
        }
    }
}

/// What Ray is told besides CPUs, GPUs and memory, and where it is told.
fn custom_resources(group: &dyn NodeGroup) -> impl Iterator<Item = (Pointer, &str, Amount)> {
    let params = group.start_params();
    let place = params.path.key("resources");
    let of_params = params.resources.iter().flatten();
    let of_params = of_params.map(move |(name, amount)| (place.clone(), name.as_str(), *amount));
    let own = group.path().key("resources");
    let of_group = group.resources().iter().filter_map(move |(name, amount)| {
        let standard = ["cpu", "memory"]
            .iter()
            .any(|standard| name.eq_ignore_ascii_case(standard));
        let amount: Quantity = amount.parse().ok()?;
        (!standard && !keys::is_gpu(&name.to_ascii_lowercase())).then(|| {
            (
                own.key(name.clone()),
                name.as_str(),
                Amount::from_nanos(amount.nanos()),
            )
        })
    });
    of_params.chain(of_group)
}

/// The accelerators that the container of Ray is limited to, if it gets any, by name.
fn accelerators(group: &dyn NodeGroup) -> impl Iterator<Item = &String> {
    let limits = group.ray_container().into_iter().flat_map(limits);
    let some =
        limits.filter(|(name, amount)| is_accelerator(name) && quantity(amount) != Some(Quantity::ZERO));
    some.map(|(name, _)| name)
}

fn is_accelerator(resource: &str) -> bool {
    keys::is_gpu(resource) || is_other_gpu(resource) || custom(resource).is_some()
}

/// What an accelerator is to Ray.
fn ray_name(resource: &str) -> &'static str {
    custom(resource).map_or(GPU, |(_, ray, _)| ray)
}

fn custom(resource: &str) -> Option<(&'static str, &'static str, bool)> {
    let is_it = |name: &str| resource == name || (name == ASCEND && resource.starts_with(name));
    CUSTOM.into_iter().find(|(name, ..)| is_it(name))
}

/// A GPU under a name that neither the operator nor Ray takes for one: a shared one, part of one, one of Intel's.
fn is_other_gpu(resource: &str) -> bool {
    !keys::is_gpu(resource)
        && keys::is_device(resource)
        && (resource.contains("gpu") || resource.starts_with("nvidia.com/mig-"))
}
