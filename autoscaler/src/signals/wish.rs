//! A policy and the answers to its questions, put together into what the planner takes. Pure.

use jiff::Timestamp;
use planner::signal::behavior::{Behavior, Change, Policy as Step, Scaling, Select};
use planner::signal::{self, Disruption, Milli, Reading, Role, Target, Tolerance, Wish};
use ray::scaling_policy::{
    self as policy, ChangeType, Each, FallbackBehavior, Measure, Mode, PrometheusSource, ScheduleSource,
    SelectPolicy, Share, Vetoes,
};
use ray::schedule::window::Window;

use super::access::Endpoint;
use super::policies::Followed;
use super::prometheus::Of;
use super::queries::{Answer, Query};
use super::status::Heard;
use crate::cluster::Cluster;

const COOLDOWN_SECONDS: i32 = 300;
const FAILURES: i32 = 3;
const WINDOW_SECONDS: i32 = 600;

/// What the number is called that the subresource `scale` writes.
const DOOR: &str = "spec.replicas";

/// What a policy wants of a group, as far as it is known; and what was heard of each signal.
pub(super) fn wish(
    followed: &Followed<'_>,
    cluster: &Cluster,
    ask: impl Fn(&Query) -> Answer,
    now: Timestamp,
) -> (Wish, Vec<Heard>) {
    let wants = followed.wants;
    let mode = followed.policy.mode(now);
    let read = wants.signals.iter().map(|signal| {
        let mut heard = Heard {
            role: signal.role,
            value: None,
            age: None,
            problem: None,
        };
        let reading = match (&signal.prometheus, &signal.schedule) {
            (Some(prometheus), _) => {
                let answer = ask(&query(prometheus, cluster, &followed.group));
                heard.value = answer.now.as_ref().ok().copied();
                heard.age = answer.age;
                measured(signal, &answer, &mut heard.problem)
            }
            (None, Some(schedule)) => scheduled(schedule, now, &mut heard.problem),
            (None, None) => Reading::Silent,
        };
        let signal = signal::Signal {
            name: signal.name.clone(),
            role: role(signal),
            reading,
        };
        (signal, heard)
    });
    let (mut signals, mut all_heard): (Vec<_>, Vec<_>) = read.unzip();
    if let Some(replicas) = followed.spec.replicas {
        signals.push(signal::Signal {
            name: DOOR.to_owned(),
            role: Role::Floor,
            reading: Reading::Replicas(count(replicas)),
        });
        all_heard.push(Heard {
            role: policy::Role::Floor,
            value: None,
            age: None,
            problem: None,
        });
    }
    let has_targets = signals
        .iter()
        .any(|signal| matches!(signal.role, Role::Target(_)));
    let behavior = wants.behavior.as_ref();
    let tolerance = Tolerance::default();
    let given = |scaling: Option<&policy::Scaling>| scaling.and_then(|scaling| scaling.tolerance).map(part);
    let wish = Wish {
        group: followed.group.clone(),
        recommends: mode == Mode::Recommend,
        paused: mode == Mode::Paused,
        min: wants.min_replicas.map(count),
        max: wants.max_replicas.map(count),
        signals,
        behavior: (has_targets || behavior.is_some()).then(|| shape(behavior)),
        disruption: wants.disruption.map(disruption),
        tolerance: Tolerance {
            up: given(behavior.and_then(|behavior| behavior.scale_up.as_ref())).unwrap_or(tolerance.up),
            down: given(behavior.and_then(|behavior| behavior.scale_down.as_ref())).unwrap_or(tolerance.down),
        },
        cooldown_milliseconds: milliseconds(wants.cooldown_seconds.unwrap_or(COOLDOWN_SECONDS)),
    };
    (wish, all_heard)
}

/// The query with the names of what is scaled in it.
pub(super) fn query(prometheus: &PrometheusSource, cluster: &Cluster, group: &str) -> Query {
    let metadata = &cluster.metadata;
    let names = [
        ("$cluster", metadata.name.as_deref().unwrap_or_default()),
        ("$namespace", metadata.namespace.as_deref().unwrap_or_default()),
        ("$group", group),
    ];
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let of = prometheus.each.map(|each| Of {
        namespace: name(&metadata.namespace),
        cluster: name(&metadata.name),
        group: (each == Each::Group).then(|| group.to_owned()),
    });
    let promql = names
        .iter()
        .fold(prometheus.query.clone(), |query, (variable, name)| {
            query.replace(variable, name)
        });
    let namespace = metadata.namespace.clone().unwrap_or_default();
    Query {
        endpoint: Endpoint {
            server: prometheus.server.clone(),
            secret: prometheus.secret.clone().map(|name| (namespace, name)),
            headers: prometheus.headers.clone(),
        },
        promql,
        of,
    }
}

fn measured(signal: &policy::Signal, answer: &Answer, problem: &mut Option<String>) -> Reading {
    let reading = |value: f64| Milli::of(value).map_or(Reading::Unknown, Reading::Value);
    match &answer.now {
        Ok(value) => return reading(*value),
        Err(failure) => *problem = Some(failure.to_string()),
    }
    let fallback = signal.fallback.as_ref().filter(|fallback| {
        let failures = fallback.failures.unwrap_or(FAILURES);
        u32::try_from(failures).is_ok_and(|failures| answer.failures >= failures)
    });
    match fallback {
        None => Reading::Unknown,
        Some(fallback) => match fallback.behavior {
            FallbackBehavior::Static => Reading::Replicas(count(fallback.replicas.unwrap_or(0))),
            FallbackBehavior::Last => answer.last.map_or(Reading::Unknown, reading),
            FallbackBehavior::Ignore => Reading::Silent,
        },
    }
}

fn scheduled(schedule: &ScheduleSource, now: Timestamp, problem: &mut Option<String>) -> Reading {
    match Window::read(&schedule.start, &schedule.end, schedule.time_zone.as_deref()) {
        Ok(window) if window.is_open(now) => Reading::Replicas(count(schedule.replicas.unwrap_or(1))),
        Ok(_) => Reading::Silent,
        Err(error) => {
            *problem = Some(error.to_string());
            Reading::Unknown
        }
    }
}

fn role(signal: &policy::Signal) -> Role {
    let above = milli(signal.threshold.unwrap_or(Measure(0)));
    match signal.role {
        policy::Role::Target => Role::Target(match (signal.value, signal.average_value) {
            (Some(value), _) => Target::Value(milli(value)),
            (None, average) => Target::AverageValue(milli(average.unwrap_or(Measure(0)))),
        }),
        policy::Role::Floor => Role::Floor,
        policy::Role::Cap => Role::Cap,
        policy::Role::Guard => {
            let vetoes = signal.vetoes.unwrap_or_default();
            Role::Guard {
                above,
                shrink: vetoes != Vetoes::Grow,
                grow: vetoes != Vetoes::Shrink,
            }
        }
        policy::Role::Activate => Role::Activate { above },
    }
}

/// As Kubernetes has it where something is said of a direction, and where nothing is said of shrinking. Ray asks for what it waits for, so
/// growing is not slowed down without a word.
fn shape(behavior: Option<&policy::Behavior>) -> Behavior {
    let kubernetes = Behavior::default();
    let free = Scaling {
        stabilization_milliseconds: 0,
        policies: vec![Step {
            change: Change::Pods(u32::MAX),
            period_milliseconds: 1000,
        }],
        select: Select::Max,
    };
    let up = behavior.and_then(|behavior| behavior.scale_up.as_ref());
    let down = behavior.and_then(|behavior| behavior.scale_down.as_ref());
    Behavior {
        up: up.map_or(free, |scaling| direction(scaling, kubernetes.up)),
        down: match down {
            Some(scaling) => direction(scaling, kubernetes.down),
            None => kubernetes.down,
        },
    }
}

fn direction(scaling: &policy::Scaling, default: Scaling) -> Scaling {
    let window = scaling.stabilization_window_seconds.map(milliseconds);
    let policies = scaling.policies.as_ref().filter(|policies| !policies.is_empty());
    Scaling {
        stabilization_milliseconds: window.unwrap_or(default.stabilization_milliseconds),
        policies: policies.map_or(default.policies, |policies| policies.iter().map(step).collect()),
        select: match scaling.select_policy.unwrap_or_default() {
            SelectPolicy::Max => Select::Max,
            SelectPolicy::Min => Select::Min,
            SelectPolicy::Disabled => Select::Disabled,
        },
    }
}

fn step(step: &policy::ScalingStep) -> Step {
    let value = u32::try_from(step.value).unwrap_or(0);
    Step {
        change: match step.of {
            ChangeType::Pods => Change::Pods(value),
            ChangeType::Percent => Change::Percent(value),
        },
        period_milliseconds: milliseconds(step.period_seconds),
    }
}

fn disruption(given: policy::Disruption) -> Disruption {
    Disruption {
        max_removed: given.max_removed.map(|share| match share {
            Share::Count(replicas) => Change::Pods(replicas),
            Share::Percent(percent) => Change::Percent(percent),
        }),
        window_milliseconds: milliseconds(given.window_seconds.unwrap_or(WINDOW_SECONDS)),
        min_age_milliseconds: milliseconds(given.min_age_seconds.unwrap_or(0)),
    }
}

fn milli(measure: Measure) -> Milli {
    Milli(measure.0)
}

#[allow(clippy::cast_precision_loss)] // A tolerance is a small number.
fn part(measure: Measure) -> f64 {
    measure.0 as f64 / 1000.0
}

fn count(number: i32) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn milliseconds(seconds: i32) -> u64 {
    count(seconds) * 1000
}
