//! A fleet of RayClusters under one process of our autoscaler: what it takes, and how soon it acts.
//!
//! The API server is real, and so are the RayClusters and the Pods of their heads in it. Nobody else is there: no operator makes the Pods and no
//! node runs them, they are written here, with the status of a head that runs. Who answers at their addresses is in [`heads`].

mod heads;
mod objects;
mod prometheus;
mod reading;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use kube::api::ListParams;
use kube::runtime::watcher;
use testbed::{Namespace, Options, Part, Testbed};

use crate::bench::Form;
use heads::Heads;
use objects::{GROUPS, Queries, cluster, clusters, empty, name_of, policies, policy, replicas};
use prometheus::Prometheus;
use reading::{Reading, Row};

/// How many objects are written at a time.
const WRITES_AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_mins(5);

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
    /// How many queries all policies share.
    pub queries: usize,
}

impl From<Form> for Effort {
    fn from(form: Form) -> Self {
        match form {
            Form::Full => Self {
                clusters: 1000,
                demanding: 100,
                window: Duration::from_secs(45),
                quiet: Duration::from_mins(5),
                queries: 200,
            },
            Form::Quick => Self {
                clusters: 24,
                demanding: 6,
                window: Duration::from_secs(3),
                quiet: Duration::from_secs(1),
                queries: 10,
            },
        }
    }
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
        autoscaler_arguments: vec![format!("--prometheus=http://{}", prometheus::ADDRESS)],
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
    let mut fleet = Fleet {
        testbed,
        namespace,
        heads: Heads::start().await?,
        prometheus: Prometheus::start().await?,
        effort,
        rows: Vec::new(),
    };
    let made = stream::iter(0..effort.clusters).map(|number| cluster(&fleet.namespace, &fleet.heads, number));
    made.buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await?;

    let start = fleet.start().await?;
    fleet.measure("each is looked at every second").await?;
    tokio::time::sleep(effort.quiet.saturating_sub(effort.window)).await;
    fleet.measure("quiet").await?;
    let (since_demand, since_look) = fleet.demand().await?;
    fleet
        .measure(&format!("{} of them wait for nodes", effort.demanding))
        .await?;
    written_once(&fleet.namespace, effort).await?;
    fleet.follow_policies().await?;
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
    namespace: Namespace,
    heads: Heads,
    prometheus: Prometheus,
    effort: Effort,
    rows: Vec<(String, Row)>,
}

impl Fleet<'_> {
    /// Starts the service; says how long it took until it had looked at all clusters.
    async fn start(&self) -> Result<Duration> {
        self.heads.forget();
        let started = Instant::now();
        self.testbed.start_part(Part::Autoscaler(0)).await?;
        self.testbed
            .eventually(PATIENCE, "all heads have been asked", async || {
                let unasked = self.heads.unasked();
                ensure!(unasked == 0, "{unasked} have not");
                Ok(())
            })
            .await?;
        Ok(started.elapsed())
    }

    /// What the service does in a window, while nothing happens.
    async fn measure(&mut self, name: &str) -> Result<()> {
        let before = self.read().await?;
        tokio::time::sleep(self.effort.window).await;
        let after = self.read().await?;
        self.rows.push((name.to_owned(), Row::between(&before, &after)?));
        Ok(())
    }

    async fn read(&self) -> Result<Reading> {
        let queries = self.prometheus.asked().values().sum();
        Reading::take(self.testbed, self.heads.asked(), queries).await
    }

    /// Some clusters want more nodes, all at the same moment.
    async fn demand(&mut self) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let mut events = watcher(clusters(&self.namespace), watcher::Config::default()).boxed();
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
        let name = format!("{} want nodes at once", self.effort.demanding);
        self.rows.push((name, Row::between(&before, &after)?));
        let mut since_demand = Vec::new();
        let mut since_look = Vec::new();
        for number in 0..self.effort.demanding {
            let at = *patched
                .get(&name_of(number))
                .context("another cluster was patched")?;
            let told = self.heads.told(heads::address(number));
            since_demand.push(at.duration_since(demanded));
            since_look.push(at.duration_since(told.context("it was not even asked")?));
        }
        since_demand.sort_unstable();
        since_look.sort_unstable();
        Ok((since_demand, since_look))
    }

    /// Each group follows a policy: first all of them share a few queries, then each has one of its own, as an object of KEDA's has.
    async fn follow_policies(&mut self) -> Result<()> {
        let Effort {
            clusters, queries, ..
        } = self.effort;
        self.testbed.stop(Part::Autoscaler(0)).await?;
        let emptied = stream::iter(0..self.effort.demanding).map(|number| empty(&self.namespace, number));
        emptied
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.write_policies(Queries::Shared(queries)).await?;
        self.start().await?;
        self.policies_are_told().await?;
        let each = GROUPS.len();
        self.measure(&format!("{each} policies each, {queries} queries in all"))
            .await?;
        let asked = self.prometheus.asked();
        let [least, most] =
            [asked.values().min(), asked.values().max()].map(|asked| asked.copied().unwrap_or(0));
        ensure!(
            asked.len() == queries && most - least <= 1,
            "{} queries were put from {least} to {most} times",
            asked.len()
        );
        self.testbed.stop(Part::Autoscaler(0)).await?;
        self.write_policies(Queries::Own).await?;
        self.start().await?;
        self.policies_are_told().await?;
        self.measure(&format!(
            "{each} policies each, {} queries in all",
            clusters * each
        ))
        .await
    }

    async fn write_policies(&self, queries: Queries) -> Result<()> {
        let written = stream::iter(0..self.effort.clusters * GROUPS.len())
            .map(|number| policy(&self.namespace, number, queries));
        written.buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await
    }

    /// Waits until all policies say that they are followed as they are now, and that everything that they ask is known.
    async fn policies_are_told(&self) -> Result<()> {
        let policies = policies(&self.namespace);
        self.testbed
            .eventually(PATIENCE, "all policies are followed", async || {
                let all = policies.list(&ListParams::default()).await?.items;
                let followed = all.iter().filter(|policy| objects::is_followed(policy)).count();
                ensure!(followed == all.len(), "{followed} of {} are", all.len());
                Ok(())
            })
            .await
    }
}

/// Those that wanted nodes have been written to once, the others not at all.
async fn written_once(namespace: &Namespace, effort: Effort) -> Result<()> {
    let all = clusters(namespace).list(&ListParams::default()).await?;
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
