//! One cluster at one instant, as the planner sees it, and the policy that applies to it.

use std::collections::BTreeMap;

use ray::resources::Resources;

use crate::demand::{Demand, Request};
use crate::signal::Removals;

/// Everything that a plan depends on, besides what is remembered.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The head group, if known, and the worker groups, in the order of the RayCluster.
    pub groups: Vec<Group>,
    /// Every node that is there or on its way; nodes that are already being deleted are left out. Their order decides ties.
    pub nodes: Vec<Node>,
    /// What the cluster waits for.
    pub demand: Demand,
    /// The most nodes there may be, head included; `None` is the sum of what the groups allow, and one head.
    pub max_nodes: Option<u64>,
    /// How many nodes may be on their way at once.
    pub upscaling: Upscaling,
    /// How long a node of a group without its own limit may idle.
    pub idle_milliseconds_max: u64,
    /// How long ago Ray stated all this.
    pub age_milliseconds: u64,
}

impl Snapshot {
    /// Whether some node could ever hold a request: one there is, were it free, or a new one. False is final until the groups change.
    ///
    /// A group of which it is not known what its nodes offer may offer anything.
    pub fn could_hold(&self, request: &Request) -> bool {
        let suits = |resources: &Resources, labels: &BTreeMap<String, String>| {
            let label = |name: &str| labels.get(name).map(String::as_str);
            resources.fits(&request.resources) && request.suits(label)
        };
        let mut groups = self
            .groups
            .iter()
            .filter(|group| group.role == Role::Worker && group.max > 0);
        let mut running = self.nodes.iter().filter_map(|node| match &node.state {
            State::Running(running) => Some(running),
            State::Pending | State::Stuck { .. } | State::Leaving { .. } | State::Lost => None,
        });
        groups.any(|group| {
            group
                .resources
                .as_ref()
                .is_none_or(|resources| suits(resources, &group.labels))
        }) || running.any(|running| suits(&running.total, &running.labels))
    }
}

/// What holds for every cluster.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Nodes with GPUs are the last choice for work that asks for none.
    pub conserve_gpu_nodes: bool,
    /// Groups whose new nodes wait in vain are passed over, as long as another one will do. Ray takes such nodes for nodes on their way.
    pub pass_over: bool,
    /// Nothing is removed on the word of input older than this.
    pub stale_after_milliseconds: u64,
    /// Nothing is removed without a drain on the word of input as old as this: a node that was dead or had yet to come may be at work by now, and
    /// only a drain would find out.
    pub unsure_after_milliseconds: u64,
}

impl Default for Policy {
    /// Ray conserves GPU nodes; ten seconds are ten missed looks, and one second is the time in which Ray's nodes report.
    fn default() -> Self {
        Self {
            conserve_gpu_nodes: true,
            pass_over: true,
            stale_after_milliseconds: 10_000,
            unsure_after_milliseconds: 1_000,
        }
    }
}

impl Policy {
    /// Whether input of this age is too old to remove a node on its word without a drain.
    pub fn is_unsure(&self, age_milliseconds: u64) -> bool {
        age_milliseconds >= self.unsure_after_milliseconds
    }
}

impl Snapshot {
    /// How long a node of a group may idle.
    pub fn idle_limit(&self, group: &Group) -> u64 {
        group.idle_milliseconds_max.unwrap_or(self.idle_milliseconds_max)
    }
}

/// How fast a cluster may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upscaling {
    /// As fast as it has to. Ray's `Default` and `Aggressive`.
    #[default]
    Unbounded,
    /// Of each group, no more nodes are on their way than run; but one replica at least. Ray's `Conservative`.
    Conservative,
}

/// A group of equal nodes.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name, Ray's node type.
    pub name: String,
    /// Head or worker.
    pub role: Role,
    /// What a fresh node of it offers; `None` when its template does not say, so that no node is launched for demand.
    pub resources: Option<Resources>,
    /// The labels that a fresh node of it carries.
    pub labels: BTreeMap<String, String>,
    /// The fewest nodes, hosts counted singly.
    pub min: u64,
    /// The most nodes, hosts counted singly.
    pub max: u64,
    /// How many nodes make one replica: they come and go together.
    pub hosts: u64,
    /// Breaks ties between groups that would be used equally well.
    pub priority: i32,
    /// How long a node of it may idle, in place of the cluster's limit.
    pub idle_milliseconds_max: Option<u64>,
    /// Suspended: none is launched, none removed.
    pub suspended: bool,
    /// Its new nodes wait in vain just now: it is the last choice for work.
    pub passed_over: bool,
    /// Replicas asked for today.
    pub replicas: u64,
    /// What was taken away of it, where that is counted.
    pub removed: Removals,
}

impl Group {
    /// Its nodes are ours to launch and to remove.
    pub(crate) fn is_ours(&self) -> bool {
        self.role == Role::Worker && !self.suspended
    }
}

/// What a group is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The one head. Neither launched nor removed by us.
    Head,
    /// Workers.
    #[default]
    Worker,
}

/// A node, or the promise of one.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name of its Pod; a name of our own for one that the operator has yet to make.
    pub id: String,
    /// The name of its group.
    pub group: String,
    /// The slice that it is a host of, where a replica has several.
    pub slice: Option<String>,
    /// When its Pod was made, in milliseconds since 1970; `None` while there is none, or where nobody knows.
    pub created: Option<u64>,
    /// How far it is.
    pub state: State,
}

/// How far a node is on its way from launched to gone.
#[derive(Clone, Debug)]
pub enum State {
    /// Ray runs on it.
    Running(Running),
    /// It will come, and then offer what its group says.
    Pending,
    /// It should have come by now and waits for something, or its group is passed over: the last choice for work.
    Stuck {
        /// It goes if nothing needs it.
        may_go: bool,
    },
    /// It takes no more work and goes by itself: no capacity, but its replica is still asked for.
    Leaving {
        /// It finishes its work first, which may take for ever: Ray does not end it. So its place is not free soon.
        works: bool,
    },
    /// Ray has given it up, and its Pod is still there: what a drain leaves behind when nobody lived to finish the removal.
    Lost,
}

/// What Ray says of a node that it runs on.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// All that the node has.
    pub total: Resources,
    /// What is free of it. A name that is used up is not listed.
    pub available: Resources,
    /// Static and dynamic labels together.
    pub labels: BTreeMap<String, String>,
    /// How long nothing has run on it.
    pub idle_milliseconds: u64,
}
