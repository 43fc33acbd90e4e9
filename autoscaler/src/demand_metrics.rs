//! What waits for a node, by cluster and resource: what Ray's own metrics tell as a number of tasks at best, told anew at each scrape from what
//! the heads said last. For dashboards, for scalers other than ours, and for replaying it to a policy.

use std::sync::atomic::AtomicU64;

use planner::Role;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::journal::Journal;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    ray_io_cluster: String,
    resource: String,
}

/// What can be said of all clusters now.
pub(crate) fn demand_metrics(journal: &Journal) -> Registry {
    let waiting = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    journal.each(|namespace, name, entry| {
        let Some(look) = &entry.look else { return };
        let of = |resource: &String| {
            waiting.get_or_create(&Labels {
                namespace: namespace.to_owned(),
                ray_io_cluster: name.to_owned(),
                resource: resource.clone(),
            })
        };
        // That nothing waits is worth telling, too.
        let workers = look
            .snapshot
            .groups
            .iter()
            .filter(|group| group.role == Role::Worker);
        for (resource, _) in workers.filter_map(|group| group.resources.as_ref()).flatten() {
            of(resource).set(0.0);
        }
        let demand = &look.snapshot.demand;
        let requests = demand.requests.iter().map(|batch| (&batch.request, batch.count));
        let bundles = demand.gangs.iter().flat_map(|gang| &gang.bundles);
        for (request, count) in requests.chain(bundles.map(|bundle| (bundle, 1))) {
            let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            for (resource, amount) in &request.resources {
                of(resource).inc_by(amount.to_f64() * count);
            }
        }
    });
    let mut registry = Registry::with_prefix("rayward_autoscaler");
    registry.register(
        "waiting_resources",
        "What tasks, actors and placement groups wait for that have no node",
        waiting,
    );
    registry
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use planner::{Gang, Request};
    use ray::resources::Amount;
    use serde_json::json;

    use super::demand_metrics;
    use crate::journal::Journal;
    use crate::observe::observe;
    use crate::tests::{cluster, looked, report, told, view};
    use crate::tick::Outcome;

    #[test]
    fn what_waits_is_told_by_resource() {
        let cluster = cluster(&json!({ "replicas": 0 }));
        let mut report = report("", 3);
        let bundle = Request {
            resources: [
                ("GPU", Amount::units(1)),
                ("CPU", Amount::from_nanos(500_000_000)),
            ]
            .into_iter()
            .collect(),
            ..Request::default()
        };
        report.demand.gangs.push(Gang {
            details: "a gang".to_owned(),
            bundles: vec![bundle; 2],
        });
        let snapshot = observe(&cluster, &view(""), &report, 0).snapshot;
        let journal = Journal::default();
        let page = journal.page("default", "demo");
        let told = || told(&demand_metrics(&journal));
        assert_eq!(told(), "");
        page.looked(looked(snapshot, Outcome::Waiting));
        assert_snapshot!(told(), @r#"
        rayward_autoscaler_waiting_resources{namespace="default",ray_io_cluster="demo",resource="CPU"} 4.0
        rayward_autoscaler_waiting_resources{namespace="default",ray_io_cluster="demo",resource="GPU"} 2.0
        "#);
    }
}
