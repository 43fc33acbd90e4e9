//! Ports: those that the head's service is made of, and those that several pods may want of one machine. That RayJobs and
//! RayServices need certain ports by name is said with those kinds.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort};
use ray::cluster::{ClusterSpec, GCS_PORT_DEFAULT, NodeGroup};
use ray::object::Kind;
use ray::path::Pointer;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G019",
        summary: "the head's service has no port for the GCS",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay lists the ports of the head's container in the service and nothing else; workers cannot reach a GCS behind \
            a service with an address of its own that does not list it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/serviceType: NodePort, \
                /spec/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard, containerPort: 8265}]}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard, containerPort: 8265}]",
        },
        check: Check::Cluster(service_reaches_the_gcs),
    },
    Rule {
        code: "RW-G020",
        summary: "a port of the head is declared with another number than Ray is told to use",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The head's service then leads where nobody listens.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: gcs-server, containerPort: 6380}]",
            passes: "{/spec/headGroupSpec/rayStartParams: {port: '6380'}, \
                /spec/headGroupSpec/template/spec/containers/0/ports: [{name: gcs-server, containerPort: 6380}]}",
        },
        check: Check::Cluster(ports_are_rays),
    },
    Rule {
        code: "RW-P010",
        summary: "the name of a port is used twice, or can be none",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The API server refuses every such pod, one attempt after the other; nothing is ever started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard-of-ray-1, containerPort: 8265}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: dashboard-ray-1, containerPort: 8265}]",
        },
        check: Check::Group(port_names_are_names),
    },
    Rule {
        code: "RW-P011",
        summary: "the head's service would have a port twice",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay makes the service of the ports of the head's container and adds `metrics` on 8080 where it is missing; the API \
            server refuses a service with one number twice, and without the service no worker finds the head.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: http, containerPort: 8080}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: metrics, containerPort: 8080}]",
        },
        check: Check::Cluster(service_ports_are_unique),
    },
    Rule {
        code: "RW-P012",
        summary: "several pods want the same port of a machine",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "With the machine's own network, or with a hostPort, two pods that use one port cannot run on one machine: the second \
            waits for a machine of its own, or its Ray ends with an address in use.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/hostNetwork: true",
            passes: "{/spec/workerGroupSpecs/0/template/spec/hostNetwork: true, /spec/workerGroupSpecs/0/maxReplicas: 1}",
        },
        check: Check::Cluster(machines_ports_are_shared),
    },
    Rule {
        code: "RW-P013",
        summary: "workers on the machine's own network ask the machine's own name server",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "It does not know the services of the cluster, so the worker waits for ever for a head whose name nobody can tell it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/hostNetwork: true",
            passes: "{/spec/workerGroupSpecs/0/template/spec/hostNetwork: true, \
                /spec/workerGroupSpecs/0/template/spec/dnsPolicy: ClusterFirstWithHostNet}",
        },
        check: Check::Cluster(workers_know_services),
    },
];

/// KubeRay adds this port under this name where the container has none called so.
const METRICS: (&str, i32) = ("metrics", 8080);

/// Behind a headless service, which is the default, every port can be reached whether it is listed or not.
fn service_reaches_the_gcs(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let head = &cluster.head;
    let own_address = matches!(head.service_type.as_deref(), Some("NodePort" | "LoadBalancer"))
        || head.service.as_ref().is_some_and(|service| {
            let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
            address != Some("None")
        });
    let gcs = i32::from(head.gcs_port());
    let own_ports = head
        .service
        .iter()
        .flat_map(|service| service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()));
    let listed = match ports(head) {
        [] => gcs == i32::from(GCS_PORT_DEFAULT),
        ports => ports.iter().any(|port| port.container_port == gcs),
    };
    if own_address && !listed && own_ports.into_iter().all(|port| port.port != gcs) {
        findings
            .at(ports_path(head))
            .problem(format!(
                "the head's service will not list {gcs}, where workers look for the GCS"
            ))
            .hint(format!("add {{name: gcs-server, containerPort: {gcs}}}"));
    }
}

/// Only ports that Ray is told of, or has a default for.
fn ports_are_rays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    const PARAMS: [(&str, &str, i32); 4] = [
        ("gcs-server", "port", 6379),
        ("dashboard", "dashboard-port", 8265),
        ("metrics", "metrics-export-port", 8080),
        ("client", "ray-client-server-port", 10001),
    ];
    let head = &cluster.head;
    for (index, port) in ports(head).iter().enumerate() {
        let named = |(name, ..): &&(&str, &str, i32)| port.name.as_deref() == Some(name);
        let Some((name, param, default)) = PARAMS.iter().find(named) else {
            continue;
        };
        let told = match head.start_params.raw.get(*param).map(|told| told.trim().parse()) {
            None => *default,
            Some(Ok(told)) => told,
            Some(Err(_)) => continue,
        };
        if told != port.container_port {
            findings
                .at(ports_path(head).index(index).key("containerPort"))
                .problem(format!(
                    "{name} is declared on {}, but Ray will use {told}",
                    port.container_port
                ))
                .hint(format!("let it be {told}, or set {param} in rayStartParams"));
        }
    }
}

fn port_names_are_names(group: &dyn NodeGroup, findings: &mut Findings) {
    for (place, container) in group.containers() {
        let mut names = BTreeSet::new();
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let (problem, hint) = if !is_port_name(name) {
                (
                    format!("\"{name}\" cannot be the name of a port"),
                    "use up to 15 lower-case letters, digits and single hyphens, at least one letter among them",
                )
            } else if !names.insert(name) {
                (
                    format!("\"{name}\" is also the name of an earlier port"),
                    "give each port of a container a name of its own",
                )
            } else {
                continue;
            };
            let place = place.key("ports").index(index).key("name");
            findings.at(place).problem(problem).hint(hint);
        }
    }
}

/// Nameless ports are called after their numbers; of two with one name KubeRay keeps the last.
fn service_ports_are_unique(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let head = &cluster.head;
    let mut numbers: BTreeMap<i32, &str> = BTreeMap::new();
    let own = head
        .service
        .iter()
        .flat_map(|service| service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()))
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    for port in own {
        numbers.insert(port.port, port.name.as_deref().unwrap_or("one of headService"));
    }
    if !ports(head)
        .iter()
        .any(|port| port.name.as_deref() == Some(METRICS.0))
        && !ports(head).is_empty()
    {
        numbers.insert(METRICS.1, "metrics, which KubeRay adds");
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports(head).iter().enumerate() {
        let name = port.name.as_deref().filter(|name| !name.is_empty());
        // The same name and number twice makes one port of the service.
        if !seen.insert((name, port.container_port)) {
            continue;
        }
        if let Some(other) = numbers.insert(port.container_port, name.unwrap_or("one without a name")) {
            findings
                .at(ports_path(head).index(index).key("containerPort"))
                .problem(format!(
                    "{} is also the number of another port: {other}",
                    port.container_port
                ))
                .hint("the head's service takes each number once; leave one out or change it");
        }
    }
}

fn machines_ports_are_shared(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for group in &cluster.worker_groups {
        let pods = i64::from(group.max_replicas.unwrap_or(i32::MAX)) * i64::from(group.hosts());
        if pods < 2 || has_anti_affinity(group) {
            continue;
        }
        if has_host_network(group) {
            findings
                .at(group.pod_path().key("hostNetwork"))
                .problem("workers on the machine's own network all want the same ports of it")
                .hint("leave it out, or spread them by podAntiAffinity over kubernetes.io/hostname");
        }
        for (place, container) in group.containers() {
            if let Some((index, port)) = host_port(container).filter(|_| !has_host_network(group)) {
                findings
                    .at(place.key("ports").index(index).key("hostPort"))
                    .problem(format!("all workers want port {port} of their machine"))
                    .hint("leave it out; pods reach each other by their own addresses");
            }
        }
    }
}

fn workers_know_services(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for group in &cluster.worker_groups {
        let policy = group
            .template
            .spec
            .as_ref()
            .and_then(|pod| pod.dns_policy.as_deref());
        if has_host_network(group) && matches!(policy, None | Some("" | "ClusterFirst" | "Default")) {
            findings
                .at(group.pod_path().key("dnsPolicy"))
                .problem("with hostNetwork the worker cannot look up the head's service")
                .hint("set dnsPolicy: ClusterFirstWithHostNet");
        }
    }
}

fn has_host_network(group: &dyn NodeGroup) -> bool {
    let pod = group.template().spec.as_ref();
    pod.is_some_and(|pod| pod.host_network == Some(true))
}

fn has_anti_affinity(group: &dyn NodeGroup) -> bool {
    let affinity = group
        .template()
        .spec
        .as_ref()
        .and_then(|pod| pod.affinity.as_ref());
    affinity.is_some_and(|affinity| affinity.pod_anti_affinity.is_some())
}

fn host_port(container: &Container) -> Option<(usize, i32)> {
    let mut ports = container.ports.iter().flatten().enumerate();
    ports.find_map(|(index, port)| Some((index, port.host_port.filter(|port| *port > 0)?)))
}

fn ports(group: &dyn NodeGroup) -> &[ContainerPort] {
    let ports = group.ray_container().and_then(|ray| ray.ports.as_deref());
    ports.unwrap_or_default()
}

fn ports_path(group: &dyn NodeGroup) -> Pointer {
    group.ray_container_path().key("ports")
}

/// As IANA names services.
fn is_port_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 15
        && name.chars().all(allowed)
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}
