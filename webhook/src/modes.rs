//! Which autoscaler each RayCluster asked for, from a watch of their metadata: the one thing about a head Pod that the Pod itself
//! does not say.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use ray::keys;
use rules::pod::AutoscalerMode;
use serde_json::Value;

/// How long a head Pod may wait for us to look its cluster up. The webhook is given two seconds in all.
const LOOKUP: Duration = Duration::from_millis(500);

type Metadata = PartialObjectMeta<DynamicObject>;

/// The modes of all clusters.
#[derive(Clone)]
pub struct Modes {
    client: Client,
    watched: Store<Metadata>,
    default: AutoscalerMode,
}

/// Why we cannot say which mode a cluster is in.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The API server did not let us see it.
    #[error("look up RayCluster {namespace}/{name}: {source}")]
    Refused {
        /// Of the cluster.
        namespace: String,
        /// Of the cluster.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("look up RayCluster {namespace}/{name}: no answer within {LOOKUP:?}")]
    Late {
        /// Of the cluster.
        namespace: String,
        /// Of the cluster.
        name: String,
    },
}

/// The cluster whose head this Pod is.
pub fn cluster_of_head(pod: &Value) -> Option<&str> {
    let labels = &pod["metadata"]["labels"];
    if labels[keys::NODE_TYPE] != keys::NODE_TYPE_HEAD {
        return None;
    }
    labels[keys::CLUSTER].as_str()
}

impl Modes {
    /// The modes as they are known through `client`, and what keeps them up to date for as long as it is polled.
    pub fn watch(
        client: Client,
        default: AutoscalerMode,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let writer = reflector::store::Writer::new(cluster_resource());
        let watched = writer.as_reader();
        let api = Api::<Metadata>::all_with(client.clone(), &cluster_resource());
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|cluster| {
                // Only the annotation is asked for.
                cluster.managed_fields_mut().clear();
                cluster.labels_mut().clear();
                cluster.annotations_mut().retain(|key, _| key == keys::AUTOSCALER);
            });
        let keep = events.reflect(writer).for_each(async |event| {
            if let Err(error) = event {
                tracing::warn!(%error, "watch of rayclusters failed");
            }
        });
        (
            Self {
                client,
                watched,
                default,
            },
            keep,
        )
    }

    /// The mode of a cluster.
    ///
    /// Nearly always the watch knows. It may not yet know a cluster that was made a moment ago, when the operator is quicker than the
    /// watch: then one short look at the API server decides. To guess instead could leave a cluster without any autoscaler or with
    /// two of them, until somebody restarts its head. If even that fails we do not answer, and the failure policy decides.
    pub async fn of(&self, namespace: &str, name: &str) -> Result<AutoscalerMode, Unknown> {
        let resource = cluster_resource();
        let key = ObjectRef::new_with(name, resource.clone()).within(namespace);
        if let Some(cluster) = self.watched.get(&key) {
            return Ok(self.read(&cluster));
        }
        let api = Api::<Metadata>::namespaced_with(self.client.clone(), namespace, &resource);
        match tokio::time::timeout(LOOKUP, api.get_opt(name)).await {
            Ok(Ok(Some(cluster))) => Ok(self.read(&cluster)),
            // A head without a cluster: nobody will scale it.
            Ok(Ok(None)) => Ok(self.default),
            Ok(Err(source)) => Err(Unknown::Refused {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                source: Box::new(source),
            }),
            Err(_) => Err(Unknown::Late {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    /// A mode that nobody knows counts as none.
    fn read(&self, cluster: &Metadata) -> AutoscalerMode {
        let asked = cluster.annotations().get(keys::AUTOSCALER);
        asked.and_then(|mode| mode.parse().ok()).unwrap_or(self.default)
    }
}

fn cluster_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("ray.io", "v1", "RayCluster"),
        "rayclusters",
    )
}

#[cfg(test)]
mod tests;
