//! Groups whose new nodes wait in vain: what Ray takes for capacity on its way is the last choice here.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{check, read, world};
use crate::{Memory, Policy, Snapshot, State, plan};

/// Two groups of like nodes; `first` would win the tie.
const STUCK: &str = "
    group first CPU=4 max=3 replicas=1 passed-over
    group second CPU=4 max=3
    node  a first stuck
";

fn told(scenario: &str, policy: &Policy) -> String {
    plan(&read(scenario), &Memory::default(), policy).to_string()
}

#[test]
fn another_group_takes_what_a_stuck_node_was_to_take() {
    let waiting = format!("{STUCK}\ntask 4 CPU=1");
    assert_snapshot!(check(&waiting), @"second: 0 -> 1 replicas, 1 node for tasks and actors");
}

#[test]
fn ray_waits_for_it() {
    let policy = Policy {
        pass_over: false,
        ..Policy::default()
    };
    assert_snapshot!(told(&format!("{STUCK}\ntask 4 CPU=1"), &policy), @"");
    assert_snapshot!(told(&format!("{STUCK}\ntask 8 CPU=1"), &policy), @"first: 1 -> 2 replicas, 1 node for tasks and actors");
}

#[test]
fn where_no_other_group_will_do_it_is_waited_for_and_more_are_asked_for() {
    let only_first = "
        group first CPU=4 max=3 replicas=1 passed-over
        group second CPU=1 max=3
        node  a first stuck may-go
    ";
    assert_snapshot!(check(&format!("{only_first}\ntask 1 CPU=4")), @"");
    assert_snapshot!(check(&format!("{only_first}\ntask 2 CPU=4")), @"first: 1 -> 2 replicas, 1 node for tasks and actors");
}

#[test]
fn the_rest_goes_to_it_once_the_others_are_full() {
    let waiting = format!("{STUCK}\ntask 20 CPU=1");
    assert_snapshot!(check(&waiting), @r"
    first: 1 -> 2 replicas, 1 node for tasks and actors
    second: 0 -> 3 replicas, 3 nodes for tasks and actors
    ");
}

#[test]
fn what_waits_in_vain_goes_unless_it_is_needed_or_the_minimum() {
    let stuck = "node a first stuck may-go";
    assert_snapshot!(check(&format!("group first CPU=4 replicas=1 passed-over\n{stuck}")), @r"
    first: 1 -> 0 replicas, 1 node gone: waited in vain and not needed
    remove a of first: waited in vain and not needed, idle for 0 s
    ");
    assert_snapshot!(check(&format!("group first CPU=4 replicas=1 min=1 passed-over\n{stuck}")), @"");
    assert_snapshot!(check(&format!("group first CPU=4 replicas=1 passed-over\n{stuck}\ntask 1 CPU=1")), @"");
    assert_snapshot!(check("group first CPU=4 replicas=1 passed-over\nnode a first stuck"), @"");
}

/// The same cluster, with some of its groups passed over and what comes of them stuck.
fn passed_over(mut snapshot: Snapshot, chosen: &[bool]) -> Snapshot {
    for (group, &passed_over) in snapshot.groups.iter_mut().zip(chosen) {
        group.passed_over = passed_over;
        let of_it =
            |node: &&mut crate::Node| node.group == group.name && matches!(node.state, State::Pending);
        for node in snapshot.nodes.iter_mut().filter(of_it) {
            if passed_over {
                node.state = State::Stuck { may_go: false };
            }
        }
    }
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Ray's way is a switch: then a stuck node is one on its way.
    #[test]
    fn without_passing_over_it_makes_no_difference(snapshot in world(), chosen in prop::collection::vec(any::<bool>(), 3)) {
        let policy = Policy { pass_over: false, ..Policy::default() };
        let stuck = passed_over(snapshot.clone(), &chosen);
        prop_assert_eq!(
            plan(&stuck, &Memory::default(), &policy).to_string(),
            plan(&snapshot, &Memory::default(), &policy).to_string()
        );
    }

    /// Nothing waits for ever because of it: with every group passed over, everything finds the place that it would find with none.
    #[test]
    fn when_all_are_passed_over_none_is(snapshot in world()) {
        // Ray's order of trying aside: nodes that run are tried before those on their way.
        prop_assume!(snapshot.nodes.iter().all(|node| !matches!(node.state, State::Pending)));
        let stuck = passed_over(snapshot.clone(), &[true; 3]);
        let policy = Policy::default();
        prop_assert_eq!(
            plan(&stuck, &Memory::default(), &policy).launch,
            plan(&snapshot, &Memory::default(), &policy).launch
        );
    }
}
