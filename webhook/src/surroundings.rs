//! What there is in the namespace of a `RayScalingPolicy`, looked up when one is written: that is seldom, and what a watch has not shown yet would be
//! what matters. What cannot be had in time is not known, and then says nothing against the policy.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams, ObjectList};
use kube::{Api, Client, ResourceExt};
use ray::object::{Kind, Metadata, Object};
use ray::scaling_policy::{self, ScalingPolicySpec, Target, TargetKind};
use rules::scaling_policy::Around;
use serde_json::Value;

use crate::clusters::resource;
use crate::review::Review;
use crate::scaling_policy::resource as policy_resource;

/// The webhook is given three seconds in all.
const LOOKUP: Duration = Duration::from_secs(1);
/// Nobody needs more of the clusters with some labels to know what their groups are called.
const CLUSTERS_MAX: u32 = 20;

/// What is around the policy that is written.
pub(crate) async fn of(client: &Client, clusters: Vec<Metadata>, review: &Review) -> Around {
    let Ok(spec) = scaling_policy::read(&review.object["spec"]) else {
        return Around::default();
    };
    let look = async {
        tokio::try_join!(
            policies(client, &review.namespace, &review.name),
            groups(client, &review.namespace, &spec.target),
        )
    };
    match tokio::time::timeout(LOOKUP, look).await {
        Ok(Ok((policies, groups))) => Around {
            policies,
            clusters,
            groups,
        },
        Ok(Err(error)) => {
            tracing::warn!(%error, namespace = review.namespace, "what is around a scaling policy is not to be had");
            Around::default()
        }
        Err(_) => {
            tracing::warn!(
                namespace = review.namespace,
                "what is around a scaling policy is not to be had in time"
            );
            Around::default()
        }
    }
}

/// The other policies that can be followed, but for those that are on their way out.
async fn policies(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Vec<(String, ScalingPolicySpec)>, kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &policy_resource());
    let all = api.list(&ListParams::default()).await?;
    let others = all
        .items
        .into_iter()
        .filter(|other| other.name_any() != name && other.metadata.deletion_timestamp.is_none());
    let readable =
        others.filter_map(|other| Some((other.name_any(), scaling_policy::read(&other.data["spec"]).ok()?)));
    Ok(readable.collect())
}

async fn groups(client: &Client, namespace: &str, target: &Target) -> Result<Vec<String>, kube::Error> {
    let (kind, which) = if target.name.is_empty() {
        let labels: Vec<_> = target
            .match_labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let which = ListParams::default().labels(&labels.join(","));
        (Kind::Cluster, which.limit(CLUSTERS_MAX))
    } else {
        let which = ListParams::default().fields(&format!("metadata.name={}", target.name));
        (kind(target.kind()), which)
    };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource(kind));
    let found: ObjectList<DynamicObject> = api.list(&which).await?;
    Ok(found
        .items
        .iter()
        .flat_map(|object| groups_of(kind, &object.data))
        .collect())
}

/// What the worker groups of an object are called.
pub(crate) fn groups_of(kind: Kind, object: &Value) -> Vec<String> {
    let (object, _) = Object::read(kind, object);
    let groups = object.clusters().flat_map(|cluster| &cluster.worker_groups);
    groups.map(|group| group.name.clone()).collect()
}

/// The kind of what a policy is for.
pub(crate) fn kind(target: TargetKind) -> Kind {
    match target {
        TargetKind::RayCluster => Kind::Cluster,
        TargetKind::RayJob => Kind::Job,
        TargetKind::RayService => Kind::Service,
    }
}
