//! The same rules where scaling policies have a say, and what policies have to keep besides: what is not known shrinks nothing, what was asked for a moment
//! ago still counts, and signals that stay as they are change nothing in the end.

mod course;
mod weather;

use std::collections::{BTreeMap, BTreeSet};

use planner::Policy;
use planner::signal::behavior::{Behavior, Change, Scaling, Select};
use planner::signal::{Reading, Role, Tolerance, Wish};
use ray::cluster::WorkerGroup;
use serde_json::{Value, json};

use super::{QUIET_TICKS, SETTLED_AFTER_TICKS, Seen, random, ticks};
use crate::simulation::{Faults, Sample, Scenario, Simulation, Tick};
use weather::{FREE, Group, Kind, Unheard, Weather};

/// In the time of the tests.
const TICKS: u64 = 40_000;
/// Seeds that have shown what was wrong: a slice that was counted twice, and a clock that was put back.
const KEPT: [u64; 2] = [659, 1292];

/// Which rules can be told from outside in a scenario.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // Each holds or not, whatever the others do.
struct Ground {
    /// What was asked for before is known: nothing makes the autoscaler forget it.
    remembers: bool,
    /// So is what was done: nobody else changes replicas, and what is seen is what there is.
    sees: bool,
    /// Nothing but policies asks for anything.
    alone: bool,
    /// Nobody but us takes nodes away.
    counts: bool,
}

/// What this came to, all together: how often each rule decided, or kept something from being done.
#[derive(Debug, Default)]
struct Felt {
    shrunk: u64,
    grown: u64,
    unknown: u64,
    window_down: u64,
    window_up: u64,
    limit_down: u64,
    limit_up: u64,
    tolerated: u64,
    /// Taken away from a group with a budget.
    budgeted: u64,
}

impl Weather {
    /// What was decided keeps to what policies want.
    fn check(
        &mut self,
        simulation: &Simulation,
        before: &BTreeMap<String, i32>,
        sample: &Sample,
        felt: &mut Felt,
    ) -> Result<(), String> {
        for group in &mut self.groups {
            if self.ground.counts {
                group.check_budget(&sample.tick, simulation.now, felt)?;
            }
            let Some(found) = worker(simulation, &group.wish.group) else {
                continue;
            };
            let replicas = |replicas: i32| u64::try_from(replicas).unwrap_or(0);
            let max = replicas(found.max_replicas.unwrap_or(i32::MAX));
            let hosts = replicas(found.hosts()).max(1);
            let there = simulation.kubernetes.counts()[found.index].div_ceil(hosts);
            let step = course::Step {
                there,
                now: simulation.now,
                from: replicas(before[&found.name]),
                to: replicas(found.desired_replicas()),
                own: (replicas(found.min_replicas.unwrap_or(0)).min(max), max),
            };
            felt.shrunk += u64::from(step.to < step.from);
            felt.grown += u64::from(step.to > step.from);
            let age = sample.tick.age_milliseconds;
            // On old news, a node that is given up does not go yet, and another is asked for.
            let is_fresh = age.is_some_and(|age| !Policy::default().is_unsure(age));
            let ground = Ground {
                alone: self.ground.alone && is_fresh,
                ..self.ground
            };
            let checked = group
                .check_unknown(step, felt)
                .and_then(|()| group.check_behavior(step, age.is_some(), ground, felt))
                .and_then(|()| group.check_tolerance(step, ground, felt));
            let turns = self.is_calm && ground.alone && group.kind != Kind::Any;
            let checked = match checked {
                Ok(()) if turns && group.course.turns_back(&step) => {
                    Err("to and fro on constant signals".to_owned())
                }
                checked => checked,
            };
            checked.map_err(|problem| {
                let Group { wish, course, .. } = group;
                format!("{problem}: {step:?} of {wish:?}, {course:?}, {:?}", sample.tick)
            })?;
        }
        Ok(())
    }
}

impl Group {
    fn check_unknown(&self, step: course::Step, felt: &mut Felt) -> Result<(), String> {
        let mut signals = self.wish.signals.iter();
        let unknown = signals.any(|signal| {
            let counts = matches!(signal.role, Role::Target(_) | Role::Floor | Role::Guard { .. });
            counts && signal.reading == Reading::Unknown
        });
        let has_conditions = self
            .wish
            .signals
            .iter()
            .any(|signal| matches!(signal.role, Role::Activate { .. } | Role::Cap));
        felt.unknown += u64::from(unknown);
        if unknown && !has_conditions && step.to < step.from && step.from <= step.own.1 {
            return Err("shrinks on what is not known".to_owned());
        }
        Ok(())
    }

    fn check_behavior(
        &mut self,
        step: course::Step,
        decided: bool,
        ground: Ground,
        felt: &mut Felt,
    ) -> Result<(), String> {
        let Some(behavior) = &self.wish.behavior else {
            return Ok(());
        };
        let asked = outright(&self.wish).filter(|_| self.kind == Kind::Outright && decided);
        if let Some(asked) = asked {
            self.course.ask(&step, asked);
        }
        let bound = |asked: u64| asked.clamp(step.own.0, step.own.1);
        let wants = asked.map_or(step.from, bound);
        if self.kind == Kind::Outright && ground.remembers {
            let allowed = self.course.stabilized(behavior, &step);
            if step.to < step.from && step.to < *allowed.start() {
                return Err(format!(
                    "shrinks, and {} were asked for a moment ago",
                    allowed.start()
                ));
            }
            felt.window_down += u64::from(wants < step.from && wants < *allowed.start());
            if ground.alone && ground.sees {
                if step.to > step.from && step.to > *allowed.end() {
                    return Err(format!(
                        "grows, and {} were asked for a moment ago",
                        allowed.end()
                    ));
                }
                felt.window_up += u64::from(wants > step.from && wants > *allowed.end());
            }
        }
        if ground.remembers && ground.sees {
            let allowed = self.course.limited(behavior, &step);
            if step.to < step.from && step.to < *allowed.start() {
                return Err(format!(
                    "shrinks below the {} that policies allow",
                    allowed.start()
                ));
            }
            // What is there and refused to go is asked for again.
            if step.to > step.from && step.to > (*allowed.end()).max(step.there) {
                return Err(format!("grows above the {} that policies allow", allowed.end()));
            }
            felt.limit_down += u64::from(wants < step.from && wants < *allowed.start());
            felt.limit_up += u64::from(wants > step.from && wants > *allowed.end());
        }
        self.course.done(&step);
        Ok(())
    }

    /// Of what was taken away, no more than allowed was taken in one window.
    fn check_budget(&mut self, tick: &Tick, now: u64, felt: &mut Felt) -> Result<(), String> {
        let Some(disruption) = &self.wish.disruption else {
            return Ok(());
        };
        let of_group = |pod: &&String| pod.starts_with(&format!("{}-", self.wish.group));
        let removed = tick.removed.iter().filter(of_group);
        // The hosts of a replica have one name up to their number.
        let replicas: BTreeSet<_> = removed.filter_map(|pod| Some(pod.rsplit_once('-')?.0)).collect();
        if !tick.written || replicas.is_empty() {
            return Ok(());
        }
        let gone = &mut self.gone;
        gone.retain(|(at, _)| now - at < disruption.window_milliseconds);
        gone.push((now, replicas.len() as u64));
        felt.budgeted += replicas.len() as u64;
        let sum: u64 = gone.iter().map(|(_, replicas)| replicas).sum();
        match disruption.max_removed {
            Some(Change::Pods(most)) if sum > most.into() => Err(format!(
                "{sum} of {} have gone, and {most} may: {gone:?}",
                self.wish.group
            )),
            _ => Ok(()),
        }
    }

    fn check_tolerance(&self, step: course::Step, ground: Ground, felt: &mut Felt) -> Result<(), String> {
        let is_within = (step.own.0.max(1)..=step.own.1).contains(&step.from);
        if self.kind != Kind::Tolerated || !is_within {
            return Ok(());
        }
        felt.tolerated += 1;
        if step.to < step.from || (step.to > step.from && ground.alone) {
            return Err("changes within its tolerance".to_owned());
        }
        Ok(())
    }
}

/// What Targets ask for together, if all are known.
fn outright(wish: &Wish) -> Option<u64> {
    let asked = wish.signals.iter().map(|signal| match signal.reading {
        Reading::Replicas(replicas) => Some(replicas),
        _ => None,
    });
    asked.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

fn worker<'a>(simulation: &'a Simulation, name: &str) -> Option<&'a WorkerGroup> {
    let groups = &simulation.kubernetes.cluster().spec.worker_groups;
    groups.iter().find(|group| group.name == name)
}

/// Faults after which nobody knows what was asked for before.
const FORGETFUL: [&str; 3] = ["restart", "headRestart", "clockJump"];
/// Faults by which others change replicas, or what is seen is not what there is.
const BLURRING: [&str; 2] = ["userEdit", "staleWatch"];

/// Faults that take nodes away, and a watch so far behind that it does not show what we took away ourselves.
const ALSO_REMOVING: [&str; 6] = [
    "unschedulable",
    "podFails",
    "nodeDies",
    "headRestart",
    "userEdit",
    "staleWatch",
];

/// Of four scenarios, one is as it is. One has nothing that makes an autoscaler forget, one besides shows what there is, and in the last only policies
/// ask for anything. In every third, nothing but us takes nodes away.
fn scenario(seed: u64) -> (Value, Ground) {
    let mut scenario = random(seed);
    let kind = seed % 4;
    let faults = scenario["faults"].as_object_mut().expect("faults");
    let drops = |fault: &str| {
        (kind > 0 && FORGETFUL.contains(&fault))
            || (kind > 1 && BLURRING.contains(&fault))
            || (seed.is_multiple_of(3) && ALSO_REMOVING.contains(&fault))
    };
    faults.retain(|fault, _| !drops(fault));
    let lacks = |some: &[&str]| some.iter().all(|fault| !faults.contains_key(*fault));
    let ground = Ground {
        remembers: lacks(&FORGETFUL),
        sees: lacks(&BLURRING),
        alone: kind == 3,
        counts: lacks(&ALSO_REMOVING),
    };
    if ground.alone {
        scenario["demand"] = json!([]);
    }
    // Longer than any window, and with room, so that there is something to see behind them.
    scenario["seconds"] = (300 + scenario["seconds"].as_u64().expect("a number")).into();
    let groups = scenario["rayCluster"]["spec"]["workerGroupSpecs"].as_array_mut();
    for group in groups.expect("groups") {
        group["maxReplicas"] = (4 + group["maxReplicas"].as_u64().expect("a number")).into();
    }
    (scenario, ground)
}

fn check(seed: u64, unheard: Unheard, sum: &mut Seen, felt: &mut Felt) -> Result<(), String> {
    let (scenario, ground) = scenario(seed);
    let clock_jumps = scenario["faults"].get("clockJump").is_some();
    let scenario: Scenario = serde_json::from_value(scenario).map_err(|error| error.to_string())?;
    let mut simulation = Simulation::new(&scenario).map_err(|error| error.to_string())?;
    let names: Vec<String> = simulation.groups().map(str::to_owned).collect();
    let mut weather = Weather::random(seed, &names, ground);
    weather.unheard = unheard;
    if clock_jumps {
        // A clock that was put back makes what has gone count for longer than the test lasts.
        for group in &mut weather.groups {
            group.wish.disruption = None;
        }
    }
    let tick = |simulation: &mut Simulation, weather: &mut Weather, felt: &mut Felt| {
        simulation.wishes = weather.wishes(simulation.now);
        let (before, sample) = simulation.checked_tick_before(|simulation| {
            let groups = simulation.kubernetes.cluster().spec.worker_groups.iter();
            groups
                .map(|group| (group.name.clone(), group.desired_replicas()))
                .collect()
        })?;
        let checked = weather.check(simulation, &before, &sample, felt);
        checked.map_err(|problem| format!("at {} s: {problem}", simulation.now / 1000))?;
        Ok::<Sample, String>(sample)
    };
    for _ in 0..scenario.seconds {
        sum.count(&tick(&mut simulation, &mut weather, felt)?);
    }
    simulation.faults = Faults::default();
    simulation.events.clear();
    simulation.head.keep_running();
    weather.calm();
    for _ in 0..SETTLED_AFTER_TICKS {
        tick(&mut simulation, &mut weather, felt)?;
    }
    for _ in 0..QUIET_TICKS {
        let sample = tick(&mut simulation, &mut weather, felt)?;
        if sample.tick.written {
            return Err(format!(
                "at {} s, on constant signals: {:?}",
                sample.seconds, sample.tick
            ));
        }
    }
    sum.ticks += scenario.seconds + SETTLED_AFTER_TICKS + QUIET_TICKS;
    Ok(())
}

#[test]
fn whatever_policies_want_the_rules_hold() {
    let ticks = ticks(TICKS);
    let (mut seen, mut felt) = (Seen::default(), Felt::default());
    for seed in KEPT.into_iter().chain(0..) {
        let checked = check(seed, |_| (), &mut seen, &mut felt);
        checked.unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", scenario(seed).0));
        if seen.ticks >= ticks {
            break;
        }
    }
    eprintln!("{seen:?} {felt:?}");
    let Felt {
        shrunk,
        grown,
        unknown,
        window_down,
        window_up,
        limit_down,
        limit_up,
        tolerated,
        budgeted,
    } = felt;
    for (what, times) in [
        ("shrunk", shrunk),
        ("grown", grown),
        ("unknown", unknown),
        ("kept by the window for shrinking", window_down),
        ("kept by the window for growing", window_up),
        ("kept by policies for shrinking", limit_down),
        ("kept by policies for growing", limit_up),
        ("within the tolerance", tolerated),
        ("taken from a group with a budget", budgeted),
    ] {
        assert!(
            times > ticks / 1_000,
            "{what} only {times} times in {ticks} ticks"
        );
    }
}

/// The rules are rules: an autoscaler that does not hear a part of what policies want breaks the one about it.
#[test]
fn whoever_forgets_what_policies_want_is_found_out() {
    fn of(wish: &mut Wish, forget: impl FnOnce(&mut Behavior)) {
        if let Some(behavior) = &mut wish.behavior {
            forget(behavior);
        }
    }
    let cases: [(Unheard, &str); 5] = [
        (
            |wish| of(wish, |behavior| behavior.down.stabilization_milliseconds = 0),
            "shrinks, and",
        ),
        (
            |wish| of(wish, |behavior| behavior.up.stabilization_milliseconds = 0),
            "grows, and",
        ),
        (
            |wish| of(wish, |behavior| unlimit(&mut behavior.down)),
            "shrinks below",
        ),
        (
            |wish| of(wish, |behavior| unlimit(&mut behavior.up)),
            "grows above",
        ),
        (
            |wish| wish.tolerance = Tolerance { up: 0.0, down: 0.0 },
            "within its tolerance",
        ),
    ];
    for (unheard, sign) in cases {
        let broken =
            (0..400).find_map(|seed| check(seed, unheard, &mut Seen::default(), &mut Felt::default()).err());
        let problem = broken.unwrap_or_else(|| panic!("{sign}: one of 400 scenarios shows it"));
        assert!(problem.contains(sign), "{sign}: {problem}");
    }
}

fn unlimit(scaling: &mut Scaling) {
    scaling.policies = vec![FREE];
    scaling.select = Select::Max;
}
