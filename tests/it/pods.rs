//! What is put into Pods when they are created, seen on Pods that the real operator makes, the real scheduler places and Ray runs in.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind};
use serde_json::json;
use testbed::{Namespace, NodeSpec, Testbed};

const SECOND: Duration = Duration::from_secs(1);
const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");
const TPU: &str = include_str!("../fixtures/tpu-cluster.yaml");
const WORKERS: &str = "ray.io/node-type=worker";

/// The machines of a TPU slice of two hosts, labelled and tainted as on GKE.
pub(crate) fn tpu_nodes() -> [NodeSpec; 2] {
    ["tpu-0", "tpu-1"].map(|name| {
        NodeSpec::new(name, "16", "64Gi")
            .with("google.com/tpu", "4")
            .label("cloud.google.com/gke-tpu-accelerator", "tpu-v4-podslice")
            .label("cloud.google.com/gke-tpu-topology", "2x2x2")
            .label("cloud.google.com/gke-nodepool", "slice")
            .taint("google.com/tpu", "present")
    })
}

/// Tolerations, a variable, a label and the size of /dev/shm, which no manifest has, are in a worker that runs.
pub(crate) async fn a_worker_has_what_a_policy_puts_into_it(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("injected").await?;
    let policy = format!("workers-{}", namespace.name());
    testbed
        .apply(&json!({
            "apiVersion": "rayward.dev/v1alpha1",
            "kind": "RayAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
                "workers": {"pod": {
                    "labels": {"team": "a"},
                    "tolerations": [{"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "nodeSelector": {"cloud.google.com/gke-nodepool": "slice"},
                    "env": [{"name": "SAID_BY", "value": "policy"}],
                    "sharedMemory": "512Mi",
                }},
            },
        }))
        .await?;
    in_force(&namespace).await?;
    namespace
        .apply(
            &BARE
                .replace("replicas: 0\n", "replicas: 1\n")
                .replace("enableInTreeAutoscaling: true", "enableInTreeAutoscaling: false")
                .replace("  autoscalerOptions:\n    idleTimeoutSeconds: 5\n", ""),
        )
        .await?;
    let workers = ready(&namespace, 1).await?;
    let worker = serde_json::to_value(&workers[0])?;
    let spec = &worker["spec"];
    ensure!(worker["metadata"]["labels"]["team"] == "a", "{worker:#}");
    ensure!(
        spec["nodeName"]
            .as_str()
            .is_some_and(|node| node.starts_with("tpu-")),
        "only with its toleration and selector does it get there: {spec:#}"
    );
    let memory = spec["volumes"].as_array().into_iter().flatten();
    let sizes: Vec<_> = memory
        .filter(|volume| volume["emptyDir"]["medium"] == "Memory")
        .map(|volume| &volume["emptyDir"]["sizeLimit"])
        .collect();
    ensure!(sizes == ["512Mi"], "{spec:#}");
    let note = worker["metadata"]["annotations"]["rayward.dev/injected"].as_str();
    ensure!(
        note.is_some_and(|note| note.contains(&policy) && note.contains("spec.containers[0].env.SAID_BY")),
        "{note:?}"
    );
    ensure!(
        environment(&namespace, &workers[0], "SAID_BY").await? == "policy",
        "the process does not see it"
    );
    let policies = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "rayward.dev",
        "v1alpha1",
        "RayAdmissionPolicy",
    ));
    Api::<DynamicObject>::all_with(testbed.client().clone(), &policies)
        .delete(&policy, &DeleteParams::default())
        .await?;
    Ok(())
}

/// Each of two hosts knows its number, and both have the same names for each other; they are where the slice is, and Ray runs in them.
pub(crate) async fn hosts_of_a_tpu_slice_know_each_other(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("slice").await?;
    namespace.apply(TPU).await?;
    let hosts = ready(&namespace, 2).await?;
    let names = "tpu-0-0.demo-headless,tpu-0-1.demo-headless";
    let mut numbers = Vec::new();
    for host in &hosts {
        ensure!(
            environment(&namespace, host, "TPU_WORKER_HOSTNAMES").await? == names,
            "{host:?}"
        );
        let number = environment(&namespace, host, "TPU_WORKER_ID").await?;
        let spec = host.spec.as_ref().context("a spec")?;
        let address = [&spec.hostname, &spec.subdomain].map(|name| name.clone().unwrap_or_default());
        ensure!(
            address.join(".") == format!("tpu-0-{number}.demo-headless"),
            "{address:?} is host {number}"
        );
        numbers.push(number);
    }
    numbers.sort();
    ensure!(numbers == ["0", "1"], "hosts are numbered {numbers:?}");
    Ok(())
}

/// Waits until every replica of the webhook has heard of the policy: it must answer so several times in a row.
async fn in_force(namespace: &Namespace) -> Result<()> {
    let worker = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "probe",
            "labels": {"ray.io/cluster": "probe", "ray.io/node-type": "worker", "ray.io/group": "cpu"},
        },
        "spec": {"containers": [{"name": "ray-worker", "image": "rayproject/ray:2.60.0"}]},
    });
    namespace
        .eventually(30 * SECOND, "the policy is in force", async || {
            for _ in 0..5 {
                let admitted = namespace
                    .dry_run(&worker)
                    .await
                    .map_err(|error| error.to_string())?
                    .object;
                if admitted["metadata"]["labels"]["team"] != "a" {
                    return Err(format!("{admitted:#}"));
                }
            }
            Ok(())
        })
        .await
}

async fn ready(namespace: &Namespace, count: usize) -> Result<Vec<Pod>> {
    let what = format!("{count} workers are ready");
    namespace
        .eventually(300 * SECOND, &what, async || {
            let pods = namespace.pods(WORKERS).await.map_err(|error| error.to_string())?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            if ready == count {
                Ok(pods)
            } else {
                Err(format!("{ready} of {} are", pods.len()))
            }
        })
        .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions).flatten();
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A variable as a process in the Ray container sees it.
async fn environment(namespace: &Namespace, pod: &Pod, name: &str) -> Result<String> {
    let command = ["printenv", name].map(str::to_owned);
    let output = namespace.exec(&pod.name_any(), "ray-worker", &command).await?;
    ensure!(output.succeeded(), "{name} in {}: {output:?}", pod.name_any());
    Ok(output.stdout.trim().to_owned())
}
