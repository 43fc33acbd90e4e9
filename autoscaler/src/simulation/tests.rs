//! What must hold of every cluster at every tick, whatever goes wrong: hundreds of scenarios at random, and those that were kept.
//!
//! `RAYWARD_SIMULATED_TICKS=1000000 cargo test -p rayward-autoscaler simulation` tries more. A scenario that fails is printed; kept as a file in
//! `fixtures/scenarios/`, it is tried ever after.

mod owners;
mod policies;

use fastrand::Rng;
use planner::{Policy, Request, Role};
use ray::cluster::WorkerGroup;
use serde_json::{Value, json};

use super::{Faults, Sample, Scenario, Simulation, Tick};
use crate::observe::observe;

/// Without faults and with demand that no longer changes, everything is settled after that.
const SETTLED_AFTER_TICKS: u64 = 200;
/// And then nothing changes for so long.
const QUIET_TICKS: u64 = 40;
/// In the time of the tests.
const TICKS: u64 = 45_000;

/// What scenarios came to, all together: a rule that nothing touches is no rule.
#[derive(Debug, Default)]
struct Seen {
    ticks: u64,
    grown: u64,
    removed: u64,
    /// Written, and somebody was before us or it got lost.
    in_vain: u64,
    rejected: u64,
    held: u64,
    blind: u64,
}

/// Runs a scenario with its faults, then without, and checks it all the way; `Err` says what did not hold.
fn check(json: &Value, seen: &mut Seen, policy: &Policy) -> Result<(), String> {
    let scenario: Scenario = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    let mut simulation = Simulation::new(&scenario).map_err(|error| error.to_string())?;
    simulation.policy.clone_from(policy);
    for _ in 0..scenario.seconds {
        seen.count(&simulation.checked_tick()?);
    }
    simulation.faults = Faults::default();
    simulation.events.clear();
    // The work of the ticks that a freeze took is over as well.
    simulation.head.keep_running();
    for _ in 0..SETTLED_AFTER_TICKS {
        simulation.checked_tick()?;
    }
    simulation.is_settled()?;
    let settled = simulation.kubernetes.counts();
    for _ in 0..QUIET_TICKS {
        let sample = simulation.checked_tick()?;
        if sample.tick.written || sample.nodes != settled {
            return Err(format!(
                "at {} s, on constant demand: {:?}",
                sample.seconds, sample.tick
            ));
        }
    }
    seen.ticks += scenario.seconds + SETTLED_AFTER_TICKS + QUIET_TICKS;
    Ok(())
}

impl Seen {
    fn count(&mut self, Sample { tick, .. }: &Sample) {
        let decided = !tick.decisions.is_empty();
        self.grown += u64::from(tick.written && decided && tick.removed.is_empty());
        self.removed += if tick.written {
            tick.removed.len() as u64
        } else {
            0
        };
        self.in_vain += u64::from(decided && !tick.written);
        self.rejected += tick.rejected;
        self.held += u64::from(tick.age_milliseconds.is_some_and(is_old));
        self.blind += u64::from(tick.age_milliseconds.is_none());
    }
}

fn is_old(age_milliseconds: u64) -> bool {
    age_milliseconds > 10_000
}

impl Simulation {
    fn checked_tick(&mut self) -> Result<Sample, String> {
        self.checked_tick_before(|_| ()).map(|((), sample)| sample)
    }

    /// Looks at how things are right before the autoscaler does, too.
    fn checked_tick_before<T>(&mut self, look: impl Fn(&Self) -> T) -> Result<(T, Sample), String> {
        self.pass(super::TICK_MILLISECONDS);
        self.misfortune();
        let seen = look(self);
        let before = self.replicas();
        let tick = self.look();
        self.judge(&before, &tick, self.now)?;
        let sample = Sample {
            seconds: self.now / 1000,
            waiting: self.head.waiting(),
            running: self.head.running(),
            nodes: self.kubernetes.counts(),
            tick,
        };
        Ok((seen, sample))
    }

    /// What is asked for, group by group.
    fn replicas(&self) -> Vec<i32> {
        let groups = self.kubernetes.cluster().spec.worker_groups.iter();
        groups.map(WorkerGroup::desired_replicas).collect()
    }

    /// What a tick did to what was asked for before it. What came after `known` could not be known.
    fn judge(&self, before: &[i32], tick: &Tick, known: u64) -> Result<(), String> {
        let after = self.replicas();
        let at = |what: String| Err(format!("at {} s: {what}: {tick:?}", self.now / 1000));
        for group in &self.kubernetes.cluster().spec.worker_groups {
            let (index, name) = (group.index, &group.name);
            let (min, max) = (
                group.min_replicas.unwrap_or(0),
                group.max_replicas.unwrap_or(i32::MAX),
            );
            let written = group.replicas.unwrap_or(min);
            if before[index] != after[index] && !(min..=max).contains(&written) {
                return at(format!(
                    "{written} replicas of {name}, which may have {min} to {max}"
                ));
            }
            let hosts = u64::try_from(group.hosts()).unwrap_or(1);
            let staying = self.kubernetes.staying(group, &self.head);
            let asked = u64::try_from(group.desired_replicas()).unwrap_or(0) * hosts;
            if before[index] > after[index] && asked < staying && after[index] < max {
                return at(format!("{asked} of {name} asked for, and {staying} stay"));
            }
            let is_old = tick.age_milliseconds.is_some_and(is_old);
            if is_old && (after[index] < before[index] || !tick.removed.is_empty()) {
                return at(format!("{name} shrinks on what is old"));
            }
        }
        let works = |pod: &&String| {
            let joined = self.head.joined_at(pod);
            self.head.is_busy(pod) && joined.is_some_and(|at| at <= known)
        };
        if tick.written
            && let Some(pod) = tick.removed.iter().find(works)
        {
            return at(format!("{pod} is busy and is removed"));
        }
        Ok(())
    }

    /// Everything has a place that can have one, and nothing is there that nobody needs.
    fn is_settled(&self) -> Result<(), String> {
        let cluster = self.kubernetes.cluster();
        let view = self.kubernetes.view(self.now, true);
        let report = self.head.report(self.now, false);
        let snapshot = observe(cluster, &view, &report, 0).snapshot;
        let counts = self.kubernetes.counts();
        for (group, count) in cluster.spec.worker_groups.iter().zip(&counts) {
            if !group.workers_to_delete.is_empty() {
                return Err(format!(
                    "{} is still to delete {:?}",
                    group.name, group.workers_to_delete
                ));
            }
            let planned = snapshot.groups.iter().find(|planned| planned.name == group.name);
            let (min, max) = planned.map_or((0, 0), |group| (group.min, group.max));
            // Above a maximum that was lowered, what is busy finishes first, and here that never comes.
            let staying = self.kubernetes.staying(group, &self.head);
            if *count < min || staying > max {
                return Err(format!(
                    "{count} Pods of {}, which may have {min} to {max}",
                    group.name
                ));
            }
        }
        let workers = || snapshot.groups.iter().filter(|group| group.role == Role::Worker);
        let rooms: Vec<u64> = workers()
            .zip(&counts)
            .map(|(group, count)| group.max.saturating_sub(*count))
            .collect();
        let could_come = |requests: &[Request]| {
            workers().zip(&rooms).any(|(group, room)| {
                let label = |name: &str| group.labels.get(name).map(String::as_str);
                let resources = group.resources.clone().unwrap_or_default();
                let fits = |request: &Request| resources.fits(&request.resources) && request.suits(label);
                *room >= (requests.len() as u64).next_multiple_of(group.hosts) && requests.iter().all(fits)
            })
        };
        for batch in &report.demand.requests {
            if could_come(std::slice::from_ref(&batch.request)) {
                return Err(format!("{batch} waits, and there is room for it"));
            }
        }
        for gang in &report.demand.gangs {
            if could_come(&gang.requests()) {
                return Err(format!("{gang} waits, and there is room for it"));
            }
        }
        let wanted = report
            .demand
            .constraint
            .as_ref()
            .is_some_and(|constraint| !constraint.is_empty());
        let idle = self
            .kubernetes
            .workers()
            .into_iter()
            .filter(|pod| !self.head.is_busy(pod))
            .count() as u64;
        let least: u64 = workers().map(|group| group.min).sum();
        let hosts: u64 = workers().map(|group| group.hosts - 1).sum::<u64>() * counts.iter().sum::<u64>();
        if !wanted && report.demand.gangs.is_empty() && idle > least + hosts {
            return Err(format!(
                "{idle} nodes idle, of {counts:?}, and {least} have to be there"
            ));
        }
        Ok(())
    }
}

/// A scenario at random, always the same for the same seed.
fn random(seed: u64) -> Value {
    let mut random = Rng::with_seed(seed);
    let groups: Vec<Value> = (0..random.u64(1..=3))
        .map(|index| group(&mut random, index))
        .collect();
    let seconds = random.u64(50..=400);
    let demand: Vec<Value> = (0..random.u64(0..=16))
        .map(|_| step(&mut random, seconds))
        .collect();
    let mut faults = serde_json::Map::new();
    for (name, chance) in FAULTS {
        if random.bool() {
            faults.insert((*name).to_owned(), (chance * random.f64()).into());
        }
    }
    json!({
        "scenario": 1, "seed": seed, "seconds": seconds, "startSeconds": [1, random.u64(1..=15)],
        "rayCluster": {
            "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": { "name": "demo", "namespace": "default" },
            "spec": {
                "enableInTreeAutoscaling": true, "autoscalerOptions": { "idleTimeoutSeconds": 10 },
                "headGroupSpec": { "rayStartParams": { "num-cpus": "0" }, "template": template(1, 0) },
                "workerGroupSpecs": groups,
            },
        },
        "demand": demand, "faults": faults,
    })
}

/// Each with the most that it strikes.
const FAULTS: &[(&str, f64)] = &[
    ("lostReport", 0.5),
    ("skewedReport", 1.0),
    ("staleWatch", 0.7),
    ("lostDrain", 0.5),
    ("lostDrainReply", 0.5),
    ("conflict", 0.5),
    ("lostPatch", 0.5),
    ("freeze", 0.1),
    ("restart", 0.2),
    ("operatorStopped", 0.8),
    ("unschedulable", 0.7),
    ("podFails", 0.1),
    ("nodeDies", 0.1),
    ("headRestart", 0.02),
    ("clockJump", 0.1),
    ("userEdit", 0.1),
];

fn template(cpus: u64, gpus: u64) -> Value {
    let mut limits = json!({ "cpu": cpus });
    if gpus > 0 {
        limits["nvidia.com/gpu"] = gpus.into();
    }
    json!({ "spec": { "containers": [{ "name": "ray", "resources": { "limits": limits } }] } })
}

fn group(random: &mut Rng, index: u64) -> Value {
    let min = random.u64(0..=2) * random.u64(0..=1);
    let cpus = *random.choice(&[1, 2, 4, 8]).expect("there are some");
    let gpus = u64::from(random.u8(0..4) == 0);
    json!({
        "groupName": format!("group-{index}"), "replicas": random.u64(0..=3), "minReplicas": min,
        "maxReplicas": min + random.u64(0..=5), "numOfHosts": 1 + u64::from(random.u8(0..5) == 0),
        "idleTimeoutSeconds": random.u64(3..=20), "labels": { "zone": zone(random) },
        "rayStartParams": {}, "template": template(cpus, gpus),
    })
}

fn zone(random: &mut Rng) -> &'static str {
    if random.bool() { "a" } else { "b" }
}

fn step(random: &mut Rng, seconds: u64) -> Value {
    let mut step = json!({ "atSecond": random.u64(0..seconds) });
    match random.u8(0..10) {
        0 => step["cancel"] = true.into(),
        1 => step["constraint"] = (0..random.u64(0..3)).map(|_| shape(random, true)).collect(),
        2 | 3 => {
            let mut bundle = shape(random, false);
            if random.bool() {
                bundle["antiAffinity"] = json!({ "label": format!("gang-{}", random.u64(..)) });
            }
            step["gangs"] = json!([{ "bundles": vec![bundle; random.usize(1..4)] }]);
        }
        _ => step["requests"] = (0..random.u64(1..3)).map(|_| shape(random, true)).collect(),
    }
    if random.u8(0..3) == 0 {
        step["everySeconds"] = random.u64(5..40).into();
        step["runSeconds"] = random.u64(1..20).into();
    } else if random.bool() {
        step["runSeconds"] = random.u64(1..60).into();
    }
    step
}

fn shape(random: &mut Rng, counted: bool) -> Value {
    let mut shape =
        json!({ "resources": { "CPU": random.choice(&[0.5, 1.0, 1.0, 2.0, 4.0]).expect("there are some") } });
    if random.u8(0..6) == 0 {
        shape["resources"]["GPU"] = 1.into();
    }
    if random.u8(0..4) == 0 {
        shape["labelSelectors"] = json!([[{ "key": "zone", "operator": "in", "values": [zone(random)] }]]);
    }
    if counted {
        shape["count"] = random.u64(1..=12).into();
    }
    shape
}

/// As many as are asked for, or else so many.
fn ticks(usual: u64) -> u64 {
    let asked = std::env::var("RAYWARD_SIMULATED_TICKS").ok();
    asked.map_or(usual, |ticks| ticks.parse().expect("a number of ticks"))
}

#[test]
fn whatever_goes_wrong_the_rules_hold() {
    let ticks = ticks(TICKS);
    let mut seen = Seen::default();
    for seed in 0.. {
        let scenario = random(seed);
        let checked = check(&scenario, &mut seen, &Policy::default());
        checked.unwrap_or_else(|problem| panic!("{problem}\n{scenario}"));
        if seen.ticks >= ticks {
            break;
        }
    }
    eprintln!("{seen:?}");
    let Seen {
        ticks,
        grown,
        removed,
        in_vain,
        rejected,
        held,
        blind,
    } = seen;
    for (what, times) in [
        ("grown", grown),
        ("removed", removed),
        ("in vain", in_vain),
        ("rejected", rejected),
        ("held", held),
        ("blind", blind),
    ] {
        assert!(times > ticks / 2000, "{what} only {times} times in {ticks} ticks");
    }
}

/// The rules are rules: whoever does not hold on old news breaks one of them.
#[test]
fn whoever_acts_on_old_news_is_found_out() {
    let rash = Policy {
        stale_after_milliseconds: u64::MAX,
        ..Policy::default()
    };
    let broken = (0..500).find_map(|seed| check(&random(seed), &mut Seen::default(), &rash).err());
    let problem = broken.expect("one of 500 scenarios shows it");
    assert!(problem.contains("shrinks on what is old"), "{problem}");
}

#[test]
fn kept_scenarios_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scenarios");
    for entry in std::fs::read_dir(folder).expect("the kept scenarios") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a scenario");
        let scenario = serde_json::from_str(&text).expect("JSON");
        let checked = check(&scenario, &mut Seen::default(), &Policy::default());
        checked.unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
    }
}
