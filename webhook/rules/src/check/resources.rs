//! What containers ask of Kubernetes, and whether it can be read. Memory and devices have files of their own.

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::quantity::Quantity;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
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
        check: Check::Cluster(size_is_stated),
    },
    Rule {
        code: "RW-P201",
        summary: "more is requested than the limit allows",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The API server refuses every such pod, one attempt after the other; nothing is ever started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/resources/requests: {memory: 3Gi}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/resources/requests: {memory: 2048Mi}",
        },
        check: Check::Cluster(requests_fit_limits),
    },
];

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
    let mut look = |place: &dyn Fn() -> Pointer, name: &str, amount: &str| {
        if let Err(error) = amount.parse::<Quantity>() {
            findings
                .at(place().key(name.to_owned()))
                .problem(error.to_string())
                .hint("the suffixes are n u m k M G T P E, and Ki Mi Gi Ti Pi Ei");
        }
    };
    for (name, amount) in group.resources() {
        look(&|| group.path().key("resources"), name, amount);
    }
    let of_container = |list| group.ray_container_path().key("resources").key(list);
    let container = group.ray_container();
    for (name, amount) in container.into_iter().flat_map(limits) {
        look(&|| of_container("limits"), name, &amount.0);
    }
    for (name, amount) in container.into_iter().flat_map(requests) {
        look(&|| of_container("requests"), name, &amount.0);
    }
}

/// Where the operator looks: the group's own resources, then its start parameters, then the container; for memory only its limit. That
/// the autoscaler cannot do without the number of CPUs is a rule of its own.
fn size_is_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for group in cluster.groups() {
        let Some(container) = group.ray_container() else {
            continue;
        };
        let own = |name: &str| group.resources().keys().any(|key| key.eq_ignore_ascii_case(name));
        let limited = |name: &str| limits(container).any(|(key, _)| key == name);
        let requested = |name: &str| requests(container).any(|(key, _)| key == name);
        let params = group.start_params();
        let cpu = own("cpu") || params.num_cpus.is_some() || limited(keys::CPU) || requested(keys::CPU);
        let memory = own("memory") || params.memory.is_some() || limited(keys::MEMORY);
        let (unknown, hint) = match (cpu || cluster.is_autoscaled(), memory) {
            (false, false) => ("how much CPU and memory", "set limits for cpu and memory"),
            (false, true) => ("how much CPU", "set a limit or a request for cpu"),
            (true, false) => (
                "how much memory",
                "set a limit for memory, and a request of the same amount",
            ),
            (true, true) => continue,
        };
        findings
            .at(group.ray_container_path().key("resources"))
            .problem(format!(
                "Ray is not told {unknown} it has, and takes all of the machine for its own"
            ))
            .hint(hint);
    }
}

/// Of devices request and limit have to be the same, which is another rule.
fn requests_fit_limits(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let of_pods = cluster.groups().flat_map(NodeGroup::containers);
    let of_pods = of_pods.filter_map(|(place, container)| Some((place, container.resources.as_ref()?)));
    let options = cluster.autoscaler_options.iter();
    let of_autoscaler =
        options.filter_map(|options| Some((options.path.clone(), options.resources.as_ref()?)));
    for (place, resources) in of_pods.chain(of_autoscaler) {
        let (Some(limits), Some(requests)) = (&resources.limits, &resources.requests) else {
            continue;
        };
        for (name, requested) in requests.iter().filter(|(name, _)| !keys::is_device(name)) {
            let Some(limit) = limits.get(name) else { continue };
            let is_more = || {
                quantity(requested)
                    .zip(quantity(limit))
                    .is_some_and(|(requested, limit)| requested > limit)
            };
            if requested != limit && is_more() {
                findings
                    .at(place.key("resources").key("requests").key(name.clone()))
                    .problem(format!("{} requested, but the limit is {}", requested.0, limit.0))
                    .hint("raise the limit or ask for less");
            }
        }
    }
}

pub(super) fn limits(container: &Container) -> impl Iterator<Item = (&String, &Text)> {
    container
        .resources
        .iter()
        .flat_map(|resources| &resources.limits)
        .flatten()
}

pub(super) fn requests(container: &Container) -> impl Iterator<Item = (&String, &Text)> {
    container
        .resources
        .iter()
        .flat_map(|resources| &resources.requests)
        .flatten()
}

pub(super) fn quantity(text: &Text) -> Option<Quantity> {
    text.0.parse().ok()
}
