//! What is decided about: problems written by hand, and problems at random, the same ones in every run.
//!
//! Nothing that we decide otherwise on purpose (`docs/guides/simulate.md`) is among them, or every such problem would have to be told from a
//! mistake: amounts are binary fractions, so that Ray's doubles are exact; where nodes are above a maximum, nothing waits; every minimum fits
//! below `maxNodes`; a head that is stated runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde_json::{Map, Value, json};

/// A problem, as `simulate` takes it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its file, or its shape and seed.
    pub name: String,
    /// The problem.
    pub json: Value,
}

/// What problems at random have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    name: &'static str,
    /// What nodes may have besides CPUs.
    resources: &'static [Resource],
    /// How many types of worker there are.
    types: (u64, u64),
    nodes: (u64, u64),
    /// How many different requests wait.
    requests: (u64, u64),
    /// What else there is.
    with: &'static [With],
}

/// What some shapes have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum With {
    Head,
    Labels,
    Priorities,
    Gangs,
    Constraint,
    /// Tight maxima and `maxNodes`, and minima.
    Limits,
    /// Nodes that were idle for about as long as they may be, and minima.
    Idle,
}

/// A resource, in what amounts nodes have it and requests ask for it.
#[derive(Debug)]
struct Resource {
    name: &'static str,
    totals: &'static [f64],
    requests: &'static [f64],
}

const GIB: f64 = 1_073_741_824.0;
const CPU: Resource = Resource {
    name: "CPU",
    totals: &[1.0, 2.0, 4.0, 8.0, 16.0],
    requests: &[0.0, 0.25, 0.5, 1.0, 1.0, 2.0, 3.0, 4.0],
};
const MEMORY: Resource = Resource {
    name: "memory",
    totals: &[GIB, 4.0 * GIB, 16.0 * GIB],
    requests: &[0.25 * GIB, GIB, 3.0 * GIB, 8.0 * GIB],
};
const GPU: Resource = Resource {
    name: "GPU",
    totals: &[0.0, 1.0, 2.0, 8.0],
    requests: &[0.0, 0.25, 0.5, 1.0, 2.0],
};
const DISK: Resource = Resource {
    name: "disk",
    totals: &[0.5, 1.0, 64.0],
    requests: &[0.125, 1.0, 5.0],
};
const IMPLICIT: Resource = Resource {
    name: "node:__internal_implicit_resource_a",
    totals: &[1.0],
    requests: &[0.5, 1.0],
};

/// Of which parts are no binary fractions.
const TPU: Resource = Resource {
    name: "TPU",
    totals: &[3.0, 5.0, 6.0, 7.0, 10.0, 100.0],
    requests: &[1.0, 2.0, 3.0, 4.0],
};
const LICENCE: Resource = Resource {
    name: "licence",
    totals: &[3.0, 7.0, 11.0],
    requests: &[1.0, 2.0, 5.0],
};

const DENSE: Shape = Shape {
    name: "dense",
    resources: &[],
    types: (1, 3),
    nodes: (0, 6),
    requests: (1, 6),
    with: &[],
};

/// What is asked about.
pub const SHAPES: [Shape; 10] = [
    DENSE,
    Shape {
        name: "gpus",
        resources: &[MEMORY, GPU],
        types: (2, 4),
        ..DENSE
    },
    Shape {
        name: "custom resources",
        resources: &[DISK, GPU, IMPLICIT],
        types: (2, 5),
        with: &[With::Priorities],
        ..DENSE
    },
    Shape {
        name: "thirds",
        resources: &[MEMORY, TPU, LICENCE],
        types: (2, 5),
        ..DENSE
    },
    Shape {
        name: "selectors",
        resources: &[MEMORY],
        types: (2, 4),
        with: &[With::Labels],
        ..DENSE
    },
    Shape {
        name: "gangs",
        resources: &[GPU],
        requests: (0, 2),
        with: &[With::Labels, With::Gangs],
        ..DENSE
    },
    Shape {
        name: "limits",
        resources: &[MEMORY],
        types: (1, 4),
        nodes: (0, 9),
        with: &[With::Head, With::Limits],
        ..DENSE
    },
    Shape {
        name: "idle",
        resources: &[GPU],
        nodes: (1, 9),
        requests: (0, 2),
        with: &[With::Head, With::Constraint, With::Idle],
        ..DENSE
    },
    Shape {
        name: "crowd",
        resources: &[MEMORY, DISK],
        types: (3, 6),
        nodes: (10, 30),
        requests: (5, 15),
        with: &[With::Labels, With::Priorities],
    },
    Shape {
        name: "everything",
        resources: &[MEMORY, GPU, DISK],
        types: (2, 5),
        nodes: (0, 12),
        requests: (0, 8),
        with: &[
            With::Head,
            With::Labels,
            With::Priorities,
            With::Gangs,
            With::Constraint,
            With::Limits,
            With::Idle,
        ],
    },
];

/// The problems of `problems/`, a file each.
pub fn written() -> Result<Vec<Problem>> {
    files("problems")
}

/// The problems of `improvements/`, about which we decide otherwise on purpose.
pub fn improvements() -> Result<Vec<Problem>> {
    files("improvements")
}

/// The problems of a folder, in the order of their names.
fn files(folder: &str) -> Result<Vec<Problem>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        problems.push(Problem {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            json: serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?,
        });
    }
    ensure!(!problems.is_empty(), "{} holds no problem", folder.display());
    problems.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(problems)
}

/// A problem at random, always the same for the same seed.
pub fn random(shape: &Shape, seed: u64) -> Problem {
    let mut dice = Dice {
        shape: *shape,
        random: Rng::with_seed(seed),
    };
    Problem {
        name: format!("{}, seed {seed}", shape.name),
        json: dice.problem(),
    }
}

struct Dice {
    shape: Shape,
    random: Rng,
}

/// A type of node while a problem is made up.
struct NodeType {
    name: String,
    resources: Map<String, Value>,
    labels: Value,
    is_head: bool,
    there: u64,
    min: u64,
    max: u64,
}

impl Dice {
    fn problem(&mut self) -> Value {
        let mut types: Vec<NodeType> = (0..self.between(self.shape.types))
            .map(|index| self.node_type(index))
            .collect();
        let mut nodes: Vec<Value> = (0..self.between(self.shape.nodes))
            .map(|index| self.node(index, &mut types))
            .collect();
        if self.with(With::Head) {
            types.insert(0, head());
            let place = self.random.usize(0..=nodes.len());
            nodes.insert(place, self.running("head-pod", &types[0]));
        }
        // Ray plans with nodes that it has just chosen to go, and we do not, so then nothing may wait.
        let surplus = self.with(With::Limits) && self.chance(30);
        for node_type in types.iter_mut().filter(|node_type| !node_type.is_head) {
            node_type.max = if surplus {
                self.random.u64(0..=node_type.there + 1)
            } else {
                node_type.there + self.between(if self.with(With::Limits) { (0, 2) } else { (2, 9) })
            };
            if (self.with(With::Limits) || self.with(With::Idle)) && self.chance(50) {
                node_type.min = self.random.u64(0..=node_type.max);
            }
        }
        let mut problem = json!({ "version": 1, "nodeTypes": self.written_types(&types), "nodes": nodes });
        if self.with(With::Limits) && self.chance(60) {
            problem["maxNodes"] = self.max_nodes(&types, surplus).into();
        }
        if self.with(With::Idle) && self.chance(50) {
            problem["idleTimeoutSeconds"] = self.one(&[0, 1, 5]).into();
        }
        if !surplus {
            problem["requests"] = self.batches(self.shape.requests);
            if self.with(With::Gangs) {
                problem["gangs"] = (0..self.between((1, 3))).map(|index| self.gang(index)).collect();
            }
            if self.with(With::Constraint) && self.chance(50) {
                problem["constraint"] = self.batches((0, 2));
            }
        }
        problem
    }

    fn node_type(&mut self, index: u64) -> NodeType {
        let mut resources = Map::new();
        for resource in std::iter::once(&CPU).chain(self.shape.resources) {
            if self.chance(if resource.name == CPU.name { 90 } else { 50 }) {
                resources.insert(resource.name.to_owned(), number(self.one(resource.totals)));
            }
        }
        NodeType {
            // Not in the order of the alphabet.
            name: format!("type-{}", (index * 7 + 3) % 10),
            resources,
            labels: self.labels(),
            is_head: false,
            there: 0,
            min: 0,
            max: 0,
        }
    }

    fn written_types(&mut self, types: &[NodeType]) -> Value {
        let mut written = Map::new();
        for node_type in types {
            let mut json =
                json!({ "resources": node_type.resources, "max": node_type.max, "labels": node_type.labels });
            if node_type.is_head {
                json["kind"] = "head".into();
            } else {
                json["min"] = node_type.min.into();
                if self.with(With::Priorities) && self.chance(50) {
                    json["priority"] = self.one(&[-1, 1, 5]).into();
                }
                if self.with(With::Idle) && self.chance(30) {
                    json["idleTimeoutSeconds"] = self.one(&[0, 2, 10]).into();
                }
            }
            written.insert(node_type.name.clone(), json);
        }
        written.into()
    }

    /// Room for everything that a minimum asks for. Where it does not, some of what is there may be too much.
    fn max_nodes(&mut self, types: &[NodeType], surplus: bool) -> u64 {
        let workers = || types.iter().filter(|node_type| !node_type.is_head);
        let heads = types.len() as u64 - workers().count() as u64;
        let launches = workers().any(|node_type| node_type.there < node_type.min);
        let staying: u64 = workers()
            .map(|node_type| node_type.there.clamp(node_type.min, node_type.max))
            .sum();
        let staying = staying + heads;
        if surplus && !launches {
            self.random.u64(1..=staying + 1)
        } else {
            (staying + self.between((0, 4))).max(1)
        }
    }

    fn node(&mut self, index: u64, types: &mut [NodeType]) -> Value {
        let place = self.random.usize(0..types.len());
        let node_type = &mut types[place];
        node_type.there += 1;
        let id = format!("pod-{index}");
        if self.chance(20) {
            return json!({ "id": id, "type": node_type.name, "status": "pending" });
        }
        self.running(&id, node_type)
    }

    fn running(&mut self, id: &str, node_type: &NodeType) -> Value {
        let mut total = node_type.resources.clone();
        if self.chance(10) {
            // Made when its type was another, or resized since.
            total.insert(CPU.name.to_owned(), number(self.one(CPU.totals)));
        }
        let labels = if self.chance(10) {
            self.labels()
        } else {
            node_type.labels.clone()
        };
        let mut available = Map::new();
        let busy = self.chance(60);
        for (name, total) in &total {
            let free = if busy { self.random.u32(0..=4) } else { 4 };
            if free > 0 {
                let total = total.as_f64().unwrap_or_default();
                available.insert(name.clone(), number(total * f64::from(free) / 4.0));
            }
        }
        let mut node = json!({
            "id": id, "type": node_type.name, "status": "running",
            "total": total, "available": available, "labels": labels,
        });
        if self.with(With::Idle) {
            node["idleMilliseconds"] = self.one(&[0, 0, 1000, 1001, 5001, 10_001, 60_000, 60_001]).into();
        }
        if self.with(With::Gangs) && self.chance(20) {
            node["dynamicLabels"] = json!({ group(self.random.u64(0..3)): "" });
        }
        node
    }

    fn labels(&mut self) -> Value {
        let mut labels = Map::new();
        for (key, values) in LABELS {
            if self.with(With::Labels) && self.chance(70) {
                labels.insert(key.to_owned(), self.one(&values).into());
            }
        }
        labels.into()
    }

    fn batches(&mut self, different: (u64, u64)) -> Value {
        let batches = (0..self.between(different)).map(|_| {
            let mut batch = self.request();
            batch["count"] = self.one(&[1, 1, 2, 3, 5, 9]).into();
            if self.with(With::Gangs) && self.chance(10) {
                batch[self.one(&["antiAffinity", "affinity"])] =
                    json!({ "label": APART.0, "value": APART.1 });
            }
            batch
        });
        batches.collect()
    }

    fn request(&mut self) -> Value {
        let mut resources = Map::new();
        for resource in std::iter::once(&CPU).chain(self.shape.resources) {
            if self.chance(if resource.name == CPU.name { 85 } else { 30 }) {
                resources.insert(resource.name.to_owned(), number(self.one(resource.requests)));
            }
        }
        let mut request = json!({ "resources": resources });
        if self.with(With::Labels) && self.chance(70) {
            request["labelSelectors"] = (0..self.between((0, 3))).map(|_| self.selector()).collect();
        }
        request
    }

    fn selector(&mut self) -> Value {
        let terms = (0..self.between((0, 2))).map(|_| {
            // A label that only what is placed brings to a node.
            if self.with(With::Gangs) && self.chance(10) {
                return json!({ "key": APART.0, "operator": self.one(&["in", "notIn"]), "values": [APART.1] });
            }
            let (key, all) = self.one(&LABELS);
            let from = self.random.usize(0..all.len());
            let to = self.random.usize(from + 1..=all.len());
            json!({ "key": key, "operator": self.one(&["in", "notIn"]), "values": all[from..to] })
        });
        terms.collect()
    }

    fn gang(&mut self, index: u64) -> Value {
        let strategy = self.one(&["PACK", "STRICT_PACK", "STRICT_SPREAD"]);
        let label = json!({ "label": group(index), "value": "" });
        let equal = self.chance(50).then(|| self.request());
        let bundles = (0..self.between((1, 4))).map(|_| {
            let mut bundle = equal.clone().unwrap_or_else(|| self.request());
            match strategy {
                "STRICT_PACK" => bundle["affinity"] = label.clone(),
                "STRICT_SPREAD" => bundle["antiAffinity"] = label.clone(),
                _ => {}
            }
            bundle
        });
        let bundles: Vec<Value> = bundles.collect();
        json!({ "details": format!("{index}:{strategy}|PENDING"), "bundles": bundles })
    }

    fn with(&self, what: With) -> bool {
        self.shape.with.contains(&what)
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        self.random.u64(least..=most)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.u32(0..100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.usize(0..of.len())]
    }
}

const LABELS: [(&str, [&str; 3]); 2] = [("zone", ["a", "b", "c"]), ("tier", ["x", "y", "z"])];

/// What keeps some tasks and actors apart.
const APART: (&str, &str) = ("apart", "yes");

/// What a placement group is called on nodes.
fn group(index: u64) -> String {
    format!("_PG_{index}")
}

fn head() -> NodeType {
    let resources = json!({ "CPU": 2, "node:__internal_head__": 1 });
    NodeType {
        name: "head".to_owned(),
        resources: resources.as_object().cloned().unwrap_or_default(),
        labels: json!({}),
        is_head: true,
        there: 1,
        min: 0,
        max: 1,
    }
}

/// Whole where the amount is whole.
fn number(amount: f64) -> Value {
    if amount.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "it is small and whole")]
        let whole = amount as i64;
        whole.into()
    } else {
        amount.into()
    }
}
