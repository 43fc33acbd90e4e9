//! What the autoscaler makes of clusters that do not go by the book: groups whose Pods never come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Identity, Namespace, Role, Testbed};

use crate::cluster::{BARE, BURST, run, workers_become};

const SECOND: Duration = Duration::from_secs(1);

/// Two groups of like workers, and no node of Kubernetes for the first, which would be the choice: within seconds the second has the work, an Event,
/// `ray status` and `explain` say why, and what waits in vain goes.
pub(crate) async fn a_group_without_nodes_is_passed_over(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("passed-over").await?;
    let head = two_groups(&namespace, |first| {
        first["template"]["spec"]["nodeSelector"] = json!({"no-node": "has-this"});
    })
    .await?;
    let started = Instant::now();
    let done = run(&namespace, &head, &["python", "-c", BURST, "1", "1"]).await?;
    ensure!(done.contains("1 tasks done on 1 nodes"), "{done}");
    let took = started.elapsed();
    ensure!(
        took < 120 * SECOND,
        "it took {took:?} to run one task in the other group"
    );
    let unsuited = "didn't match Pod's node affinity/selector";
    let event = event_of(&namespace, "GroupPassedOver", unsuited).await?;
    let note = event.note.unwrap_or_default();
    ensure!(
        note.starts_with("first: passed over for 60 s: demo-first-worker-"),
        "{note}"
    );
    let status = run(&namespace, &head, &["ray", "status", "-v"]).await?;
    for what in ["first: LaunchFailed", unsuited] {
        ensure!(status.contains(what), "`{what}` is not in {status}");
    }
    explained(&namespace).await?;
    workers_become(&namespace, "demo", 0).await
}

/// The same with a quota, which lets no Pod of the first group come into being. The operator goes no further than the first group that it fails with, so
/// the second gets its Pod only because the first is no longer asked for.
pub(crate) async fn a_group_that_a_quota_refuses_is_passed_over(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("quota").await?;
    let hard = json!({"requests.example.com/widget": "0"});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "no-widgets"}, "spec": {"hard": hard}});
    namespace.apply_all(&[quota]).await?;
    // There is no controller here that would count for a quota, so this says what it would.
    let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client().clone(), namespace.name());
    let counted = json!({"status": {"hard": hard, "used": hard}});
    quotas
        .patch_status("no-widgets", &PatchParams::default(), &Patch::Merge(counted))
        .await?;
    let head = two_groups(&namespace, |first| {
        let limits = &mut first["template"]["spec"]["containers"][0]["resources"]["limits"];
        limits["example.com/widget"] = json!(1);
    })
    .await?;
    let done = run(&namespace, &head, &["python", "-c", BURST, "1", "1"]).await?;
    ensure!(done.contains("1 tasks done on 1 nodes"), "{done}");
    let event = event_of(&namespace, "GroupPassedOver", "exceeded quota: no-widgets").await?;
    let note = event.note.unwrap_or_default();
    ensure!(note.starts_with("first: passed over for 60 s: "), "{note}");
    workers_become(&namespace, "demo", 0).await
}

/// A cluster with two like groups, but for what is changed about the first; the name of its head.
async fn two_groups(namespace: &Namespace, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut cluster = documents(BARE)?;
    let mut second = cluster["spec"]["workerGroupSpecs"][0].clone();
    second["groupName"] = json!("second");
    let first = &mut cluster["spec"]["workerGroupSpecs"][0];
    first["groupName"] = json!("first");
    change(first);
    let groups = cluster["spec"]["workerGroupSpecs"].as_array_mut();
    groups.context("groups")?.push(second);
    namespace.apply_all(&[cluster]).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?;
    head.metadata.name.context("a name")
}

/// `explain` says the same, to those whom the API server lets through; asked directly, the service says it as well.
async fn explained(namespace: &Namespace) -> Result<()> {
    let testbed = namespace.testbed();
    let address = testbed.autoscaler_admin_address(0);
    as_a_pod(namespace, address).await?;
    let cluster = format!("{}/demo", namespace.name());
    let server = format!("--server=http://{address}");
    let port = format!("--admin-port={}", address.port());
    let service = format!("--service-namespace={}", namespace.name());
    let allowed = testbed.kubeconfig(Identity::Admin);
    let allowed = format!("--kubeconfig={}", allowed.display());
    for how in [&[server.as_str()][..], &[&service, &port, &allowed]] {
        let said = explain(&cluster, how).await?;
        ensure!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout)?;
        for what in [
            "passed over until ",
            "didn't match Pod's node affinity/selector",
            "second: 0 -> 1 replicas, 1 node for tasks and actors",
        ] {
            ensure!(text.contains(what), "`{what}` is not in {text}");
        }
    }
    let stranger = testbed.kubeconfig(Identity::Scheduler);
    let stranger = format!("--kubeconfig={}", stranger.display());
    let said = explain(&cluster, &[&service, &port, &stranger]).await?;
    let error = String::from_utf8(said.stderr)?;
    ensure!(!said.status.success() && error.contains("forbidden"), "{error}");
    Ok(())
}

pub(crate) async fn explain(cluster: &str, how: &[&str]) -> Result<std::process::Output> {
    let (variable, value) = Role::Autoscaler.environment();
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.env(variable, value).args(["explain", cluster]).args(how);
    Ok(command.output().await?)
}

/// Services are no Pods here. This one stands for the autoscaler's: bound to a Node that nobody keeps, with the address that the service has.
async fn as_a_pod(namespace: &Namespace, address: SocketAddr) -> Result<()> {
    let labels = json!({"app.kubernetes.io/name": "rayward", "app.kubernetes.io/component": "autoscaler"});
    let container = json!({"name": "autoscaler", "image": "rayward-autoscaler"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "autoscaler", "labels": labels},
        "spec": {"nodeName": "elsewhere", "containers": [container]}});
    namespace.apply_all(&[pod]).await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client().clone(), namespace.name());
    let ip = address.ip().to_string();
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    pods.patch_status("autoscaler", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

/// An Event with this reason that says so, once it is there.
pub(crate) async fn event_of(namespace: &Namespace, reason: &str, says: &str) -> Result<Event> {
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    let about = ListParams::default().fields(&format!("reason={reason}"));
    namespace
        .eventually(
            30 * SECOND,
            &format!("an Event {reason} says `{says}`"),
            async || {
                let all = events.list(&about).await?.items;
                let (said, others): (Vec<_>, Vec<_>) = all
                    .into_iter()
                    .partition(|event| event.note.as_deref().is_some_and(|note| note.contains(says)));
                said.into_iter()
                    .next()
                    .with_context(|| format!("there are {others:?}"))
            },
        )
        .await
}

fn documents(text: &str) -> Result<Value> {
    let mut documents = testbed::documents(text)?;
    ensure!(documents.len() == 1, "one document");
    documents.pop().context("one document")
}
