//! What the containers that run Ray ask of Kubernetes, and what Ray is told that it has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use ray::cluster::NodeGroup;
use ray::keys;
use ray::object::Kind;
use ray::quantity::Quantity;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G009",
        summary: "num-gpus is not the number of GPUs that the container has",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray places tasks by num-gpus alone: some would find no device, or devices stand idle.",
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
        code: "RW-G010",
        summary: "a start parameter cannot be read",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay logs it and goes on with what it understood; `ray start` may then fail, or offer less than there is.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: r#"/spec/headGroupSpec/rayStartParams: {resources: '"{\"Custom\": 4}"'}"#,
            passes: r#"/spec/headGroupSpec/rayStartParams: {resources: '"{"Custom": 4}"'}"#,
        },
        check: Check::Group(start_params_are_readable),
    },
    Rule {
        code: "RW-G011",
        summary: "a quantity is not one",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay passes over it in a group's own resources, and the API server refuses pods that ask for it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/resources/limits/memory: 4GB",
            passes: "/spec/headGroupSpec/template/spec/containers/0/resources/limits/memory: 4G",
        },
        check: Check::Group(quantities_are_readable),
    },
    Rule {
        code: "RW-G023",
        summary: "the container that runs Ray does not say how much CPU or memory it has",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray then believes that it has the whole machine, and Ray's own autoscaler cannot size the group.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/resources: {requests: {cpu: 1, memory: 1Gi}}",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}",
        },
        check: Check::Group(size_is_stated),
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
];

/// The operator itself only counts limits, and takes the first of them that looks like GPUs.
fn gpus_are_told_truly(group: &dyn NodeGroup, findings: &mut Findings) {
    let (Some(told), Some(container)) = (group.start_params().num_gpus, group.ray_container()) else {
        return;
    };
    let gpus = limits(container)
        .filter(|(name, _)| keys::is_gpu(name))
        .find_map(|(_, amount)| quantity(amount));
    let limit = gpus.map_or(0, Quantity::ceil);
    if told != limit {
        findings
            .at(group.start_params().path.key("num-gpus"))
            .problem(format!(
                "Ray is told of {told} GPUs, but the container's limit is {limit}"
            ))
            .hint("leave num-gpus out and let the limit speak for itself");
    }
}

fn start_params_are_readable(group: &dyn NodeGroup, findings: &mut Findings) {
    let params = group.start_params();
    for problem in &params.problems {
        let hint = if problem.path == params.path.key("resources") {
            r#"write '{"name": 1}', with the single quotes and without any backslash"#
        } else {
            "write it as `ray start --help` says, or leave it out"
        };
        findings
            .at(problem.path.clone())
            .problem(problem.message.as_str())
            .hint(hint);
    }
}

fn quantities_are_readable(group: &dyn NodeGroup, findings: &mut Findings) {
    let own = group
        .resources()
        .iter()
        .map(|(name, amount)| (group.path().key("resources").key(name.clone()), amount.as_str()));
    let container = group.ray_container_path().key("resources");
    let of_container = group.ray_container().into_iter().flat_map(|ray| {
        [
            ("limits", limits(ray).collect::<Vec<_>>()),
            ("requests", requests(ray).collect()),
        ]
        .into_iter()
        .flat_map(|(list, amounts)| {
            let place = container.key(list);
            amounts
                .into_iter()
                .map(move |(name, amount)| (place.key(name.clone()), amount.0.as_str()))
        })
    });
    for (path, amount) in own.chain(of_container) {
        if let Err(error) = amount.parse::<Quantity>() {
            findings
                .at(path)
                .problem(error.to_string())
                .hint("the suffixes are n u m k M G T P E, and Ki Mi Gi Ti Pi Ei");
        }
    }
}

/// Where the operator looks: the group's own resources, then its start parameters, then the container; for memory only its limit.
fn size_is_stated(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(container) = group.ray_container() else {
        return;
    };
    let own = |name: &str| group.resources().keys().any(|key| key.eq_ignore_ascii_case(name));
    let limited = |name: &str| limits(container).any(|(key, _)| key == name);
    let requested = |name: &str| requests(container).any(|(key, _)| key == name);
    let params = group.start_params();
    let no_cpu = !own("cpu") && params.num_cpus.is_none() && !limited(keys::CPU) && !requested(keys::CPU);
    let no_memory = !own("memory") && params.memory.is_none() && !limited(keys::MEMORY);
    let (unknown, hint) = match (no_cpu, no_memory) {
        (true, true) => ("how much CPU and memory", "set limits for cpu and memory"),
        (true, false) => ("how much CPU", "set a limit or a request for cpu"),
        (false, true) => (
            "how much memory",
            "set a limit for memory, and a request of the same amount",
        ),
        (false, false) => return,
    };
    findings
        .at(group.ray_container_path().key("resources"))
        .problem(format!(
            "Ray is not told {unknown} it has, and takes all of the machine for its own"
        ))
        .hint(hint);
}

fn devices_are_not_overcommitted(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(container) = group.ray_container() else {
        return;
    };
    let limits: BTreeMap<_, _> = limits(container).collect();
    for (name, requested) in requests(container).filter(|(name, _)| keys::is_device(name)) {
        let place = group
            .ray_container_path()
            .key("resources")
            .key("requests")
            .key(name.clone());
        match limits.get(name) {
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

fn limits(container: &Container) -> impl Iterator<Item = (&String, &Text)> {
    container
        .resources
        .iter()
        .flat_map(|resources| &resources.limits)
        .flatten()
}

fn requests(container: &Container) -> impl Iterator<Item = (&String, &Text)> {
    container
        .resources
        .iter()
        .flat_map(|resources| &resources.requests)
        .flatten()
}

fn quantity(text: &Text) -> Option<Quantity> {
    text.0.parse().ok()
}
