//! What keeps each group from taking what waits.

use insta::assert_snapshot;

use super::read;

/// The first request of a scenario, and what is in its way in each group.
fn check(scenario: &str) -> String {
    let snapshot = read(scenario);
    let request = &snapshot.demand.requests[0].request;
    let told = snapshot.groups.iter().map(|group| {
        let obstacle = snapshot
            .obstacle(request, group)
            .map(|obstacle| obstacle.to_string());
        format!(
            "{}: {}",
            group.name,
            obstacle.unwrap_or_else(|| "nothing".to_owned())
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_thing_to_mend_is_told() {
    assert_snapshot!(check("
        group plain CPU=4
        group small CPU=1 suspended
        group away CPU=4 zone:b
        group rests CPU=4 zone:a suspended
        group full CPU=4 max=1 zone:a
        group stuck CPU=4 zone:a passed-over
        group good CPU=4 zone:a
        node  n full running CPU=4
        task  1 CPU=2 zone:a
    "), @r"
    plain: its labels do not satisfy zone in (a)
    small: its nodes have {CPU: 1}, and {CPU: 2} is asked for
    away: its labels do not satisfy zone in (a)
    rests: it is suspended
    full: it has reached its maximum of 1 nodes
    stuck: it is passed over, since its Pods wait in vain
    good: nothing
    ");
}
