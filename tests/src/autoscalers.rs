//! Ray's own autoscaler, in the head as KubeRay puts it there, and ours: the same demands, on like clusters beside each other, in turns. What each does is
//! seen from outside: by what the API server stores, and what it writes down of who asked it what.

mod look;
mod report;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::{Namespace, Part, Testbed};

use crate::bench::Form;
use crate::process::{Memory, cpu_time};
use look::{Looker, processes, requests};

const CLUSTER: &str = include_str!("../fixtures/five-groups-cluster.yaml");
const WAVES: &str = include_str!("../fixtures/workloads/waves.py");
const SECOND: Duration = Duration::from_secs(1);
/// How long everything of a wave is kept up once it runs.
const WAVE_SECONDS: &str = "3";

/// The demands: what the table calls them, and what the workload does.
const WAVES_ALL: &[(&str, &str)] = &[
    ("six tasks of one CPU", "tasks"),
    ("three actors of one CPU", "actors"),
    ("a task of four CPUs and two of one", "shapes"),
    ("a task of one GPU", "gpu"),
    ("a task that selects a label", "labels"),
    ("STRICT_SPREAD of three bundles of one CPU", "strict-spread"),
    ("SPREAD of three bundles of one CPU", "spread"),
    ("STRICT_PACK of two bundles of two CPUs", "strict-pack"),
    ("PACK of two bundles of two CPUs", "pack"),
    ("both hosts of a slice", "slice"),
    ("`request_resources` of six CPUs", "request"),
];

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many kinds of demand.
    pub waves: usize,
    /// How often each autoscaler meets each.
    pub rounds: usize,
    /// How long both are watched while nothing happens.
    pub rest: Duration,
}

impl From<Form> for Effort {
    fn from(form: Form) -> Self {
        match form {
            Form::Full => Self {
                waves: WAVES_ALL.len(),
                rounds: 1,
                rest: Duration::from_mins(2),
            },
            Form::Quick => Self {
                waves: 1,
                rounds: 1,
                rest: Duration::from_secs(6),
            },
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    waves: Vec<Wave>,
    rest: Duration,
    ray_at_rest: Cost,
    ours_at_rest: Cost,
}

/// One kind of demand, met by both.
#[derive(Debug)]
struct Wave {
    name: &'static str,
    /// What the workload calls it.
    demand: &'static str,
    ray: Vec<Round>,
    ours: Vec<Round>,
}

/// One kind of demand, met once.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// From when it was submitted until `replicas` were patched, and until all of it ran.
    patched: Duration,
    ran: Duration,
    /// From its end until `replicas` were back at none.
    emptied: Duration,
    /// How many worker Pods there were in all.
    nodes: usize,
    cost: Cost,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu: Duration,
    requests: usize,
    /// Bytes, in the end.
    resident: u64,
}

/// Who scales, and is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ray,
    Ours,
}

/// One cluster, and who scales it.
struct Subject<'n> {
    side: Side,
    namespace: &'n Namespace,
    head: String,
    /// The user that the autoscaler is to the API server.
    user: String,
    pids: Vec<i32>,
    looker: Looker,
}

/// Has both meet everything. The world has to have one autoscaler, and an audit log.
pub async fn run(testbed: &Testbed, effort: Effort) -> Result<Report> {
    let namespace = testbed.namespace("bench").await?;
    let (ray, ours) = tokio::try_join!(
        Subject::start(&namespace, Side::Ray),
        Subject::start(&namespace, Side::Ours)
    )?;
    let mut waves: Vec<Wave> = WAVES_ALL.iter().take(effort.waves).map(Wave::of).collect();
    for _ in 0..effort.rounds {
        for wave in &mut waves {
            wave.ray.push(ray.meets(wave.demand).await?);
            wave.ours.push(ours.meets(wave.demand).await?);
        }
    }
    let (ray_at_rest, ours_at_rest) = tokio::try_join!(ray.rests(effort.rest), ours.rests(effort.rest))?;
    Ok(Report {
        waves,
        rest: effort.rest,
        ray_at_rest,
        ours_at_rest,
    })
}

impl Wave {
    fn of(&(name, demand): &(&'static str, &'static str)) -> Self {
        let (ray, ours) = (Vec::new(), Vec::new());
        Self {
            name,
            demand,
            ray,
            ours,
        }
    }
}

impl Side {
    fn cluster(self) -> &'static str {
        match self {
            Self::Ray => "ray",
            Self::Ours => "rayward",
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Self::Ray => "ray",
            Self::Ours => "central",
        }
    }
}

impl<'n> Subject<'n> {
    async fn start(namespace: &'n Namespace, side: Side) -> Result<Self> {
        let name = side.cluster();
        let mut cluster = testbed::documents(CLUSTER)?.remove(0);
        cluster["metadata"]["name"] = json!(name);
        cluster["metadata"]["annotations"] = json!({ "rayward.dev/autoscaler": side.mode() });
        namespace.apply_all(&[cluster]).await?;
        let looker = Looker::start(namespace, name);
        let pod = namespace.ready_head(name, 240 * SECOND).await?;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let own = containers
            .filter(|container| container.name == "autoscaler")
            .count();
        ensure!(
            own == usize::from(side == Side::Ray),
            "{name} has {own} autoscalers in its head"
        );
        let (user, pids) = match side {
            Side::Ray => {
                let running = async || {
                    let found = processes(&["kuberay-autoscaler", namespace.name()])?;
                    ensure!(!found.is_empty(), "there is none");
                    anyhow::Ok(found)
                };
                let pids = namespace
                    .eventually(240 * SECOND, "Ray's autoscaler runs", running)
                    .await?;
                let account = pod.spec.and_then(|spec| spec.service_account_name);
                let account = account.context("the head has a service account")?;
                (
                    format!("system:serviceaccount:{}:{account}", namespace.name()),
                    pids,
                )
            }
            Side::Ours => (
                "system:serviceaccount:rayward-system:rayward-autoscaler".to_owned(),
                vec![namespace.testbed().pid(Part::Autoscaler(0)).await?],
            ),
        };
        let head = pod.metadata.name.context("the head has a name")?;
        let subject = Self {
            side,
            namespace,
            head,
            user,
            pids,
            looker,
        };
        subject.is_at_work().await?;
        Ok(subject)
    }

    /// It has looked at its cluster: what it takes to start is not what is measured.
    async fn is_at_work(&self) -> Result<()> {
        let status = ["ray", "status"].map(str::to_owned);
        let what = format!(
            "`ray status` of {} has heard of its autoscaler",
            self.side.cluster()
        );
        self.namespace
            .eventually(300 * SECOND, &what, async || {
                let output = self.namespace.exec(&self.head, "ray-head", &status).await?;
                ensure!(
                    output.stdout.contains("Pending:") && !output.stdout.contains("No autoscaling state"),
                    "{output:?}"
                );
                Ok::<_, anyhow::Error>(())
            })
            .await
    }

    async fn meets(&self, wave: &str) -> Result<Round> {
        let before = self.spent()?;
        let since = SystemTime::now();
        let command = ["python", "-c", WAVES, wave, WAVE_SECONDS].map(str::to_owned);
        let output = self.namespace.exec(&self.head, "ray-head", &command).await?;
        ensure!(
            output.succeeded(),
            "{wave} with {}: {output:?}",
            self.side.cluster()
        );
        let clock = |word: &str| clock(&output.stdout, word);
        let (submitted, ran, over) = (clock("submitted")?, clock("ran")?, clock("over")?);
        let what = format!("{} is empty again", self.side.cluster());
        let emptied = self
            .namespace
            .eventually(120 * SECOND, &what, async || self.looker.emptied_after(over));
        let emptied = emptied.await?;
        Ok(Round {
            patched: self.looker.grown_after(submitted)?.duration_since(submitted)?,
            ran: ran.duration_since(submitted)?,
            emptied: emptied.duration_since(over)?,
            nodes: self.looker.workers_since(since),
            cost: self.cost(before, since)?,
        })
    }

    async fn rests(&self, duration: Duration) -> Result<Cost> {
        let before = self.spent()?;
        let since = SystemTime::now();
        tokio::time::sleep(duration).await;
        self.cost(before, since)
    }

    fn cost(&self, cpu_before: Duration, since: SystemTime) -> Result<Cost> {
        let memory = self.pids.iter().map(|&pid| Memory::of(pid));
        let memory = memory.collect::<Result<Vec<_>>>()?;
        Ok(Cost {
            cpu: self.spent()?.saturating_sub(cpu_before),
            requests: requests(&self.namespace.testbed().audit_log(), &self.user, since)?,
            resident: memory.iter().map(|memory| memory.resident).sum(),
        })
    }

    fn spent(&self) -> Result<Duration> {
        self.pids.iter().map(|&pid| cpu_time(pid)).sum()
    }
}

/// A line of the workload, such as `ran 1700000000.5`.
fn clock(output: &str, word: &str) -> Result<SystemTime> {
    let mut words = output.lines().filter_map(|line| line.split_once(' '));
    let (_, seconds) = words
        .find(|(first, _)| *first == word)
        .with_context(|| format!("`{word}` is not in {output}"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds.parse()?)?)
}
