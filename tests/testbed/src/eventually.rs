//! Waiting for a condition, with a deadline, and with everything one needs to know when it does not come true.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::process::tail;
use crate::testbed::Testbed;

/// How often a condition is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How much of each log a failure shows.
const LOG_LINES: usize = 12;
/// How many events a failure shows, the latest.
const EVENTS: usize = 25;
/// The kinds whose status explains most.
const KINDS: [&str; 6] = ["RayCluster", "RayJob", "RayService", "RayCronJob", "Job", "Pod"];

pub(crate) async fn eventually<T, E: Display>(
    testbed: &Testbed,
    namespace: Option<&str>,
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = "it was not even asked once".to_owned();
    loop {
        // A condition that hangs is a condition that is not met.
        match tokio::time::timeout(end.saturating_duration_since(Instant::now()), condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(answer)) => last = answer.to_string(),
            Err(_) => break,
        }
        if Instant::now() + ASK_EVERY > end {
            break;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let state = report(testbed, namespace).await;
    Err(anyhow!(
        "not within {deadline:?}: {what}\nlast answer: {last}\n\n{state}"
    ))
}

/// What is going on, for a person who reads a failure.
async fn report(testbed: &Testbed, namespace: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(namespace) = namespace {
        for kind in KINDS {
            for object in testbed
                .applier()
                .objects(kind, namespace)
                .await
                .unwrap_or_default()
            {
                text.push_str(&describe(kind, &object));
            }
        }
        let mut events = testbed
            .applier()
            .objects("Event", namespace)
            .await
            .unwrap_or_default();
        events.sort_by_key(|event| {
            event["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|v| v.parse::<u64>().ok())
        });
        for event in &events[events.len().saturating_sub(EVENTS)..] {
            text.push_str(&describe_event(event));
        }
    }
    if let Some(namespace) = namespace {
        for log in latest_logs(&testbed.pod_logs(), namespace) {
            let _ = writeln!(text, "--- {}\n{}", log.display(), tail(&log, LOG_LINES));
        }
    }
    for process in testbed.processes() {
        let state = process
            .ended()
            .await
            .ok()
            .flatten()
            .unwrap_or_else(|| "runs".to_owned());
        let _ = writeln!(
            text,
            "--- {} {state}; {}",
            process.name(),
            process.log().display()
        );
        if state != "runs"
            || ["ray-operator", "rayward-"]
                .iter()
                .any(|ours| process.name().starts_with(ours))
        {
            let _ = writeln!(text, "{}", process.log_tail(LOG_LINES));
        }
    }
    text
}

/// The newest log of every container of a namespace.
fn latest_logs(folder: &Path, namespace: &str) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let of_namespace = |pod: &PathBuf| {
        let name = pod.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.split('_').next() == Some(namespace)
    };
    let newest = |container: PathBuf| {
        let modified = |log: &PathBuf| log.metadata().and_then(|data| data.modified()).ok();
        entries(&container).into_iter().max_by_key(modified)
    };
    let pods = entries(folder).into_iter().filter(of_namespace);
    pods.flat_map(|pod| entries(&pod)).filter_map(newest).collect()
}

fn describe(kind: &str, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let leaving = if object["metadata"]["deletionTimestamp"].is_null() {
        ""
    } else {
        " (being deleted)"
    };
    let node = object["spec"]["nodeName"]
        .as_str()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    let mut status = object["status"].clone();
    if let Some(status) = status.as_object_mut() {
        // Long, and said better by the rest.
        for noise in ["podIPs", "hostIPs", "qosClass", "observedGeneration"] {
            status.remove(noise);
        }
    }
    format!("--- {kind} {name}{node}{leaving}\n{status}\n")
}

fn describe_event(event: &Value) -> String {
    let field = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = ("/involvedObject/kind", "/involvedObject/name");
    let (kind, name) = if field(kind).is_empty() {
        ("/regarding/kind", "/regarding/name")
    } else {
        (kind, name)
    };
    let message = if field("/message").is_empty() {
        field("/note")
    } else {
        field("/message")
    };
    format!(
        "event {} {}: {} {message}\n",
        field(kind),
        field(name),
        field("/reason")
    )
}

impl Testbed {
    /// Asks again and again until `condition` holds. At the deadline the error tells its last answer and how the parts are.
    pub async fn eventually<T, E: Display>(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        eventually(self, None, deadline, what, condition).await
    }
}
