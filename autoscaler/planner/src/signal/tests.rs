//! The arithmetic of the `HorizontalPodAutoscaler`, by its own numbers.

use super::behavior::{Behavior, Change, HeldBy, History, Policy, Scaling, Select};
use super::{Milli, Proposals, Replicas, Target, Tolerance, Undecided, propose};

fn proposed(wanted: u64, ready: u64, value: f64, target: Target) -> u64 {
    let replicas = Replicas {
        wanted,
        there: wanted,
        ready,
    };
    propose(
        replicas,
        Milli::of(value).expect("a number"),
        target,
        Tolerance::default(),
    )
}

#[test]
fn a_value_for_all_replicas() {
    let at = |wanted, ready, value| proposed(wanted, ready, value, Target::Value(Milli(10_000)));
    assert_eq!(at(10, 10, 15.0), 15);
    // Only what is ready can have made the value.
    assert_eq!(at(10, 8, 15.0), 12);
    assert_eq!([at(10, 10, 11.0), at(10, 10, 11.1)], [10, 12]);
    assert_eq!([at(10, 10, 9.0), at(10, 10, 8.9)], [10, 9]);
    assert_eq!(at(0, 0, 25.0), 3);
    assert_eq!(at(0, 0, 0.0), 0);
}

#[test]
fn a_value_that_replicas_share() {
    let at = |there, value| proposed(there, there, value, Target::AverageValue(Milli(10_000)));
    assert_eq!([at(4, 45.0), at(4, 44.0)], [5, 4]);
    assert_eq!([at(4, 36.0), at(4, 35.0), at(4, 0.0)], [4, 4, 0]);
    assert_eq!(at(100, 1111.0), 112);
    assert_eq!([at(0, 0.0), at(0, 1.0)], [0, 1]);
}

#[test]
fn values_are_thousandths() {
    assert_eq!(Milli::of(1.2345), Some(Milli(1234)));
    assert_eq!(Milli::of(-3.0), Some(Milli(0)));
    assert_eq!(
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Milli::of),
        [None; 3]
    );
}

#[test]
fn the_highest_proposal_wins_and_what_is_unknown_never_shrinks() {
    let decide = |proposals: &[Option<u64>]| proposals.iter().copied().collect::<Proposals>().decide(4);
    assert_eq!(decide(&[Some(3), Some(7)]), Ok(7));
    assert_eq!(decide(&[Some(3), Some(1)]), Ok(3));
    assert_eq!(decide(&[Some(7), None]), Ok(7));
    assert_eq!(decide(&[Some(4), None]), Ok(4));
    assert_eq!(
        decide(&[Some(3), None]),
        Err(Undecided::ShrinksOnPartialKnowledge)
    );
    assert_eq!(decide(&[None]), Err(Undecided::NoneKnown));
    assert_eq!(decide(&[]), Err(Undecided::NoneKnown));
}

const MANY: u64 = 1_000_000;

fn shaped(behavior: &Behavior, changed: i64, current: u64, asked: u64) -> (u64, Option<HeldBy>) {
    let mut history = History::default();
    history.done(behavior, 1000, current.saturating_add_signed(-changed), current);
    let shaped = behavior.shape(&mut history, 10_000, current, asked);
    (shaped.replicas, shaped.held_by)
}

#[test]
fn growth_without_a_behavior() {
    let most = |changed, current| shaped(&Behavior::default(), changed, current, MANY).0;
    assert_eq!(
        [1, 2, 4, 5, 10].map(|current| most(0, current)),
        [5, 6, 8, 10, 20]
    );
    // Four were added within the period: the eight that a doubling allows are there.
    assert_eq!(most(4, 8), 8);
    assert_eq!(shaped(&Behavior::default(), 0, 10, MANY).1, Some(HeldBy::UpLimit));
    assert_eq!(shaped(&Behavior::default(), 0, 10, 12), (12, None));
}

fn policies(select: Select) -> Scaling {
    let policy = |change| Policy {
        change,
        period_milliseconds: 60_000,
    };
    Scaling {
        stabilization_milliseconds: 0,
        policies: vec![policy(Change::Percent(10)), policy(Change::Pods(4))],
        select,
    }
}

#[test]
fn growth_by_policies() {
    let most = |select, current| {
        let behavior = Behavior {
            up: policies(select),
            ..Behavior::default()
        };
        shaped(&behavior, 0, current, MANY).0
    };
    assert_eq!([10, 80].map(|current| most(Select::Min, current)), [11, 84]);
    assert_eq!([10, 80].map(|current| most(Select::Max, current)), [14, 88]);
    assert_eq!(most(Select::Disabled, 10), 10);
    // Floating point, as there.
    assert_eq!(most(Select::Max, 110), 122);
}

#[test]
fn shrinking_by_policies() {
    let least = |select, changed, current| {
        let behavior = Behavior {
            down: policies(select),
            ..Behavior::default()
        };
        shaped(&behavior, changed, current, 0).0
    };
    assert_eq!([80, 30].map(|current| least(Select::Max, 0, current)), [72, 26]);
    assert_eq!(least(Select::Min, 0, 80), 76);
    assert_eq!(least(Select::Disabled, 0, 80), 80);
    let tenth = Behavior {
        down: Scaling {
            policies: policies(Select::Max).policies[..1].to_vec(),
            ..policies(Select::Max)
        },
        ..Behavior::default()
    };
    assert_eq!(shaped(&tenth, -8, 72, 0).0, 72);
    assert_eq!([1, 7].map(|current| shaped(&tenth, 0, current, 0).0), [0, 6]);
}

#[test]
fn a_number_settles_before_it_falls() {
    let behavior = Behavior::default();
    let mut history = History::default();
    let mut at = |seconds: u64, current, asked| {
        let shaped = behavior.shape(&mut history, seconds * 1000, current, asked);
        (shaped.replicas, shaped.held_by)
    };
    assert_eq!(at(0, 3, 6), (6, None));
    assert_eq!(at(15, 6, 2), (6, Some(HeldBy::DownStabilized)));
    assert_eq!(at(200, 6, 4), (6, Some(HeldBy::DownStabilized)));
    // The six are five minutes old.
    assert_eq!(at(300, 6, 2), (4, Some(HeldBy::DownStabilized)));
    assert_eq!(at(500, 4, 2), (2, None));
}

#[test]
fn a_number_settles_before_it_rises() {
    let up = Scaling {
        stabilization_milliseconds: 60_000,
        ..Behavior::default().up
    };
    let behavior = Behavior {
        up,
        ..Behavior::default()
    };
    let mut history = History::default();
    let mut at = |seconds: u64, current, asked| {
        let shaped = behavior.shape(&mut history, seconds * 1000, current, asked);
        (shaped.replicas, shaped.held_by)
    };
    // What is first seen is what there is.
    assert_eq!(at(0, 2, 5), (2, Some(HeldBy::UpStabilized)));
    assert_eq!(at(30, 2, 6), (2, Some(HeldBy::UpStabilized)));
    assert_eq!(at(60, 2, 7), (6, Some(HeldBy::UpStabilized)));
    assert_eq!(at(120, 6, 7), (7, None));
}
