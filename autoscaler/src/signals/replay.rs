//! Plays a scaling policy against what was measured: at each step it is asked what the signals said then, and the planner decides as it does for a
//! living cluster. Around it there is only as much of a cluster as the decision takes: replicas that come after a while, and go when told; and
//! [`work`], where it is known what Ray asked for. Pure.

pub(crate) mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use planner::signal::{Composed, Factor, Removals, Role as SignalRole, Wish};
use planner::{Memory, Node, Plan, Policy, Role, Running, Snapshot, State};
use ray::scaling_policy::{Mode, ScalingPolicySpec};

use super::policies::{Followed, ScalingPolicy};
use super::prometheus::Failure;
use super::queries::{Answer, Query};
use super::wish;
use crate::cluster::{Cluster, View};
use crate::gcs::Report;
use crate::observe::observe;
use work::{Asked, Work};

/// What one query answered over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// By time, in milliseconds since 1970.
    pub(crate) points: BTreeMap<i64, Point>,
    /// How long a point counts when there is no newer one.
    pub(crate) lookback_milliseconds: i64,
}

/// What it answered at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Point {
    /// One number, which may be none.
    Value(f64),
    /// So many series.
    Several(usize),
}

/// What is played.
pub(crate) struct Setting<'s> {
    pub(crate) cluster: &'s Cluster,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) step_seconds: u32,
    /// How long a replica takes from asked for to running.
    pub(crate) start_seconds: u32,
    /// What Ray asked for; without it, for nothing.
    pub(crate) work: Option<&'s Work>,
}

/// How things stand after a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    /// One for each group, in the order of the RayCluster.
    pub(crate) groups: Vec<GroupMoment>,
    /// What Ray asked for, where that is known.
    pub(crate) asked: Option<Asked>,
}

/// How a group stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupMoment {
    /// Replicas that are asked for.
    pub(crate) replicas: u64,
    /// Of these, those that run.
    pub(crate) running: u64,
    /// How many more would have to run for what the Targets say.
    pub(crate) short: u64,
    /// What decided.
    pub(crate) by: String,
    /// Whether something was not known.
    pub(crate) unknown: bool,
}

/// What a policy wants to have asked: each question, with the group and the signal it is for.
pub(crate) fn questions(spec: &ScalingPolicySpec, cluster: &Cluster) -> Vec<Question> {
    let groups = cluster.spec.worker_groups.iter();
    let wanted = groups.filter_map(|group| Some((&group.name, spec.of_group(&group.name)?)));
    let questions = wanted.flat_map(|(group, wants)| {
        wants.signals.iter().filter_map(move |signal| {
            Some(Question {
                query: wish::query(signal.prometheus.as_ref()?, cluster, group),
                group: group.clone(),
                signal: signal.name.clone(),
            })
        })
    });
    questions.collect()
}

/// The resources of which it matters how much Ray asked for.
pub(crate) fn resources(cluster: &Cluster) -> BTreeSet<String> {
    work::resources(&observed(cluster).groups)
}

/// The cluster, with replicas that are asked for and yet to come.
fn observed(cluster: &Cluster) -> Snapshot {
    observe(cluster, &View::default(), &Report::default(), 0).snapshot
}

/// A query, and what it is for.
pub(crate) struct Question {
    pub(crate) query: Query,
    pub(crate) group: String,
    pub(crate) signal: String,
}

/// What there is of a group.
struct Standing {
    replicas: u64,
    nodes: BTreeMap<String, Host>,
    removed: Removals,
}

/// One node of a group. Times are in milliseconds.
struct Host {
    slice: Option<String>,
    runs_at: i64,
    /// When it had work last.
    worked_at: i64,
}

/// Plays it.
pub(crate) fn replay(
    spec: &ScalingPolicySpec,
    setting: &Setting<'_>,
    history: &BTreeMap<Query, Series>,
) -> Vec<Moment> {
    let cluster = setting.cluster;
    let spec = ScalingPolicySpec {
        mode: Some(Mode::Active),
        ..spec.clone()
    };
    let policy = ScalingPolicy::of_spec(&spec);
    let mut template = observed(cluster);
    // Those that are asked for are made below.
    template.nodes.clear();
    template
        .nodes
        .extend(setting.work.and_then(|_| work::head(&template.groups)));
    let names: Vec<String> = cluster
        .spec
        .worker_groups
        .iter()
        .map(|group| group.name.clone())
        .collect();
    let followed: Vec<Followed<'_>> = names
        .iter()
        .filter_map(|group| {
            Some(Followed {
                policy: &policy,
                spec: &spec,
                group: group.clone(),
                wants: spec.of_group(group)?,
                other: None,
            })
        })
        .collect();

    let mut world: Vec<Standing> = Vec::new();
    let mut made = 0;
    for group in template.groups.iter().filter(|group| group.role == Role::Worker) {
        let mut standing = Standing {
            replicas: 0,
            nodes: BTreeMap::new(),
            removed: Removals::default(),
        };
        standing.grow(
            group.replicas * group.hosts.max(1),
            group.hosts,
            i64::MIN,
            &mut made,
        );
        standing.replicas = group.replicas;
        world.push(standing);
    }

    let mut heard: BTreeMap<Query, Answer> = BTreeMap::new();
    let mut memory = Memory::default();
    let mut moments = Vec::new();
    let step = i64::from(setting.step_seconds) * 1000;
    let mut now = setting.from.as_millisecond();
    while now <= setting.until.as_millisecond() {
        for (query, series) in history {
            heard.entry(query.clone()).or_default().hear(series.at(now), now);
        }
        let at = Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX);
        let ask = |query: &Query| heard.get(query).cloned().unwrap_or_else(absent);
        let (wishes, unknown): (Vec<Wish>, Vec<bool>) = followed
            .iter()
            .map(|followed| {
                let (wish, heard) = wish::wish(followed, cluster, ask, at);
                (wish, heard.iter().any(|heard| heard.problem.is_some()))
            })
            .unzip();
        let start_milliseconds = i64::from(setting.start_seconds) * 1000;
        let mut snapshot = snapshot(&template, &names, &world, start_milliseconds, now);
        let asked = setting.work.and_then(|work| work.at(now));
        let asked = asked.map(|asked| work::place(asked, &mut snapshot));
        if setting.work.is_some() && asked.is_none() {
            // Nothing goes on the word of nobody.
            snapshot.age_milliseconds = u64::MAX;
        }
        keep_busy(&snapshot, &names, &mut world, now);
        let milliseconds = u64::try_from(now).unwrap_or(0);
        let decide =
            |memory: &_| planner::signal::plan(&snapshot, memory, &Policy::default(), &wishes, milliseconds);
        let (mut plan, mut composed) = decide(&memory);
        if asked.is_some() {
            // Work that has just begun may be told twice, so the planner believes only what it sees again; it looks every second or so.
            (plan, composed) = decide(&plan.memory);
        }
        memory = std::mem::take(&mut plan.memory);
        let start = now + start_milliseconds;
        carry_out(&plan, &snapshot, &names, &mut world, start, &mut made);
        let groups = names.iter().zip(&world).map(|(name, standing)| {
            let place = wishes.iter().position(|wish| wish.group == *name);
            let composed = composed.iter().find(|composed| composed.group == *name);
            let hosts = group(&snapshot, name).hosts.max(1);
            standing.moment(
                now,
                hosts,
                place.map(|place| (&wishes[place], unknown[place])),
                composed,
            )
        });
        moments.push(Moment {
            at,
            groups: groups.collect(),
            asked,
        });
        now += step;
    }
    moments
}

fn absent() -> Answer {
    Answer {
        now: Err(Failure::Empty),
        ..Answer::default()
    }
}

fn group<'s>(snapshot: &'s Snapshot, name: &str) -> &'s planner::Group {
    let mut groups = snapshot.groups.iter();
    groups
        .find(|group| group.name == name)
        .expect("its groups are those of the cluster")
}

fn snapshot(
    template: &Snapshot,
    names: &[String],
    world: &[Standing],
    start_milliseconds: i64,
    now: i64,
) -> Snapshot {
    let mut snapshot = template.clone();
    for (name, standing) in names.iter().zip(world) {
        let mut groups = snapshot.groups.iter_mut();
        let group = groups
            .find(|group| group.name == *name)
            .expect("the template has it");
        group.replicas = standing.replicas;
        group.removed = standing.removed.clone();
        let total = group.resources.clone().unwrap_or_default();
        let nodes = standing.nodes.iter().map(|(id, host)| Node {
            id: id.clone(),
            group: name.clone(),
            slice: host.slice.clone(),
            created: Some(u64::try_from(host.runs_at.saturating_sub(start_milliseconds)).unwrap_or(0)),
            state: if host.runs_at <= now {
                let idle_since = host.runs_at.max(host.worked_at);
                State::Running(Running {
                    total: total.clone(),
                    available: total.clone(),
                    labels: group.labels.clone(),
                    idle_milliseconds: u64::try_from(now.saturating_sub(idle_since)).unwrap_or(u64::MAX),
                })
            } else {
                State::Pending
            },
        });
        snapshot.nodes.extend(nodes.collect::<Vec<_>>());
    }
    snapshot
}

/// Remembers which nodes have work.
fn keep_busy(snapshot: &Snapshot, names: &[String], world: &mut [Standing], now: i64) {
    for node in &snapshot.nodes {
        let State::Running(Running {
            idle_milliseconds: 0, ..
        }) = node.state
        else {
            continue;
        };
        let mut standings = names.iter().zip(&mut *world);
        let standing = standings.find(|(name, _)| **name == node.group);
        if let Some(host) = standing.and_then(|(_, standing)| standing.nodes.get_mut(&node.id)) {
            host.worked_at = now;
        }
    }
}

fn carry_out(
    plan: &Plan,
    snapshot: &Snapshot,
    names: &[String],
    world: &mut [Standing],
    start: i64,
    made: &mut u64,
) {
    for (name, standing) in names.iter().zip(world) {
        let going = plan.terminate.iter().filter(|going| going.group == *name);
        let gone = going.filter_map(|going| standing.nodes.remove(&going.id)).count() as u64;
        let hosts = group(snapshot, name).hosts;
        let tally = plan.tallies.get(name).filter(|_| gone > 0);
        if let Some(removed) = tally.and_then(|tally| tally.and(gone.div_ceil(hosts.max(1)))) {
            standing.removed = removed;
        }
        let coming = plan.launch.get(name).copied().unwrap_or(0);
        standing.grow(coming, hosts, start, made);
        let mut decisions = plan.decisions.iter();
        if let Some(decision) = decisions.find(|decision| decision.group == *name) {
            standing.replicas = decision.to;
        }
    }
}

impl Standing {
    fn grow(&mut self, nodes: u64, hosts: u64, runs_at: i64, made: &mut u64) {
        // A slice has the number of its first host.
        *made = made.next_multiple_of(hosts.max(1));
        for _ in 0..nodes {
            let slice = (hosts > 1).then(|| format!("slice-{:08}", *made - *made % hosts));
            let host = Host {
                slice,
                runs_at,
                worked_at: i64::MIN,
            };
            self.nodes.insert(format!("node-{made:08}"), host);
            *made += 1;
        }
    }

    fn moment(
        &self,
        now: i64,
        hosts: u64,
        wish: Option<(&Wish, bool)>,
        composed: Option<&Composed>,
    ) -> GroupMoment {
        let running = self.nodes.values().filter(|host| host.runs_at <= now).count() as u64 / hosts;
        let targets = wish.into_iter().zip(composed).flat_map(|((wish, _), composed)| {
            let signals = wish.signals.iter().zip(&composed.proposals);
            signals.filter_map(|(signal, (_, replicas))| match signal.role {
                SignalRole::Target(_) => *replicas,
                _ => None,
            })
        });
        GroupMoment {
            replicas: self.replicas,
            running,
            short: targets.max().unwrap_or(0).saturating_sub(running),
            by: composed
                .map_or(&Factor::Demand, |composed| &composed.by)
                .to_string(),
            unknown: wish.is_some_and(|(_, unknown)| unknown),
        }
    }
}

impl Series {
    /// The last point that still counts, and when it was.
    fn at(&self, now: i64) -> Option<(i64, Point)> {
        let (at, point) = self.points.range(..=now).next_back()?;
        (now - at <= self.lookback_milliseconds).then_some((*at, *point))
    }
}

impl Answer {
    /// Takes what the history has for now.
    fn hear(&mut self, point: Option<(i64, Point)>, now: i64) {
        self.age = point.map(|(at, _)| Duration::from_millis(u64::try_from(now - at).unwrap_or(0)));
        self.now = match point.map(|(_, point)| point) {
            Some(Point::Value(value)) if value.is_finite() => Ok(value),
            Some(Point::Value(value)) => Err(Failure::NotANumber(value.to_string())),
            Some(Point::Several(series)) => Err(Failure::Several(series)),
            None => Err(Failure::Empty),
        };
        match &self.now {
            Ok(value) => {
                self.last = Some(*value);
                self.failures = 0;
            }
            Err(_) => self.failures = self.failures.saturating_add(1),
        }
    }
}
