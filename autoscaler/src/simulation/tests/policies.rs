//! The same rules where scaling policies have a say, and what policies have to keep besides: what is not known shrinks nothing, what was asked for a moment
//! ago still counts, and signals that stay as they are change nothing in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fastrand::Rng;
use planner::signal::behavior::{Behavior, Change, Policy as Step, Scaling, Select};
use planner::signal::{Disruption, Milli, Reading, Role, Signal, Target, Tolerance, Wish};
use ray::cluster::WorkerGroup;
use serde_json::Value;

use super::{QUIET_TICKS, SETTLED_AFTER_TICKS, Seen, random, ticks};
use crate::simulation::{Faults, Scenario, Simulation, Tick};

/// In the time of the tests.
const TICKS: u64 = 25_000;

/// What policies want of the groups of a cluster, and how that changes.
struct Weather {
    random: Rng,
    groups: Vec<Group>,
}

/// What is wanted of one group.
struct Group {
    wish: Wish,
    patterns: Vec<Pattern>,
    /// What the Targets asked for, when; only where nothing else has a say.
    asked: Option<VecDeque<(u64, u64)>>,
    /// What was taken away, when; only where it was nobody but us.
    gone: Option<VecDeque<(u64, u64)>>,
}

/// How a signal goes.
#[derive(Clone, Copy)]
enum Pattern {
    Constant(Reading),
    /// One, then the other, so many milliseconds each.
    Flapping(Reading, Reading, u64),
    /// Not known at every so-and-so-many-th look.
    Missing(Reading, f64),
}

/// What this came to, all together.
#[derive(Debug, Default)]
struct Felt {
    shrunk: u64,
    grown: u64,
    unknown: u64,
    /// Shrinking that was looked at for what was asked for before.
    stabilised: u64,
    /// Taken away from a group with a budget.
    budgeted: u64,
}

impl Weather {
    fn random(seed: u64, names: &[String]) -> Self {
        let mut random = Rng::with_seed(seed);
        let groups = names.iter().map(|name| group(&mut random, name)).collect();
        Self { random, groups }
    }

    fn wishes(&mut self, now: u64) -> Vec<Wish> {
        for group in &mut self.groups {
            for (signal, pattern) in group.wish.signals.iter_mut().zip(&group.patterns) {
                signal.reading = match *pattern {
                    Pattern::Flapping(one, other, period) => {
                        if (now / period).is_multiple_of(2) {
                            one
                        } else {
                            other
                        }
                    }
                    Pattern::Missing(_, chance) if self.random.f64() < chance => Reading::Unknown,
                    Pattern::Constant(reading) | Pattern::Missing(reading, _) => reading,
                };
            }
        }
        self.groups.iter().map(|group| group.wish.clone()).collect()
    }

    /// From now on everything stays as it is.
    fn calm(&mut self) {
        for pattern in self.groups.iter_mut().flat_map(|group| &mut group.patterns) {
            *pattern = match *pattern {
                Pattern::Constant(reading)
                | Pattern::Flapping(reading, ..)
                | Pattern::Missing(reading, _) => Pattern::Constant(reading),
            };
        }
    }

    /// What was decided keeps to what policies want.
    fn check(
        &mut self,
        simulation: &Simulation,
        before: &BTreeMap<String, i32>,
        tick: &Tick,
        felt: &mut Felt,
    ) -> Result<(), String> {
        let now = simulation.now;
        for group in &mut self.groups {
            group.keeps_to_its_budget(tick, now, felt)?;
            let Some(found) = worker(simulation, &group.wish.group) else {
                continue;
            };
            let (from, to) = (before[&found.name], found.desired_replicas());
            let max = found.max_replicas.unwrap_or(i32::MAX);
            felt.shrunk += u64::from(to < from);
            felt.grown += u64::from(to > from);
            let unknown = group.wish.signals.iter().any(|signal| {
                let counts = matches!(signal.role, Role::Target(_) | Role::Floor | Role::Guard { .. });
                counts && signal.reading == Reading::Unknown
            });
            let has_conditions = group
                .wish
                .signals
                .iter()
                .any(|signal| matches!(signal.role, Role::Activate { .. } | Role::Cap));
            felt.unknown += u64::from(unknown);
            if unknown && !has_conditions && to < from && from <= max {
                return Err(format!(
                    "at {} s, {} shrinks from {from} to {to} on what is not known: {:?}",
                    now / 1000,
                    found.name,
                    group.wish.signals
                ));
            }
            let (Some(asked), Some(behavior)) = (&mut group.asked, &group.wish.behavior) else {
                continue;
            };
            let proposals = group
                .wish
                .signals
                .iter()
                .filter_map(|signal| match signal.reading {
                    Reading::Replicas(replicas) => Some(replicas),
                    _ => None,
                });
            asked.push_back((now, proposals.max().unwrap_or(0)));
            let since = now.saturating_sub(behavior.down.stabilization_milliseconds);
            while asked.front().is_some_and(|(at, _)| *at < since) {
                asked.pop_front();
            }
            let least = asked.iter().map(|(_, replicas)| *replicas).max().unwrap_or(0);
            let least = i32::try_from(least).unwrap_or(i32::MAX).min(max);
            if to < from {
                felt.stabilised += 1;
                if to < least {
                    return Err(format!(
                        "at {} s, {} shrinks from {from} to {to}, and {least} were asked for a moment ago",
                        now / 1000,
                        found.name
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Group {
    /// Of what was taken away, no more than allowed was taken in one window.
    fn keeps_to_its_budget(&mut self, tick: &Tick, now: u64, felt: &mut Felt) -> Result<(), String> {
        let (Some(gone), Some(disruption)) = (&mut self.gone, &self.wish.disruption) else {
            return Ok(());
        };
        let of_group = |pod: &&String| pod.starts_with(&format!("{}-", self.wish.group));
        let removed = tick.removed.iter().filter(of_group);
        // The hosts of a replica have one name up to their number.
        let replicas: BTreeSet<_> = removed.filter_map(|pod| Some(pod.rsplit_once('-')?.0)).collect();
        if !tick.written || replicas.is_empty() {
            return Ok(());
        }
        gone.retain(|(at, _)| now - at < disruption.window_milliseconds);
        gone.push_back((now, replicas.len() as u64));
        felt.budgeted += replicas.len() as u64;
        let sum: u64 = gone.iter().map(|(_, replicas)| replicas).sum();
        match disruption.max_removed {
            Some(Change::Pods(most)) if sum > most.into() => Err(format!(
                "at {} s, {sum} of {} have gone, and {most} may: {gone:?}",
                now / 1000,
                self.wish.group
            )),
            _ => Ok(()),
        }
    }
}

fn worker<'a>(simulation: &'a Simulation, name: &str) -> Option<&'a WorkerGroup> {
    let groups = &simulation.kubernetes.cluster().spec.worker_groups;
    groups.iter().find(|group| group.name == name)
}

fn group(random: &mut Rng, name: &str) -> Group {
    let stable = random.u8(0..3) == 0;
    let count = random.usize(1..=3);
    let (roles, patterns): (Vec<Role>, Vec<Pattern>) = (0..count)
        .map(|_| {
            let role = if stable {
                Role::Target(Target::Value(Milli(1000)))
            } else {
                role(random)
            };
            (role, pattern(random, stable))
        })
        .unzip();
    let signals = roles.into_iter().enumerate().map(|(index, role)| Signal {
        name: format!("signal-{index}"),
        role,
        reading: Reading::Silent,
    });
    let free = |stabilization_milliseconds| Scaling {
        stabilization_milliseconds,
        policies: vec![Step {
            change: Change::Pods(u32::MAX),
            period_milliseconds: 1000,
        }],
        select: Select::Max,
    };
    let behavior = Behavior {
        up: free(random.u64(0..=20) * 1000 * u64::from(!stable)),
        down: free(random.u64(0..=60) * 1000),
    };
    let disruption = random.bool().then(|| Disruption {
        max_removed: Some(Change::Pods(random.u32(1..=2))),
        window_milliseconds: random.u64(1..=12) * 1000,
        min_age_milliseconds: random.u64(0..=30) * 1000,
    });
    Group {
        wish: Wish {
            group: name.to_owned(),
            recommends: false,
            paused: !stable && random.u8(0..20) == 0,
            min: None,
            max: None,
            signals: signals.collect(),
            behavior: (stable || random.bool()).then_some(behavior),
            disruption,
            tolerance: Tolerance::default(),
            cooldown_milliseconds: random.u64(0..60_000),
        },
        patterns,
        asked: stable.then(VecDeque::new),
        gone: Some(VecDeque::new()),
    }
}

fn role(random: &mut Rng) -> Role {
    let above = Milli(random.i64(0..5_000));
    match random.u8(0..7) {
        0 => Role::Floor,
        1 => Role::Cap,
        2 => Role::Guard {
            above,
            shrink: random.bool(),
            grow: random.bool(),
        },
        3 => Role::Activate { above },
        4 => Role::Target(Target::Value(Milli(random.i64(1..5_000)))),
        _ => Role::Target(Target::AverageValue(Milli(random.i64(1..5_000)))),
    }
}

fn pattern(random: &mut Rng, outright: bool) -> Pattern {
    let mut reading = || {
        if outright {
            Reading::Replicas(random.u64(0..8))
        } else {
            Reading::Value(Milli(random.i64(0..20_000)))
        }
    };
    let (one, other) = (reading(), reading());
    match random.u8(0..3) {
        0 => Pattern::Constant(one),
        1 => Pattern::Flapping(one, other, random.u64(1..40) * 1000),
        _ => Pattern::Missing(one, random.f64()),
    }
}

/// Faults after which nobody knows what was asked for before.
const FORGETFUL: [&str; 3] = ["restart", "headRestart", "clockJump"];
/// Faults that take nodes away, and a watch so far behind that it does not show what we took away ourselves.
const ALSO_REMOVING: [&str; 6] = [
    "unschedulable",
    "podFails",
    "nodeDies",
    "headRestart",
    "userEdit",
    "staleWatch",
];

fn check(json: &Value, seed: u64, sum: &mut Seen, felt: &mut Felt) -> Result<(), String> {
    let scenario: Scenario = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    let mut simulation = Simulation::new(&scenario).map_err(|error| error.to_string())?;
    let names: Vec<String> = simulation.groups().map(str::to_owned).collect();
    let mut weather = Weather::random(seed, &names);
    let has_fault = |fault: &&str| json["faults"].get(fault).is_some();
    if FORGETFUL.iter().any(has_fault) {
        weather.groups.iter_mut().for_each(|group| group.asked = None);
    }
    if ALSO_REMOVING.iter().any(has_fault) {
        weather.groups.iter_mut().for_each(|group| group.gone = None);
    }
    if has_fault(&"clockJump") {
        // A clock that was put back makes what has gone count for longer than the test lasts.
        weather
            .groups
            .iter_mut()
            .for_each(|group| group.wish.disruption = None);
    }
    let tick = |simulation: &mut Simulation, weather: &mut Weather, felt: &mut Felt| {
        simulation.wishes = weather.wishes(simulation.now);
        simulation
            .checked_tick_before(|simulation| {
                let groups = simulation.kubernetes.cluster().spec.worker_groups.iter();
                groups
                    .map(|group| (group.name.clone(), group.desired_replicas()))
                    .collect()
            })
            .and_then(|(before, sample)| {
                weather
                    .check(simulation, &before, &sample.tick, felt)
                    .map(|()| sample)
            })
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
    for seed in 0.. {
        let mut scenario = random(seed);
        let faults = scenario["faults"].as_object_mut().expect("faults");
        if seed.is_multiple_of(2) {
            faults.retain(|fault, _| !FORGETFUL.contains(&fault.as_str()));
        } else if seed.is_multiple_of(3) {
            faults.retain(|fault, _| !ALSO_REMOVING.contains(&fault.as_str()));
        }
        let checked = check(&scenario, seed, &mut seen, &mut felt);
        checked.unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{scenario}"));
        if seen.ticks >= ticks {
            break;
        }
    }
    eprintln!("{seen:?} {felt:?}");
    let Felt {
        shrunk,
        grown,
        unknown,
        stabilised,
        budgeted,
    } = felt;
    for (what, times) in [
        ("shrunk", shrunk),
        ("grown", grown),
        ("unknown", unknown),
        ("stabilised", stabilised),
        ("taken from a group with a budget", budgeted),
    ] {
        assert!(times > 0, "{what} not once in {} ticks", seen.ticks);
    }
}
