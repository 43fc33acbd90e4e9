//! A service: what KubeRay asks of the cluster that it makes for one. How a changed one takes over stands in `upgrade`, what it serves
//! in `documents`. The rules for its cluster are those of any cluster, at the template's place.

use ray::cluster::NodeGroup;
use ray::object::Kind;
use ray::service::ServiceSpec;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// What comes of a service that KubeRay refuses.
pub(crate) const WHY_REFUSED: &str = "KubeRay says ValidationFailed in the status of the service and does nothing for it until \
    somebody corrects it.";
const SERVE: &str = "serve";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-S001",
        summary: "the cluster of a service has enableK8sTokenAuth",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayServiceSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/rayClusterConfig/authOptions: {mode: token, enableK8sTokenAuth: true}",
            passes: "/spec/rayClusterConfig/authOptions: {mode: token, enableK8sTokenAuth: false}",
        },
        check: Check::Service(no_kubernetes_tokens),
    },
    Rule {
        code: "RW-S003",
        summary: "the headService of a RayService has a name",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayServiceSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/rayClusterConfig/headGroupSpec/headService: {metadata: {name: mine}}",
            passes: "/spec/rayClusterConfig/headGroupSpec/headService: {metadata: {labels: {team: mine}}}",
        },
        check: Check::Service(head_service_has_no_name),
    },
    Rule {
        code: "RW-S005",
        summary: "rayClusterDeletionDelaySeconds is negative",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayServiceSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/rayClusterDeletionDelaySeconds: -1",
            passes: "/spec/rayClusterDeletionDelaySeconds: 0",
        },
        check: Check::Service(deletion_delay_is_not_negative),
    },
    Rule {
        code: "RW-G017",
        summary: "the head of a service lists ports, but none called serve",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: "KubeRay finds no port for the service in front of Serve, and tries over and over: nothing is ever served.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/rayClusterConfig/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard, containerPort: 8265}]",
            passes: "/spec/rayClusterConfig/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard, containerPort: 8265}, {name: serve, containerPort: 8000}]",
        },
        check: Check::Service(serve_can_be_reached),
    },
];

fn no_kubernetes_tokens(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let auth = service.cluster.auth.as_ref();
    if let Some(auth) = auth.filter(|auth| auth.enable_k8s_token_auth == Some(true)) {
        findings
            .at(auth.path.key("enableK8sTokenAuth"))
            .problem("KubeRay cannot serve from a cluster that takes Kubernetes tokens")
            .hint("take this field out; mode: token alone works");
    }
}

fn head_service_has_no_name(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let head = &service.cluster.head;
    let name = head
        .service
        .as_ref()
        .and_then(|service| service.metadata.name.as_deref());
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        findings
            .at(head.path.key("headService").key("metadata").key("name"))
            .problem(format!(
                "two clusters of this service could not both have \"{name}\" in front of their heads"
            ))
            .hint("take the name out; KubeRay finds one");
    }
}

fn deletion_delay_is_not_negative(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(seconds) = service
        .cluster_deletion_delay_seconds
        .filter(|seconds| *seconds < 0)
    {
        findings
            .at(service.path.key("rayClusterDeletionDelaySeconds"))
            .problem(format!("a replaced cluster cannot stay for {seconds} seconds"))
            .hint("use 0 or more");
    }
}

/// Where the head lists no port, the service in front of it gets all of Ray's. Up to 1.5, a name with an ending does not count.
fn serve_can_be_reached(service: &ServiceSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let ports = service
        .cluster
        .head
        .ray_container()
        .and_then(|ray| ray.ports.as_ref());
    let Some(ports) = ports.filter(|ports| !ports.is_empty()) else {
        return;
    };
    let endings_count = subject
        .facts
        .operator
        .is_none_or(|operator| operator >= Operator::V1_6);
    let is_serve = |name: &str| name == SERVE || (endings_count && name.starts_with("serve-"));
    let found = ports.iter().filter_map(|port| port.name.as_deref()).any(is_serve);
    if !found && service.serve_service.is_none() {
        findings
            .at(service.cluster.head.ray_container_path().key("ports"))
            .problem(format!(
                "no port here is called {SERVE}, so KubeRay does not find it"
            ))
            .hint("add {name: serve, containerPort: 8000}, or list no ports at all");
    }
}
