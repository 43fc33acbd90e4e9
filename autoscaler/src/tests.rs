//! A look at a cluster from end to end, without the IO: what there is as text, what would be written as text. And a small world of an
//! operator, Ray and us, in which we are killed at every turn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use planner::signal::behavior::Change;
use planner::signal::{Disruption, Wish};
use planner::{Batch, Demand, Memory, Plan, Policy, Request, Snapshot, State};
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use ray::object::{Kind, Object, Spec};
use ray::resources::{Amount, Resources};
use serde_json::{Value, json};

use crate::apply::{Drains, changes, patch};
use crate::cluster::{Cluster, Pod, Stage, View};
use crate::credentials::Access;
use crate::gcs::{Drained, RayNode, Report, Status};
use crate::journal::Look;
use crate::observe::observe;
use crate::tick::Outcome;

/// What is remembered of a look at the head 10.0.0.1, with nothing besides a plan.
pub(crate) fn looked(snapshot: Snapshot, outcome: Outcome) -> Look {
    Look {
        at: time(0),
        outcome,
        shadowed: None,
        head: SocketAddr::from(([10, 0, 0, 1], 6379)),
        session: "session".to_owned(),
        plan: planner::plan(&snapshot, &Memory::default(), &Policy::default()),
        snapshot,
        policies: Vec::new(),
        passes: BTreeMap::default(),
        waiting: BTreeMap::default(),
    }
}

/// The metrics of a registry, sorted.
pub(crate) fn told(registry: &Registry) -> String {
    let mut text = String::new();
    encode_registry(&mut text, registry).expect("a string takes all");
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A cluster with one group of 4-CPU workers, changed as stated.
pub(crate) fn cluster(group: &Value) -> Cluster {
    let template =
        json!({ "spec": { "containers": [{ "name": "ray", "resources": { "limits": { "cpu": 4 } } }] } });
    let mut worker =
        json!({ "groupName": "small", "minReplicas": 0, "maxReplicas": 10, "template": template });
    for (key, value) in group.as_object().expect("fields of a group") {
        worker[key] = value.clone();
    }
    let head = json!({ "rayStartParams": { "num-cpus": "0" }, "template": template });
    let object = json!({
        "metadata": { "name": "demo", "namespace": "default", "resourceVersion": "7" },
        "spec": { "enableInTreeAutoscaling": true, "headGroupSpec": head, "workerGroupSpecs": [worker] },
    });
    let (object, problems) = Object::read(Kind::Cluster, &object);
    assert!(problems.is_empty(), "{problems:?}");
    let Spec::Cluster(spec) = object.spec else {
        panic!("asked for a cluster")
    };
    Cluster::written(object.metadata, spec)
}

/// Workers from lines such as `a running`, `b terminating`, `c pending slice=s`, all of the group `small`, and the head.
pub(crate) fn view(pods: &str) -> View {
    let mut view = View::default();
    let pod = |name: &str, is_head: bool, stage: Stage, slice: Option<&str>| Pod {
        name: name.to_owned(),
        is_head,
        sidecar: None,
        access: Access::default(),
        group: if is_head { "headgroup" } else { "small" }.to_owned(),
        slice: slice.map(str::to_owned),
        ip: "10.0.0.1".parse().ok(),
        stage,
        created: None,
        started: None,
        waiting: None,
    };
    view.pods.insert(
        "head".to_owned(),
        Arc::new(pod("head", true, Stage::Running, None)),
    );
    for line in pods.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let stage = match words[1] {
            "pending" => Stage::Pending,
            "running" => Stage::Running,
            "finished" => Stage::Finished,
            "terminating" => Stage::Terminating,
            other => panic!("{other}?"),
        };
        let slice = words.get(2).and_then(|word| word.strip_prefix("slice="));
        view.pods
            .insert(words[0].to_owned(), Arc::new(pod(words[0], false, stage, slice)));
    }
    view
}

/// So many seconds after ten o'clock.
pub(crate) fn time(seconds: i64) -> Timestamp {
    let ten: Timestamp = "2030-01-01T10:00:00Z".parse().expect("a time");
    ten + SignedDuration::from_secs(seconds)
}

/// Nodes from lines such as `a busy`, `b idle 90`, `c draining`, `d dead`, and how many tasks of one CPU wait.
pub(crate) fn report(nodes: &str, tasks: u64) -> Report {
    let mut report = Report {
        session: "session".to_owned(),
        ..Report::default()
    };
    for line in nodes.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let status = match words[1] {
            "busy" => Status::Busy,
            "idle" => Status::Idle,
            "draining" => Status::Draining,
            "dead" => Status::Dead,
            other => panic!("{other}?"),
        };
        let seconds: u64 = words
            .get(2)
            .map_or(0, |seconds| seconds.parse().expect("seconds"));
        report.nodes.push(ray_node(words[0], status, seconds * 1000));
    }
    if tasks > 0 {
        report.demand = demand(tasks);
    }
    report
}

fn ray_node(pod: &str, status: Status, idle_milliseconds: u64) -> RayNode {
    let total: Resources = [("CPU", Amount::units(4))].into_iter().collect();
    RayNode {
        id: [0; 28].into(),
        instance: pod.to_owned(),
        group: "small".to_owned(),
        ip: None,
        status,
        is_head: pod == "head",
        available: if status == Status::Idle {
            total.clone()
        } else {
            Resources::new()
        },
        total,
        labels: BTreeMap::new(),
        idle_milliseconds,
    }
}

fn demand(tasks: u64) -> Demand {
    let resources = [("CPU", Amount::ONE)].into_iter().collect();
    let request = Request {
        resources,
        selectors: vec![Vec::new()],
        ..Request::default()
    };
    Demand {
        requests: vec![Batch {
            request,
            count: tasks,
        }],
        ..Demand::default()
    }
}

/// What the planner would see of the workers, and what would be written if all drains but those stated were accepted.
fn look(cluster: &Cluster, view: &View, report: &Report, busy: &[&str]) -> String {
    let observation = observe(cluster, view, report, 0);
    let plan = planner::plan(&observation.snapshot, &Memory::default(), &Policy::default());
    let drains = drain(&plan, |id| {
        observation
            .ray_nodes
            .contains_key(id)
            .then(|| !busy.contains(&id))
    });
    let written = patch(cluster, view, &changes(cluster, view, &plan, &drains));
    let workers = observation
        .snapshot
        .nodes
        .iter()
        .filter(|node| node.group != "headgroup");
    let seen = workers.map(|node| match &node.state {
        State::Running(running) => {
            format!(
                "{}: running, {} free, idle {} s",
                node.id,
                running.available,
                running.idle_milliseconds / 1000
            )
        }
        other => format!("{}: {}", node.id, format!("{other:?}").to_lowercase()),
    });
    let operations = written.iter().flat_map(|patch| &patch.0);
    let written = operations.map(|operation| serde_json::to_string(operation).expect("an operation is JSON"));
    seen.chain(written).collect::<Vec<_>>().join("\n")
}

/// Answers every drain: `None` where there is nothing to drain, else whether it is accepted.
fn drain(plan: &Plan, accepts: impl Fn(&str) -> Option<bool>) -> Drains {
    let answer = |accepted| {
        Ok(if accepted {
            Drained::Accepted
        } else {
            Drained::Rejected("busy".to_owned())
        })
    };
    Drains::of(
        plan,
        plan.terminate
            .iter()
            .map(|termination| accepts(&termination.id).map(answer))
            .collect(),
    )
}

#[test]
fn a_replica_without_a_pod_is_on_its_way() {
    assert_snapshot!(look(&cluster(&json!({ "replicas": 3 })), &view("a pending"), &report("", 12), &[]), @r"
    a: pending
    small/0: pending
    small/1: pending
    ");
}

#[test]
fn growth_is_one_guarded_patch() {
    assert_snapshot!(look(&cluster(&json!({ "replicas": 1 })), &view("a running"), &report("a busy", 5), &[]), @r#"
    a: running, {} free, idle 0 s
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":3}
    "#);
}

#[test]
fn what_was_drained_goes_with_its_replica() {
    let cluster = cluster(&json!({ "replicas": 2 }));
    assert_snapshot!(look(&cluster, &view("a running\nb running"), &report("a idle 90\nb busy", 0), &[]), @r#"
    a: running, {CPU: 4} free, idle 90 s
    b: running, {} free, idle 0 s
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":1}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["a"]}}
    "#);
}

#[test]
fn what_refused_its_drain_stays() {
    let cluster = cluster(&json!({ "replicas": 2 }));
    let report = report("a idle 90\nb idle 80", 0);
    assert_snapshot!(look(&cluster, &view("a running\nb running"), &report, &["a"]), @r#"
    a: running, {CPU: 4} free, idle 90 s
    b: running, {CPU: 4} free, idle 80 s
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":1}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["b"]}}
    "#);
    assert_snapshot!(look(&cluster, &view("a running\nb running"), &report, &["a", "b"]), @r"
    a: running, {CPU: 4} free, idle 90 s
    b: running, {CPU: 4} free, idle 80 s
    ");
}

/// Where a policy counts what goes, the patch that takes it away says so, and whoever looks next reads it, restarted or not.
#[test]
fn what_goes_is_noted_where_it_is_counted() {
    let mut cluster = cluster(&json!({ "replicas": 3 }));
    let mut view = view("a running\nb running\nc running");
    for pod in view.pods.values_mut() {
        Arc::make_mut(pod).created = Some(time(-3600));
    }
    let report = report("a idle 90\nb idle 80\nc idle 70", 0);
    let at = |cluster: &Cluster, replicas, seconds| {
        let observation = observe(cluster, &view, &report, 0);
        let now = u64::try_from(time(seconds).as_millisecond()).expect("it is after 1970");
        let wish = Wish {
            group: "small".to_owned(),
            disruption: Some(Disruption {
                max_removed: Some(Change::Pods(replicas)),
                window_milliseconds: 600_000,
                min_age_milliseconds: 0,
            }),
            ..Wish::default()
        };
        let (memory, policy) = (Memory::default(), Policy::default());
        let (plan, _) = planner::signal::plan(&observation.snapshot, &memory, &policy, &[wish], now);
        let written = patch(
            cluster,
            &view,
            &changes(cluster, &view, &plan, &Drains::default()),
        );
        let operations = written.iter().flat_map(|patch| &patch.0).skip(2);
        let operations =
            operations.map(|operation| serde_json::to_string(operation).expect("an operation is JSON"));
        operations.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(at(&cluster, 2, 0), @r#"
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":1}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["a","b"]}}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/removed":"{\"small\":{\"2030-01-01T10:00:00Z\":2}}"}}
    "#);
    let written = r#"{"small":{"2030-01-01T10:00:00Z":2},"gone":{"2030-01-01T10:00:00Z":1}}"#;
    let annotation = ("rayward.dev/removed".to_owned(), written.to_owned());
    cluster.metadata.annotations.extend([annotation]);
    assert_eq!(at(&cluster, 2, 599), "");
    assert_snapshot!(at(&cluster, 3, 599), @r#"
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":2}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["a"]}}
    {"op":"add","path":"/metadata/annotations/rayward.dev~1removed","value":"{\"small\":{\"2030-01-01T10:00:00Z\":2,\"2030-01-01T10:09:59Z\":1}}"}
    "#);
    cluster
        .metadata
        .annotations
        .insert("rayward.dev/removed".to_owned(), "two".to_owned());
    assert_eq!(at(&cluster, 3, 599), "");
}

/// Killed between drain and patch: the node is dead, its Pod is not, and nobody has been told.
#[test]
fn a_removal_cut_short_is_finished() {
    assert_snapshot!(look(&cluster(&json!({ "replicas": 1 })), &view("a running"), &report("a dead", 0), &[]), @r#"
    a: lost
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":0}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["a"]}}
    "#);
}

#[test]
fn a_node_that_came_again_is_alive() {
    assert_snapshot!(look(&cluster(&json!({ "replicas": 1 })), &view("a running"), &report("a dead\na busy\na dead", 0), &[]), @"a: running, {} free, idle 0 s");
}

#[test]
fn below_the_minimum_a_lost_pod_is_replaced() {
    assert_snapshot!(look(&cluster(&json!({ "replicas": 1, "minReplicas": 1 })), &view("a running"), &report("a dead", 0), &[]), @r#"
    a: lost
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["a"]}}
    "#);
}

#[test]
fn a_pod_that_goes_is_no_node() {
    let cluster = cluster(&json!({ "replicas": 1, "scaleStrategy": { "workersToDelete": ["b"] } }));
    assert_snapshot!(look(&cluster, &view("a terminating\nb running"), &report("a busy\nb idle 99", 0), &[]), @"small/0: pending");
}

#[test]
fn a_list_is_emptied_once_all_its_pods_are_gone() {
    let cluster = cluster(&json!({ "replicas": 1, "scaleStrategy": { "workersToDelete": ["b", "c"] } }));
    assert_snapshot!(look(&cluster, &view("a running\nb terminating"), &report("a busy", 0), &[]), @"a: running, {} free, idle 0 s");
    assert_snapshot!(look(&cluster, &view("a running"), &report("a busy", 0), &[]), @r#"
    a: running, {} free, idle 0 s
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy/workersToDelete","value":[]}
    "#);
}

/// What else a `scaleStrategy` may come to hold is not ours.
#[test]
fn of_a_scale_strategy_only_the_list_is_written() {
    let cluster = cluster(&json!({ "replicas": 1, "scaleStrategy": { "later": true } }));
    assert_snapshot!(look(&cluster, &view("a running"), &report("a dead", 0), &[]), @r#"
    a: lost
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":0}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy/workersToDelete","value":["a"]}
    "#);
}

#[test]
fn replicas_that_the_operator_reads_as_the_minimum_are_left_as_they_are() {
    let report = report("a busy\nb busy", 0);
    let pods = view("a running\nb running");
    assert_snapshot!(look(&cluster(&json!({ "minReplicas": 2 })), &pods, &report, &[]), @r"
    a: running, {} free, idle 0 s
    b: running, {} free, idle 0 s
    ");
    assert_snapshot!(look(&cluster(&json!({ "minReplicas": 2, "replicas": 0 })), &pods, &report, &[]), @r"
    a: running, {} free, idle 0 s
    b: running, {} free, idle 0 s
    ");
}

#[test]
fn a_slice_goes_only_if_all_its_hosts_may() {
    let cluster = cluster(&json!({ "replicas": 2, "numOfHosts": 2 }));
    let pods = view("a running slice=one\nb running slice=one\nc running slice=two\nd running slice=two");
    let report = report("a idle 90\nb idle 90\nc idle 70\nd idle 70", 0);
    assert_snapshot!(look(&cluster, &pods, &report, &["b"]), @r#"
    a: running, {CPU: 4} free, idle 90 s
    b: running, {CPU: 4} free, idle 90 s
    c: running, {CPU: 4} free, idle 70 s
    d: running, {CPU: 4} free, idle 70 s
    {"op":"test","path":"/metadata/resourceVersion","value":"7"}
    {"op":"test","path":"/spec/workerGroupSpecs/0/groupName","value":"small"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/replicas","value":1}
    {"op":"add","path":"/spec/workerGroupSpecs/0/scaleStrategy","value":{"workersToDelete":["c","d"]}}
    "#);
}

#[test]
fn what_was_dead_a_while_ago_may_be_back_and_stays() {
    let cluster = cluster(&json!({ "replicas": 2 }));
    let (view, report) = (view("a running\nb running"), report("a dead 0\nb idle 90", 0));
    let observation = observe(&cluster, &view, &report, 0);
    let plan = planner::plan(&observation.snapshot, &Memory::default(), &Policy::default());
    let mut drains = drain(&plan, |id| (id == "b").then_some(true));
    let gone = |drains: &Drains| {
        let changes = changes(&cluster, &view, &plan, drains);
        changes
            .into_iter()
            .flat_map(|change| change.removed)
            .collect::<Vec<_>>()
    };
    assert_eq!(gone(&drains), ["a", "b"]);
    drains.keep_undrained(&plan);
    assert_eq!(gone(&drains), ["b"]);
}

/// The operator deletes what is left of a slice, and makes it anew.
#[test]
fn a_slice_that_has_lost_a_host_is_still_one_replica() {
    let cluster = cluster(&json!({ "replicas": 2, "minReplicas": 2, "numOfHosts": 2 }));
    let pods = view("a finished slice=one\nb running slice=one\nc running slice=two\nd running slice=two");
    let report = report("b dead 0\nc busy 0\nd busy 0", 0);
    assert_snapshot!(look(&cluster, &pods, &report, &[]), @r"
    b: lost
    c: running, {} free, idle 0 s
    d: running, {} free, idle 0 s
    small/0: pending
    ");
}

/// The operator, Ray and the API server, as small as they can be: one group of 4-CPU nodes, and tasks of one CPU that never end.
#[derive(Default)]
struct World {
    tasks: u64,
    replicas: u64,
    listed: BTreeSet<String>,
    /// Whether each Pod is being deleted.
    pods: BTreeMap<String, bool>,
    nodes: BTreeMap<String, Status>,
    made: u64,
    memory: Memory,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The operator reconciles, unless a Pod of the group is being deleted.
    Operator,
    /// A Pod that is being deleted is gone.
    Gone,
    /// A Pod without a node gets one.
    Join,
    Tick,
    KilledBeforePatch,
    /// Somebody else writes the RayCluster while we look at it.
    Conflict,
    /// We come again and know nothing.
    Restart,
    Submit(u64),
    Finish,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Operator => self.reconcile(),
            Step::Gone => {
                self.pods.retain(|_, deleted| !*deleted);
            }
            Step::Join => {
                let starting = self
                    .pods
                    .iter()
                    .filter(|(pod, deleted)| !**deleted && !self.nodes.contains_key(*pod));
                let joining = starting.map(|(pod, _)| (pod.clone(), Status::Idle)).next();
                self.nodes.extend(joining);
            }
            Step::Tick => self.tick(true),
            Step::KilledBeforePatch => {
                self.tick(false);
                self.memory = Memory::default();
            }
            Step::Conflict => self.tick(false),
            Step::Restart => self.memory = Memory::default(),
            Step::Submit(tasks) => self.tasks = (self.tasks + tasks).min(40),
            Step::Finish => self.tasks = 0,
        }
        self.work();
    }

    fn reconcile(&mut self) {
        if self.pods.values().any(|deleted| *deleted) {
            return;
        }
        for (pod, deleted) in &mut self.pods {
            *deleted = self.listed.contains(pod);
        }
        self.nodes
            .retain(|pod, _| self.pods.get(pod).is_none_or(|deleted| !deleted));
        let left = self.pods.values().filter(|deleted| !**deleted).count() as u64;
        for _ in left..self.replicas {
            self.made += 1;
            self.pods.insert(format!("p{}", self.made), false);
        }
    }

    /// As many nodes work as there is work for.
    fn work(&mut self) {
        let mut working = self.tasks.div_ceil(4);
        for status in self.nodes.values_mut().filter(|status| **status != Status::Dead) {
            *status = if working > 0 { Status::Busy } else { Status::Idle };
            working = working.saturating_sub(1);
        }
    }

    fn tick(&mut self, patched: bool) {
        let cluster = cluster(
            &json!({ "replicas": self.replicas, "scaleStrategy": { "workersToDelete": self.listed } }),
        );
        let stage = |deleted: &bool| if *deleted { "terminating" } else { "running" };
        let pods: Vec<String> = self
            .pods
            .iter()
            .map(|(pod, deleted)| format!("{pod} {}", stage(deleted)))
            .collect();
        let working = self
            .nodes
            .values()
            .filter(|status| **status == Status::Busy)
            .count() as u64;
        let mut report = report("", self.tasks.saturating_sub(4 * working));
        report.nodes = self
            .nodes
            .iter()
            .map(|(pod, status)| ray_node(pod, *status, 61_000))
            .collect();

        let view = view(&pods.join("\n"));
        let observation = observe(&cluster, &view, &report, 0);
        let mut plan = planner::plan(&observation.snapshot, &self.memory, &Policy::default());
        self.memory = std::mem::take(&mut plan.memory);
        let drains = drain(&plan, |id| {
            observation
                .ray_nodes
                .get(id)
                .map(|node| node.status == Status::Idle)
        });
        for termination in &plan.terminate {
            if let Some(status) = self
                .nodes
                .get_mut(&termination.id)
                .filter(|status| **status == Status::Idle)
            {
                *status = Status::Dead;
            }
        }
        let written = patch(&cluster, &view, &changes(&cluster, &view, &plan, &drains));
        for operation in written.iter().filter(|_| patched).flat_map(|patch| &patch.0) {
            let operation = serde_json::to_value(operation).expect("an operation is JSON");
            match operation["path"].as_str().expect("a path").rsplit('/').next() {
                Some("replicas") => self.replicas = operation["value"].as_u64().expect("a number"),
                Some("workersToDelete") => {
                    let listed = operation["value"].as_array().expect("a list");
                    self.listed = listed
                        .iter()
                        .map(|pod| pod.as_str().expect("a name").to_owned())
                        .collect();
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..25 {
            for step in [Step::Operator, Step::Gone, Step::Join, Step::Tick] {
                self.step(step);
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Operator),
        2 => Just(Step::Gone),
        3 => Just(Step::Join),
        4 => Just(Step::Tick),
        1 => Just(Step::KilledBeforePatch),
        1 => Just(Step::Conflict),
        1 => Just(Step::Restart),
        2 => (1_u64..20).prop_map(Step::Submit),
        1 => Just(Step::Finish),
    ]
}

proptest! {
    /// Whatever happened, and whenever we were killed, in the end there are as many Pods as there is work for: none lost, none too many.
    #[test]
    fn the_world_settles(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
            prop_assert!(world.replicas <= 10);
        }
        world.settle();
        let needed = world.tasks.div_ceil(4);
        prop_assert_eq!(world.replicas, needed);
        prop_assert_eq!(world.pods.len() as u64, needed);
        prop_assert_eq!(world.nodes.values().filter(|status| **status == Status::Busy).count() as u64, needed);
        prop_assert!(world.listed.is_empty());
    }

    /// While work only comes, no more Pods are made than it needs, however often we begin anew.
    #[test]
    fn growth_is_never_doubled(
        tasks in 1_u64..40,
        steps in prop::collection::vec(
            prop_oneof![
                Just(Step::Operator), Just(Step::Join), Just(Step::Tick), Just(Step::KilledBeforePatch), Just(Step::Restart)
            ],
            0..60,
        ),
    ) {
        let mut world = World { tasks, ..World::default() };
        for step in steps {
            world.step(step);
        }
        prop_assert!(world.made <= tasks.div_ceil(4), "{} Pods for {tasks} tasks", world.made);
    }
}
