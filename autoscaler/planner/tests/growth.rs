//! What a plan costs grows with the cluster and no faster: ten times the nodes and ten times the work take about ten times the allocations.
//! Nothing is timed; the bench of `decisions` does that.

use allocation_counter::measure;
use planner::{Batch, Gang, Group, Label, Memory, Node, Policy, Request, Running, Snapshot, State, plan};
use ray::resources::{Amount, Resources};

/// A cluster with this many nodes, and with work for what is free of them.
type Many = fn(u16) -> Snapshot;

#[test]
fn ten_times_the_cluster_takes_ten_times_the_allocations() {
    let cases: &[(&str, Many)] = &[
        ("like nodes", |count| cluster(count, |_| 0)),
        ("no two nodes alike", |count| cluster(count, |node| node)),
        ("gangs", |count| {
            let mut snapshot = cluster(count, |_| 0);
            snapshot.demand.gangs = (0..count).map(gang).collect();
            snapshot.demand.requests.clear();
            snapshot
        }),
    ];
    for (name, many) in cases {
        let (few, many) = (allocations(&many(50)), allocations(&many(500)));
        assert!(
            many < 13 * few,
            "{name}: {few} allocations for 50 nodes, {many} for 500"
        );
    }
}

fn allocations(snapshot: &Snapshot) -> u64 {
    let (memory, policy) = (Memory::default(), Policy::default());
    let unplaced = plan(snapshot, &memory, &policy).infeasible;
    assert_eq!(unplaced, planner::Infeasible::default());
    measure(|| drop(plan(snapshot, &memory, &policy))).count_total
}

/// Two of four CPUs of each node are free, and as many tasks of one CPU wait.
fn cluster(count: u16, memory: fn(u16) -> u16) -> Snapshot {
    let resources = |cpus: u8, memory: u16| -> Resources {
        [
            ("CPU", Amount::units(cpus)),
            ("memory", Amount::units(1000 + memory)),
        ]
        .into_iter()
        .collect()
    };
    let node = |index: u16| Node {
        id: format!("node-{index}"),
        group: "small".to_owned(),
        slice: None,
        created: None,
        state: State::Running(Running {
            total: resources(4, memory(index)),
            available: resources(2, memory(index)),
            ..Running::default()
        }),
    };
    let mut snapshot = Snapshot {
        groups: vec![Group {
            name: "small".to_owned(),
            resources: Some(resources(4, 0)),
            max: 100_000,
            hosts: 1,
            ..Group::default()
        }],
        nodes: (0..count).map(node).collect(),
        ..Snapshot::default()
    };
    let task = [("CPU", Amount::ONE), ("memory", Amount::ONE)];
    snapshot.demand.requests.push(Batch {
        request: Request {
            resources: task.into_iter().collect(),
            ..Request::default()
        },
        count: 2 * u64::from(count),
    });
    snapshot
}

/// Two bundles on two nodes.
fn gang(index: u16) -> Gang {
    let bundle = Request {
        resources: [("CPU", Amount::ONE)].into_iter().collect(),
        anti_affinity: Some(Label {
            name: format!("gang-{index}"),
            value: String::new(),
        }),
        ..Request::default()
    };
    Gang {
        details: String::new(),
        bundles: vec![bundle; 2],
    }
}
