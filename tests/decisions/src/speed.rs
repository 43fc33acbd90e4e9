//! How long both take to decide about large clusters. Ray's scheduler is called in its own process, without the reading of the problem; so is ours.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use planner::{Memory, Policy};
use serde_json::{Value, json};

use crate::ray::Ray;

const GIB: u64 = 1 << 30;

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// Enough for numbers to publish.
    Full,
    /// Enough to see that everything works.
    Quick,
}

/// What was measured.
#[derive(Debug)]
pub struct Speeds {
    beside_ray: Vec<Row>,
    growth: Vec<Row>,
}

/// One problem.
#[derive(Debug)]
struct Row {
    crowd: Crowd,
    /// Nothing where Ray was not asked.
    ray: Option<f64>,
    ours: Duration,
    /// The most memory that deciding held, besides the problem itself.
    bytes: u64,
}

/// How many nodes there are, and how much waits.
type Size = (u64, u64);

/// A large cluster and what it waits for.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    kind: Kind,
    nodes: u64,
    /// Tasks, or bundles of gangs.
    waiting: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// One group, half of each node free.
    HalfFree,
    /// No node has anything free, so all comes new.
    Busy,
    /// Twenty groups, every fourth with GPUs, half of each node free.
    Heterogeneous,
    /// No two nodes have the same memory, and tasks ask for some.
    NoTwoAlike,
    /// Eight kinds of task, each for a zone of its own, or else for any.
    LabelSelectors,
    /// Placement groups of four that spread over nodes.
    Gangs,
}

const KINDS: [Kind; 6] = [
    Kind::HalfFree,
    Kind::Busy,
    Kind::Heterogeneous,
    Kind::NoTwoAlike,
    Kind::LabelSelectors,
    Kind::Gangs,
];

/// Asks both about what Ray can be asked in reasonable time, and us about more.
pub fn measure(effort: Effort) -> Result<Speeds> {
    let ray = Ray::make()?;
    let (beside_ray, larger, growth): (Size, &[Kind], &[Size]) = match effort {
        Effort::Full => (
            (200, 1_000),
            &[Kind::HalfFree, Kind::Busy, Kind::Heterogeneous],
            &[(1_250, 2_500), (2_500, 5_000), (5_000, 10_000), (10_000, 20_000)],
        ),
        Effort::Quick => ((10, 20), &[], &[(100, 200)]),
    };
    let crowd = |kind: Kind, (nodes, waiting): Size| Crowd { kind, nodes, waiting };
    let larger = larger.iter().map(|kind| crowd(*kind, (1_000, 1_000)));
    let beside_ray = KINDS
        .map(|kind| crowd(kind, beside_ray))
        .into_iter()
        .chain(larger);
    let growth = KINDS
        .into_iter()
        .flat_map(|kind| growth.iter().map(move |size| crowd(kind, *size)));
    Ok(Speeds {
        beside_ray: beside_ray
            .map(|crowd| crowd.row(effort, Some(&ray)))
            .collect::<Result<_>>()?,
        growth: growth
            .map(|crowd| crowd.row(effort, None))
            .collect::<Result<_>>()?,
    })
}

impl Crowd {
    fn row(self, effort: Effort, ray: Option<&Ray>) -> Result<Row> {
        let problem = self.problem();
        let snapshot = rayward_autoscaler::read_problem(&problem.to_string())?;
        let (memory, policy) = (Memory::default(), Policy::default());
        let decide = || std::hint::black_box(planner::plan(&snapshot, &memory, &policy));
        let plan = decide();
        ensure!(
            plan.infeasible == planner::Infeasible::default(),
            "{self:?}: {plan}"
        );
        let bytes = allocation_counter::measure(|| drop(decide())).bytes_max;
        let mut times: Vec<Duration> = (0..if effort == Effort::Full { 5 } else { 1 })
            .map(|_| {
                let before = Instant::now();
                drop(decide());
                before.elapsed()
            })
            .collect();
        times.sort();
        Ok(Row {
            crowd: self,
            ray: ray.map(|ray| ray.time(&problem)).transpose()?,
            ours: times[times.len() / 2],
            bytes,
        })
    }

    /// As `simulate` takes it.
    fn problem(self) -> Value {
        let node_types = (0..self.types()).map(|index| {
            let json = json!({ "resources": self.resources(index, 0), "max": 100_000, "labels": self.labels(index) });
            (group(index), json)
        });
        let nodes = (0..self.nodes).map(|index| {
            let total = self.resources(index, index);
            let mut available = total.clone();
            available["CPU"] = if self.kind == Kind::Busy {
                0.into()
            } else {
                (total["CPU"].as_u64().unwrap_or(0) / 2).into()
            };
            json!({
                "id": format!("pod-{index}"), "type": group(index % self.types()), "status": "running",
                "total": total, "available": available, "labels": self.labels(index),
            })
        });
        json!({
            "version": 1, "nodeTypes": node_types.collect::<serde_json::Map<_, _>>(), "nodes": nodes.collect::<Vec<_>>(),
            "requests": self.requests(), "gangs": self.gangs(),
        })
    }

    fn types(self) -> u64 {
        match self.kind {
            Kind::Heterogeneous => 20,
            Kind::LabelSelectors => 8,
            _ => 1,
        }
    }

    fn resources(self, index: u64, node: u64) -> Value {
        let group = index % self.types();
        let cpus = if self.kind == Kind::Heterogeneous {
            4 + 2 * (group % 9)
        } else {
            4
        };
        let memory = if self.kind == Kind::NoTwoAlike {
            16 * GIB + node * 4096
        } else {
            cpus * 4 * GIB
        };
        let mut resources = json!({ "CPU": cpus, "memory": memory });
        if group % 4 == 3 && self.kind == Kind::Heterogeneous {
            resources["GPU"] = 1.into();
        }
        resources
    }

    fn labels(self, index: u64) -> Value {
        json!({ "zone": format!("zone-{}", index % self.types()) })
    }

    fn requests(self) -> Value {
        match self.kind {
            Kind::Gangs => json!([]),
            Kind::NoTwoAlike => json!([{ "resources": { "CPU": 1, "memory": GIB }, "count": self.waiting }]),
            Kind::LabelSelectors => (0..self.types())
                .map(|zone| {
                    let zone = json!([{ "key": "zone", "operator": "in", "values": [format!("zone-{zone}")] }]);
                    json!({ "resources": { "CPU": 1 }, "labelSelectors": [zone, []], "count": self.waiting / self.types() })
                })
                .collect(),
            Kind::HalfFree | Kind::Busy | Kind::Heterogeneous => {
                json!([{ "resources": { "CPU": 1 }, "count": self.waiting }])
            }
        }
    }

    fn gangs(self) -> Value {
        if self.kind != Kind::Gangs {
            return json!([]);
        }
        (0..self.waiting / 4)
            .map(|gang| {
                let bundle =
                    json!({ "resources": { "CPU": 1 }, "antiAffinity": { "label": format!("gang-{gang}") } });
                json!({ "bundles": vec![bundle; 4] })
            })
            .collect()
    }
}

fn group(index: u64) -> String {
    format!("group-{index}")
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::HalfFree => "half free",
            Self::Busy => "nothing free",
            Self::Heterogeneous => "20 groups",
            Self::NoTwoAlike => "no two nodes alike",
            Self::LabelSelectors => "label selectors",
            Self::Gangs => "gangs of 4",
        })
    }
}

impl fmt::Display for Speeds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "| cluster | nodes | waiting | Ray, ms | Rayward, ms | times as fast |"
        )?;
        writeln!(formatter, "|---|---:|---:|---:|---:|---:|")?;
        for Row { crowd, ray, ours, .. } in &self.beside_ray {
            let (ray, ours) = (ray.unwrap_or(f64::NAN) * 1000.0, ours.as_secs_f64() * 1000.0);
            let Crowd { kind, nodes, waiting } = crowd;
            writeln!(
                formatter,
                "| {kind} | {nodes} | {waiting} | {ray:.0} | {ours:.2} | {:.0} |",
                ray / ours
            )?;
        }
        writeln!(
            formatter,
            "\n| cluster | nodes | waiting | Rayward, ms | at most, MiB |"
        )?;
        writeln!(formatter, "|---|---:|---:|---:|---:|")?;
        for Row {
            crowd, ours, bytes, ..
        } in &self.growth
        {
            let Crowd { kind, nodes, waiting } = crowd;
            let ours = ours.as_secs_f64() * 1000.0;
            writeln!(
                formatter,
                "| {kind} | {nodes} | {waiting} | {ours:.1} | {} |",
                bytes.div_ceil(1 << 20)
            )?;
        }
        Ok(())
    }
}
