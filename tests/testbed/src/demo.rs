//! The main job, narrated: a refusal, the defaults, growth by demand, removal of the idle. The `demo` binary runs it for people and the
//! integration tests run it for us, so what the README promises is what is tested.
//!
//! What it says goes through [`Narrator`]; how that looks is the binary's affair.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::Namespace;

const BROKEN: &str = include_str!("../../fixtures/broken-cluster.yaml");
const BARE: &str = include_str!("../../fixtures/bare-cluster.yaml");
const BURST: &str = include_str!("../../fixtures/workloads/burst.py");

/// One-CPU tasks that the demo submits to a cluster with no worker at all.
const TASKS: i64 = 3;
/// Long enough that one worker cannot do the work of three before the others are up.
const TASK_SECONDS: u32 = 12;

/// Where the story goes, as it happens.
pub trait Narrator: Send {
    /// A new chapter begins.
    fn step(&mut self, title: &str);
    /// Something worth reading happened; may have several lines.
    fn note(&mut self, text: &str);
}

/// What happened and how long it took.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Mistakes that the one refusal listed.
    pub mistakes_listed: usize,
    /// JSON pointers of the fields that were filled in, in the order of the object.
    pub injected: Vec<String>,
    /// From `kubectl apply` to a head that is Ready.
    pub head_ready_seconds: f64,
    /// From the submission of the workload to the patch that asks for the first worker.
    pub first_patch_seconds: f64,
    /// From the submission to the end of the last task, workers' start included.
    pub workload_seconds: f64,
    /// Most workers that there were at one time.
    pub workers_at_peak: i64,
    /// From the end of the workload to the last worker Pod gone.
    pub removal_seconds: f64,
}

/// Runs the whole demo in an empty namespace; its cluster stays there, without workers.
pub async fn run(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<Summary> {
    let mistakes_listed = refuse(namespace, narrator).await?;
    let injected = fill_in(namespace, narrator).await?;
    let head_ready_seconds = bring_up(namespace, narrator).await?;
    let growth = grow(namespace, narrator).await?;
    let removal_seconds = shrink(namespace, narrator).await?;
    Ok(Summary {
        mistakes_listed,
        injected,
        head_ready_seconds,
        first_patch_seconds: growth.first_patch_seconds,
        workload_seconds: growth.workload_seconds,
        workers_at_peak: growth.workers_at_peak,
        removal_seconds,
    })
}

async fn refuse(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<usize> {
    narrator.step("A RayCluster with mistakes is refused, with all of them");
    let Err(refusal) = namespace.apply(&at_default_version(BROKEN)).await else {
        bail!("the broken RayCluster was admitted");
    };
    let refusal = refusal.to_string();
    narrator.note(&refusal);
    Ok(refusal.matches("RW-").count())
}

async fn fill_in(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<Vec<String>> {
    narrator.step("A bare RayCluster gets what it left open");
    let written: Value = serde_saphyr::from_str(&at_default_version(BARE))?;
    namespace.apply(&at_default_version(BARE)).await?;
    let stored = namespace.object("RayCluster", "demo").await?;
    let injected: Vec<String> = added("", &written["spec"], &stored["spec"])
        .into_iter()
        // What the API server itself fills in from the schema is not ours to boast about.
        .filter(|(path, _)| !SCHEMA_DEFAULTS.iter().any(|known| path.ends_with(known)))
        .map(|(path, value)| {
            narrator.note(&format!("/spec{path}: {value}"));
            format!("/spec{path}")
        })
        .collect();
    ensure!(!injected.is_empty(), "nothing was injected into {stored:#}");
    Ok(injected)
}

/// Fields that the CRD's schema or the API machinery's Pod defaults add to every object.
const SCHEMA_DEFAULTS: [&str; 4] = ["/numOfHosts", "/replicas", "/priority", "/metadata"];

async fn bring_up(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<f64> {
    narrator.step("KubeRay starts the head; Ray's own autoscaler is not in it");
    let started = Instant::now();
    let head = namespace.ready_head("demo", Duration::from_secs(120)).await?;
    let containers: Vec<String> = head
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| container.name.clone())
        .collect();
    narrator.note(&format!(
        "{} is ready, containers: {}",
        head.name_any(),
        containers.join(", ")
    ));
    ensure!(
        containers == ["ray-head"],
        "the head Pod should have the Ray container only, it has {containers:?}"
    );
    Ok(started.elapsed().as_secs_f64())
}

struct Growth {
    first_patch_seconds: f64,
    workload_seconds: f64,
    workers_at_peak: i64,
}

async fn grow(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<Growth> {
    narrator.step(&format!(
        "{TASKS} tasks of one CPU each, and not one CPU in the cluster"
    ));
    let head = namespace.ready_head("demo", Duration::from_secs(120)).await?;
    let started = Instant::now();
    let command = [
        "python",
        "-c",
        BURST,
        &TASKS.to_string(),
        &TASK_SECONDS.to_string(),
    ]
    .map(str::to_owned);
    let head = head.name_any();
    let workload = namespace.exec(&head, "ray-head", &command);
    tokio::pin!(workload);
    let mut first_patch_seconds = None;
    let mut replicas_seen = 0;
    let mut workers_at_peak = 0;
    let mut look = tokio::time::interval(Duration::from_millis(100));
    let output = loop {
        tokio::select! {
            output = &mut workload => break output?,
            _ = look.tick() => {
                let replicas = replicas(namespace).await?;
                if replicas != replicas_seen {
                    first_patch_seconds.get_or_insert(started.elapsed().as_secs_f64());
                    narrator.note(&format!("replicas of group cpu: {replicas_seen} -> {replicas}"));
                    replicas_seen = replicas;
                }
                let workers = i64::try_from(workers(namespace).await?.len())?;
                if workers > workers_at_peak {
                    workers_at_peak = workers;
                    narrator.note(&format!("worker Pods: {workers}"));
                }
            }
        }
    };
    ensure!(output.succeeded(), "the workload failed: {output:?}");
    narrator.note(output.stdout.trim());
    Ok(Growth {
        first_patch_seconds: first_patch_seconds
            .context("the workload ended, and nobody had patched replicas")?,
        workload_seconds: started.elapsed().as_secs_f64(),
        workers_at_peak,
    })
}

async fn shrink(namespace: &Namespace, narrator: &mut dyn Narrator) -> Result<f64> {
    narrator.step("Idle workers are drained through Ray, then removed");
    let started = Instant::now();
    let mut left = usize::MAX;
    namespace
        .eventually(Duration::from_secs(90), "all idle workers are gone", async || {
            let workers = workers(namespace).await.map_err(|error| error.to_string())?;
            let replicas = replicas(namespace).await.map_err(|error| error.to_string())?;
            if workers.len() != left {
                left = workers.len();
                narrator.note(&format!("worker Pods: {left}, replicas: {replicas}"));
            }
            if workers.is_empty() && replicas == 0 {
                Ok(())
            } else {
                Err(format!("{left} workers, replicas {replicas}"))
            }
        })
        .await?;
    Ok(started.elapsed().as_secs_f64())
}

async fn replicas(namespace: &Namespace) -> Result<i64> {
    let cluster = namespace.object("RayCluster", "demo").await?;
    Ok(cluster["spec"]["workerGroupSpecs"][0]["replicas"]
        .as_i64()
        .unwrap_or(0))
}

async fn workers(namespace: &Namespace) -> Result<Vec<Pod>> {
    namespace
        .pods("ray.io/cluster=demo,ray.io/node-type=worker")
        .await
}

fn at_default_version(manifest: &str) -> String {
    manifest.replace("2.60.0", &crate::default_ray_version())
}

/// What `now` has and `before` had not: JSON pointer and value, deepest differing place only.
fn added(path: &str, before: &Value, now: &Value) -> Vec<(String, Value)> {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => now
            .iter()
            .flat_map(|(key, value)| match before.get(key) {
                Some(old) => added(&format!("{path}/{key}"), old, value),
                None => vec![(format!("{path}/{key}"), value.clone())],
            })
            .collect(),
        (Value::Array(before), Value::Array(now)) => now
            .iter()
            .enumerate()
            .flat_map(|(index, value)| match before.get(index) {
                Some(old) => added(&format!("{path}/{index}"), old, value),
                None => vec![(format!("{path}/{index}"), value.clone())],
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::added;
    use serde_json::json;

    #[test]
    fn only_what_is_new_is_told() {
        let before = json!({"a": 1, "groups": [{"name": "x"}]});
        let now = json!({"a": 1, "groups": [{"name": "x", "image": "ray"}], "b": {"c": 2}});
        assert_eq!(
            added("", &before, &now),
            [
                ("/b".to_owned(), json!({"c": 2})),
                ("/groups/0/image".to_owned(), json!("ray"))
            ]
        );
    }
}
