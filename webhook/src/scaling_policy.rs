//! `RayScalingPolicy` as a kind in Kubernetes. The autoscaler follows such objects; here it is said what they look like, and what is wrong
//! with one.

use ray::scaling_policy::status::Status;
use ray::scaling_policy::{GROUP, KIND, PLURAL, ScalingPolicySpec, VERSION};
use serde_json::{Value, json};

use crate::crd::{column, schema};

/// Whether this is what objects of that group, version and kind are.
pub fn is_scaling_policy(group: &str, version: &str, kind: &str) -> bool {
    (group, version, kind) == (GROUP, VERSION, KIND)
}

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "labels": {"app.kubernetes.io/name": "rayward", "app.kubernetes.io/component": "autoscaler"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": "rayscalingpolicy",
                "shortNames": ["rsp"],
                "categories": ["rayward"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Target", "string", ".spec.target.name"),
                    column("Mode", "string", ".spec.mode"),
                    column("Replicas", "integer", ".status.replicas"),
                    column("Desired", "integer", ".status.desiredReplicas"),
                    column("Limited by", "string", ".status.limitedBy"),
                    column("Active", "string", ".status.conditions[?(@.type==\"ScalingActive\")].status"),
                    column("Age", "date", ".metadata.creationTimestamp"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "How the worker groups of one Ray cluster are scaled by what Prometheus and the clock say, besides by what Ray itself asks for.",
                    "required": ["spec"],
                    "properties": {"spec": schema::<ScalingPolicySpec>(), "status": schema::<Status>()},
                }},
            }],
        },
    })
}
