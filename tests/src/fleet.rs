//! A fleet of RayClusters under one process of our autoscaler: what it takes, and how soon it acts.
//!
//! The API server is real, and so are the RayClusters and the Pods of their heads in it. Nobody else is there: no operator makes the Pods and no
//! node runs them, they are written here, with the status of a head that runs. Who answers at their addresses is in [`heads`].

mod heads;
mod reading;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::{Namespace, Options, Part, Testbed};

use heads::Heads;
use reading::{Reading, Row};

/// How many objects are written at a time.
const WRITES_AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_mins(2);

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// RayClusters in all.
    pub clusters: usize,
    /// Those that want more nodes at once.
    pub demanding: usize,
    /// How long is measured.
    pub window: Duration,
    /// How long nothing happens before the fleet counts as quiet.
    pub quiet: Duration,
}

impl Effort {
    /// Enough for numbers to publish.
    pub const FULL: Self = Self {
        clusters: 1000,
        demanding: 100,
        window: Duration::from_secs(45),
        quiet: Duration::from_mins(10),
    };
    /// Enough to see that everything works.
    pub const QUICK: Self = Self {
        clusters: 24,
        demanding: 6,
        window: Duration::from_secs(3),
        quiet: Duration::from_secs(1),
    };
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    effort: Effort,
    /// From the start of the process until it had looked at all clusters.
    start: Duration,
    rows: Vec<(String, Row)>,
    /// From the demand to the patch, and from the look that saw it; sorted.
    since_demand: Vec<Duration>,
    since_look: Vec<Duration>,
}

/// The world that it takes.
pub fn options() -> Options {
    Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        webhook_replicas: 0,
        autoscaler_replicas: 1,
        ..Options::default()
    }
}

/// Has a fleet scaled.
pub async fn run(testbed: &Testbed, effort: Effort) -> Result<Report> {
    let namespace = testbed.namespace("fleet").await?;
    reading::count_requests(testbed).await?;
    for part in [
        Part::Operator,
        Part::Scheduler,
        Part::ControllerManager,
        Part::Autoscaler(0),
    ] {
        testbed.stop(part).await?;
    }
    let heads = Heads::start().await?;
    let made = stream::iter(0..effort.clusters).map(|number| cluster(&namespace, &heads, number));
    made.buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await?;

    let started = Instant::now();
    testbed.start_part(Part::Autoscaler(0)).await?;
    testbed
        .eventually(PATIENCE, "all heads have been asked", async || {
            let (_, asked) = heads.asked();
            ensure!(asked == effort.clusters, "{asked} have");
            Ok(())
        })
        .await?;
    let mut fleet = Fleet {
        testbed,
        heads,
        effort,
        rows: Vec::new(),
    };
    let start = started.elapsed();
    fleet.measure("each is looked at every second").await?;
    tokio::time::sleep(effort.quiet.saturating_sub(effort.window)).await;
    fleet.measure("quiet").await?;
    let (since_demand, since_look) = fleet.demand(&namespace).await?;
    fleet
        .measure(&format!("{} of them wait for nodes", effort.demanding))
        .await?;
    written_once(&namespace, effort).await?;
    Ok(Report {
        effort,
        start,
        rows: fleet.rows,
        since_demand,
        since_look,
    })
}

struct Fleet<'t> {
    testbed: &'t Testbed,
    heads: Heads,
    effort: Effort,
    rows: Vec<(String, Row)>,
}

impl Fleet<'_> {
    /// What the service does in a window, while nothing happens.
    async fn measure(&mut self, name: &str) -> Result<()> {
        let before = self.read().await?;
        tokio::time::sleep(self.effort.window).await;
        let after = self.read().await?;
        self.rows.push((name.to_owned(), Row::between(&before, &after)?));
        Ok(())
    }

    async fn read(&self) -> Result<Reading> {
        Reading::take(self.testbed, self.heads.asked().0).await
    }

    /// Some clusters want more nodes, all at the same moment.
    async fn demand(&mut self, namespace: &Namespace) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let mut events = watcher(clusters(namespace), watcher::Config::default()).boxed();
        while !matches!(events.try_next().await?, Some(watcher::Event::InitDone) | None) {}
        let before = self.read().await?;
        let demanded = Instant::now();
        let addresses = (0..self.effort.demanding).map(heads::address);
        self.heads.keep_waiting(addresses);
        let mut patched = BTreeMap::new();
        let all = async {
            while patched.len() < self.effort.demanding {
                let Some(watcher::Event::Apply(cluster)) = events.try_next().await? else {
                    continue;
                };
                if replicas(&cluster) > 0 {
                    patched.entry(cluster.name_any()).or_insert_with(Instant::now);
                }
            }
            anyhow::Ok(())
        };
        let all = tokio::time::timeout(PATIENCE, all).await;
        all.unwrap_or(Ok(()))?;
        ensure!(
            patched.len() == self.effort.demanding,
            "{} of {} clusters were patched within {PATIENCE:?}",
            patched.len(),
            self.effort.demanding
        );
        let after = self.read().await?;
        let name = format!("{} clusters want nodes at once", self.effort.demanding);
        self.rows.push((name, Row::between(&before, &after)?));
        let mut since_demand = Vec::new();
        let mut since_look = Vec::new();
        for number in 0..self.effort.demanding {
            let at = *patched
                .get(&name_of(number))
                .context("another cluster was patched")?;
            let told = self
                .heads
                .told(heads::address(number))
                .context("it was not even asked")?;
            since_demand.push(at.duration_since(demanded));
            since_look.push(at.duration_since(told));
        }
        since_demand.sort_unstable();
        since_look.sort_unstable();
        Ok((since_demand, since_look))
    }
}

/// Those that wanted nodes have been written to once, the others not at all.
async fn written_once(namespace: &Namespace, effort: Effort) -> Result<()> {
    let all = clusters(namespace)
        .list(&kube::api::ListParams::default())
        .await?;
    for number in 0..effort.clusters {
        let name = name_of(number);
        let cluster = all.items.iter().find(|cluster| cluster.name_any() == name);
        let generation = cluster.context(name.clone())?.metadata.generation;
        let expected = if number < effort.demanding { 2 } else { 1 };
        ensure!(
            generation == Some(expected),
            "{name} has generation {generation:?}, not {expected}"
        );
    }
    Ok(())
}

fn name_of(number: usize) -> String {
    format!("cluster-{number:04}")
}

fn clusters(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
    Api::namespaced_with(namespace.client().clone(), namespace.name(), &kind)
}

fn replicas(cluster: &DynamicObject) -> i64 {
    let groups = cluster.data["spec"]["workerGroupSpecs"].as_array();
    let replicas = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group["replicas"].as_i64());
    replicas.sum()
}

/// A RayCluster with the Pod of its head, which runs.
async fn cluster(namespace: &Namespace, heads: &Heads, number: usize) -> Result<()> {
    let name = name_of(number);
    let pod_name = format!("{name}-head");
    let address = heads::address(number);
    heads.add(address, &pod_name);
    let cluster = serde_json::from_value(manifest(&name))?;
    clusters(namespace)
        .create(&PostParams::default(), &cluster)
        .await
        .with_context(|| format!("create {name}"))?;
    let pods: Api<Pod> = Api::namespaced(namespace.client().clone(), namespace.name());
    pods.create(&PostParams::default(), &head(&name, &pod_name)?)
        .await
        .with_context(|| format!("create {pod_name}"))?;
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    pods.patch_status(&pod_name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .with_context(|| format!("let {pod_name} run"))?;
    Ok(())
}

fn manifest(name: &str) -> Value {
    let pod = |container: &str, cpu: &str| {
        let container = json!({
            "name": container,
            "image": "rayproject/ray:2.60.0",
            "resources": {"limits": {"cpu": cpu, "memory": "8Gi"}},
        });
        json!({"spec": {"containers": [container]}})
    };
    let group = |name: &str, cpu: &str| {
        json!({
            "groupName": name,
            "replicas": 0,
            "minReplicas": 0,
            "maxReplicas": 10,
            "rayStartParams": {},
            "template": pod("ray-worker", cpu),
        })
    };
    json!({
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {
            "rayVersion": "2.60.0",
            "enableInTreeAutoscaling": true,
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod("ray-head", "1")},
            "workerGroupSpecs": [group("small", "4"), group("middle", "8"), group("large", "16")],
        },
    })
}

/// As the operator would make it. Nobody is to look for a node for it.
fn head(cluster: &str, name: &str) -> Result<Pod> {
    let labels = json!({
        "ray.io/cluster": cluster,
        "ray.io/node-type": "head",
        "ray.io/group": "headgroup",
    });
    let container = json!({"name": "ray-head", "image": "rayproject/ray:2.60.0"});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }))?)
}

impl Report {
    /// Two tables in Markdown.
    pub fn markdown(&self) -> String {
        let Effort {
            clusters, demanding, ..
        } = self.effort;
        let mut text = format!(
            "{clusters} RayClusters. All had been looked at {:.1} s after the process was started.\n\n{}",
            self.start.as_secs_f64(),
            Row::HEADER
        );
        for (name, row) in &self.rows {
            let _ = writeln!(text, "| {name} {row}");
        }
        let _ = writeln!(
            text,
            "\nWhen {demanding} clusters want nodes at once, in milliseconds:\n\n| | p50 | p99 | longest |\n|---|---:|---:|---:|"
        );
        for (name, times) in [
            ("from the demand to the patch", &self.since_demand),
            ("from the look that saw it to the patch", &self.since_look),
        ] {
            let percentile =
                |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1].as_millis();
            let [p50, p99, longest] = [50, 99, 100].map(percentile);
            let _ = writeln!(text, "| {name} | {p50} | {p99} | {longest} |");
        }
        text
    }
}
