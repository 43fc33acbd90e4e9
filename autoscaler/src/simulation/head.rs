//! Ray, as far as an autoscaler can tell: a head that places work on nodes and reports what waits. Work that loses its node waits again.

use std::collections::BTreeMap;
use std::sync::Arc;

use planner::{Batch, Demand, Gang, Request};
use ray::resources::{Amount, Resources};

use crate::gcs::{DrainReason, Drained, RayNode, Report, Status};

/// A node that was drained is dead a moment later.
const DYING_MILLISECONDS: u64 = 1_000;
/// A container that ended is started again after that, if its Pod is still there.
const RESTART_MILLISECONDS: u64 = 12_000;

/// What Ray knows of a cluster.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Changes when the head starts anew.
    session: u64,
    /// Until when there is none.
    down_until: u64,
    nodes: BTreeMap<String, Node>,
    waiting: Vec<Task>,
    waiting_gangs: Vec<GangTask>,
    constraint: Option<Vec<Batch>>,
    /// What the nodes said a moment ago: they report one after the other.
    before: Vec<RayNode>,
    joined: u64,
}

/// Equal tasks or actors.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) request: Arc<Request>,
    pub(super) count: u64,
    /// How long each takes; for ever where it is nothing.
    pub(super) milliseconds: Option<u64>,
}

/// A placement group.
#[derive(Clone, Debug)]
pub(super) struct GangTask {
    pub(super) gang: Gang,
    pub(super) milliseconds: Option<u64>,
}

#[derive(Debug)]
struct Node {
    id: [u8; 28],
    group: String,
    total: Resources,
    free: Resources,
    labels: BTreeMap<String, String>,
    running: Vec<Running>,
    #[cfg(test)]
    joined_at: u64,
    idle_since: u64,
    draining: bool,
    /// When it dies, or died.
    dies_at: Option<u64>,
    is_head: bool,
}

#[derive(Debug)]
struct Running {
    task: Task,
    ends_at: Option<u64>,
    /// The placement group that it is a part of.
    gang: Option<Arc<GangTask>>,
}

impl Head {
    /// Ray starts in a Pod.
    pub(super) fn join(
        &mut self,
        pod: &str,
        group: &str,
        total: &Resources,
        labels: &BTreeMap<String, String>,
        now: u64,
    ) {
        self.joined += 1;
        let mut id = [0; 28];
        id[..8].copy_from_slice(&self.joined.to_be_bytes());
        let node = Node {
            id,
            group: group.to_owned(),
            total: total.clone(),
            free: total.clone(),
            labels: labels.clone(),
            running: Vec::new(),
            #[cfg(test)]
            joined_at: now,
            idle_since: now,
            draining: false,
            dies_at: None,
            is_head: group == ray::keys::HEAD_GROUP,
        };
        self.nodes.insert(pod.to_owned(), node);
    }

    /// Whether a Pod has yet to be given a node, or given one again.
    pub(super) fn wants(&self, pod: &str, now: u64) -> bool {
        let node = self.nodes.get(pod);
        self.is_up(now)
            && node.is_none_or(|node| node.dies_at.is_some_and(|at| at + RESTART_MILLISECONDS <= now))
    }

    pub(super) fn is_up(&self, now: u64) -> bool {
        self.down_until <= now
    }

    /// A node dies with whatever runs on it, which waits again.
    pub(super) fn kill(&mut self, pod: &str, now: u64) {
        let Some(node) = self.nodes.get_mut(pod) else {
            return;
        };
        node.dies_at = Some(node.dies_at.unwrap_or(now).min(now));
        let lost = std::mem::take(&mut node.running);
        node.free = node.total.clone();
        let mut gangs: Vec<Arc<GangTask>> = Vec::new();
        for running in lost {
            match running.gang {
                None => self.waiting.push(running.task),
                Some(gang) if gangs.iter().any(|other| Arc::ptr_eq(other, &gang)) => {}
                Some(gang) => gangs.push(gang),
            }
        }
        for gang in gangs {
            self.release(&gang, now);
            self.waiting_gangs.push(GangTask::clone(&gang));
        }
    }

    /// Forgets a node whose Pod is gone.
    pub(super) fn forget(&mut self, pod: &str, now: u64) {
        self.kill(pod, now);
        self.nodes.remove(pod);
    }

    /// The head starts anew: its nodes come again, and its drivers submit again what had not ended.
    pub(super) fn restart(&mut self, now: u64, down_milliseconds: u64) {
        let pods: Vec<String> = self.nodes.keys().cloned().collect();
        for pod in pods {
            self.forget(&pod, now);
        }
        self.session += 1;
        self.down_until = now + down_milliseconds;
        self.before.clear();
    }

    pub(super) fn submit(&mut self, task: Task) {
        self.waiting.push(task);
    }

    pub(super) fn submit_gang(&mut self, gang: GangTask) {
        self.waiting_gangs.push(gang);
    }

    pub(super) fn constrain(&mut self, constraint: Option<Vec<Batch>>) {
        self.constraint = constraint;
    }

    /// All that waits and runs is withdrawn.
    pub(super) fn cancel(&mut self, now: u64) {
        self.waiting.clear();
        self.waiting_gangs.clear();
        for node in self.nodes.values_mut() {
            node.running.clear();
            node.free = node.total.clone();
            node.idle_since = now;
        }
    }

    /// Nothing that waits or runs ends any more.
    #[cfg(test)]
    pub(super) fn keep_running(&mut self) {
        let running = self.nodes.values_mut().flat_map(|node| &mut node.running);
        for running in running {
            running.ends_at = None;
            running.task.milliseconds = None;
            if let Some(gang) = &mut running.gang {
                Arc::make_mut(gang).milliseconds = None;
            }
        }
        self.waiting.iter_mut().for_each(|task| task.milliseconds = None);
        self.waiting_gangs
            .iter_mut()
            .for_each(|gang| gang.milliseconds = None);
    }

    /// The node of a Pod works, or will, and was not asked to go.
    #[cfg(test)]
    pub(super) fn stays(&self, pod: &str) -> bool {
        self.nodes
            .get(pod)
            .is_some_and(|node| !node.draining && node.dies_at.is_none())
    }

    /// Ray runs in a Pod.
    #[cfg(test)]
    pub(super) fn runs_in(&self, pod: &str, now: u64) -> bool {
        let node = self.nodes.get(pod);
        node.is_some_and(|node| node.dies_at.is_none_or(|at| now < at))
    }

    /// Something runs on the node of a Pod.
    #[cfg(test)]
    pub(super) fn is_busy(&self, pod: &str) -> bool {
        self.nodes.get(pod).is_some_and(|node| !node.running.is_empty())
    }

    /// When the node of a Pod came, or came again.
    #[cfg(test)]
    pub(super) fn joined_at(&self, pod: &str) -> Option<u64> {
        self.nodes.get(pod).map(|node| node.joined_at)
    }

    /// What waits: tasks and bundles.
    pub(super) fn waiting(&self) -> u64 {
        let tasks = self.waiting.iter().map(|task| task.count).sum::<u64>();
        let bundles = self
            .waiting_gangs
            .iter()
            .map(|gang| gang.gang.bundles.len() as u64);
        tasks + bundles.sum::<u64>()
    }

    /// What runs: tasks and bundles.
    pub(super) fn running(&self) -> u64 {
        let running = self.nodes.values().flat_map(|node| &node.running);
        running.map(|running| running.task.count).sum()
    }

    /// What waits, as it would be asked for.
    pub(super) fn demand(&self) -> Demand {
        let batch = |task: &Task| Batch {
            request: Request::clone(&task.request),
            count: task.count,
        };
        Demand {
            requests: self.waiting.iter().map(batch).collect(),
            gangs: self.waiting_gangs.iter().map(|task| task.gang.clone()).collect(),
            constraint: self.constraint.clone(),
        }
    }

    /// A moment passes.
    pub(super) fn step(&mut self, now: u64) {
        self.before = self.states(now);
        for node in self.nodes.values_mut() {
            node.finish(now);
            if node.draining && node.running.is_empty() && node.dies_at.is_none() {
                node.dies_at = Some(now + DYING_MILLISECONDS);
            }
        }
        if self.is_up(now) {
            self.place_gangs(now);
            self.place_tasks(now);
        }
    }

    fn place_tasks(&mut self, now: u64) {
        for mut task in std::mem::take(&mut self.waiting) {
            for node in self.nodes.values_mut().filter(|node| node.takes(&task.request)) {
                let times = node.free.times(&task.request.resources).unwrap_or(task.count);
                let count = times.min(task.count);
                if count > 0 {
                    node.run(
                        Task {
                            count,
                            ..task.clone()
                        },
                        None,
                        now,
                    );
                    task.count -= count;
                }
            }
            if task.count > 0 {
                self.waiting.push(task);
            }
        }
    }

    fn place_gangs(&mut self, now: u64) {
        for task in std::mem::take(&mut self.waiting_gangs) {
            let gang = Arc::new(task);
            let placed = gang.gang.requests().into_iter().all(|request| {
                let shared = |node: &Node| node.running.iter().any(|running| running.is_of(&gang));
                let apart = request.anti_affinity.is_some();
                let mut nodes = self.nodes.values_mut();
                let node = nodes.find(|node| {
                    node.takes(&request) && node.free.fits(&request.resources) && !(apart && shared(node))
                });
                node.is_some_and(|node| {
                    let part = Task {
                        request: Arc::new(request),
                        count: 1,
                        milliseconds: gang.milliseconds,
                    };
                    node.run(part, Some(Arc::clone(&gang)), now);
                    true
                })
            });
            if !placed {
                self.release(&gang, now);
                self.waiting_gangs.push(GangTask::clone(&gang));
            }
        }
    }

    /// Takes all parts of a gang from their nodes.
    fn release(&mut self, gang: &Arc<GangTask>, now: u64) {
        for node in self.nodes.values_mut() {
            let (parts, others): (Vec<_>, Vec<_>) = std::mem::take(&mut node.running)
                .into_iter()
                .partition(|running| running.is_of(gang));
            node.running = others;
            for part in parts {
                node.free.add(&part.task.request.resources);
                node.idle_since = now;
            }
        }
    }

    /// What the head says. `skewed`: the nodes have not reported since what waits began to run.
    pub(super) fn report(&self, now: u64, skewed: bool) -> Report {
        Report {
            session: format!("session-{}", self.session),
            version: i64::try_from(now).unwrap_or(i64::MAX),
            nodes: if skewed {
                self.before.clone()
            } else {
                self.states(now)
            },
            demand: self.demand(),
        }
    }

    fn states(&self, now: u64) -> Vec<RayNode> {
        self.nodes
            .iter()
            .map(|(pod, node)| node.state(pod, now))
            .collect()
    }

    pub(super) fn drain(&mut self, node: &RayNode, reason: DrainReason, now: u64) -> Drained {
        let Some(found) = self.nodes.values_mut().find(|found| node.id == found.id.into()) else {
            return Drained::Accepted;
        };
        match reason {
            DrainReason::Idle if !found.running.is_empty() => Drained::Rejected("it is busy".to_owned()),
            DrainReason::Idle => {
                found.draining = true;
                found.dies_at = Some(found.dies_at.unwrap_or(now + DYING_MILLISECONDS));
                Drained::Accepted
            }
            DrainReason::Preemption => {
                found.draining = true;
                Drained::Accepted
            }
        }
    }
}

impl Running {
    fn is_of(&self, gang: &Arc<GangTask>) -> bool {
        self.gang.as_ref().is_some_and(|own| Arc::ptr_eq(own, gang))
    }
}

impl Node {
    fn takes(&self, request: &Request) -> bool {
        let label = |name: &str| self.labels.get(name).map(String::as_str);
        !self.draining && self.dies_at.is_none() && request.suits(label)
    }

    fn run(&mut self, task: Task, gang: Option<Arc<GangTask>>, now: u64) {
        self.free.take(&task.request.resources, task.count);
        let ends_at = task.milliseconds.map(|milliseconds| now + milliseconds);
        self.running.push(Running { task, ends_at, gang });
    }

    fn finish(&mut self, now: u64) {
        let (ended, running): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| running.ends_at.is_some_and(|at| at <= now));
        self.running = running;
        for running in &ended {
            for _ in 0..running.task.count {
                self.free.add(&running.task.request.resources);
            }
        }
        if !ended.is_empty() {
            self.idle_since = now;
        }
    }

    fn state(&self, pod: &str, now: u64) -> RayNode {
        let is_idle = self.running.is_empty();
        RayNode {
            id: self.id.into(),
            instance: pod.to_owned(),
            group: self.group.clone(),
            ip: None,
            status: match self.dies_at {
                Some(at) if at <= now => Status::Dead,
                _ if self.draining => Status::Draining,
                _ if is_idle => Status::Idle,
                _ => Status::Busy,
            },
            is_head: self.is_head,
            total: self.total.clone(),
            available: self
                .free
                .iter()
                .filter(|(_, amount)| **amount > Amount::ZERO)
                .map(|(name, amount)| (name.clone(), *amount))
                .collect(),
            labels: self.labels.clone(),
            idle_milliseconds: if is_idle { now - self.idle_since } else { 0 },
        }
    }
}
