//! How much may go at a time.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{Composed, decide, signal, wish, wishes};
use crate::signal::behavior::Change;
use crate::signal::{Disruption, Reading, Role, Wish, plan};
use crate::tests::{read, world};
use crate::{Memory, Policy, Snapshot};

/// Three idle nodes, made one after the other.
const THREE_OLD: &str = "
    group small CPU=4 replicas=3
    node a small running CPU=4/4 idle=90s made=100s
    node b small running CPU=4/4 idle=80s made=200s
    node c small running CPU=4/4 idle=70s made=300s";

fn budget(max_removed: Change) -> Wish {
    Wish {
        disruption: Some(Disruption {
            max_removed: Some(max_removed),
            window_milliseconds: 600_000,
            min_age_milliseconds: 0,
        }),
        ..wish(Vec::new())
    }
}

/// What is decided at a time, where replicas have gone before, each at its time, in seconds.
fn after(removed: &[u64], cluster: &str, wish: Wish, seconds: u64) -> String {
    let mut snapshot = read(cluster);
    snapshot.groups[0].removed.list = removed.iter().map(|at| (at * 1000, 1)).collect();
    let memory = Memory::default();
    let (plan, composed) = plan(&snapshot, &memory, &Policy::default(), &[wish], seconds * 1000);
    let Composed { from, to, by, .. } = &composed[0];
    format!("{from} -> {to} by {by}\n{plan}").trim_end().to_owned()
}

#[test]
fn no_more_go_than_the_budget_allows() {
    let one = || budget(Change::Pods(1));
    assert_snapshot!(after(&[], THREE_OLD, one(), 1000), @r"
    3 -> 2 by the disruption budget, which is used up for now
    small: 3 -> 2 replicas, 1 node gone: idle for longer than allowed (by the disruption budget, which is used up for now)
    remove a of small: idle for longer than allowed, idle for 90 s
    ");
    let nothing = "3 -> 3 by the disruption budget, which is used up for now";
    assert_eq!(after(&[401], THREE_OLD, one(), 1000), nothing);
    assert!(after(&[400], THREE_OLD, one(), 1000).starts_with("3 -> 2 "));
    // The clock was put back.
    assert_eq!(after(&[2000], THREE_OLD, one(), 1000), nothing);
    // Of the four that there were.
    assert!(after(&[900], THREE_OLD, budget(Change::Percent(26)), 1000).starts_with("3 -> 2 "));
    assert_eq!(
        after(&[900], THREE_OLD, budget(Change::Percent(25)), 1000),
        nothing
    );
    // One that is leaving is on its way to be gone.
    let leaving = THREE_OLD.replace("a small running", "a small leaving");
    assert_eq!(after(&[], &leaving, one(), 1000), nothing);
}

#[test]
fn what_is_too_young_stays() {
    let mut wish = budget(Change::Pods(3));
    wish.disruption.as_mut().expect("it has one").min_age_milliseconds = 750_000;
    assert_snapshot!(after(&[], THREE_OLD, wish, 1000), @r"
    3 -> 1 by the disruption budget, since what would go is too young
    small: 3 -> 1 replicas, 2 nodes gone: idle for longer than allowed (by the disruption budget, since what would go is too young)
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 80 s
    ");
}

#[test]
fn nothing_goes_where_nobody_knows_what_has_gone() {
    let mut snapshot = read(THREE_OLD);
    snapshot.groups[0].removed.unknown = true;
    let (_, composed) = decide(&snapshot, budget(Change::Pods(3)));
    let expected = "the disruption budget, since the annotation rayward.dev/removed cannot be read";
    assert_eq!((composed.to, composed.by.to_string().as_str()), (3, expected));
}

#[test]
fn a_cap_keeps_to_the_budget_and_the_maximum_of_the_group_does_not() {
    let one = |signals| Wish {
        signals,
        ..budget(Change::Pods(1))
    };
    let cap = signal("nobody", Role::Cap, Reading::Replicas(0));
    assert_snapshot!(after(&[], THREE_OLD, one(vec![cap]), 1000), @r"
    3 -> 2 by the disruption budget, which is used up for now
    small: 3 -> 2 replicas, 1 node gone: above the maximum of the group (by the disruption budget, which is used up for now)
    remove a of small: above the maximum of the group, idle for 90 s
    ");
    let lowered = THREE_OLD.replace("replicas=3", "replicas=3 max=1");
    assert_snapshot!(after(&[900], &lowered, one(Vec::new()), 1000), @r"
    3 -> 1 by the disruption budget, which is used up for now
    small: 3 -> 1 replicas, 2 nodes gone: above the maximum of the group (by the disruption budget, which is used up for now)
    remove a of small: above the maximum of the group, idle for 90 s
    remove b of small: above the maximum of the group, idle for 80 s
    ");
    // That one counts for the others.
    let lowered = THREE_OLD.replace("replicas=3", "replicas=3 max=2");
    assert!(after(&[], &lowered, one(Vec::new()), 1000).starts_with("3 -> 2 by the disruption budget"));
}

#[test]
fn what_stays_for_the_budget_takes_work() {
    let cluster = format!("{THREE_OLD}\ngroup large CPU=8\ntask 2 CPU=4");
    let capped = Wish {
        max: Some(1),
        ..budget(Change::Pods(1))
    };
    assert_snapshot!(after(&[], &cluster, capped, 1000), @r"
    3 -> 2 by the disruption budget, which is used up for now
    small: 3 -> 2 replicas, 1 node gone: above the maximum of the group (by the disruption budget, which is used up for now)
    remove a of small: above the maximum of the group, idle for 90 s
    ");
}

#[test]
fn a_slice_goes_as_a_whole() {
    let slices = "
        group small CPU=4 hosts=2 replicas=2
        node a small running CPU=4/4 idle=90s made=1s slice=one
        node b small running CPU=4/4 idle=90s made=1s slice=one
        node c small running CPU=4/4 idle=80s made=1s slice=two
        node d small running CPU=4/4 idle=80s made=1s slice=two";
    assert_snapshot!(after(&[], slices, budget(Change::Pods(1)), 1000), @r"
    2 -> 1 by the disruption budget, which is used up for now
    small: 2 -> 1 replicas, 2 nodes gone: idle for longer than allowed (by the disruption budget, which is used up for now)
    remove a of small: idle for longer than allowed, idle for 90 s
    remove b of small: idle for longer than allowed, idle for 90 s
    ");
}

#[test]
fn what_goes_is_kept_with_what_has_gone() {
    let mut snapshot = read(THREE_OLD);
    snapshot.groups[0].removed.list = vec![(300_000, 1), (900_000, 2)];
    let (plan, _) = plan(
        &snapshot,
        &Memory::default(),
        &Policy::default(),
        &[budget(Change::Pods(1))],
        1_000_000,
    );
    let kept = plan.tallies["small"].and(1).expect("it is known");
    assert_eq!(kept.list, [(900_000, 2), (1_000_000, 1)]);
}

prop_compose! {
    pub(super) fn random()(replicas in prop::option::of(0_u32..3), age in 0_u64..1_000_000) -> Disruption {
        Disruption {
            max_removed: replicas.map(Change::Pods),
            window_milliseconds: 600_000,
            min_age_milliseconds: age,
        }
    }
}

proptest! {
    /// Whatever a policy wants, and whatever is idle: besides what is above the group's own maximum, no more goes than the budget allows, and nothing young.
    #[test]
    fn nothing_goes_faster_than_the_budget_allows(
        snapshot in world(),
        wish in wishes(),
        disruption in random(),
        gone in 0_u64..3,
    ) {
        const NOW: u64 = 1_000_000;
        let mut snapshot = Snapshot { max_nodes: None, ..snapshot };
        for index in 0..snapshot.groups.len() {
            snapshot.groups[index].removed.list = vec![(NOW - 1, gone), (0, 9)];
            let group = &snapshot.groups[index];
            let wish = Wish { group: group.name.clone(), disruption: Some(disruption), ..wish.clone() };
            let (plan, _) = plan(&snapshot, &Memory::default(), &Policy::default(), &[wish], NOW);
            let there = snapshot.nodes.iter().filter(|node| node.group == group.name);
            let above = (there.count() as u64).saturating_sub(group.max).next_multiple_of(group.hosts);
            let going: Vec<_> = plan.terminate.iter().filter(|going| going.group == group.name).collect();
            if let Some(Change::Pods(replicas)) = disruption.max_removed {
                let most = above.max(u64::from(replicas).saturating_sub(gone) * group.hosts);
                prop_assert!(going.len() as u64 <= most, "{plan}");
            }
            let young = going.iter().filter(|going| {
                let mut nodes = snapshot.nodes.iter();
                let node = nodes.find(|node| node.id == going.id).expect("it is there");
                NOW - node.created.expect("it was made") < disruption.min_age_milliseconds
            });
            prop_assert!(young.count() as u64 <= above, "{plan}");
        }
    }
}
