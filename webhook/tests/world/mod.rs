//! An admission service in a world without any RayCluster.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use kube::Client;
use prometheus_client::registry::Registry;
use rayward_webhook::admit::Admission;
use rayward_webhook::clusters::Clusters;
use rayward_webhook::events::Events;
use rayward_webhook::policy::watch::Namespaces;
use rayward_webhook::usage::Ledger;
use rules::Facts;
use rules::pod::AutoscalerMode;
use serde_json::json;

/// All rules, by these facts.
pub(crate) fn admission(facts: Facts) -> Admission {
    let gone = async |_: Request<kube::client::Body>| {
        let body = json!({"status": "Failure", "reason": "NotFound", "code": 404}).to_string();
        let response = Response::builder()
            .status(404)
            .body(kube::client::Body::from(body.into_bytes()));
        Ok::<_, kube::Error>(response.expect("a response"))
    };
    let client = Client::new(tower::service_fn(gone), "default");
    let (namespaces, _not_polled) = Namespaces::watch(client.clone());
    let (clusters, _not_polled) = Clusters::watch(client.clone(), AutoscalerMode::Central);
    let (events, _not_written) = Events::new(client, &mut Registry::default());
    Admission {
        facts: Arc::new(ArcSwap::from_pointee(facts)),
        clusters,
        ledger: Ledger::default(),
        namespaces,
        events,
    }
}
