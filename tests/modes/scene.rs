//! What these tests share: one cluster, work for it, and what our replicas have said of it.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::ResourceExt;
use serde_json::Value;
use testbed::{Identity, Namespace, Part, Role, Testbed};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const REPLICAS: usize = 2;
pub(crate) const SECOND: Duration = Duration::from_secs(1);

const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");
const BURST: &str = include_str!("../fixtures/workloads/burst.py");

static STAGE: Mutex<()> = Mutex::const_new(());

/// Parts of the world are stopped in these tests: one at a time.
pub(crate) async fn stage() -> MutexGuard<'static, ()> {
    STAGE.lock().await
}

/// The least cluster, complete as it is: nobody has to fill in anything.
pub(crate) fn cluster(mode: Option<&str>) -> Result<Value> {
    let mut cluster = testbed::documents(BARE)?.remove(0);
    let image = format!(
        "rayproject/ray:{}",
        cluster["spec"]["rayVersion"].as_str().context("rayVersion")?
    );
    for group in ["/spec/headGroupSpec", "/spec/workerGroupSpecs/0"] {
        let container = cluster.pointer_mut(&format!("{group}/template/spec/containers/0"));
        container.context("a container")?["image"] = image.clone().into();
    }
    if let Some(mode) = mode {
        cluster["metadata"]["annotations"] = serde_json::json!({ "rayward.dev/autoscaler": mode });
    }
    Ok(cluster)
}

/// The names of the containers of the head, once it is ready and not the one that is named.
pub(crate) async fn head(namespace: &Namespace, other_than: &str) -> Result<(String, Vec<String>)> {
    let pod = namespace
        .eventually(240 * SECOND, "a head is ready", async || {
            match namespace.ready_head("demo", SECOND).await {
                Ok(pod) if pod.name_any() != other_than => Ok(pod),
                Ok(_) => Err("the old head is still there".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let names = containers.map(|container| container.name.clone()).collect();
    Ok((pod.name_any(), names))
}

/// Tasks of one CPU each, on workers of one CPU.
pub(crate) async fn work(namespace: &Namespace, head: &str, tasks: &str, seconds: &str) -> Result<()> {
    let command = ["python", "-c", BURST, tasks, seconds].map(str::to_owned);
    let output = namespace.exec(head, "ray-head", &command).await?;
    ensure!(output.succeeded(), "the workload failed: {output:?}");
    Ok(())
}

/// Waits until there is no worker any more.
pub(crate) async fn empty(namespace: &Namespace) -> Result<()> {
    namespace
        .eventually(120 * SECOND, "all workers are gone", async || {
            let pods = namespace.pods("ray.io/node-type=worker").await;
            match pods.map_err(|error| error.to_string())?.len() {
                0 => Ok(()),
                count => Err(format!("there are {count}")),
            }
        })
        .await
}

/// What a replica has said of the clusters of a namespace, beginning at some line of its log.
pub(crate) fn said(testbed: &Testbed, replica: usize, namespace: &str, since: usize) -> Result<Vec<Value>> {
    let lines = lines(testbed, replica, since)?;
    Ok(lines
        .into_iter()
        .filter(|line| line["namespace"] == namespace)
        .collect())
}

/// Its log, beginning at some line.
pub(crate) fn lines(testbed: &Testbed, replica: usize, since: usize) -> Result<Vec<Value>> {
    let log = testbed.logs(Part::Autoscaler(replica))?;
    let lines = log.lines().skip(since);
    Ok(lines
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect())
}

/// Its log since it was last started.
fn life(testbed: &Testbed, replica: usize) -> Result<Vec<Value>> {
    let mut lines = lines(testbed, replica, 0)?;
    let begin = lines.iter().rposition(|line| line["message"] == "scaling begins");
    Ok(lines.split_off(begin.unwrap_or(0)))
}

/// Starts a replica again, and waits until all have their share.
pub(crate) async fn start(testbed: &Testbed, replica: usize) -> Result<()> {
    testbed.start_part(Part::Autoscaler(replica)).await?;
    testbed
        .eventually(30 * SECOND, "the replica acts", async || {
            let acts = life(testbed, replica)?.iter().any(|line| line["acts"] == true);
            ensure!(acts, "it does not");
            anyhow::Ok(())
        })
        .await
}

/// How many lines it has logged.
pub(crate) fn length(testbed: &Testbed, replica: usize) -> Result<usize> {
    Ok(testbed.logs(Part::Autoscaler(replica))?.lines().count())
}

pub(crate) fn has_patched(said: &[Value]) -> bool {
    said.iter().any(|line| line["outcome"] == "Patched")
}

/// The replica that scales the cluster of a namespace, other than some.
pub(crate) async fn owner(namespace: &Namespace, patience: Duration, others: &[usize]) -> Result<usize> {
    namespace
        .eventually(patience, "a replica takes the cluster for its own", async || {
            for replica in (0..REPLICAS).filter(|replica| !others.contains(replica)) {
                let life = life(namespace.testbed(), replica)?;
                let last = life.iter().rev().find(|line| {
                    line["namespace"] == namespace.name()
                        && (line["message"] == "standing" || line["message"] == "no longer looked after")
                });
                if last.is_some_and(|line| line["standing"] == "Writer") {
                    return Ok(replica);
                }
            }
            bail!("none has")
        })
        .await
}

/// What `rayward-autoscaler clusters` prints of a namespace.
pub(crate) async fn listed(namespace: &Namespace) -> Result<String> {
    let kubeconfig = namespace.testbed().kubeconfig(Identity::Admin);
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let output = command(&["clusters", "--namespace", namespace.name(), &kubeconfig]).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What `rayward-autoscaler explain` prints, asking whichever replica looks after the cluster.
pub(crate) async fn explained(namespace: &Namespace) -> Result<String> {
    let mut said = Vec::new();
    for replica in 0..REPLICAS {
        let address = namespace.testbed().autoscaler_admin_address(replica);
        let (cluster, server) = (
            format!("{}/demo", namespace.name()),
            format!("--server=http://{address}"),
        );
        let output = command(&["explain", &cluster, &server]).await?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        said.push(output);
    }
    bail!("no replica looks after it: {said:?}")
}

async fn command(arguments: &[&str]) -> Result<Output> {
    let (variable, value) = Role::Autoscaler.environment();
    let mut command = tokio::process::Command::new("/proc/self/exe");
    Ok(command.env(variable, value).args(arguments).output().await?)
}

/// Takes away what `kubectl delete -k manifests/base` would that concerns running clusters: both services, and who sends them Ray's objects.
pub(crate) async fn uninstall(testbed: &Testbed) -> Result<()> {
    for replica in 0..REPLICAS {
        testbed.stop(Part::Autoscaler(replica)).await?;
    }
    testbed.stop(Part::Webhook(0)).await?;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        testbed.delete(kind, "", "rayward").await?;
    }
    Ok(())
}

pub(crate) async fn install(testbed: &Testbed) -> Result<()> {
    testbed.start_part(Part::Webhook(0)).await?;
    for replica in 0..REPLICAS {
        testbed.start_part(Part::Autoscaler(replica)).await?;
    }
    Ok(())
}
