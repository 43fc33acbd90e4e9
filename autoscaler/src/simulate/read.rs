//! A scheduling problem as JSON, read strictly: what is not known, said twice or cannot be is refused, with its place.
//!
//! What counts for nothing is left out here: nodes on their way out, and requests that are made no times. The other form of a problem, a
//! RayCluster and what its head says, is read in `cluster`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use planner::{
    Batch, Demand, Gang, Group, Label, Node, Operator, Request, Role, Running, Snapshot, State, Term,
};
use ray::path::Pointer;
use ray::resources::{Amount, Resources};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::gcs::Report;
use crate::observe::IDLE_SECONDS_MAX;

/// What is wrong with a problem, and where.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) struct Misfit {
    at: Pointer,
    problem: String,
}

/// Reads a problem.
pub(super) fn problem(text: &str) -> Result<Snapshot, Misfit> {
    let mut json = serde_json::Deserializer::from_str(text);
    let problem: Problem = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Misfit::new(&ray::pointer_of(error.path()), error.inner().to_string()))?;
    json.end()
        .map_err(|error| Misfit::new(&Pointer::root(), error.to_string()))?;
    problem.snapshot()
}

impl Misfit {
    pub(crate) fn new(at: &Pointer, problem: impl Into<String>) -> Self {
        Self {
            at: at.clone(),
            problem: problem.into(),
        }
    }
}

/// `/nodes/0/type: ..`; of the document as a whole only what is wrong.
impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at != Pointer::root() {
            write!(formatter, "{}: ", self.at)?;
        }
        formatter.write_str(&self.problem)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Problem {
    #[serde(rename = "version", deserialize_with = "version")]
    _version: (),
    ray_cluster: Option<Value>,
    cluster_resource_state: Option<Report>,
    node_types: Option<Entries<NodeType>>,
    nodes: Option<Vec<ProblemNode>>,
    requests: Option<Vec<Shape>>,
    gangs: Option<Vec<Bundles>>,
    constraint: Option<Vec<Shape>>,
    max_nodes: Option<u32>,
    idle_timeout_seconds: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NodeType {
    resources: Amounts,
    #[serde(default)]
    min: u32,
    max: u32,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    labels: Entries<String>,
    #[serde(default)]
    priority: i32,
    idle_timeout_seconds: Option<Seconds>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Head,
    #[default]
    Worker,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProblemNode {
    id: String,
    #[serde(rename = "type")]
    node_type: String,
    status: Status,
    total: Option<Amounts>,
    available: Option<Amounts>,
    #[serde(default)]
    labels: Entries<String>,
    #[serde(default)]
    dynamic_labels: Entries<String>,
    #[serde(default)]
    idle_milliseconds: u64,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Running,
    Pending,
    Leaving,
}

/// A request, or a bundle of a gang, which has no count.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Shape {
    resources: Amounts,
    count: Option<u32>,
    #[serde(default)]
    label_selectors: Vec<Vec<SelectorTerm>>,
    anti_affinity: Option<Affinity>,
    affinity: Option<Affinity>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SelectorTerm {
    key: String,
    operator: SelectorOperator,
    values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SelectorOperator {
    In,
    NotIn,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Affinity {
    label: String,
    #[serde(default)]
    value: String,
}

/// A gang.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Bundles {
    #[serde(default)]
    details: String,
    #[serde(default)]
    bundles: Vec<Shape>,
}

impl Problem {
    fn snapshot(self) -> Result<Snapshot, Misfit> {
        if self.max_nodes == Some(0) {
            return Err(Misfit::new(
                &Pointer::root().key("maxNodes"),
                "0 leaves no room for the head: write 1 or more, or null",
            ));
        }
        let max_nodes = self.max_nodes.map(u64::from);
        let idle_milliseconds_max = self.idle_timeout_seconds.map(Seconds::milliseconds);
        let snapshot = match (self.ray_cluster.is_some(), self.cluster_resource_state.is_some()) {
            (false, false) => self.stated()?,
            _ => self.observed()?,
        };
        Ok(Snapshot {
            max_nodes,
            idle_milliseconds_max: idle_milliseconds_max.unwrap_or(snapshot.idle_milliseconds_max),
            ..snapshot
        })
    }

    /// A cluster told part by part.
    fn stated(self) -> Result<Snapshot, Misfit> {
        let root = Pointer::root();
        let node_types = self.node_types.ok_or_else(|| missing("nodeTypes"))?;
        let mut groups = groups(node_types, &root.key("nodeTypes"))?;
        let nodes = nodes(self.nodes.unwrap_or_default(), &groups, &root.key("nodes"))?;
        for group in &mut groups {
            group.replicas = nodes.iter().filter(|node| node.group == group.name).count() as u64;
        }
        Ok(Snapshot {
            groups,
            nodes,
            demand: Demand {
                requests: batches(self.requests.unwrap_or_default()),
                gangs: gangs(self.gangs.unwrap_or_default(), &root.key("gangs"))?,
                constraint: self.constraint.map(batches),
            },
            idle_milliseconds_max: u64::from(IDLE_SECONDS_MAX) * 1000,
            ..Snapshot::default()
        })
    }

    /// A cluster as Kubernetes and its head tell of it.
    fn observed(self) -> Result<Snapshot, Misfit> {
        let parts = [
            ("nodeTypes", self.node_types.is_some()),
            ("nodes", self.nodes.is_some()),
            ("requests", self.requests.is_some()),
            ("gangs", self.gangs.is_some()),
            ("constraint", self.constraint.is_some()),
        ];
        if let Some((key, _)) = parts.into_iter().find(|(_, there)| *there) {
            return Err(Misfit::new(
                &Pointer::root().key(key),
                "rayCluster and clusterResourceState say it already: write one or the other",
            ));
        }
        let cluster = self.ray_cluster.ok_or_else(|| missing("rayCluster"))?;
        let state = self.cluster_resource_state;
        super::cluster::snapshot(&cluster, state.ok_or_else(|| missing("clusterResourceState"))?)
    }
}

fn missing(key: &str) -> Misfit {
    Misfit::new(&Pointer::root(), format!("missing field `{key}`"))
}

fn groups(node_types: Entries<NodeType>, at: &Pointer) -> Result<Vec<Group>, Misfit> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, node_type) in node_types.0 {
        let role = match node_type.kind {
            Kind::Head => Role::Head,
            Kind::Worker => Role::Worker,
        };
        if let Some(head) = groups
            .iter()
            .find(|group| role == Role::Head && group.role == role)
        {
            return Err(Misfit::new(
                &at.key(name).key("kind"),
                format!("`{}` is the head already: there is one", head.name),
            ));
        }
        if role == Role::Worker && node_type.min > node_type.max {
            return Err(Misfit::new(
                &at.key(name).key("min"),
                format!("{} is above max, which is {}", node_type.min, node_type.max),
            ));
        }
        groups.push(Group {
            name,
            role,
            resources: Some(node_type.resources.0),
            labels: node_type.labels.map(),
            min: node_type.min.into(),
            max: node_type.max.into(),
            hosts: 1,
            priority: node_type.priority,
            idle_milliseconds_max: node_type.idle_timeout_seconds.map(Seconds::milliseconds),
            ..Group::default()
        });
    }
    Ok(groups)
}

fn nodes(nodes: Vec<ProblemNode>, groups: &[Group], at: &Pointer) -> Result<Vec<Node>, Misfit> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut there = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let at = at.index(index);
        if let Some(twin) = places.insert(node.id.clone(), index) {
            return Err(Misfit::new(
                &at.key("id"),
                format!("`{}` is also the id of node {twin}", node.id),
            ));
        }
        let (id, group) = (node.id.clone(), node.node_type.clone());
        let known = groups.iter().any(|group| group.name == node.node_type);
        let state = match node.status {
            Status::Running => State::Running(running(node, &at)?),
            Status::Pending if known => State::Pending,
            Status::Pending => {
                return Err(Misfit::new(
                    &at.key("type"),
                    format!(
                        "there is no node type `{}`, so nobody knows what the node will offer",
                        node.node_type
                    ),
                ));
            }
            Status::Leaving => continue,
        };
        there.push(Node {
            id,
            group,
            slice: None,
            created: None,
            state,
        });
    }
    Ok(there)
}

fn running(node: ProblemNode, at: &Pointer) -> Result<Running, Misfit> {
    let stated = |key: &'static str, amounts: Option<Amounts>| {
        amounts.ok_or_else(|| Misfit::new(&at.key(key), "a running node has to say it"))
    };
    let total = stated("total", node.total)?.0;
    let available = stated("available", node.available)?.0;
    for (name, amount) in &available {
        let whole = total.get(name).unwrap_or_default();
        if *amount > whole {
            return Err(Misfit::new(
                &at.key("available").key(name.clone()),
                format!("{amount} is above the total, which is {whole}"),
            ));
        }
    }
    let mut labels = node.labels.map();
    labels.append(&mut node.dynamic_labels.map());
    Ok(Running {
        total,
        // What is used up is not listed, as in what Ray says.
        available: available
            .iter()
            .filter(|(_, amount)| **amount != Amount::ZERO)
            .map(|(name, amount)| (name.as_str(), *amount))
            .collect(),
        labels,
        idle_milliseconds: node.idle_milliseconds,
    })
}

/// Requests that are made at least once.
pub(crate) fn batches(shapes: Vec<Shape>) -> Vec<Batch> {
    let batches = shapes.into_iter().map(|shape| Batch {
        count: shape.count.unwrap_or(1).into(),
        request: shape.request(),
    });
    batches.filter(|batch| batch.count > 0).collect()
}

/// Gangs, which stand at a place.
pub(crate) fn gangs(gangs: Vec<Bundles>, at: &Pointer) -> Result<Vec<Gang>, Misfit> {
    let gangs = gangs.into_iter().enumerate().map(|(index, gang)| {
        let at = at.index(index).key("bundles");
        let bundles = gang.bundles.into_iter().enumerate();
        Ok(Gang {
            details: gang.details,
            bundles: bundles
                .map(|(index, shape)| bundle(shape, &at.index(index)))
                .collect::<Result<_, _>>()?,
        })
    });
    gangs.collect()
}

fn bundle(shape: Shape, at: &Pointer) -> Result<Request, Misfit> {
    if shape.count.is_some() {
        return Err(Misfit::new(
            &at.key("count"),
            "a bundle has no count: list it as often as it is needed",
        ));
    }
    if shape.affinity.is_some() && shape.anti_affinity.is_some() {
        return Err(Misfit::new(
            &at.key("affinity"),
            "a bundle has affinity or antiAffinity, not both",
        ));
    }
    Ok(shape.request())
}

impl Shape {
    fn request(self) -> Request {
        let label = |affinity: Affinity| Label {
            name: affinity.label,
            value: affinity.value,
        };
        let term = |term: SelectorTerm| Term {
            key: term.key,
            operator: match term.operator {
                SelectorOperator::In => Operator::In,
                SelectorOperator::NotIn => Operator::NotIn,
            },
            values: term.values.into_iter().collect(),
        };
        let selectors = self.label_selectors.into_iter();
        Request {
            resources: self.resources.0,
            selectors: selectors
                .map(|selector| selector.into_iter().map(term).collect())
                .collect(),
            affinity: self.affinity.map(label),
            anti_affinity: self.anti_affinity.map(label),
        }
    }
}

pub(crate) fn version<'de, D: Deserializer<'de>>(json: D) -> Result<(), D::Error> {
    match u64::deserialize(json)? {
        1 => Ok(()),
        other => Err(D::Error::custom(format_args!("{other} is not known: write 1"))),
    }
}

/// How long something takes; parts of a second too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(f64);

impl Seconds {
    /// Whole ones: what is measured is whole, and it has to be more.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is no less than 0, and a float cast saturates"
    )]
    pub(crate) fn milliseconds(self) -> u64 {
        (self.0 * 1000.0) as u64
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let found = Value::deserialize(json)?;
        let seconds = found.as_f64().filter(|seconds| *seconds >= 0.0);
        seconds
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("{found} is no time: write a number, 0 or more")))
    }
}

/// What a node has or a request asks for.
#[derive(Clone, Debug)]
struct Amounts(Resources);

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let amounts = Entries::<Units>::deserialize(json)?;
        Ok(Self(
            amounts
                .0
                .into_iter()
                .map(|(name, Units(amount))| (name, amount))
                .collect(),
        ))
    }
}

struct Units(Amount);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let found = Value::deserialize(json)?;
        let units = found.as_f64().filter(|units| *units >= 0.0);
        units
            .and_then(Amount::from_f64)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("{found} is no amount: write a number, 0 or more")))
    }
}

/// An object whose keys are names of the author's choice, in the order written, each once.
struct Entries<T>(Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    fn map(self) -> BTreeMap<String, T> {
        self.0.into_iter().collect()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut json: M) -> Result<Self::Value, M::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                let mut names = BTreeSet::new();
                while let Some((name, value)) = json.next_entry::<String, T>()? {
                    if !names.insert(name.clone()) {
                        return Err(M::Error::custom(format_args!("`{name}` is there twice")));
                    }
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }

        json.deserialize_map(InOrder(PhantomData))
    }
}
