//! A cluster as text, what a policy wants of its group, and what comes of it. Below, what holds for every cluster and every policy.

mod disruption;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{Composed, Milli, Reading, Role, Signal, Target, Tolerance, Wish, plan};
use crate::signal::behavior::{Behavior, Change, Policy as Step, Scaling, Select};
use crate::tests::{read, world};
use crate::{Memory, Plan, Policy, Snapshot};

fn wish(signals: Vec<Signal>) -> Wish {
    Wish {
        group: "small".to_owned(),
        recommends: false,
        paused: false,
        min: None,
        max: None,
        signals,
        behavior: None,
        disruption: None,
        tolerance: Tolerance::default(),
        cooldown_milliseconds: 300_000,
    }
}

fn signal(name: &str, role: Role, reading: Reading) -> Signal {
    Signal {
        name: name.to_owned(),
        role,
        reading,
    }
}

fn queue(reading: Reading) -> Signal {
    signal("queue", Role::Target(Target::AverageValue(Milli(4000))), reading)
}

const SHRINK_GUARD: Role = Role::Guard {
    above: Milli(700),
    shrink: true,
    grow: false,
};

fn value(value: i64) -> Reading {
    Reading::Value(Milli(value * 1000))
}

fn decide(snapshot: &Snapshot, wish: Wish) -> (Plan, Composed) {
    let (plan, mut composed) = plan(snapshot, &Memory::default(), &Policy::default(), &[wish], 0);
    (plan, composed.remove(0))
}

/// `3 -> 2 by signal queue`, and the plan.
fn check(cluster: &str, wish: Wish) -> String {
    let (plan, composed) = decide(&read(cluster), wish);
    let Composed { from, to, by, .. } = composed;
    format!("{from} -> {to} by {by}\n{plan}").trim_end().to_owned()
}

const THREE_IDLE: &str = "
    group small CPU=4 replicas=3
    node a small running CPU=4/4 idle=90s
    node b small running CPU=4/4 idle=80s
    node c small running CPU=4/4 idle=70s";

#[test]
fn a_target_makes_a_group_grow_and_shrink() {
    assert_snapshot!(check("group small CPU=4", wish(vec![queue(value(9))])), @r"
    0 -> 3 by signal queue
    small: 0 -> 3 replicas, 3 nodes for the minimum (by signal queue)
    ");
    assert_snapshot!(check(THREE_IDLE, wish(vec![queue(value(8))])), @r"
    3 -> 2 by signal queue
    small: 3 -> 2 replicas, 1 node gone: idle for longer than allowed (by signal queue)
    remove a of small: idle for longer than allowed, idle for 90 s
    ");
    assert_snapshot!(check(THREE_IDLE, wish(vec![queue(value(0))])), @r"
    3 -> 0 by the minimum
    small: 3 -> 0 replicas, 3 nodes gone: idle for longer than allowed (by the minimum)
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 80 s
    remove c of small: idle for longer than allowed, idle for 70 s
    ");
}

#[test]
fn the_highest_of_demand_and_targets_wins() {
    let cluster = "
        group small CPU=4
        task 5 CPU=4";
    assert_snapshot!(check(cluster, wish(vec![queue(value(9))])), @r"
    0 -> 5 by Ray's demand
    small: 0 -> 5 replicas, 3 nodes for the minimum, 2 nodes for tasks and actors (by Ray's demand)
    ");
    assert_snapshot!(check(cluster, wish(vec![queue(value(25))])), @r"
    0 -> 7 by signal queue
    small: 0 -> 7 replicas, 7 nodes for the minimum (by signal queue)
    ");
}

#[test]
fn floors_and_caps_bound_both_and_a_cap_beats_a_floor() {
    let floor = |replicas| signal("office", Role::Floor, Reading::Replicas(replicas));
    let cap = |reading| signal("budget", Role::Cap, reading);
    assert_snapshot!(check(THREE_IDLE, wish(vec![floor(2)])), @r"
    3 -> 2 by signal office
    small: 3 -> 2 replicas, 1 node gone: idle for longer than allowed (by signal office)
    remove a of small: idle for longer than allowed, idle for 90 s
    ");
    assert_snapshot!(check("group small CPU=4", wish(vec![queue(value(40)), cap(value(6))])), @r"
    0 -> 6 by signal budget
    small: 0 -> 6 replicas, 6 nodes for the minimum (by signal budget)
    ");
    assert_snapshot!(check("group small CPU=4", wish(vec![floor(5), cap(Reading::Replicas(2))])), @r"
    0 -> 2 by signal budget
    small: 0 -> 2 replicas, 2 nodes for the minimum (by signal budget)
    ");
    // One that is not known binds nobody.
    assert_snapshot!(check("group small CPU=4", wish(vec![floor(5), cap(Reading::Unknown)])), @r"
    0 -> 5 by signal office
    small: 0 -> 5 replicas, 5 nodes for the minimum (by signal office)
    ");
    // The group's own bounds are beyond all.
    assert_snapshot!(check("group small CPU=4 max=3 min=1", wish(vec![floor(5)])), @r"
    0 -> 3 by the maximum
    small: 0 -> 3 replicas, 3 nodes for the minimum (by the maximum)
    ");
    assert_snapshot!(check("group small CPU=4 max=3 min=1", wish(vec![cap(value(0))])), @r"
    0 -> 1 by signal budget
    small: 0 -> 1 replicas, 1 node for the minimum (by signal budget)
    ");
}

#[test]
fn a_cap_takes_nothing_away_on_old_news() {
    let cap = || wish(vec![signal("budget", Role::Cap, value(0))]);
    let snapshot = read(THREE_IDLE);
    assert_eq!(decide(&snapshot, cap()).1.to, 0);
    let old = Snapshot {
        age_milliseconds: 20_000,
        ..snapshot
    };
    let (plan, composed) = decide(&old, cap());
    assert_eq!((composed.to, plan.to_string().as_str()), (3, ""));
}

#[test]
fn a_guard_holds_what_there_is() {
    let guard = |reading| wish(vec![signal("pressure", SHRINK_GUARD, reading)]);
    assert_snapshot!(check(THREE_IDLE, guard(value(1))), @"3 -> 3 by signal pressure");
    assert_snapshot!(check(THREE_IDLE, guard(Reading::Unknown)), @"3 -> 3 by signal pressure, which is not known");
    assert_snapshot!(check(THREE_IDLE, guard(Reading::Value(Milli(700)))), @r"
    3 -> 0 by the minimum
    small: 3 -> 0 replicas, 3 nodes gone: idle for longer than allowed (by the minimum)
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 80 s
    remove c of small: idle for longer than allowed, idle for 70 s
    ");
    let grow = Role::Guard {
        above: Milli(0),
        shrink: false,
        grow: true,
    };
    let cluster = "
        group small CPU=4 replicas=1
        node a small running CPU=0/4
        task 5 CPU=4";
    assert_snapshot!(check(cluster, wish(vec![signal("freeze", grow, value(1))])), @r"
    1 -> 1 by signal freeze
    no place for 5 x {CPU: 4}
    ");
}

#[test]
fn what_is_not_known_holds_and_demand_still_grows() {
    assert_snapshot!(check(THREE_IDLE, wish(vec![queue(Reading::Unknown)])), @"3 -> 3 by signal queue, which is not known");
    let two = vec![
        queue(value(4)),
        signal("gpu", Role::Target(Target::Value(Milli(800))), Reading::Unknown),
    ];
    assert_snapshot!(check(THREE_IDLE, wish(two)), @"3 -> 3 by signal gpu, which is not known");
    let cluster = format!("{THREE_IDLE}\ntask 4 CPU=4");
    assert_snapshot!(check(&cluster, wish(vec![queue(Reading::Unknown)])), @r"
    3 -> 4 by Ray's demand
    small: 3 -> 4 replicas, 1 node for tasks and actors (by Ray's demand)
    ");
    assert_snapshot!(check(THREE_IDLE, wish(vec![queue(Reading::Silent)])), @r"
    3 -> 0 by the minimum
    small: 3 -> 0 replicas, 3 nodes gone: idle for longer than allowed (by the minimum)
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 80 s
    remove c of small: idle for longer than allowed, idle for 70 s
    ");
}

#[test]
fn nothing_moves_while_a_policy_is_paused() {
    let paused = || Wish {
        paused: true,
        ..wish(vec![queue(value(40))])
    };
    assert_snapshot!(check(THREE_IDLE, paused()), @"3 -> 3 by the policy, which is paused");
    assert_snapshot!(check(&format!("{THREE_IDLE}\ntask 9 CPU=4"), paused()), @r"
    3 -> 3 by the policy, which is paused
    no place for 6 x {CPU: 4}
    ");
}

#[test]
fn a_recommendation_is_only_told() {
    let wish = Wish {
        recommends: true,
        ..wish(vec![queue(value(8))])
    };
    assert_snapshot!(check(&format!("{THREE_IDLE}\ntask 9 CPU=4"), wish.clone()), @r"
    3 -> 9 by Ray's demand
    small: 3 -> 9 replicas, 6 nodes for tasks and actors
    ");
    assert_snapshot!(check(THREE_IDLE, wish), @r"
    3 -> 2 by signal queue
    small: 3 -> 0 replicas, 3 nodes gone: idle for longer than allowed
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 80 s
    remove c of small: idle for longer than allowed, idle for 70 s
    ");
    // What would not find a place then is not moved to another group.
    let cap = Wish {
        recommends: true,
        ..self::wish(vec![signal("budget", Role::Cap, Reading::Replicas(2))])
    };
    assert_snapshot!(check("group small CPU=4\ngroup large CPU=5\ntask 5 CPU=4", cap), @r"
    0 -> 2 by signal budget
    small: 0 -> 5 replicas, 5 nodes for tasks and actors
    ");
}

#[test]
fn without_a_condition_that_holds_targets_ask_for_nothing_after_a_while() {
    let snapshot = read(THREE_IDLE);
    let mut memory = Memory::default();
    let mut at = |seconds: u64, condition| {
        let activate = signal("traffic", Role::Activate { above: Milli(0) }, condition);
        let wish = wish(vec![queue(value(12)), activate]);
        let (plan, composed) = plan(&snapshot, &memory, &Policy::default(), &[wish], seconds * 1000);
        memory = plan.memory;
        format!("{} by {}", composed[0].to, composed[0].by)
    };
    assert_eq!(at(0, value(0)), "3 by signal queue");
    assert_eq!(at(200, value(1)), "3 by signal queue");
    assert_eq!(at(499, value(0)), "3 by signal queue");
    assert_eq!(at(500, value(0)), "0 by no Activate signal that is on");
    assert_eq!(at(600, Reading::Unknown), "3 by signal queue");
}

#[test]
fn the_behavior_slows_down_what_ray_and_targets_ask_for() {
    let step = |pods| Scaling {
        stabilization_milliseconds: 0,
        policies: vec![Step {
            change: Change::Pods(pods),
            period_milliseconds: 60_000,
        }],
        select: Select::Max,
    };
    let slow = |signals| Wish {
        behavior: Some(Behavior {
            up: step(2),
            down: step(1),
        }),
        ..wish(signals)
    };
    assert_snapshot!(check("group small CPU=4\ntask 9 CPU=4", slow(vec![])), @r"
    0 -> 2 by scaleUp of the behavior, which adds no more for now
    small: 0 -> 2 replicas, 2 nodes for tasks and actors (by scaleUp of the behavior, which adds no more for now)
    no place for 7 x {CPU: 4}
    ");
    assert_snapshot!(check(THREE_IDLE, slow(vec![queue(value(0))])), @r"
    3 -> 2 by scaleDown of the behavior, which takes away no more for now
    small: 3 -> 2 replicas, 1 node gone: idle for longer than allowed (by scaleDown of the behavior, which takes away no more for now)
    remove a of small: idle for longer than allowed, idle for 90 s
    ");
    let cap = signal("budget", Role::Cap, Reading::Replicas(0));
    assert_snapshot!(check(THREE_IDLE, slow(vec![cap])), @r"
    3 -> 2 by scaleDown of the behavior, which takes away no more for now
    small: 3 -> 2 replicas, 1 node gone: above the maximum of the group (by scaleDown of the behavior, which takes away no more for now)
    remove a of small: above the maximum of the group, idle for 90 s
    ");
    let other = "
        group small CPU=4
        group large CPU=8
        task 9 CPU=4";
    assert_snapshot!(check(other, slow(vec![])), @r"
    0 -> 1 by Ray's demand
    small: 0 -> 1 replicas, 1 node for tasks and actors (by Ray's demand)
    large: 0 -> 4 replicas, 4 nodes for tasks and actors
    ");
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_wait_for_longer() {
    let mut wish = wish(vec![queue(value(12))]);
    wish.behavior = Some(Behavior::default());
    let snapshot = read(THREE_IDLE);
    let mut memory = Memory::default();
    let mut replicas = |load: i64, seconds: u64| {
        wish.signals[0].reading = value(load);
        let wishes = [wish.clone()];
        let (plan, composed) = plan(&snapshot, &memory, &Policy::default(), &wishes, seconds * 1000);
        memory = plan.memory;
        composed[0].to
    };
    assert_eq!(replicas(12, 10_000), 3);
    assert_eq!(replicas(4, 10_100), 3, "more were asked for a moment ago");
    assert_eq!(replicas(4, 5_000), 3, "the clock was put back");
    assert_eq!(replicas(4, 5_299), 3);
    assert_eq!(replicas(4, 5_300), 1);
}

#[test]
fn hosts_of_a_replica_come_together() {
    assert_snapshot!(check("group small CPU=4 hosts=4 max=40", wish(vec![queue(value(9))])), @r"
    0 -> 3 by signal queue
    small: 0 -> 3 replicas, 12 nodes for the minimum (by signal queue)
    ");
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        (1_i64..9).prop_map(|target| Role::Target(Target::AverageValue(Milli(target * 1000)))),
        (1_i64..9).prop_map(|target| Role::Target(Target::Value(Milli(target * 1000)))),
        Just(Role::Floor),
        Just(Role::Cap),
        (any::<bool>(), any::<bool>()).prop_map(|(shrink, grow)| Role::Guard {
            above: Milli(3000),
            shrink,
            grow
        }),
        Just(Role::Activate { above: Milli(3000) }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        (0_i64..9).prop_map(value),
        (0_u64..6).prop_map(Reading::Replicas),
        Just(Reading::Silent),
        Just(Reading::Unknown),
    ]
}

prop_compose! {
    fn wishes()(
        signals in prop::collection::vec((role(), reading()), 0..5),
        paused in prop::bool::weighted(0.1),
        bounds in (prop::option::of(0_u64..4), prop::option::of(0_u64..6)),
        behaves in any::<bool>(),
        disruption in prop::option::of(disruption::random()),
    ) -> Wish {
        Wish {
            paused,
            min: bounds.0,
            max: bounds.1,
            behavior: behaves.then(Behavior::default),
            disruption,
            signals: signals
                .into_iter()
                .enumerate()
                .map(|(index, (role, reading))| signal(&format!("s{index}"), role, reading))
                .collect(),
            ..wish(Vec::new())
        }
    }
}

proptest! {
    #[test]
    fn no_policy_leads_out_of_the_bounds_of_a_group(snapshot in world(), wish in wishes()) {
        for group in snapshot.groups.iter().filter(|group| group.role == crate::Role::Worker) {
            let wish = Wish { group: group.name.clone(), ..wish.clone() };
            let (plan, _) = plan(&snapshot, &Memory::default(), &Policy::default(), &[wish], 0);
            for decision in plan.decisions.iter().filter(|decision| decision.group == group.name) {
                let nodes = decision.to * group.hosts;
                prop_assert!(nodes >= group.min.min(group.max) && nodes <= group.max.next_multiple_of(group.hosts), "{decision}");
            }
        }
    }

    /// Neither a Target nor a Floor nor a Guard that is not known ever takes something away, and nothing else does while it is so.
    #[test]
    fn what_is_not_known_takes_nothing_away(snapshot in world(), wish in wishes(), role in role()) {
        let limits = |role: &Role| matches!(role, Role::Cap | Role::Activate { .. });
        let role = if limits(&role) { Role::Floor } else { role };
        let snapshot = Snapshot { max_nodes: None, ..snapshot };
        for group in snapshot.groups.iter().filter(|group| group.role == crate::Role::Worker) {
            let mut wish = Wish { group: group.name.clone(), max: None, ..wish.clone() };
            wish.signals.retain(|signal| !limits(&signal.role));
            wish.signals.push(signal("unknown", role, Reading::Unknown));
            let (_, composed) = plan(&snapshot, &Memory::default(), &Policy::default(), &[wish], 0);
            prop_assert!(composed[0].to >= group.replicas.min(group.max / group.hosts), "{composed:?}");
        }
    }
}
