//! `RayScalingPolicy` as a kind in Kubernetes. The autoscaler follows such objects; here it is said what they look like, and what is wrong
//! with one.

use kube::api::{ApiResource, GroupVersionKind};
use ray::scaling_policy::status::Status;
use ray::scaling_policy::{GROUP, KIND, PLURAL, ScalingPolicySpec, VERSION};
use serde_json::{Value, json};

use crate::crd::{Definition, column, schema};

/// Whether this is what objects of that group, version and kind are.
pub fn is_scaling_policy(group: &str, version: &str, kind: &str) -> bool {
    (group, version, kind) == (GROUP, VERSION, KIND)
}

/// Its API.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

pub(crate) fn definition() -> Value {
    Definition {
        kind: KIND,
        version: VERSION,
        plural: PLURAL,
        singular: "rayscalingpolicy",
        short: "rsp",
        scope: "Namespaced",
        component: "autoscaler",
        columns: vec![
                    column("Target", "string", ".spec.target.name"),
                    column("Mode", "string", ".status.mode"),
                    column("Replicas", "integer", ".status.replicas"),
                    column("Desired", "integer", ".status.desiredReplicas"),
                    column("Limited by", "string", ".status.limitedBy"),
                    column("Active", "string", ".status.conditions[?(@.type==\"ScalingActive\")].status"),
                    column("Age", "date", ".metadata.creationTimestamp"),
        ],
        scale: Some(json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        })),
        description: "How the worker groups of one Ray cluster are scaled by what Prometheus and the clock say, besides by what Ray itself asks for.",
        spec: schema::<ScalingPolicySpec>(),
        status: schema::<Status>(),
    }
    .manifest()
}
