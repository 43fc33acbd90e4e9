//! What counts, for how long, and for whom.

use ray::fixture::sample;
use rules::Operation;
use serde_json::json;

use super::*;

#[test]
fn what_was_let_through_counts_until_the_watch_has_shown_it() {
    let mut book = Book::default();
    let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
    let others =
        |book: &Book, namespace, second| book.others(&name(namespace, "new"), at(second)).count("NVIDIA");
    book.show(name("a", "one"), gpus(4));
    book.show(name("b", "one"), gpus(16));
    book.admit(name("a", "two"), gpus(2), at(0));
    assert_eq!(others(&book, "a", 29), 6, "shown and on its way");
    assert_eq!(others(&book, "a", 30), 4, "it never came");

    book.show(name("a", "two"), gpus(2));
    assert_eq!(others(&book, "a", 0), 6, "counted once");
    book.admit(name("a", "two"), gpus(3), at(0));
    book.show(name("a", "two"), gpus(2));
    assert_eq!(
        others(&book, "a", 1),
        7,
        "an older state does not hide a newer one"
    );
    assert_eq!(
        book.others(&name("a", "two"), at(1)).count("NVIDIA"),
        4,
        "its own does not count"
    );
    book.remove(&name("a", "two"));
    assert_eq!(others(&book, "a", 1), 4);

    book.replace(Kind::Cluster, BTreeMap::from([(name("b", "two"), gpus(1))]));
    assert_eq!(
        (others(&book, "a", 1), others(&book, "b", 1)),
        (0, 1),
        "what went unseen"
    );
    book.admit(name("b", ""), gpus(8), at(1));
    assert_eq!(others(&book, "b", 1), 1, "a name that is still to be made up");
}

#[test]
fn what_belongs_to_another_or_has_ended_does_not_count() {
    let ended = json!({"jobDeploymentStatus": "Complete"});
    for (kind, changes, count) in [
        (Kind::Cluster, vec![], 8),
        (Kind::Job, vec![], 8),
        (Kind::Service, vec![], 8),
        (Kind::CronJob, vec![], 0),
        (Kind::Cluster, part_of("RayJob"), 0),
        (Kind::Cluster, part_of("RayService"), 0),
        (Kind::Cluster, part_of("Workload"), 8),
        (Kind::Job, part_of("RayCronJob"), 8),
        (
            Kind::Job,
            vec![
                ("/status", ended.clone()),
                ("/spec/shutdownAfterJobFinishes", json!(true)),
            ],
            0,
        ),
        (
            Kind::Job,
            vec![
                ("/status", ended),
                ("/spec/shutdownAfterJobFinishes", json!(false)),
            ],
            8,
        ),
    ] {
        let object = changes
            .iter()
            .fold(with_gpus(kind, 8), |object, (place, value)| {
                object.set(place, value.clone())
            })
            .build();
        assert_eq!(usage(kind, &object).count("NVIDIA"), count, "{kind} {changes:?}");
    }
}

#[test]
fn a_cluster_that_is_part_of_a_job_is_judged_by_itself() {
    let ledger = Ledger::default();
    let job = with_gpus(Kind::Job, 8).build();
    ledger.show(&Request::new(Operation::Create, Kind::Job, &job, None));
    let cluster = |changes: Vec<(&str, Value)>| {
        let cluster = with_gpus(Kind::Cluster, 8);
        changes
            .into_iter()
            .fold(cluster, |cluster, (place, value)| cluster.set(place, value))
            .build()
    };
    let others = |cluster: &Value| {
        let others = ledger.others(&Request::new(Operation::Create, Kind::Cluster, cluster, None));
        others.map(|others| others.count("NVIDIA"))
    };
    assert_eq!(others(&cluster(vec![])), Some(8));
    assert_eq!(others(&cluster(part_of("RayJob"))), None);
}

/// What KubeRay writes on what it makes of an object of this kind.
fn part_of(kind: &str) -> Vec<(&'static str, Value)> {
    let owner = json!([{"apiVersion": "ray.io/v1", "kind": kind, "name": "demo", "controller": true}]);
    vec![
        ("/metadata/ownerReferences", owner),
        ("/metadata/labels", json!({"ray.io/originated-from-crd": kind})),
    ]
}

fn name(namespace: &str, name: &str) -> Who {
    (namespace.to_owned(), Kind::Cluster, name.to_owned())
}

fn gpus(count: i32) -> Usage {
    Usage::of(Kind::Cluster, &with_gpus(Kind::Cluster, count).build())
}

fn with_gpus(kind: Kind, count: i32) -> ray::fixture::Sample {
    sample(kind, "demo")
        .group("gpu")
        .bounds(0, count)
        .limit("nvidia.com/gpu", "1")
}
