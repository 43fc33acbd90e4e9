//! Why a cluster has the nodes that it has: an entry of the journal put into words, for people and for programs. Pure.

mod policy;
#[cfg(test)]
mod tests;

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
    /// Why nothing that is decided is carried out, if so.
    #[serde(default)]
    shadowed: Option<String>,
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
        shadowed: look.shadowed.as_ref().map(ToString::to_string),
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
        State::Leaving { .. } => "leaving",
        State::Lost => "lost",
    }
}

/// Why it has as many as it has, and what would change that.
fn because(look: &Look, group: &Group, nodes: &[&Node], pass: Option<&Pass>) -> Vec<String> {
    let mut because = Vec::new();
    let mut decisions = look.plan.decisions.iter();
    if let Some(decision) = decisions.find(|decision| decision.group == group.name) {
        let decided = match look.shadowed {
            None => "decided now",
            Some(_) => "decided, and not carried out",
        };
        because.push(format!("{decided}: {decision}"));
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
        if let Some(why) = &self.shadowed {
            writeln!(formatter, "Only shadowed: {why}")?;
        }
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
