//! What becomes of a pod over time: how it is probed, when it is started again, how it ends. What autoscaler v2 wants of restarts is
//! said with the autoscaler.

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::object::Kind;
use ray::version::RayVersion;

use super::image::stated_version;
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_REFUSED: &str =
    "The API server refuses every such pod, one attempt after the other; nothing is ever started.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P040",
        summary: "KubeRay probes with a program that a slim image lacks",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Below Ray 2.53, and where rayVersion is absent, KubeRay's probes run wget in the container; without it every probe fails and \
            the container is killed.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayVersion: 2.52.0, /spec/headGroupSpec/template/spec/containers/0/image: 'example.org/models:2.52.0-slim'}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/image: 'example.org/models:2.60.0-slim'",
        },
        check: Check::Cluster(probes_find_their_program),
    },
    Rule {
        code: "RW-P041",
        summary: "a probe asks a port by a name that no port of its container has",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Such a probe fails every time: the container is killed, or never counts as ready.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/livenessProbe: {httpGet: {path: /api/healthz, port: dashboard}}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/livenessProbe: {httpGet: {path: /api/healthz, port: metrics}}",
        },
        check: Check::Group(probes_find_their_port),
    },
    Rule {
        code: "RW-P042",
        summary: "restartPolicy is none of the three",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/restartPolicy: never",
            passes: "/spec/headGroupSpec/template/spec/restartPolicy: Never",
        },
        check: Check::Group(restart_policy_is_known),
    },
    Rule {
        code: "RW-P043",
        summary: "a pod has no time to end in",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Ray is killed before its node can say goodbye: tasks and objects on it are lost until others notice.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/terminationGracePeriodSeconds: 0",
            passes: "/spec/workerGroupSpecs/0/template/spec/terminationGracePeriodSeconds: 1",
        },
        check: Check::Group(there_is_time_to_end),
    },
    Rule {
        code: "RW-P044",
        summary: "a grace period is negative, or shorter than the sleep that it has to cover",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/lifecycle: {preStop: {sleep: {seconds: 31}}}",
            passes: "/spec/workerGroupSpecs/0/template/spec/containers/0/lifecycle: {preStop: {sleep: {seconds: 30}}}",
        },
        check: Check::Group(sleep_fits_the_grace_period),
    },
];

/// What Kubernetes gives a pod to end in where nothing is said.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// From here on KubeRay probes over HTTP.
pub(super) const HTTP_PROBES_SINCE: RayVersion = RayVersion::new(2, 53, 0);

/// The workers of a service are probed by wget in any version, since their proxy is asked too.
fn probes_find_their_program(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let by_http = stated_version(cluster).is_some_and(|version| version >= HTTP_PROBES_SINCE);
    for (index, group) in cluster.groups().enumerate() {
        let serves = index > 0 && subject.object.kind() == Kind::Service;
        let Some(ray) = group.ray_container() else {
            continue;
        };
        let probed =
            ray.readiness_probe.is_none() && (serves || !by_http) || ray.liveness_probe.is_none() && !by_http;
        let image = ray.image.as_deref().map(Image::parse);
        if probed && image.is_some_and(|image| image.tag_parts().any(|part| part == "slim")) {
            let hint = if by_http {
                "write a readinessProbe of your own, or take an image with wget"
            } else {
                "state rayVersion if it is 2.53.0 or newer, write probes of your own, or take an image with wget"
            };
            findings
                .at(group.ray_container_path().key("image"))
                .problem("KubeRay probes it with wget, which a slim image does not have")
                .hint(hint);
        }
    }
}

/// KubeRay declares `metrics` in the container that runs Ray, if its author does not.
fn probes_find_their_port(group: &dyn NodeGroup, findings: &mut Findings) {
    let ray = group.ray_container_path();
    for (place, container) in group.containers() {
        for (kind, probe) in probes(container) {
            let Some((way, name)) = port_name(probe) else {
                continue;
            };
            let declared = container
                .ports
                .iter()
                .flatten()
                .any(|port| port.name.as_deref() == Some(name));
            let added = name == "metrics" && place == *ray;
            if !declared && !added {
                findings
                    .at(place.key(kind).key(way).key("port"))
                    .problem(format!(
                        "container \"{}\" has no port called {name}",
                        container.name
                    ))
                    .hint("declare it among the container's ports, or write its number");
            }
        }
    }
}

fn probes(container: &Container) -> impl Iterator<Item = (&'static str, &Probe)> {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    probes
        .into_iter()
        .filter_map(|(kind, probe)| Some((kind, probe.as_ref()?)))
}

fn port_name(probe: &Probe) -> Option<(&'static str, &str)> {
    let http = probe.http_get.as_ref().map(|get| ("httpGet", &get.port));
    let tcp = probe
        .tcp_socket
        .as_ref()
        .map(|socket| ("tcpSocket", &socket.port));
    match http.or(tcp)? {
        (way, IntOrString::String(name)) if name.parse::<u16>().is_err() => Some((way, name)),
        _ => None,
    }
}

fn restart_policy_is_known(group: &dyn NodeGroup, findings: &mut Findings) {
    let pod = group.template().spec.as_ref();
    let policy = pod
        .and_then(|pod| pod.restart_policy.as_deref())
        .unwrap_or_default();
    if !matches!(policy, "" | "Always" | "OnFailure" | "Never") {
        findings
            .at(group.pod_path().key("restartPolicy"))
            .problem(format!("\"{policy}\" is no way to restart"))
            .hint("write Always, OnFailure or Never, with a capital");
    }
}

fn there_is_time_to_end(group: &dyn NodeGroup, findings: &mut Findings) {
    if grace_seconds(group) == Some(0) {
        findings
            .at(group.pod_path().key("terminationGracePeriodSeconds"))
            .problem("Ray is killed at once, without time to hand over its work")
            .hint("leave it out, which gives 30 seconds");
    }
}

fn sleep_fits_the_grace_period(group: &dyn NodeGroup, findings: &mut Findings) {
    let grace = grace_seconds(group).unwrap_or(GRACE_SECONDS_DEFAULT);
    if grace < 0 {
        findings
            .at(group.pod_path().key("terminationGracePeriodSeconds"))
            .problem(format!("{grace} seconds is no period"))
            .hint("use 1 or more");
        return;
    }
    for (place, container) in group.containers() {
        let pre_stop = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let sleep = pre_stop
            .and_then(|hook| hook.sleep.as_ref())
            .map_or(0, |sleep| sleep.seconds);
        if sleep > grace {
            findings
                .at(place.key("lifecycle").key("preStop").key("sleep").key("seconds"))
                .problem(format!(
                    "sleeps {sleep} seconds, but the pod has {grace} to end in"
                ))
                .hint("raise terminationGracePeriodSeconds or sleep less");
        }
    }
}

fn grace_seconds(group: &dyn NodeGroup) -> Option<i64> {
    group.template().spec.as_ref()?.termination_grace_period_seconds
}
