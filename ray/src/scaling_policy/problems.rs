//! What can be wrong with a policy, though it could be read.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{
    Behavior, Disruption, FallbackBehavior, GroupPolicy, Role, Scaling, ScalingPolicySpec, ScheduleSource,
    Signal,
};
use crate::path::Pointer;
use crate::promql;
use crate::schedule::window::Window;
use crate::strict::Problem;

/// Everything that is wrong with a policy.
pub(super) fn of(spec: &ScalingPolicySpec, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let target = &spec.target;
    if target.name.is_empty() == target.match_labels.is_empty() {
        let place = at.key("target");
        let problem = "it has neither a name nor matchLabels, or both";
        problems.push(Problem::new(place, problem, "say whose workers are scaled"));
    }
    let groups = at.key("groups");
    if spec.groups.is_empty() {
        let hint = "list at least one; without a name it stands for every group";
        problems.push(Problem::new(groups.clone(), "there are no groups", hint));
    }
    problems.extend(below_zero(&[("replicas", spec.replicas)], at));
    if spec.replicas.is_some() && spec.one_group().is_none() {
        let problem = "one number cannot say how many replicas several groups have";
        let hint = "leave it out, or write a policy for one group, with its name";
        problems.push(Problem::new(at.key("replicas"), problem, hint));
    }
    let mut named = BTreeSet::new();
    for (index, group) in spec.groups.iter().enumerate() {
        let place = groups.index(index);
        if !named.insert(group.name.as_deref()) {
            let problem = match &group.name {
                Some(name) => format!("`{name}` is listed above already"),
                None => "every group is meant above already".to_owned(),
            };
            problems.push(Problem::new(place.key("name"), problem, "put its signals there"));
        }
        problems.extend(of_group(group, &place));
    }
    problems
}

fn of_group(group: &GroupPolicy, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let bounds = [
        ("minReplicas", group.min_replicas),
        ("maxReplicas", group.max_replicas),
    ];
    problems.extend(below_zero(&bounds, at));
    if let (Some(min), Some(max)) = (group.min_replicas, group.max_replicas)
        && min > max
    {
        let problem = format!("{min} is above maxReplicas, which is {max}");
        problems.push(Problem::new(
            at.key("minReplicas"),
            problem,
            "lower it or raise maxReplicas",
        ));
    }
    let mut named = BTreeSet::new();
    for (index, signal) in group.signals.iter().enumerate() {
        let place = at.key("signals").index(index);
        if signal.name.is_empty() || !named.insert(signal.name.as_str()) {
            let problem = format!("`{}` is no name of its own", signal.name);
            problems.push(Problem::new(
                place.key("name"),
                problem,
                "give each signal a name of its own",
            ));
        }
        problems.extend(of_signal(signal, &place));
    }
    if let Some(behavior) = &group.behavior {
        problems.extend(of_behavior(behavior, &at.key("behavior")));
    }
    if let Some(disruption) = &group.disruption {
        problems.extend(of_disruption(disruption, &at.key("disruption")));
    }
    problems.extend(below_zero(&[("cooldownSeconds", group.cooldown_seconds)], at));
    problems
}

fn of_signal(signal: &Signal, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    if signal.prometheus.is_some() == signal.schedule.is_some() {
        let problem = "it takes its number from nowhere, or from two places";
        problems.push(Problem::new(
            at.clone(),
            problem,
            "give either `prometheus` or `schedule`",
        ));
    }
    if let Some(prometheus) = &signal.prometheus {
        let place = at.key("prometheus");
        if prometheus.query.trim().is_empty() {
            let hint = "write an instant query in PromQL whose answer is one number";
            problems.push(Problem::new(place.key("query"), "there is no query", hint));
        } else if let Err(mistake) = promql::check(&prometheus.query) {
            let problem = mistake.located(&prometheus.query).to_string();
            problems.push(Problem::new(place.key("query"), problem, mistake.hint));
        }
        for (name, value) in &prometheus.headers {
            let place = place.key("headers").key(name.clone());
            if name.eq_ignore_ascii_case("authorization") {
                let hint = "put it into a Secret, and name that as `secret`";
                problems.push(Problem::new(place, "everybody could read this", hint));
            } else if !is_header(name, value) {
                let hint = "write it as in `X-Scope-OrgID: vision`";
                problems.push(Problem::new(place, "this is no header", hint));
            }
        }
        let server = prometheus.server.as_deref();
        if server.is_some_and(|server| !is_server(server)) {
            let hint = "write it as http://prometheus.monitoring:9090";
            problems.push(Problem::new(
                place.key("server"),
                "this is no address of a server",
                hint,
            ));
        }
    }
    if let Some(schedule) = &signal.schedule {
        problems.extend(of_schedule(signal.role, schedule, &at.key("schedule")));
    }
    problems.extend(of_role(signal, at));
    if let Some(fallback) = &signal.fallback {
        let place = at.key("fallback");
        let counted = [("failures", fallback.failures), ("replicas", fallback.replicas)];
        problems.extend(below_zero(&counted, &place));
        let sizes = matches!(signal.role, Role::Target | Role::Floor | Role::Cap);
        if (fallback.behavior == FallbackBehavior::Static) != fallback.replicas.is_some() {
            let hint = "give `replicas` with Static, and with nothing else";
            problems.push(Problem::new(
                place.key("replicas"),
                "behavior and replicas do not agree",
                hint,
            ));
        } else if fallback.replicas.is_some() && !sizes {
            let problem = format!("a {} has no replicas", signal.role.name());
            problems.push(Problem::new(
                place.key("replicas"),
                problem,
                "choose Last or Ignore",
            ));
        }
    }
    problems
}

/// What belongs to another role.
fn of_role(signal: &Signal, at: &Pointer) -> Vec<Problem> {
    let role = signal.role;
    let is_target = role == Role::Target;
    let condition = matches!(role, Role::Guard | Role::Activate);
    let fields = [
        ("value", signal.value.is_some(), is_target),
        ("averageValue", signal.average_value.is_some(), is_target),
        ("threshold", signal.threshold.is_some(), condition),
        ("vetoes", signal.vetoes.is_some(), role == Role::Guard),
    ];
    let misplaced = fields.into_iter().filter(|(_, given, takes)| *given && !takes);
    let mut problems: Vec<_> = misplaced
        .map(|(field, ..)| {
            let problem = format!("a {} has no such field", role.name());
            Problem::new(at.key(field), problem, "leave it out, or choose another role")
        })
        .collect();
    let goals = usize::from(signal.value.is_some()) + usize::from(signal.average_value.is_some());
    if is_target && signal.prometheus.is_some() && goals != 1 {
        let hint =
            "give `averageValue`, what each replica's share should be, or `value`, what the number should be";
        problems.push(Problem::new(at.clone(), "a Target has one goal", hint));
    }
    let zero = [("value", signal.value), ("averageValue", signal.average_value)];
    let zero = zero
        .into_iter()
        .filter(|(_, goal)| goal.is_some_and(|goal| goal.0 <= 0));
    problems.extend(zero.map(|(field, _)| {
        Problem::new(
            at.key(field),
            "no number of replicas reaches this",
            "give more than 0",
        )
    }));
    problems
}

fn of_schedule(role: Role, schedule: &ScheduleSource, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(problem) = Window::read(&schedule.start, &schedule.end, schedule.time_zone.as_deref()) {
        let hint = "write minute, hour, day of the month, month and day of the week, as in `0 8 * * mon-fri`, and a zone such as Europe/Berlin";
        problems.push(Problem::new(at.key(problem.field()), problem.to_string(), hint));
    }
    problems.extend(below_zero(&[("replicas", schedule.replicas)], at));
    let sizes = matches!(role, Role::Target | Role::Floor | Role::Cap);
    if sizes != schedule.replicas.is_some() {
        let problem = if sizes {
            "it is missing"
        } else {
            "only a Target, a Floor and a Cap have replicas"
        };
        let hint = if sizes {
            "say how many replicas"
        } else {
            "leave it out"
        };
        problems.push(Problem::new(at.key("replicas"), problem, hint));
    }
    problems
}

fn of_behavior(behavior: &Behavior, at: &Pointer) -> Vec<Problem> {
    let directions = [
        ("scaleUp", &behavior.scale_up),
        ("scaleDown", &behavior.scale_down),
    ];
    let directions = directions
        .into_iter()
        .filter_map(|(name, scaling)| Some((name, scaling.as_ref()?)));
    directions
        .flat_map(|(name, scaling)| of_scaling(scaling, &at.key(name)))
        .collect()
}

fn of_disruption(disruption: &Disruption, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let is_bound = disruption.min_age_seconds.is_some() && disruption.window_seconds.is_none();
    if disruption.max_removed.is_none() && !is_bound {
        let hint = "say how many replicas may go within windowSeconds, or give only minAgeSeconds";
        problems.push(Problem::new(at.key("maxRemoved"), "it is missing", hint));
    }
    if let Some(window) = disruption.window_seconds {
        problems.extend(out_of(1..=86_400, window, at.key("windowSeconds")));
    }
    if let Some(age) = disruption.min_age_seconds {
        problems.extend(out_of(0..=604_800, age, at.key("minAgeSeconds")));
    }
    problems
}

fn of_scaling(scaling: &Scaling, at: &Pointer) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(window) = scaling.stabilization_window_seconds {
        problems.extend(out_of(0..=3600, window, at.key("stabilizationWindowSeconds")));
    }
    for (index, step) in scaling.policies.iter().flatten().enumerate() {
        let place = at.key("policies").index(index);
        problems.extend(out_of(1..=i32::MAX, step.value, place.key("value")));
        problems.extend(out_of(1..=1800, step.period_seconds, place.key("periodSeconds")));
    }
    if scaling.tolerance.is_some_and(|tolerance| tolerance.0 < 0) {
        problems.push(Problem::new(
            at.key("tolerance"),
            "it is below 0",
            "write a part such as 0.1",
        ));
    }
    problems
}

fn out_of(bounds: RangeInclusive<i32>, number: i32, at: Pointer) -> Option<Problem> {
    let (least, most) = (bounds.start(), bounds.end());
    let hint = format!("write {least} to {most}");
    (!bounds.contains(&number)).then(|| Problem::new(at, format!("{number} is out of bounds"), hint))
}

fn below_zero<'f>(
    fields: &'f [(&'static str, Option<i32>)],
    at: &'f Pointer,
) -> impl Iterator<Item = Problem> + use<'f> {
    let negative = fields
        .iter()
        .filter(|(_, number)| number.is_some_and(|number| number < 0));
    negative.map(|(field, _)| Problem::new(at.key(*field), "it is below 0", "write 0 or more"))
}

fn is_header(name: &str, value: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let printed = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    !name.is_empty() && name.bytes().all(is_part) && value.bytes().all(printed)
}

/// `http` or `https`, and a host.
fn is_server(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let plain = |character: char| character.is_ascii_graphic() && !matches!(character, '@' | '?' | '#');
        !host.is_empty() && rest.chars().all(plain)
    })
}
