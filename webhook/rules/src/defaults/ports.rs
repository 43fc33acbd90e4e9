//! Ports by whose names the operator looks for parts of a cluster. A head that lists no ports at all gets the operator's own list.

use std::collections::BTreeSet;

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::object::{Kind, Spec};
use serde_json::{Value, json};

use super::{Fill, Filled};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[required_ports];

const DASHBOARD: (&str, i32) = ("dashboard", 8265);
const SERVE: (&str, i32) = ("serve", 8000);

/// Jobs cannot be submitted nor applications deployed without the dashboard, and nobody reaches applications without Serve's port. Left to the
/// author where the head's service can be reached from outside the Kubernetes cluster, or where the number is taken.
fn required_ports(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let head = &cluster.head;
    let place = head.ray_container_path().key("ports");
    let written = place
        .resolve(subject.json)
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let outside = matches!(head.service_type.as_deref(), Some("NodePort" | "LoadBalancer"));
    let containers = head.template.spec.iter().flat_map(|pod| &pod.containers);
    let ports: Vec<_> = containers
        .flat_map(|container| container.ports.iter().flatten())
        .collect();
    let own = head
        .ray_container()
        .and_then(|ray| ray.ports.as_ref())
        .map_or(&[][..], Vec::as_slice);
    if own.is_empty() || own.len() != written || outside {
        return;
    }
    let mut taken: BTreeSet<i32> = ports.iter().map(|port| port.container_port).collect();
    let missing = required(cluster, subject)
        .into_iter()
        .filter(|(name, _)| !own.iter().any(|port| is_called(port.name.as_deref(), name)))
        .filter(|(_, number)| taken.insert(*number));
    for (offset, (name, number)) in missing.enumerate() {
        // The schema fills in the protocol; said here, the note about it stays true.
        let port = json!({"containerPort": number, "name": name, "protocol": "TCP"});
        filled.insert(place.index(written + offset), port);
    }
}

fn required(cluster: &ClusterSpec, subject: &Subject<'_>) -> Vec<(&'static str, i32)> {
    let told = cluster.head.start_params.raw.get("dashboard-port");
    let dashboard = match told.map(|port| port.trim().parse()) {
        None => Some(DASHBOARD),
        Some(Ok(port)) => Some((DASHBOARD.0, port)),
        Some(Err(_)) => None,
    };
    // Where Serve listens elsewhere its configuration says so.
    let serve = match &subject.object.spec {
        Spec::Service(service) if service.serve_service.is_none() => {
            let config = service.serve_config_v2.as_deref().unwrap_or_default();
            (!config.contains("http_options")).then_some(SERVE)
        }
        _ => None,
    };
    match subject.object.kind() {
        Kind::Cluster => Vec::new(),
        Kind::Job | Kind::Service | Kind::CronJob => dashboard.into_iter().chain(serve).collect(),
    }
}

/// The operator also takes `serve-` with anything behind it for Serve's port.
fn is_called(name: Option<&str>, wanted: &str) -> bool {
    name.is_some_and(|name| name == wanted || (wanted == SERVE.0 && name.starts_with("serve-")))
}
