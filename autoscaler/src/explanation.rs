//! Why a cluster has the nodes that it has: an entry of the journal put into words, for people and for programs. Pure.

mod policy;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use planner::{Group, Node, Request, Role, Snapshot, State};
use serde::{Deserialize, Serialize};

use crate::journal::{Entry, Look, Past};
use crate::patience::Pass;
use crate::tick::Outcome;
use crate::waiting::Reason;
use policy::PolicyStory;

/// The form of the JSON. It grows by new fields only.
const VERSION: u32 = 1;

/// Everything that `explain` tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    version: u32,
    namespace: String,
    name: String,
    /// Why nothing is decided, if so.
    held: Option<Held>,
    /// What the last look that led to a plan showed.
    look: Option<Shown>,
    decisions: Vec<Past>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    since: Timestamp,
    reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    at: Timestamp,
    outcome: Outcome,
    head: String,
    groups: Vec<GroupStory>,
    /// What waits and has found no place.
    unplaced: Vec<Unplaced>,
    pods: Vec<Starting>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupStory {
    name: String,
    /// Replicas that are asked for, before what was decided at the last look.
    replicas: u64,
    min: u64,
    max: u64,
    nodes: BTreeMap<String, u64>,
    because: Vec<String>,
    #[serde(default)]
    policies: Vec<PolicyStory>,
    passed_over: Option<PassStory>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PassStory {
    since: Timestamp,
    until: Timestamp,
    reason: Reason,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unplaced {
    what: String,
    /// For each group, what is in the way.
    obstacles: BTreeMap<String, String>,
    /// Nothing but a change of the groups will help.
    hopeless: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Starting {
    name: String,
    group: String,
    reason: Reason,
    since: Option<Timestamp>,
    message: String,
}

/// Tells what is known of a cluster.
pub(crate) fn explain(namespace: &str, name: &str, entry: &Entry) -> Explanation {
    Explanation {
        version: VERSION,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        held: entry.held.clone().map(|(since, reason)| Held { since, reason }),
        look: entry.look.as_deref().map(shown),
        decisions: entry.history.iter().cloned().collect(),
    }
}

fn shown(look: &Look) -> Shown {
    let snapshot = &look.snapshot;
    let infeasible = &look.plan.infeasible;
    let requests = infeasible
        .requests
        .iter()
        .map(|batch| unplaced(snapshot, batch.to_string(), &batch.request));
    let gangs = infeasible.gangs.iter().filter_map(|gang| {
        let requests = gang.requests();
        // The bundle that is the hardest to place says the most.
        let hardest = requests.iter().max_by_key(|request| {
            workers(snapshot)
                .filter(|group| snapshot.obstacle(request, group).is_some())
                .count()
        })?;
        Some(unplaced(snapshot, format!("placement group {gang}"), hardest))
    });
    let constraint = infeasible.constraint.then(|| Unplaced {
        what: "what request_resources asked for".to_owned(),
        obstacles: BTreeMap::new(),
        hopeless: false,
    });
    let pods = look.waiting.iter().map(|(name, (group, waiting))| Starting {
        name: name.clone(),
        group: group.clone(),
        reason: waiting.reason,
        since: waiting.since,
        message: waiting.message.clone(),
    });
    Shown {
        at: look.at,
        outcome: look.outcome,
        head: look.head.to_string(),
        groups: workers(snapshot).map(|group| story(look, group)).collect(),
        unplaced: requests.chain(gangs).chain(constraint).collect(),
        pods: pods.collect(),
    }
}

fn workers(snapshot: &Snapshot) -> impl Iterator<Item = &Group> {
    snapshot.groups.iter().filter(|group| group.role == Role::Worker)
}

fn unplaced(snapshot: &Snapshot, what: String, request: &Request) -> Unplaced {
    let obstacle = |group: &Group| match snapshot.obstacle(request, group) {
        Some(obstacle) => obstacle.to_string(),
        None => "the rest of what waits, or the maximum of the cluster, has left no room".to_owned(),
    };
    Unplaced {
        what,
        obstacles: workers(snapshot)
            .map(|group| (group.name.clone(), obstacle(group)))
            .collect(),
        hopeless: !snapshot.could_hold(request),
    }
}

fn story(look: &Look, group: &Group) -> GroupStory {
    let nodes: Vec<&Node> = look
        .snapshot
        .nodes
        .iter()
        .filter(|node| node.group == group.name)
        .collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for node in &nodes {
        *counts.entry(state(node).to_owned()).or_default() += 1;
    }
    let pass = look.passes.get(&group.name);
    GroupStory {
        name: group.name.clone(),
        replicas: group.replicas,
        min: group.min / group.hosts.max(1),
        max: group.max / group.hosts.max(1),
        because: because(look, group, &nodes, pass),
        policies: policy::policies(look, &group.name),
        nodes: counts,
        passed_over: pass.map(|pass| PassStory {
            since: pass.since,
            until: pass.until,
            reason: pass.reason,
            message: pass.message.clone(),
        }),
    }
}

fn state(node: &Node) -> &'static str {
    match &node.state {
        State::Running(running) if running.idle_milliseconds > 0 => "idle",
        State::Running(_) => "busy",
        State::Pending => "starting",
        State::Stuck { .. } => "stuck",
        State::Leaving => "leaving",
        State::Lost => "lost",
    }
}

/// Why it has as many as it has, and what would change that.
fn because(look: &Look, group: &Group, nodes: &[&Node], pass: Option<&Pass>) -> Vec<String> {
    let mut because = Vec::new();
    let mut decisions = look.plan.decisions.iter();
    if let Some(decision) = decisions.find(|decision| decision.group == group.name) {
        because.push(format!("decided now: {decision}"));
    }
    if group.suspended {
        because.push("it is suspended: nothing comes and nothing goes".to_owned());
    }
    if group.resources.is_none() {
        because.push(
            "its template does not say what its nodes offer, so none is launched for work; give its first container limits".to_owned(),
        );
    }
    if let Some(pass) = pass {
        because.push(format!(
            "passed over until {}, or until a Pod of it runs: {}",
            pass.until, pass.message
        ));
    }
    let there = nodes.len() as u64;
    if group.max > 0 && there + group.hosts.max(1) > group.max {
        because.push("it is at its maximum; raise maxReplicas for more".to_owned());
    }
    if group.min > 0 && there <= group.min {
        because.push("it is at its minimum; lower minReplicas for fewer".to_owned());
    }
    let idle = nodes.iter().filter_map(|node| match &node.state {
        State::Running(running) if running.idle_milliseconds > 0 => Some(running.idle_milliseconds),
        _ => None,
    });
    if let Some(longest) = idle.max() {
        let limit = look.snapshot.idle_limit(group);
        because.push(format!(
            "idle nodes go after {} s if nothing needs them by then; the longest idle has been for {} s",
            limit / 1000,
            longest / 1000
        ));
    }
    if there == 0 && because.is_empty() {
        because.push("nothing that waits needs it".to_owned());
    }
    because
}

/// The page for people.
impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "RayCluster {}/{}", self.namespace, self.name)?;
        if let Some(Held { since, reason }) = &self.held {
            writeln!(formatter, "\nNothing is decided since {since}: {reason}")?;
        }
        match &self.look {
            Some(look) => write!(formatter, "{look}")?,
            None if self.held.is_none() => writeln!(formatter, "\nNobody has looked at it yet.")?,
            None => {}
        }
        if !self.decisions.is_empty() {
            writeln!(formatter, "\nLast decisions")?;
        }
        for past in &self.decisions {
            let changes = past.changes.join("; ");
            writeln!(formatter, "  {} {:?}: {changes}", past.at, past.outcome)?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "\nLast look {} at the head {}: {:?}",
            self.at, self.head, self.outcome
        )?;
        writeln!(formatter, "\nGroups")?;
        for group in &self.groups {
            let nodes: Vec<String> = group
                .nodes
                .iter()
                .map(|(state, count)| format!("{count} {state}"))
                .collect();
            let nodes = if nodes.is_empty() {
                "none".to_owned()
            } else {
                nodes.join(", ")
            };
            writeln!(
                formatter,
                "  {}: {} replicas (from {} to {}), nodes: {nodes}",
                group.name, group.replicas, group.min, group.max
            )?;
            for because in &group.because {
                writeln!(formatter, "    {because}")?;
            }
            for policy in &group.policies {
                write!(formatter, "{policy}")?;
            }
        }
        if !self.unplaced.is_empty() {
            writeln!(formatter, "\nWaits without a place")?;
        }
        for unplaced in &self.unplaced {
            let hopeless = if unplaced.hopeless {
                ": no group could ever take it"
            } else {
                ""
            };
            writeln!(formatter, "  {}{hopeless}", unplaced.what)?;
            for (group, obstacle) in &unplaced.obstacles {
                writeln!(formatter, "    not onto {group}: {obstacle}")?;
            }
        }
        if !self.pods.is_empty() {
            writeln!(formatter, "\nPods that are not Ray nodes yet")?;
        }
        for pod in &self.pods {
            let since = pod
                .since
                .map(|since| format!(" since {since}"))
                .unwrap_or_default();
            writeln!(formatter, "  {}{since}: {}", pod.name, pod.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use insta::assert_snapshot;
    use planner::{Memory, Policy};
    use prometheus_client::encoding::text::encode_registry;
    use ray::scaling_policy::Role;
    use ray::scaling_policy::status::{GroupStatus, SignalStatus};
    use serde_json::json;

    use super::explain;
    use crate::journal::{Entry, Journal, Look, Past, waiting};
    use crate::observe::observe;
    use crate::patience::Patience;
    use crate::signal_metrics::signal_metrics;
    use crate::signals::{GroupTold, Heard};
    use crate::tests::{cluster, report, time, view};
    use crate::tick::Outcome;
    use crate::waiting::{Reason, Waiting};

    /// A cluster of one group with a busy node, one that finds no place, and more work than it may have nodes for.
    fn entry() -> Entry {
        let cluster = cluster(&json!({ "replicas": 2, "maxReplicas": 2 }));
        let mut view = view("a running\nb pending");
        let stuck = Arc::make_mut(view.pods.get_mut("b").expect("b is there"));
        stuck.waiting = Some(Waiting {
            reason: Reason::Unschedulable,
            since: Some(time(0)),
            message: "Unschedulable: 0/2 nodes are available".to_owned(),
        });
        let report = report("a busy", 9);
        let mut observation = observe(&cluster, &view, &report, 0);
        let waits = Patience::new(10).judge(&cluster, &view, &observation.snapshot, time(20));
        waits.mark(&mut observation.snapshot, &view);
        let plan = planner::plan(&observation.snapshot, &Memory::default(), &Policy::default());
        let look = Look {
            at: time(20),
            outcome: Outcome::Waiting,
            head: ([10, 0, 0, 1], 6379).into(),
            session: "session".to_owned(),
            snapshot: observation.snapshot,
            plan,
            policies: vec![wanted()],
            passes: waits.passes,
            waiting: waiting(&view).collect(),
        };
        Entry {
            held: None,
            look: Some(Arc::new(look)),
            history: VecDeque::from([Past {
                at: time(0),
                outcome: Outcome::Patched,
                changes: vec!["small: 1 -> 2 replicas, 1 node for tasks and actors".to_owned()],
            }]),
        }
    }

    /// A policy that wants more than there may be.
    fn wanted() -> GroupTold {
        let signal = |name: &str, replicas, problem: Option<&str>| SignalStatus {
            name: name.to_owned(),
            replicas,
            problem: problem.map(str::to_owned),
        };
        let heard = |role, value, problem: Option<&str>| Heard {
            role,
            value,
            age: value.map(|_| std::time::Duration::from_secs(3)),
            problem: problem.map(str::to_owned),
        };
        let gone = Some("the query finds no series");
        GroupTold {
            policy: ("default".to_owned(), "chat".to_owned()),
            status: GroupStatus {
                cluster: "demo".to_owned(),
                name: "small".to_owned(),
                replicas: 2,
                desired_replicas: 2,
                limited_by: "the maximum".to_owned(),
                signals: vec![
                    signal("queue", Some(5), None),
                    signal("pressure", None, gone),
                    signal("office", Some(1), None),
                ],
                ..GroupStatus::default()
            },
            heard: vec![
                heard(Role::Target, Some(20.0), None),
                heard(Role::Guard, None, gone),
                heard(Role::Floor, None, None),
            ],
        }
    }

    #[test]
    fn what_signals_say_is_measured() {
        let journal = Journal::default();
        let page = journal.page("default", "demo");
        let look = entry().look.expect("there is one");
        page.looked(Arc::into_inner(look).expect("nobody else has it"));
        let mut text = String::new();
        encode_registry(&mut text, &signal_metrics(&journal)).expect("a string takes all");
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        assert_snapshot!(lines.join("\n"), @r#"
        rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="office",role="Floor"} 1
        rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="pressure",role="Guard"} 0
        rayward_autoscaler_signal_known{namespace="default",policy="chat",signal="queue",role="Target"} 1
        rayward_autoscaler_signal_replicas{namespace="default",policy="chat",signal="office",role="Floor"} 1
        rayward_autoscaler_signal_replicas{namespace="default",policy="chat",signal="queue",role="Target"} 5
        rayward_autoscaler_signal_value{namespace="default",policy="chat",signal="queue",role="Target"} 20.0
        rayward_autoscaler_signals_left_out 0
        "#);
    }

    #[test]
    fn for_people() {
        assert_snapshot!(explain("default", "demo", &entry()), @r"
        RayCluster default/demo

        Last look 2030-01-01T10:00:20Z at the head 10.0.0.1:6379: Waiting

        Groups
          small: 2 replicas (from 0 to 2), nodes: 1 busy, 1 stuck
            passed over until 2030-01-01T10:01:20Z, or until a Pod of it runs: b waits: Unschedulable: 0/2 nodes are available
            it is at its maximum; raise maxReplicas for more
            policy chat: 2 -> 2 replicas, decided by the maximum
              queue (Target): 20, 3 s old, stands for 5 replicas
              pressure (Guard): not known, the query finds no series
              office (Floor): on, stands for 1 replicas

        Waits without a place
          5 x {CPU: 1}
            not onto small: it has reached its maximum of 2 nodes

        Pods that are not Ray nodes yet
          b since 2030-01-01T10:00:00Z: Unschedulable: 0/2 nodes are available

        Last decisions
          2030-01-01T10:00:00Z Patched: small: 1 -> 2 replicas, 1 node for tasks and actors
        ");
    }

    #[test]
    fn what_holds_is_said_first() {
        let entry = Entry {
            held: Some((time(0), "there is no running head".to_owned())),
            ..Entry::default()
        };
        assert_snapshot!(explain("default", "demo", &entry), @r"
        RayCluster default/demo

        Nothing is decided since 2030-01-01T10:00:00Z: there is no running head
        ");
    }

    #[test]
    fn programs_read_what_people_read() {
        let explanation = explain("default", "demo", &entry());
        let json = serde_json::to_string(&explanation).expect("it is JSON");
        let again: super::Explanation = serde_json::from_str(&json).expect("it is read again");
        assert_eq!(again.to_string(), explanation.to_string());
    }
}
