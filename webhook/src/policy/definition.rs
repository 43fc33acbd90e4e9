//! `RayAdmissionPolicy` as a kind in Kubernetes.

use kube::api::{ApiResource, GroupVersionKind};
use rules::policy::PolicySpec;
use serde_json::{Value, json};

use crate::crd::{Definition, column, schema};

/// The kind of policies.
pub const KIND: &str = "RayAdmissionPolicy";
const GROUP: &str = "rayward.dev";
const VERSION: &str = "v1alpha1";
const PLURAL: &str = "rayadmissionpolicies";

/// Whether this is what objects of that group, version and kind are.
pub fn is_policy(group: &str, version: &str, kind: &str) -> bool {
    (group, version, kind) == (GROUP, VERSION, KIND)
}

/// Where the API server has them.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

pub(crate) fn definition() -> Value {
    Definition {
        kind: KIND,
        version: VERSION,
        plural: PLURAL,
        singular: "rayadmissionpolicy",
        short: "rap",
        scope: "Cluster",
        component: "webhook",
        columns: vec![
                    column("Priority", "integer", ".spec.priority"),
                    column("Refused", "integer", ".status.audit.refused"),
                    column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status"),
                    column("Age", "date", ".metadata.creationTimestamp"),
        ],
        scale: None,
        description: "What a platform team wants of the objects of Ray in this cluster: what happens because of mistakes in them, and what is let \
                                    through nevertheless.",
        spec: schema::<PolicySpec>(),
        status: status(),
    }
    .manifest()
}

fn status() -> Value {
    let count = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    let findings = |description: &str| {
        json!({
            "type": "object",
            "description": description,
            "properties": {
                "deny": count("Those that would refuse the object."),
                "warn": count("Those that would warn its author."),
                "audit": count("Those that would only be noted."),
            },
        })
    };
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "What became of the policy.",
        "properties": {
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "The generation of the policy that the status is about.",
            },
            "inForce": {
                "type": "object",
                "description": "The last version of the spec that could be kept to. It is in force, also when the spec itself is not.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
            "audit": {
                "type": "object",
                "description": "What is wrong with the objects that there are already and that the policy selects, as if they were written anew.",
                "properties": {
                    "lastRun": {
                        "type": "string",
                        "format": "date-time",
                        "description": "When all objects were last looked at.",
                    },
                    "objects": count("How many objects the policy selects, without clusters that a job or a service has made."),
                    "refused": count("How many of them would be refused."),
                    "findings": findings("How many findings there are in all of them."),
                    "worst": {
                        "type": "array",
                        "description": "Those with the most findings, ten at most, the worst first.",
                        "items": {
                            "type": "object",
                            "properties": {
                                "kind": text("Such as `RayCluster`."),
                                "namespace": text("Where it lives."),
                                "name": text("What it is called."),
                                "findings": findings("How many findings there are."),
                                "codes": {
                                    "type": "array",
                                    "description": "Of which rules.",
                                    "items": {"type": "string"},
                                },
                            },
                        },
                    },
                },
            },
            "conditions": {
                "type": "array",
                "description": "`Ready` is true when the policy can be kept to. If it is not, the last version of it that could be stays in force.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": text("`Ready`."),
                        "status": text("`True` or `False`."),
                        "reason": text("`Valid` or `Invalid`."),
                        "message": text("Everything that is wrong with the policy, each with its place."),
                        "lastTransitionTime": {
                            "type": "string",
                            "format": "date-time",
                            "description": "Since when the status is as it is.",
                        },
                        "observedGeneration": {
                            "type": "integer",
                            "format": "int64",
                            "description": "The generation of the policy that the condition is about.",
                        },
                    },
                },
            },
        },
    })
}
