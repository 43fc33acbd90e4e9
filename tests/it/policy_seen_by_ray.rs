//! What policies give, as Ray has it that runs with it: how much of a machine, which devices, a token, files and probes.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::policy::policies;

const PATIENCE: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(300);
/// A head and a worker, of whom nothing is said.
const CLUSTER: &str = "
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: demo}
spec:
  rayVersion: 2.60.0
  headGroupSpec:
    rayStartParams: {}
    template: {spec: {containers: [{name: ray-head}]}}
  workerGroupSpecs:
    - groupName: gpu
      replicas: 1
      minReplicas: 1
      maxReplicas: 1
      rayStartParams: {}
      template: {spec: {containers: [{name: ray-worker}]}}
";
const RESOURCES: &str = "import json, ray; ray.init(address='auto', logging_level='error'); print(json.dumps(ray.cluster_resources()))";

/// Ray counts the CPUs and the GPU that the policy gives; its nodes become ready by the probes, and are known to each other by the token, of the
/// policy; the worker finds the policy's file.
pub(crate) async fn ray_has_what_a_policy_gives(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("seen").await?;
    let models = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}, "data": {"which": "the policy's"}});
    namespace.apply_all(&[models]).await?;
    let policy = format!("seen-{}", namespace.name());
    let probe = json!({"exec": {"command": ["ray", "health-check", "--address", "localhost:6379"]}, "periodSeconds": 2, "timeoutSeconds": 20, "failureThreshold": 30});
    let is_there = json!({"exec": {"command": ["test", "-f", "/models/which"]}, "periodSeconds": 1});
    let specification = json!({
        "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
        "accelerators": [{"kind": "NVIDIA", "given": {"groups": ["gpu"], "amount": 1}}],
        "head": {"resources": {"limits": {"cpu": 1, "memory": "2Gi"}}, "readinessProbe": probe},
        "workers": {
            "resources": {"limits": {"cpu": 3, "memory": "2Gi"}},
            "readinessProbe": is_there,
            "pod": {
                "startupProbe": is_there,
                "volumes": [{"name": "models", "source": {"configMap": {"name": "models"}}, "mountPath": "/models", "readOnly": true}],
            },
        },
        "options": {"tokenAuthentication": true},
    });
    testbed
        .apply(&json!({
            "apiVersion": "rayward.dev/v1alpha1",
            "kind": "RayAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": specification,
        }))
        .await?;
    in_force(&namespace).await?;
    namespace.apply(CLUSTER).await?;
    let head = namespace.ready_head("demo", START).await?.name_any();
    namespace
        .eventually(START, "Ray counts what the policy gives", async || {
            let said = run(&namespace, &head, "ray-head", &["python", "-c", RESOURCES]).await?;
            let resources: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
            ensure!(
                resources["CPU"] == 4.0 && resources["GPU"] == 1.0,
                "it counts {resources}"
            );
            anyhow::Ok(())
        })
        .await?;
    let workers = namespace.pods("ray.io/node-type=worker").await?;
    ensure!(workers.len() == 1, "{workers:#?}");
    let read = run(
        &namespace,
        &workers[0].name_any(),
        "ray-worker",
        &["cat", "/models/which"],
    )
    .await?;
    ensure!(read == "the policy's", "{read}");
    run(&namespace, &head, "ray-head", &["ray", "status"]).await?;
    let without = [
        "env",
        "-u",
        "RAY_AUTH_TOKEN",
        "-u",
        "RAY_AUTH_MODE",
        "ray",
        "status",
    ]
    .map(str::to_owned);
    let turned_away = namespace.exec(&head, "ray-head", &without).await?;
    ensure!(
        !turned_away.succeeded() && format!("{turned_away:?}").contains("auth"),
        "whoever has no token is to be turned away: {turned_away:?}"
    );
    policies(testbed)
        .delete(&policy, &DeleteParams::default())
        .await?;
    Ok(())
}

/// Waits until every replica of the webhook has heard of the policy: it must answer so several times in a row.
async fn in_force(namespace: &Namespace) -> Result<()> {
    let cluster = testbed::documents(CLUSTER)?.remove(0);
    namespace
        .eventually(PATIENCE, "the policy is in force", async || {
            for _ in 0..5 {
                let would_be = namespace.dry_run(&cluster).await?.object;
                let mode = &would_be["spec"]["authOptions"]["mode"];
                ensure!(mode == "token", "it gives {mode}");
            }
            anyhow::Ok(())
        })
        .await
}

async fn run(namespace: &Namespace, pod: &str, container: &str, command: &[&str]) -> Result<String> {
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    let output = namespace.exec(pod, container, &command).await?;
    ensure!(output.succeeded(), "{command:?} in {pod}: {output:?}");
    Ok(output.stdout)
}
