//! What these tests share: one cluster, work for it, and somebody who sees what becomes of it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};
use tokio::sync::{MutexGuard, OnceCell};
use tokio::task::JoinHandle;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const CLUSTER: &str = "demo";
const WORKERS: &str = "ray.io/node-type=worker";

const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");
const BURST: &str = include_str!("../fixtures/workloads/burst.py");
const WAVE: &str = include_str!("../fixtures/workloads/wave.py");

static SCENE: OnceCell<Scene> = OnceCell::const_new();
static STAGE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The cluster, without workers, and room for more of them than any test needs.
pub(crate) struct Scene {
    pub(crate) namespace: Namespace,
    pub(crate) head: String,
    pub(crate) head_address: Ipv4Addr,
}

/// One test at a time has it for its own.
pub(crate) async fn enter(testbed: &Testbed) -> Result<(&'static Scene, MutexGuard<'static, ()>)> {
    let stage = STAGE.lock().await;
    let scene = SCENE.get_or_try_init(|| Scene::new(testbed)).await?;
    scene.empty().await?;
    Ok((scene, stage))
}

/// Says how long something took, for whoever reads the output.
pub(crate) fn figure(what: &str, since: Instant) {
    eprintln!("faults: {what}: {:.1} s", since.elapsed().as_secs_f64());
}

impl Scene {
    async fn new(testbed: &Testbed) -> Result<Self> {
        let namespace = testbed.namespace("faults").await?;
        let mut cluster = testbed::documents(BARE)?.remove(0);
        cluster["spec"]["workerGroupSpecs"][0]["maxReplicas"] = json!(6);
        // A head that cannot reach a worker gives it up after five failures, which can come within fifteen seconds.
        let head = &mut cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0];
        head["env"] = json!([{ "name": "RAY_health_check_failure_threshold", "value": "100" }]);
        namespace.apply_all(&[cluster]).await?;
        let head = namespace.ready_head(CLUSTER, 240 * SECOND).await?;
        let address = head.status.as_ref().and_then(|status| status.pod_ip.as_ref());
        Ok(Self {
            head: head.name_any(),
            head_address: address.context("an address")?.parse()?,
            namespace,
        })
    }

    /// Runs a command in the head.
    pub(crate) async fn run(&self, command: &[&str]) -> Result<String> {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let output = self.namespace.exec(&self.head, "ray-head", &command).await?;
        ensure!(output.succeeded(), "{:?}: {output:?}", command.first());
        Ok(output.stdout)
    }

    /// Tasks of one CPU each, on workers of one CPU.
    pub(crate) async fn burst(&self, tasks: u32, seconds: u32) -> Result<()> {
        let [tasks, seconds] = [tasks, seconds].map(|number| number.to_string());
        self.run(&["python", "-c", BURST, &tasks, &seconds])
            .await
            .map(drop)
    }

    /// Tasks that need a worker each, and one more a few seconds after all have begun.
    pub(crate) async fn wave(&self, tasks: u32, seconds: u32) -> Result<()> {
        let [first, seconds] = [tasks, seconds].map(|number| number.to_string());
        let done = self.run(&["python", "-c", WAVE, &first, &seconds, "5"]).await?;
        ensure!(done.contains(&format!("{} tasks done", tasks + 1)), "{done}");
        Ok(())
    }

    /// Waits until the first tasks of the wave run.
    pub(crate) async fn wave_runs(&self) -> Result<()> {
        self.namespace
            .eventually(120 * SECOND, "the wave runs", async || {
                self.run(&["test", "-e", "/tmp/wave"]).await.map(drop)
            })
            .await
    }

    /// Waits until the RayCluster is as it should be.
    pub(crate) async fn becomes(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        self.namespace
            .eventually(120 * SECOND, what, async || {
                let group = self.group().await?;
                ensure!(is(&group), "its group is {group}");
                anyhow::Ok(())
            })
            .await
    }

    /// Waits until there are so many workers.
    pub(crate) async fn workers_become(&self, wanted: usize) -> Result<()> {
        self.namespace
            .eventually(120 * SECOND, &format!("there are {wanted} workers"), async || {
                let count = self.namespace.pods(WORKERS).await?.len();
                ensure!(count == wanted, "there are {count}");
                anyhow::Ok(())
            })
            .await
    }

    /// Waits until nobody works here any more, and no list of Pods to delete is left.
    pub(crate) async fn empty(&self) -> Result<()> {
        self.workers_become(0).await?;
        self.becomes("nothing is asked for", |group| {
            replicas(group) == Some(0) && to_delete(group) == 0
        })
        .await
    }

    /// The one group of the cluster, as it is stored.
    async fn group(&self) -> Result<Value> {
        let mut cluster = self.namespace.object("RayCluster", CLUSTER).await?;
        Ok(cluster["spec"]["workerGroupSpecs"][0].take())
    }
}

pub(crate) fn replicas(group: &Value) -> Option<u64> {
    group["replicas"].as_u64()
}

/// How many Pods are listed for deletion.
pub(crate) fn to_delete(group: &Value) -> usize {
    group["scaleStrategy"]["workersToDelete"]
        .as_array()
        .map_or(0, Vec::len)
}

/// Sees what becomes of the cluster, ten times a second, whenever the API server answers.
pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

/// What there was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Every worker that ever was.
    pub(crate) workers: BTreeSet<String>,
    /// How many were asked for, one after the other.
    pub(crate) replicas: Vec<u64>,
}

impl Witness {
    pub(crate) fn of(scene: &'static Scene) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let looking = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let pods = scene.namespace.pods(WORKERS).await.unwrap_or_default();
                    let group = scene.group().await.unwrap_or_default();
                    {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.workers.extend(pods.iter().map(ResourceExt::name_any));
                        let replicas = replicas(&group);
                        if let Some(replicas) = replicas.filter(|now| seen.replicas.last() != Some(now)) {
                            seen.replicas.push(replicas);
                        }
                    }
                    tokio::time::sleep(SECOND / 10).await;
                }
            }
        });
        Self { seen, looking }
    }

    /// So far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As many workers were asked for as are needed at a time, and none in place of one that was told to go.
    pub(crate) fn saw_only(&self, workers: u64) -> Result<()> {
        let seen = self.seen();
        let peak = seen.replicas.iter().position(|replicas| *replicas == workers);
        let (before, after) = seen.replicas.split_at(peak.unwrap_or(0));
        ensure!(
            peak.is_some() && before.is_sorted() && after.is_sorted_by(|one, next| one > next),
            "{workers} workers were needed, and this was seen: {seen:?}"
        );
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
