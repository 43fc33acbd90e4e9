//! What policies want at random, and how that changes: constant, flapping, or not known now and then.

use fastrand::Rng;
use planner::signal::behavior::{Behavior, Change, Policy as Step, Scaling, Select};
use planner::signal::{Disruption, Milli, Reading, Role, Signal, Target, Tolerance, Wish};

use super::Ground;
use super::course::Course;

/// What policies want of the groups of a cluster, and how that changes.
pub(super) struct Weather {
    random: Rng,
    pub(super) groups: Vec<Group>,
    pub(super) ground: Ground,
    /// What the autoscaler does not hear of what policies want.
    pub(super) unheard: Unheard,
    pub(super) is_calm: bool,
}

/// Takes out of what is wanted what an autoscaler does not hear.
pub(super) type Unheard = fn(&mut Wish);

/// What is wanted of one group.
pub(super) struct Group {
    pub(super) wish: Wish,
    patterns: Vec<Pattern>,
    pub(super) kind: Kind,
    pub(super) course: Course,
    /// Replicas that were taken away, when.
    pub(super) gone: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signals of all roles.
    Any,
    /// Targets that ask for so many replicas outright.
    Outright,
    /// One Target, whose value stays within its tolerance.
    Tolerated,
}

/// How a signal goes.
#[derive(Clone, Copy)]
pub(super) enum Pattern {
    Constant(Reading),
    /// One, then the other, so many milliseconds each.
    Flapping(Reading, Reading, u64),
    /// Not known at every so-and-so-many-th look.
    Missing(Reading, f64),
}

impl Weather {
    pub(super) fn random(seed: u64, names: &[String], ground: Ground) -> Self {
        let mut random = Rng::with_seed(seed);
        let groups = names.iter().map(|name| group(&mut random, name)).collect();
        Self {
            random,
            groups,
            ground,
            unheard: |_| (),
            is_calm: false,
        }
    }

    pub(super) fn wishes(&mut self, now: u64) -> Vec<Wish> {
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
        let heard = |group: &Group| {
            let mut wish = group.wish.clone();
            (self.unheard)(&mut wish);
            wish
        };
        self.groups.iter().map(heard).collect()
    }

    /// From now on everything stays as it is.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        for group in &mut self.groups {
            group.course.calm();
            for pattern in &mut group.patterns {
                *pattern = match *pattern {
                    Pattern::Constant(reading)
                    | Pattern::Flapping(reading, ..)
                    | Pattern::Missing(reading, _) => Pattern::Constant(reading),
                };
            }
        }
    }
}

fn group(random: &mut Rng, name: &str) -> Group {
    let kind = match random.u8(0..6) {
        0 | 1 => Kind::Any,
        2 => Kind::Tolerated,
        _ => Kind::Outright,
    };
    let tolerance = Tolerance {
        up: random.f64() / 2.0,
        down: random.f64() / 2.0,
    };
    let count = if kind == Kind::Tolerated {
        1
    } else {
        random.usize(1..=3)
    };
    let (roles, patterns): (Vec<Role>, Vec<Pattern>) = (0..count)
        .map(|_| match kind {
            Kind::Any => {
                let reading = |random: &mut Rng| Reading::Value(Milli(random.i64(0..20_000)));
                (role(random), pattern(random, reading))
            }
            Kind::Outright => {
                let reading = |random: &mut Rng| Reading::Replicas(random.u64(0..8));
                (Role::Target(Target::Value(Milli(1000))), pattern(random, reading))
            }
            Kind::Tolerated => {
                let reading = |random: &mut Rng| {
                    let off = if random.bool() {
                        tolerance.up
                    } else {
                        -tolerance.down
                    };
                    Reading::Value(
                        Milli::of(10.0 * (1.0 + 0.99 * off * random.f64())).expect("it is a number"),
                    )
                };
                (
                    Role::Target(Target::Value(Milli(10_000))),
                    pattern(random, reading),
                )
            }
        })
        .unzip();
    let signals = roles.into_iter().enumerate().map(|(index, role)| Signal {
        name: format!("signal-{index}"),
        role,
        reading: Reading::Silent,
    });
    let behavior = Behavior {
        up: scaling(random, 20),
        down: scaling(random, 60),
    };
    let disruption = random.bool().then(|| Disruption {
        max_removed: Some(Change::Pods(random.u32(1..=2))),
        window_milliseconds: random.u64(1..=10) * 1000,
        min_age_milliseconds: random.u64(0..=30) * 1000,
    });
    Group {
        wish: Wish {
            group: name.to_owned(),
            recommends: false,
            paused: kind == Kind::Any && random.u8(0..20) == 0,
            min: None,
            max: None,
            signals: signals.collect(),
            behavior: (kind == Kind::Outright || random.bool()).then_some(behavior),
            disruption,
            tolerance,
            cooldown_milliseconds: random.u64(0..60_000),
        },
        patterns,
        kind,
        course: Course::default(),
        gone: Vec::new(),
    }
}

/// As much as it likes.
pub(super) const FREE: Step = Step {
    change: Change::Pods(u32::MAX),
    period_milliseconds: 1000,
};

/// In one direction. Whatever it is, it lets everything come to rest in the time that there is.
fn scaling(random: &mut Rng, window_seconds: u64) -> Scaling {
    let limited = |random: &mut Rng| Step {
        // By a percentage alone, nothing ever grows from zero.
        change: if random.u8(0..3) == 0 {
            Change::Percent(random.u32(10..=90))
        } else {
            Change::Pods(random.u32(1..=2))
        },
        period_milliseconds: random.u64(1..=10) * 1000,
    };
    let count = random.usize(0..=3);
    Scaling {
        stabilization_milliseconds: random.u64(0..=window_seconds) * 1000 * u64::from(random.u8(0..4) > 0),
        policies: if count == 0 {
            vec![FREE]
        } else {
            (0..count).map(|_| limited(random)).collect()
        },
        select: match random.u8(0..12) {
            0 => Select::Disabled,
            1..=4 => Select::Min,
            _ => Select::Max,
        },
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

fn pattern(random: &mut Rng, reading: impl Fn(&mut Rng) -> Reading) -> Pattern {
    let (one, other) = (reading(random), reading(random));
    match random.u8(0..4) {
        0 => Pattern::Constant(one),
        1 => Pattern::Missing(one, random.f64()),
        _ => Pattern::Flapping(one, other, random.u64(1..40) * 1000),
    }
}
