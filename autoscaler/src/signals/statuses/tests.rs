//! Two replicas write one status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::fleet::Fleet;
use super::super::policies::{Policies, ScalingPolicy};
use super::super::status::held;
use super::super::tests::{OLD, cluster, policy};
use super::Statuses;
use crate::ownership::{LEASE, Membership, Ownership, Sighted, Tenure};

/// What two replicas know of each other once both may act.
fn tenures(now: Instant) -> [Tenure; 2] {
    let sighted = |replica: &str, mark: u32| {
        vec![Sighted {
            replica: replica.to_owned(),
            uid: String::new(),
            mark: mark.to_string(),
            released: false,
        }]
    };
    [("a", "b"), ("b", "a")].map(|(me, other)| {
        let mut membership = Membership::new(me.to_owned());
        let long_ago = now.checked_sub(2 * LEASE).expect("it has run for so long");
        let mut tenure = None;
        for second in 0..=16 {
            let at = long_ago + Duration::from_secs(second);
            tenure = Some(membership.look(sighted(other, u32::try_from(second).expect("a few")), at, at));
        }
        tenure.expect("it has looked")
    })
}

fn replica(tenure: Tenure, fleet: &Fleet) -> Statuses {
    let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().expect("an address")));
    let (_, tenure) = watch::channel(Some(tenure));
    Statuses::new(
        client.expect("a client"),
        Ownership::Shared(tenure),
        fleet.clone(),
    )
}

fn wanted(replica: &Statuses, policy: &ScalingPolicy, written: &Value) -> Value {
    let (status, _) = replica
        .wanted(policy, written)
        .expect("there is something to say");
    json!(status)
}

/// Why each cluster has what it has.
fn rows(status: &Value) -> BTreeMap<String, String> {
    let rows = status["groups"].as_array().expect("a list").iter();
    rows.map(|row| {
        let text = |field: &str| row[field].as_str().expect("a text").to_owned();
        (text("cluster"), text("limitedBy"))
    })
    .collect()
}

#[tokio::test]
async fn each_replica_writes_the_rows_of_its_own_clusters() {
    // It may be there already.
    let _ = certs::install_provider();
    let spec = json!({"target": {"kind": "RayService", "name": "chat"}, "groups": [{"name": "small"}]});
    let policy = policy("a", OLD, &spec);
    let made_for_chat =
        json!({"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "chat"});
    let fleet = Fleet::default();
    let names: Vec<String> = (2..10).map(|number| format!("chat-{number}")).collect();
    let clusters: Vec<_> = names
        .iter()
        .map(|name| Arc::new(cluster(name, &made_for_chat)))
        .collect();
    for (name, cluster) in names.iter().zip(&clusters) {
        fleet.see(&("ml".to_owned(), name.clone()), Some(cluster));
    }
    let mut replicas = tenures(Instant::now()).map(|tenure| replica(tenure, &fleet));
    // Each has looked at all, some time or other.
    for (index, replica) in replicas.iter_mut().enumerate() {
        for cluster in &clusters {
            let policies = Policies::of_these(vec![Arc::clone(&policy)]);
            let followed = policies.of(&cluster.metadata, &["small"]);
            replica.take(held(cluster, &followed, &format!("replica {index}")));
        }
    }
    let [a, b] = &replicas;
    let first = wanted(a, &policy, &Value::Null);
    let second = wanted(b, &policy, &first);
    let third = wanted(a, &policy, &second);
    assert_eq!(third, second, "neither takes back what the other has said");
    assert_eq!(wanted(b, &policy, &third), third);
    let rows = rows(&third);
    assert_eq!(rows.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    for replica in ["replica 0", "replica 1"] {
        assert!(rows.values().any(|by| by == replica), "{rows:?}");
    }
    // Those that go take their rows with them.
    for name in &names[1..] {
        fleet.see(&("ml".to_owned(), name.clone()), None);
    }
    assert_eq!(fleet.of(&policy).len(), 1);
    for replica in &replicas {
        let left = wanted(replica, &policy, &third);
        assert_eq!(left["groups"].as_array().map(Vec::len), Some(1));
    }
}
