//! A RayCluster, its Pods and its head's report, put together into what the planner sees. Pure.
//!
//! The RayCluster says how many nodes are wanted, the Pods say which exist, the head says what they do. A Pod whose deletion is asked for, by
//! whoever, is no node any more. A replica that is asked for and has no Pod yet is a node on its way: so a plan that was carried out is never
//! carried out twice, whether or not its author lived to see it.

use std::collections::{BTreeMap, BTreeSet};

use planner::{Group, Node, Role, Running, Snapshot, State, Upscaling};
use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::keys;
use ray::resources::node_resources;

use crate::cluster::{Cluster, Pod, Stage, View};
use crate::gcs::{RayNode, Report, Status};
use crate::removals;

/// Ray's own limit where nobody says otherwise.
pub(crate) const IDLE_SECONDS_MAX: u32 = 60;

/// The label under which a node finds the name of its group.
const NODE_GROUP_LABEL: &str = "ray.io/node-group";

/// What the planner sees, and what the head says of the Pods in it.
pub(crate) struct Observation<'a> {
    pub(crate) snapshot: Snapshot,
    /// The live Ray node of each worker Pod that has one.
    pub(crate) ray_nodes: BTreeMap<&'a str, &'a RayNode>,
    /// Groups of which it cannot be said what their nodes would offer, and why.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// Looks at one cluster.
pub(crate) fn observe<'a>(
    cluster: &Cluster,
    view: &'a View,
    report: &'a Report,
    age_milliseconds: u64,
) -> Observation<'a> {
    let spec = &cluster.spec;
    let ray = RayNodes::of(report);
    let mut unreadable = Vec::new();
    let mut groups = vec![head_group(spec)];
    let removed = removals::read(&cluster.metadata);
    for group in &spec.worker_groups {
        let resources = node_resources(group);
        if let Err(problem) = &resources {
            unreadable.push((group.name.clone(), problem.to_string()));
        }
        groups.push(Group {
            removed: removals::of_group(removed.as_ref(), &group.name),
            ..worker_group(group, resources.ok())
        });
    }

    let listed: BTreeSet<&str> = spec
        .worker_groups
        .iter()
        .flat_map(|group| group.workers_to_delete.iter().map(String::as_str))
        .collect();
    let there = view.pods.values().map(AsRef::as_ref);
    let there: Vec<&Pod> = there
        .filter(|pod| is_node(pod) && !listed.contains(pod.name.as_str()))
        .collect();
    let mut nodes: Vec<Node> = there.iter().map(|pod| node(pod, &ray)).collect();
    let place = |node: &Node| {
        groups
            .iter()
            .position(|group| group.name == node.group)
            .unwrap_or(groups.len())
    };
    nodes.sort_by_cached_key(|node| (place(node), node.id.clone()));
    for group in &spec.worker_groups {
        nodes.extend(promised(group, &nodes));
    }

    let ray_nodes = there
        .iter()
        .filter(|pod| !pod.is_head)
        .filter_map(|pod| Some((pod.name.as_str(), ray.alive(pod)?)));
    let options = spec.autoscaler_options.as_ref();
    let idle_seconds_max = options.and_then(|options| options.idle_timeout_seconds);
    Observation {
        ray_nodes: ray_nodes.collect(),
        unreadable,
        snapshot: Snapshot {
            groups,
            nodes,
            demand: report.demand.clone(),
            max_nodes: None,
            upscaling: match options.and_then(|options| options.upscaling_mode.as_deref()) {
                Some("Conservative") => Upscaling::Conservative,
                _ => Upscaling::Unbounded,
            },
            idle_milliseconds_max: idle_seconds_max.map_or(IDLE_SECONDS_MAX.into(), count) * 1000,
            age_milliseconds,
        },
    }
}

/// Pods that are nodes, or will be without anybody's doing.
fn is_node(pod: &Pod) -> bool {
    matches!(pod.stage, Stage::Pending | Stage::Running)
}

fn head_group(spec: &ClusterSpec) -> Group {
    Group {
        name: keys::HEAD_GROUP.to_owned(),
        role: Role::Head,
        resources: node_resources(&spec.head).ok(),
        labels: labels(&spec.head, keys::HEAD_GROUP),
        hosts: 1,
        ..Group::default()
    }
}

fn worker_group(group: &WorkerGroup, resources: Option<ray::resources::Resources>) -> Group {
    let hosts = count(group.hosts());
    Group {
        name: group.name.clone(),
        role: Role::Worker,
        resources,
        labels: labels(group, &group.name),
        min: count(group.min_replicas.unwrap_or(0)) * hosts,
        max: count(group.max_replicas.unwrap_or(i32::MAX)) * hosts,
        hosts,
        priority: group.priority.unwrap_or(0),
        idle_milliseconds_max: group.idle_timeout_seconds.map(|seconds| count(seconds) * 1000),
        suspended: group.suspend == Some(true),
        passed_over: false,
        replicas: count(group.desired_replicas()),
        ..Group::default()
    }
}

/// The labels of a fresh node.
pub(crate) fn labels(group: &dyn NodeGroup, name: &str) -> BTreeMap<String, String> {
    let mut labels = group.labels().clone();
    labels.insert(NODE_GROUP_LABEL.to_owned(), name.to_owned());
    labels
}

/// Ray's view decides whether a Pod is a node that works, is leaving or was given up; a Pod that Ray has never seen is on its way.
///
/// Given up means: the head calls the node dead, and no other node has come in its Pod since. That is what a drain leaves behind whose
/// author was killed before it could ask for the Pod's deletion, and what a crash leaves behind. Either way the Pod goes, and comes again
/// where it is needed; Ray's own autoscaler does the same.
fn node(pod: &Pod, ray: &RayNodes<'_>) -> Node {
    let state = match ray.alive(pod) {
        Some(node) if node.status == Status::Draining => State::Leaving {
            works: node.available != node.total,
        },
        Some(node) => State::Running(Running {
            total: node.total.clone(),
            available: node.available.clone(),
            labels: node.labels.clone(),
            idle_milliseconds: if node.status == Status::Idle {
                node.idle_milliseconds
            } else {
                0
            },
        }),
        None if ray.dead.contains(pod.name.as_str()) && !pod.is_head => State::Lost,
        None => State::Pending,
    };
    Node {
        id: pod.name.clone(),
        group: pod.group.clone(),
        slice: pod.slice.clone(),
        created: pod
            .created
            .map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0)),
        state,
    }
}

/// Nodes that the operator has been asked for and has yet to make. Hosts that slices lack come first: the operator makes a slice as a whole, and one
/// that has lost a host anew, so what is left of it goes without our doing.
fn promised(group: &WorkerGroup, nodes: &[Node]) -> Vec<Node> {
    let there: Vec<&Node> = nodes.iter().filter(|node| node.group == group.name).collect();
    let hosts = count(group.hosts());
    let missing = (count(group.desired_replicas()) * hosts).saturating_sub(there.len() as u64);
    let mut slices: BTreeMap<&str, u64> = BTreeMap::new();
    for slice in there.iter().filter_map(|node| node.slice.as_deref()) {
        *slices.entry(slice).or_default() += 1;
    }
    let lacking = slices.into_iter().flat_map(|(slice, there)| {
        let lacking = hosts.saturating_sub(there);
        (0..lacking).map(|_| slice.to_owned())
    });
    let new = (0..missing).map(|index| format!("{}/{}", group.name, index / hosts));
    let slices = lacking.chain(new).map(|slice| (hosts > 1).then_some(slice));
    let node = |(index, slice): (u64, Option<String>)| Node {
        id: format!("{}/{index}", group.name),
        group: group.name.clone(),
        slice,
        created: None,
        state: State::Pending,
    };
    (0..missing).zip(slices).map(node).collect()
}

/// What a head says of its nodes, found by Pod.
struct RayNodes<'a> {
    by_instance: BTreeMap<&'a str, &'a RayNode>,
    /// Nodes that were not told the name of their Pod.
    anonymous: Vec<&'a RayNode>,
    dead: BTreeSet<&'a str>,
}

impl<'a> RayNodes<'a> {
    fn of(report: &'a Report) -> Self {
        let alive = || report.nodes.iter().filter(|node| node.status != Status::Dead);
        let dead = report.nodes.iter().filter(|node| node.status == Status::Dead);
        Self {
            by_instance: alive()
                .map(|node| (node.instance.as_str(), node))
                .filter(|(instance, _)| !instance.is_empty())
                .collect(),
            anonymous: alive().filter(|node| node.instance.is_empty()).collect(),
            dead: dead.map(|node| node.instance.as_str()).collect(),
        }
    }

    fn alive(&self, pod: &Pod) -> Option<&'a RayNode> {
        let anonymous = || {
            self.anonymous
                .iter()
                .copied()
                .find(|node| node.ip.is_some() && node.ip == pod.ip)
        };
        self.by_instance
            .get(pod.name.as_str())
            .copied()
            .or_else(anonymous)
    }
}

fn count(number: i32) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
