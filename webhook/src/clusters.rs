//! What the RayCluster of a Pod says of itself, from a watch of their metadata: which autoscaler it asked for, and the labels by which
//! policies select it. The Pod itself does not say so.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use ray::keys;
use ray::object::Kind;
use rules::pod::AutoscalerMode;
use serde_json::{Value, json};

/// How long a Pod may wait for us to look its cluster up. The webhook is given two seconds in all.
const LOOKUP: Duration = Duration::from_millis(500);

type Metadata = PartialObjectMeta<DynamicObject>;

/// All RayClusters.
#[derive(Clone)]
pub struct Clusters {
    client: Client,
    watched: Store<Metadata>,
    default: AutoscalerMode,
}

/// What is known of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Who scales it.
    pub mode: AutoscalerMode,
    /// The object, as far as policies look at it: its name, its labels and its owners.
    pub object: Value,
}

/// Why we know nothing about a cluster.
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

impl Cluster {
    /// A cluster of which nothing else is known.
    pub fn unknown(namespace: &str, name: &str, mode: AutoscalerMode) -> Self {
        Self {
            mode,
            object: json!({"metadata": {"namespace": namespace, "name": name}}),
        }
    }
}

impl Clusters {
    /// The clusters as they are known through `client`, and what keeps them up to date for as long as it is polled.
    pub fn watch(
        client: Client,
        default: AutoscalerMode,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let writer = reflector::store::Writer::new(resource(Kind::Cluster));
        let watched = writer.as_reader();
        let api = Api::<Metadata>::all_with(client.clone(), &resource(Kind::Cluster));
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|cluster| {
                // Only these are asked for.
                cluster.managed_fields_mut().clear();
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

    /// What is known of a cluster.
    ///
    /// Nearly always the watch knows. It may not yet know a cluster that was made a moment ago, when the operator is quicker than the
    /// watch: then one short look at the API server decides. To guess instead could leave a cluster without any autoscaler or with
    /// two of them, until somebody restarts its head. If even that fails we do not answer, and the failure policy decides.
    pub async fn of(&self, namespace: &str, name: &str) -> Result<Cluster, Unknown> {
        let resource = resource(Kind::Cluster);
        let key = ObjectRef::new_with(name, resource.clone()).within(namespace);
        if let Some(cluster) = self.watched.get(&key) {
            return Ok(self.read(&cluster));
        }
        let api = Api::<Metadata>::namespaced_with(self.client.clone(), namespace, &resource);
        match tokio::time::timeout(LOOKUP, api.get_opt(name)).await {
            Ok(Ok(Some(cluster))) => Ok(self.read(&cluster)),
            // A Pod without a cluster: nobody will scale it.
            Ok(Ok(None)) => Ok(Cluster::unknown(namespace, name, self.default)),
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

    /// Those of a namespace, as far as the watch knows.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<ray::object::Metadata> {
        let all = self.watched.state();
        let there = all
            .iter()
            .filter(|cluster| cluster.metadata.namespace.as_deref() == Some(namespace));
        let metadata = there.map(|cluster| ray::object::Metadata {
            name: cluster.metadata.name.clone(),
            labels: cluster.labels().clone(),
            ..ray::object::Metadata::default()
        });
        metadata.collect()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A mode that nobody knows counts as none.
    fn read(&self, cluster: &Metadata) -> Cluster {
        let asked = cluster.annotations().get(keys::AUTOSCALER);
        let mut read = Cluster::unknown(
            cluster.metadata.namespace.as_deref().unwrap_or_default(),
            cluster.metadata.name.as_deref().unwrap_or_default(),
            asked.and_then(|mode| mode.parse().ok()).unwrap_or(self.default),
        );
        read.object["metadata"]["labels"] = json!(cluster.labels());
        read.object["metadata"]["ownerReferences"] = json!(cluster.owner_references());
        read
    }
}

/// Where the API server has the objects of a kind of Ray's.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", kind.name()))
}

#[cfg(test)]
mod tests;
