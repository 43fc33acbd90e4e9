//! The sidecar that collects a cluster's events for the history server: where it puts them is told by its environment alone.

use k8s_openapi::api::core::v1::EnvVar;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::object::Kind;
use ray::options::Collector;

use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// The container that KubeRay adds to every pod.
const CONTAINER: &str = "ray-history-collector";
/// What KubeRay tells it.
const MANAGED: [&str; 8] = [
    "POD_IP",
    "FQ_RAY_IP",
    "RAY_CLUSTER_NAME",
    "RAY_CLUSTER_NAMESPACE",
    "RAY_ROLE",
    "OWNER_KIND",
    "OWNER_NAME",
    "EVENTS_PORT",
];
const BACKEND: &str = "STORAGE_BACKEND";

const ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "KubeRay records an event and does nothing more for the object.",
    source: Source::KubeRay("ValidateRayClusterSpec"),
    operators: Operators::since(Operator::V1_7),
    gate: None,
    example: Example {
        fires: "",
        passes: "",
    },
    check: Check::Reading,
};

const COLLECTOR_ROW: Rule = Rule {
    source: Source::KubeRay("validateCollectorOptions"),
    ..ROW
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C044",
        summary: "historyServerOptions while their feature gate is off",
        gate: Some(Gate::HistoryServer.off()),
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: collector, env: [{name: STORAGE_BACKEND, value: local}]}}",
            passes: "/spec/historyServerOptions: null",
        },
        check: Check::Cluster(gate_is_on),
        ..ROW
    },
    Rule {
        code: "RW-C045",
        summary: "historyServerOptions without a collector",
        example: Example {
            fires: "/spec/historyServerOptions: {}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: collector, env: [{name: STORAGE_BACKEND, value: local}]}}",
        },
        check: Check::Cluster(there_is_a_collector),
        ..ROW
    },
    Rule {
        code: "RW-C046",
        summary: "the history collector has no image",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: '', env: [{name: STORAGE_BACKEND, value: local}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}]}}",
        },
        check: Check::Cluster(collector_has_an_image),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C047",
        summary: "the history collector is told what KubeRay tells it",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}, {name: POD_IP}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}, {name: MY_POD_IP}]}}",
        },
        check: Check::Cluster(managed_variables_are_left_alone),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C048",
        summary: "the history collector is not told what storage it has",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, valueFrom: {secretKeyRef: {name: a, key: b}}}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: anything}]}}",
        },
        check: Check::Cluster(backend_is_stated),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C049",
        summary: "the history collector has no bucket in GCS",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: gcs}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: gcs}, \
                {name: GCS_BUCKET, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}}",
        },
        check: Check::Cluster(gcs_is_told),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C050",
        summary: "the history collector has no region of S3",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: S3}, {name: S3_REGION, value: ''}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: S3}, {name: S3_REGION, value: eu-west-1}]}}",
        },
        check: Check::Cluster(s3_is_told),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C051",
        summary: "the history collector has no way into Azure",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: AzureBlob}, \
                {name: AZURE_STORAGE_AUTH_MODE, value: default}, {name: AZURE_STORAGE_CONNECTION_STRING, value: x}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: AzureBlob}, \
                {name: AZURE_STORAGE_AUTH_MODE, value: ' Connection_String '}, {name: AZURE_STORAGE_CONNECTION_STRING, value: x}]}}",
        },
        check: Check::Cluster(azure_is_told),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C052",
        summary: "the history collector has no bucket in Aliyun OSS",
        example: Example {
            fires: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: AliyunOSS}, \
                {name: OSS_BUCKET, value: b}, {name: OSS_REGION, value: r}]}}",
            passes: "/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: AliyunOSS}, \
                {name: OSS_BUCKET, value: b}, {name: OSS_REGION, value: r}, {name: OSS_ENDPOINT, value: e}]}}",
        },
        check: Check::Cluster(aliyun_is_told),
        ..COLLECTOR_ROW
    },
    Rule {
        code: "RW-C053",
        summary: "a container of the head has the name of the history collector",
        example: Example {
            fires: "{/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}]}}, \
                /spec/headGroupSpec/template/spec/containers/1: {name: ray-history-collector, image: c}}",
            passes: "{/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}]}}, \
                /spec/headGroupSpec/template/spec/containers/1: {name: history-collector, image: c}}",
        },
        check: Check::Cluster(name_is_free_on_the_head),
        ..ROW
    },
    Rule {
        code: "RW-C054",
        summary: "a container of a worker group has the name of the history collector",
        example: Example {
            fires: "{/spec/historyServerOptions: {collectorOptions: {image: c, env: [{name: STORAGE_BACKEND, value: local}]}}, \
                /spec/workerGroupSpecs/1/template/spec/containers/0/name: ray-history-collector}",
            passes: "/spec/workerGroupSpecs/1/template/spec/containers/0/name: ray-history-collector",
        },
        check: Check::Cluster(name_is_free_on_workers),
        ..ROW
    },
];

fn gate_is_on(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = &cluster.history_server {
        findings
            .at(options.path.clone())
            .problem(format!(
                "the operator's feature gate {} is off",
                Gate::HistoryServer
            ))
            .hint("switch it on, or leave historyServerOptions out");
    }
}

fn there_is_a_collector(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = cluster
        .history_server
        .as_ref()
        .filter(|options| options.collector.is_none())
    {
        findings
            .at(options.path.key("collectorOptions"))
            .problem("nothing collects events")
            .hint("set collectorOptions, or leave historyServerOptions out");
    }
}

fn collector_has_an_image(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(collector) =
        collector(cluster).filter(|collector| collector.image.as_ref().is_none_or(String::is_empty))
    {
        findings
            .at(collector.path.key("image"))
            .problem("the collector has no image")
            .hint("name one");
    }
}

fn managed_variables_are_left_alone(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(collector) = collector(cluster) {
        for (index, variable) in collector.env.iter().enumerate() {
            if MANAGED.contains(&variable.name.as_str()) {
                findings
                    .at(collector.path.key("env").index(index))
                    .problem(format!("KubeRay sets {} itself", variable.name))
                    .hint("leave it out");
            }
        }
    }
}

fn backend_is_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(collector) = collector(cluster).filter(|collector| literal(collector, BACKEND).is_none()) {
        findings
            .at(collector.path.key("env"))
            .problem(format!(
                "{BACKEND} must be there with a value of its own, not one from elsewhere"
            ))
            .hint("set it to GCS, S3, AZUREBLOB or ALIYUNOSS");
    }
}

fn gcs_is_told(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    with_backend(cluster, "GCS", &["GCS_BUCKET"], findings);
}

fn s3_is_told(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    with_backend(cluster, "S3", &["S3_REGION"], findings);
}

fn aliyun_is_told(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let all = ["OSS_BUCKET", "OSS_ENDPOINT", "OSS_REGION"];
    with_backend(cluster, "ALIYUNOSS", &all, findings);
}

fn azure_is_told(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    const BY_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";
    const BY_URL: &str = "AZURE_STORAGE_ACCOUNT_URL";
    let Some(collector) = collector(cluster) else {
        return;
    };
    let mode = literal(collector, "AZURE_STORAGE_AUTH_MODE").map(|mode| mode.trim().to_lowercase());
    match mode.as_deref() {
        Some("connection_string") => with_backend(cluster, "AZUREBLOB", &[BY_STRING], findings),
        Some("workload_identity" | "default") => with_backend(cluster, "AZUREBLOB", &[BY_URL], findings),
        _ if has_value(collector, BY_STRING) => {}
        _ => with_backend(cluster, "AZUREBLOB", &[BY_URL], findings),
    }
}

/// Who stores in `backend` needs all of `variables`.
fn with_backend(cluster: &ClusterSpec, backend: &str, variables: &[&str], findings: &mut Findings) {
    let chosen = |collector: &&Collector| {
        literal(collector, BACKEND).is_some_and(|chosen| chosen.to_uppercase() == backend)
    };
    if let Some(collector) = collector(cluster).filter(chosen) {
        for variable in variables.iter().filter(|name| !has_value(collector, name)) {
            findings
                .at(collector.path.key("env"))
                .problem(format!("{variable} is missing, and {BACKEND} is {backend}"))
                .hint(format!("set {variable}, as a value or from elsewhere"));
        }
    }
}

fn name_is_free_on_the_head(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.history_server.is_some() {
        name_is_free(&cluster.head, findings);
    }
}

fn name_is_free_on_workers(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.history_server.is_some() {
        for group in &cluster.worker_groups {
            name_is_free(group, findings);
        }
    }
}

fn name_is_free(group: &dyn NodeGroup, findings: &mut Findings) {
    let containers = group
        .template()
        .spec
        .iter()
        .flat_map(|pod| &pod.containers)
        .enumerate();
    for (index, _) in containers.filter(|(_, container)| container.name == CONTAINER) {
        findings
            .at(group.containers_path().index(index).key("name"))
            .problem("KubeRay adds a container of this name")
            .hint("give the container another name");
    }
}

fn collector(cluster: &ClusterSpec) -> Option<&Collector> {
    cluster.history_server.as_ref()?.collector.as_ref()
}

/// Of several variables with one name, containers see the last.
fn variable<'c>(collector: &'c Collector, name: &str) -> Option<&'c EnvVar> {
    collector.env.iter().rev().find(|variable| variable.name == name)
}

fn literal<'c>(collector: &'c Collector, name: &str) -> Option<&'c str> {
    let value = variable(collector, name)?.value.as_deref();
    value.filter(|value| !value.is_empty())
}

fn has_value(collector: &Collector, name: &str) -> bool {
    let from_elsewhere = |variable: &EnvVar| variable.value_from.is_some();
    literal(collector, name).is_some() || variable(collector, name).is_some_and(from_elsewhere)
}
