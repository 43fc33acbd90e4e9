//! Metrics under the names of Ray's own autoscaler, which Ray's dashboards draw. Each is told anew at each scrape from what was seen last, so that
//! nothing is left of a cluster or a resource that is no more. Beside Ray's labels stand those of the cluster: Ray has a process for each,
//! and we are one for all.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use planner::{Group, State};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::journal::{Journal, Look};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(non_snake_case, reason = "as Ray writes them")]
struct NodeLabels {
    SessionName: String,
    NodeType: String,
    ray_io_cluster: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(non_snake_case, reason = "as Ray writes them")]
struct ResourceLabels {
    SessionName: String,
    resource: String,
    ray_io_cluster: String,
    namespace: String,
}

type Nodes = Family<NodeLabels, Gauge>;
type Resources = Family<ResourceLabels, Gauge<f64, AtomicU64>>;

#[derive(Default)]
struct Gauges {
    active: Nodes,
    pending: Nodes,
    failed: Nodes,
    resources: Resources,
    pending_resources: Resources,
}

/// What can be said of all clusters now.
pub(crate) fn ray_metrics(journal: &Journal) -> Registry {
    let gauges = Gauges::default();
    journal.each(|namespace, name, entry| {
        if let Some(look) = &entry.look {
            gauges.tell(namespace, name, look);
        }
    });
    let mut registry = Registry::with_prefix("autoscaler");
    registry.register("active_nodes", "Nodes that Ray runs on", gauges.active);
    registry.register("pending_nodes", "Nodes on their way", gauges.pending);
    registry.register(
        "recently_failed_nodes",
        "Nodes that go or were given up by Ray",
        gauges.failed,
    );
    registry.register(
        "cluster_resources",
        "What all nodes offer that Ray runs on",
        gauges.resources,
    );
    registry.register(
        "pending_resources",
        "What the nodes on their way will offer",
        gauges.pending_resources,
    );
    registry
}

impl Gauges {
    fn tell(&self, namespace: &str, name: &str, look: &Look) {
        let groups: BTreeMap<&str, &Group> = look
            .snapshot
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group))
            .collect();
        for group in look.snapshot.groups.iter().map(|group| &group.name) {
            for family in [&self.active, &self.pending, &self.failed] {
                family
                    .get_or_create(&node_labels(namespace, name, look, group))
                    .set(0);
            }
        }
        for node in &look.snapshot.nodes {
            let group = groups.get(node.group.as_str());
            let promised = group.and_then(|group| group.resources.as_ref());
            let (nodes, offered) = match &node.state {
                State::Running(running) => (&self.active, Some((&self.resources, &running.total))),
                State::Pending | State::Stuck { .. } => (
                    &self.pending,
                    promised.map(|total| (&self.pending_resources, total)),
                ),
                State::Leaving { .. } | State::Lost => (&self.failed, None),
            };
            nodes
                .get_or_create(&node_labels(namespace, name, look, &node.group))
                .inc();
            let Some((family, total)) = offered else { continue };
            // Each node has one of its own that bears its address.
            for (resource, amount) in total
                .iter()
                .filter(|(resource, _)| !resource.starts_with("node:"))
            {
                let labels = ResourceLabels {
                    SessionName: look.session.clone(),
                    resource: resource.clone(),
                    ray_io_cluster: name.to_owned(),
                    namespace: namespace.to_owned(),
                };
                family.get_or_create(&labels).inc_by(amount.to_f64());
            }
        }
    }
}

fn node_labels(namespace: &str, name: &str, look: &Look, group: &str) -> NodeLabels {
    NodeLabels {
        SessionName: look.session.clone(),
        NodeType: group.to_owned(),
        ray_io_cluster: name.to_owned(),
        namespace: namespace.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::ray_metrics;
    use crate::journal::Journal;
    use crate::observe::observe;
    use crate::tests::{cluster, looked, report, told, view};
    use crate::tick::Outcome;

    #[test]
    fn a_cluster_counts_while_it_is_looked_after() {
        let cluster = cluster(&json!({ "replicas": 3 }));
        let view = view("a running\nb pending\nc running");
        let report = report("a busy\nc draining", 0);
        let snapshot = observe(&cluster, &view, &report, 0).snapshot;
        let journal = Journal::default();
        let page = journal.page("default", "demo");
        page.looked(looked(snapshot, Outcome::Quiet));
        assert_snapshot!(told(&ray_metrics(&journal)), @r#"
        autoscaler_active_nodes{SessionName="session",NodeType="headgroup",ray_io_cluster="demo",namespace="default"} 0
        autoscaler_active_nodes{SessionName="session",NodeType="small",ray_io_cluster="demo",namespace="default"} 1
        autoscaler_cluster_resources{SessionName="session",resource="CPU",ray_io_cluster="demo",namespace="default"} 4.0
        autoscaler_pending_nodes{SessionName="session",NodeType="headgroup",ray_io_cluster="demo",namespace="default"} 1
        autoscaler_pending_nodes{SessionName="session",NodeType="small",ray_io_cluster="demo",namespace="default"} 1
        autoscaler_pending_resources{SessionName="session",resource="CPU",ray_io_cluster="demo",namespace="default"} 4.0
        autoscaler_recently_failed_nodes{SessionName="session",NodeType="headgroup",ray_io_cluster="demo",namespace="default"} 0
        autoscaler_recently_failed_nodes{SessionName="session",NodeType="small",ray_io_cluster="demo",namespace="default"} 1
        "#);
        drop(page);
        assert_eq!(told(&ray_metrics(&journal)), "");
    }
}
