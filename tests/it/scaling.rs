//! What the autoscaler makes of clusters that do not go by the book: groups whose Pods never come.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::cluster::{BARE, BURST, run, workers_become};

const SECOND: Duration = Duration::from_secs(1);

/// Two groups of like workers, and no node of Kubernetes for the first, which would be the choice: within seconds the second has the work, an Event
/// says why, and what waits in vain goes.
pub(crate) async fn a_group_without_nodes_is_passed_over(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("passed-over").await?;
    let mut cluster = documents(BARE)?;
    let mut second = cluster["spec"]["workerGroupSpecs"][0].clone();
    second["groupName"] = json!("second");
    let first = &mut cluster["spec"]["workerGroupSpecs"][0];
    first["groupName"] = json!("first");
    first["template"]["spec"]["nodeSelector"] = json!({"no-node": "has-this"});
    let groups = cluster["spec"]["workerGroupSpecs"]
        .as_array_mut()
        .context("groups")?;
    groups.push(second);
    namespace.apply_all(&[cluster]).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?;
    let head = head.metadata.name.context("a name")?;

    let started = Instant::now();
    let done = run(&namespace, &head, &["python", "-c", BURST, "1", "1"]).await?;
    ensure!(done.contains("1 tasks done on 1 nodes"), "{done}");
    let took = started.elapsed();
    ensure!(
        took < 120 * SECOND,
        "it took {took:?} to run one task in the other group"
    );
    let note = note_of(&namespace, "GroupPassedOver").await?;
    ensure!(
        note.starts_with("first: passed over for 60 s: demo-first-worker-"),
        "{note}"
    );
    ensure!(
        note.contains("didn't match Pod's node affinity/selector"),
        "{note}"
    );
    workers_become(&namespace, "demo", 0).await
}

/// What the one Event with this reason says, once it is there.
async fn note_of(namespace: &Namespace, reason: &str) -> Result<String> {
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    namespace
        .eventually(30 * SECOND, &format!("there is one Event {reason}"), async || {
            let all = events
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let mut found = all
                .items
                .into_iter()
                .filter(|event| event.reason.as_deref() == Some(reason));
            match (found.next(), found.next()) {
                (Some(event), None) => Ok(event.note.unwrap_or_default()),
                (None, _) => Err("there is none".to_owned()),
                (Some(one), Some(two)) => Err(format!("there are two: {one:?} {two:?}")),
            }
        })
        .await
}

fn documents(text: &str) -> Result<Value> {
    let mut documents = testbed::documents(text)?;
    ensure!(documents.len() == 1, "one document");
    documents.pop().context("one document")
}
