//! Groups whose Pods wait in vain: for how long a Pod may wait, and for how long its group is passed over then. Pure.
//!
//! Since when a Pod waits, and how long the others took, its cluster's Pods say themselves, so a restart forgets neither. What it forgets is how
//! often a group was passed over in a row, and a group all of whose Pods are gone: such a group is tried once more, no harm done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use planner::{Snapshot, State};
use ray::cluster::WorkerGroup;

use crate::cluster::{Cluster, Pod, Stage, View};
use crate::waiting::{Reason, Waiting};

/// For how many seconds a Pod without a node is waited for at first, where nobody says otherwise. A scheduler that has room needs a moment, and whoever makes nodes
/// on demand one to five minutes; a group whose nodes were made so has taught us by the first of them.
pub(crate) const UNSCHEDULED_SECONDS: u32 = 60;
/// From a running container to a node that Ray knows: images that load much before Ray begins take minutes.
const JOINING: SignedDuration = SignedDuration::from_mins(5);
/// Where nobody knows how long a group's Pods take: images of many gigabytes arrive in that time.
const STARTING: SignedDuration = SignedDuration::from_mins(5);
/// A kubelet may take that long over what usually takes it no time.
const STARTING_MIN: SignedDuration = SignedDuration::from_mins(1);
/// As long as Kubernetes' own autoscaler gives a node to come.
const PATIENCE_MAX: SignedDuration = SignedDuration::from_mins(15);
/// For how long a group is passed over at first, and at most.
const PASS: SignedDuration = SignedDuration::from_mins(1);
const PASS_MAX: SignedDuration = SignedDuration::from_mins(30);

/// What was learned of the groups of a cluster.
#[derive(Debug)]
pub(crate) struct Patience {
    unscheduled: SignedDuration,
    groups: BTreeMap<String, Experience>,
}

#[derive(Debug, Default)]
struct Experience {
    /// How long its Pods took to run.
    usual: Option<SignedDuration>,
    pass: Option<Pass>,
    /// How long the next pass will be.
    next: Option<SignedDuration>,
}

/// A group is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// When it began, and when it was prolonged last.
    pub(crate) since: Timestamp,
    pub(crate) begun: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) reason: Reason,
    /// Which Pod waits, and for what.
    pub(crate) message: String,
}

/// Which groups are passed over now, and what came to be stuck.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    pub(crate) passes: BTreeMap<String, Pass>,
    /// Groups that have been passed over, or again, since the last look.
    pub(crate) begun: BTreeSet<String>,
    /// Pods in which Ray runs and that no head knows, with their groups.
    pub(crate) unjoined: BTreeMap<String, (String, Waiting)>,
    /// Pods that have waited in vain for as long as a node may idle.
    may_go: BTreeSet<String>,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(UNSCHEDULED_SECONDS)
    }
}

impl Patience {
    /// That waits so long for a node of Kubernetes, at first.
    pub(crate) fn new(unscheduled_seconds: u32) -> Self {
        Self {
            unscheduled: SignedDuration::from_secs(unscheduled_seconds.into()),
            groups: BTreeMap::new(),
        }
    }

    /// Looks at what waits in one cluster, of which this is known besides.
    pub(crate) fn judge(
        &mut self,
        cluster: &Cluster,
        view: &View,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Waits {
        let pending = snapshot
            .nodes
            .iter()
            .filter(|node| matches!(node.state, State::Pending));
        let pending: BTreeSet<&str> = pending.map(|node| node.id.as_str()).collect();
        let groups = &cluster.spec.worker_groups;
        self.groups
            .retain(|name, _| groups.iter().any(|group| &group.name == name));
        let mut waits = Waits::default();
        for group in groups {
            let pods: Vec<&Pod> = view
                .pods
                .values()
                .map(AsRef::as_ref)
                .filter(|pod| !pod.is_head && pod.group == group.name)
                .filter(|pod| matches!(pod.stage, Stage::Pending | Stage::Running))
                .collect();
            let experience = self.groups.entry(group.name.clone()).or_default();
            experience.learn(&pods);
            let progress = pods.iter().filter_map(|pod| pod.started).max();
            let known = snapshot.groups.iter().find(|known| known.name == group.name);
            let idle = known.map_or(0, |known| snapshot.idle_limit(known));
            let idle = SignedDuration::from_millis(idle.try_into().unwrap_or(i64::MAX));
            let mut stuck = None;
            for pod in pods {
                let unjoined = unjoined(pod).filter(|_| pending.contains(pod.name.as_str()));
                if let Some(waiting) = &unjoined {
                    let told = (group.name.clone(), waiting.clone());
                    waits.unjoined.insert(pod.name.clone(), told);
                }
                let Some(waiting) = pod.waiting.as_ref().or(unjoined.as_ref()) else {
                    continue;
                };
                let Some(since) = waiting.since.max(progress) else {
                    continue;
                };
                let vain = now.duration_since(since) - experience.patience(waiting.reason, self.unscheduled);
                if vain.is_negative() {
                    continue;
                }
                stuck.get_or_insert_with(|| (waiting.reason, format!("{} waits: {waiting}", pod.name)));
                // Whoever lifts a gate has the Pod in a queue, and it keeps its place there.
                if vain > idle && waiting.reason != Reason::Gated {
                    waits.may_go.insert(pod.name.clone());
                }
            }
            let missing = || missing(cluster, view, group);
            let stuck = stuck.or_else(|| missing().map(|waiting| (waiting.reason, waiting.message.clone())));
            if experience.pass(stuck, progress, now) {
                waits.begun.insert(group.name.clone());
            }
            if let Some(pass) = &experience.pass {
                waits.passes.insert(group.name.clone(), pass.clone());
            }
        }
        waits
    }
}

impl Experience {
    /// The slowest of the Pods that run.
    fn learn(&mut self, pods: &[&Pod]) {
        let took = pods
            .iter()
            .filter_map(|pod| Some(pod.started?.duration_since(pod.created?)));
        self.usual = took.max().or(self.usual);
    }

    /// How long a Pod may wait. What a kubelet has tried and given up for now, and what the API server refused, will not come by waiting.
    fn patience(&self, reason: Reason, unscheduled: SignedDuration) -> SignedDuration {
        let usual = |times: i32| self.usual.map(|usual| usual * times);
        match reason {
            Reason::NotCreated | Reason::Image | Reason::Crash => SignedDuration::ZERO,
            Reason::Gated | Reason::Unschedulable => {
                usual(2).unwrap_or(unscheduled).min(PATIENCE_MAX).max(unscheduled)
            }
            Reason::NotJoined => JOINING,
            Reason::Init | Reason::Starting => usual(3).unwrap_or(STARTING).clamp(STARTING_MIN, PATIENCE_MAX),
        }
    }

    /// Begins, prolongs and ends a pass; true when one begins or is prolonged. It ends at once when a Pod has come to run.
    fn pass(&mut self, stuck: Option<(Reason, String)>, progress: Option<Timestamp>, now: Timestamp) -> bool {
        if self.pass.as_ref().is_some_and(|pass| progress > Some(pass.since)) {
            self.pass = None;
            self.next = None;
        }
        let over = self.pass.as_ref().is_none_or(|pass| now >= pass.until);
        if !over {
            return false;
        }
        let since = self.pass.take().map(|pass| pass.since);
        let Some((reason, message)) = stuck else {
            return false;
        };
        let length = self.next.unwrap_or(PASS);
        self.next = Some((length * 2).min(PASS_MAX));
        self.pass = Some(Pass {
            since: since.unwrap_or(now),
            begun: now,
            until: now.saturating_add(length).unwrap_or(Timestamp::MAX),
            reason,
            message,
        });
        true
    }
}

impl Pass {
    /// How long it was to be when it began, or was prolonged last.
    pub(crate) fn length(&self) -> String {
        let left = self.until.duration_since(self.begun);
        format!("{} s", left.as_secs())
    }
}

impl Waits {
    /// Tells the planner.
    ///
    /// Nodes without a Pod may go at once where Pods are refused: as long as they are asked for, the operator makes no others in the groups that
    /// follow.
    pub(crate) fn mark(&self, snapshot: &mut Snapshot, view: &View) {
        for group in &mut snapshot.groups {
            group.passed_over = self.passes.contains_key(&group.name);
        }
        for node in &mut snapshot.nodes {
            let Some(pass) = self.passes.get(&node.group) else {
                continue;
            };
            if matches!(node.state, State::Pending) {
                let refused = pass.reason == Reason::NotCreated && !view.pods.contains_key(&node.id);
                let may_go = refused || self.may_go.contains(&node.id);
                node.state = State::Stuck { may_go };
            }
        }
    }
}

/// What keeps the operator from making the Pods of a group that are missing. It says so of one group, the first that it fails with.
fn missing<'a>(cluster: &'a Cluster, view: &View, group: &WorkerGroup) -> Option<&'a Waiting> {
    let refusal = cluster.refusal.as_ref()?;
    let wanted = u64::from(group.desired_replicas().unsigned_abs()) * u64::from(group.hosts().unsigned_abs());
    let there = view.pods.values().filter(|pod| pod.group == group.name).count() as u64;
    let cluster_name = cluster.metadata.name.as_deref().unwrap_or_default();
    let names = |group: &WorkerGroup| refusal.message.contains(&group.pod_name_prefix(cluster_name));
    let nobody = !cluster.spec.worker_groups.iter().any(names);
    (wanted > there && (names(group) || nobody)).then_some(refusal)
}

/// What a Pod waits for in which Ray runs, as far as Kubernetes can tell.
fn unjoined(pod: &Pod) -> Option<Waiting> {
    let runs = pod.stage == Stage::Running && pod.waiting.is_none();
    runs.then(|| Waiting {
        reason: Reason::NotJoined,
        since: pod.started.or(pod.created),
        message: "it runs, and has not joined the head: see the log of its Ray container".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use jiff::SignedDuration;

    use super::{Patience, Waits};
    use crate::cluster::{Cluster, Stage, View};
    use crate::observe::observe;
    use crate::tests::{cluster, report, time, view};
    use crate::waiting::{Reason, Waiting};

    /// One look after another, at seconds after ten o'clock.
    struct Story {
        cluster: Cluster,
        view: View,
        patience: Patience,
        /// What the head says of its nodes, a line each.
        joined: Vec<String>,
    }

    impl Story {
        fn new() -> Self {
            Self {
                cluster: cluster(&serde_json::json!({ "replicas": 2, "idleTimeoutSeconds": 30 })),
                view: View::default(),
                patience: Patience::new(10),
                joined: Vec::new(),
            }
        }

        /// A Pod that was made then, and waits or has come to run after so many seconds.
        fn pod(&mut self, name: &str, created: i64, then: Result<i64, Reason>) {
            let mut pod = view(&format!("{name} pending")).pods[name].as_ref().clone();
            pod.created = Some(time(created));
            match then {
                Ok(seconds) => {
                    pod.stage = Stage::Running;
                    pod.started = Some(time(created + seconds));
                }
                Err(reason) => {
                    pod.waiting = Some(Waiting {
                        reason,
                        since: Some(time(created)),
                        message: "so it is".to_owned(),
                    });
                }
            }
            self.view.pods.insert(name.to_owned(), pod.into());
        }

        fn at(&mut self, seconds: i64) -> String {
            let report = report(&self.joined.join("\n"), 0);
            let snapshot = observe(&self.cluster, &self.view, &report, 0).snapshot;
            let waits = self
                .patience
                .judge(&self.cluster, &self.view, &snapshot, time(seconds));
            told(&waits)
        }
    }

    fn told(waits: &Waits) -> String {
        let Some(pass) = waits.passes.get("small") else {
            return "patient".to_owned();
        };
        let begun = if waits.begun.is_empty() { "" } else { "begins: " };
        format!(
            "{begun}{} for {}, may go: {:?}",
            pass.message,
            pass.length(),
            waits.may_go
        )
    }

    #[test]
    fn a_pod_that_finds_no_node_is_waited_for_as_long_as_it_is_said_and_goes_after_the_idle_timeout() {
        let mut story = Story::new();
        story.pod("a", 0, Err(Reason::Unschedulable));
        assert_snapshot!(story.at(9), @"patient");
        assert_snapshot!(story.at(10), @"begins: a waits: so it is for 60 s, may go: {}");
        assert_snapshot!(story.at(40), @"a waits: so it is for 60 s, may go: {}");
        assert_snapshot!(story.at(41), @r#"a waits: so it is for 60 s, may go: {"a"}"#);
        story.view.pods.clear();
        assert_snapshot!(story.at(69), @"a waits: so it is for 60 s, may go: {}");
        assert_snapshot!(story.at(70), @"patient");
    }

    #[test]
    fn each_time_it_is_longer_until_a_pod_runs() {
        let mut story = Story::new();
        story.pod("a", 0, Err(Reason::Unschedulable));
        assert_snapshot!(story.at(10), @"begins: a waits: so it is for 60 s, may go: {}");
        assert_snapshot!(story.at(70), @r#"begins: a waits: so it is for 120 s, may go: {"a"}"#);
        story.view.pods.clear();
        assert_snapshot!(story.at(200), @"patient");
        story.pod("b", 200, Err(Reason::Unschedulable));
        assert_snapshot!(story.at(210), @"begins: b waits: so it is for 240 s, may go: {}");
        story.pod("b", 200, Ok(15));
        assert_snapshot!(story.at(215), @"patient");
        story.pod("c", 300, Err(Reason::Image));
        assert_snapshot!(story.at(300), @"begins: c waits: so it is for 60 s, may go: {}");
    }

    #[test]
    fn what_was_learned_is_how_long_its_pods_take() {
        let mut story = Story::new();
        story.pod("a", 0, Ok(90));
        story.pod("b", 100, Err(Reason::Unschedulable));
        assert_snapshot!(story.at(279), @"patient");
        assert_snapshot!(story.at(280), @"begins: b waits: so it is for 60 s, may go: {}");
    }

    /// Where nodes come one by one, each is a reason to wait for the next.
    #[test]
    fn each_pod_that_runs_is_a_reason_to_wait_on() {
        let mut story = Story::new();
        story.pod("a", 0, Err(Reason::Unschedulable));
        story.pod("b", 0, Err(Reason::Unschedulable));
        story.pod("b", 0, Ok(9));
        assert_snapshot!(story.at(26), @"patient");
        assert_snapshot!(story.at(27), @"begins: a waits: so it is for 60 s, may go: {}");
    }

    #[test]
    fn what_is_refused_or_fails_is_not_waited_for() {
        for reason in [Reason::Image, Reason::Crash] {
            let mut story = Story::new();
            story.pod("a", 0, Err(reason));
            assert_eq!(story.at(0), "begins: a waits: so it is for 60 s, may go: {}");
        }
        let mut story = Story::new();
        story.cluster.refusal = Some(Waiting {
            reason: Reason::NotCreated,
            since: Some(time(0)),
            message: "pods \"demo-small-worker-x\" is forbidden: exceeded quota".to_owned(),
        });
        assert_snapshot!(story.at(0), @r#"begins: pods "demo-small-worker-x" is forbidden: exceeded quota for 60 s, may go: {}"#);
    }

    #[test]
    fn one_that_is_refused_in_another_group_does_not_count_here() {
        let mut story = Story::new();
        let mut other = story.cluster.spec.worker_groups[0].clone();
        other.name = "other".to_owned();
        story.cluster.spec.worker_groups.push(other);
        story.cluster.refusal = Some(Waiting {
            reason: Reason::NotCreated,
            since: Some(time(0)),
            message: "pods \"demo-other-worker-x\" is forbidden: exceeded quota".to_owned(),
        });
        assert_snapshot!(story.at(0), @"patient");
    }

    #[test]
    fn gated_pods_never_go() {
        let mut story = Story::new();
        story.pod("a", 0, Err(Reason::Gated));
        assert_snapshot!(story.at(10_000), @"begins: a waits: so it is for 60 s, may go: {}");
    }

    #[test]
    fn a_pod_in_which_ray_runs_has_to_join() {
        let mut story = Story::new();
        story.pod("a", 0, Ok(20));
        story.pod("b", 0, Ok(20));
        story.joined.push("a busy".to_owned());
        assert_snapshot!(story.at(319), @"patient");
        assert_snapshot!(story.at(320), @"begins: b waits: it runs, and has not joined the head: see the log of its Ray container for 60 s, may go: {}");
        // One that was there and died is another matter.
        let mut story = Story::new();
        story.pod("a", 0, Ok(20));
        story.joined.push("a dead".to_owned());
        assert_snapshot!(story.at(400), @"patient");
    }

    #[test]
    fn a_first_image_may_take_minutes() {
        let mut story = Story::new();
        story.pod("a", 0, Err(Reason::Starting));
        assert_snapshot!(story.at(299), @"patient");
        assert_eq!(SignedDuration::from_secs(300), super::STARTING);
    }
}
