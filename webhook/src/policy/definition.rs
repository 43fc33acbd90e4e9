//! `RayAdmissionPolicy` as a kind in Kubernetes. The schema is that of the Rust types; a test keeps the manifest up to date, and
//! `rayward-webhook crd` writes it.

use std::process::ExitCode;

use anyhow::Context;
use kube::api::{ApiResource, GroupVersionKind};
use kube::core::schema::StructuralSchemaRewriter;
use rules::policy::PolicySpec;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::output;

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

/// Prints the manifest.
pub fn print() -> anyhow::Result<ExitCode> {
    output::print(&manifest()?)?;
    Ok(ExitCode::SUCCESS)
}

fn manifest() -> anyhow::Result<String> {
    let yaml = serde_saphyr::to_string(&definition()).context("write YAML")?;
    Ok(format!("# Written by `rayward-webhook crd`.\n{yaml}"))
}

fn definition() -> Value {
    let column =
        |name: &str, of_type: &str, path: &str| json!({"name": name, "type": of_type, "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "labels": {"app.kubernetes.io/name": "rayward", "app.kubernetes.io/component": "webhook"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": "rayadmissionpolicy",
                "shortNames": ["rap"],
                "categories": ["rayward"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Priority", "integer", ".spec.priority"),
                    column("Refused", "integer", ".status.audit.refused"),
                    column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status"),
                    column("Age", "date", ".metadata.creationTimestamp"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "What a platform team wants of the objects of Ray in this cluster: what happens because of mistakes in them, and what is let \
                                    through nevertheless.",
                    "required": ["spec"],
                    "properties": {"spec": spec(), "status": status()},
                }},
            }],
        },
    })
}

fn spec() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.with_transform(StructuralSchemaRewriter).into_generator();
    let mut schema = generator.into_root_schema_for::<PolicySpec>().to_value();
    tidy(&mut schema);
    schema
}

/// Makes a schema one that an API server takes, and that changes nothing: a value that is filled in by default would pass for one that
/// somebody wanted, and beat those of less important policies.
fn tidy(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.retain(|name, value| match name.as_str() {
        "title" | "default" => false,
        // An API server drops unknown fields, or refuses them if it is asked to; this word it does not take.
        "additionalProperties" => value != false,
        // Kubernetes knows no others.
        "format" => ["int32", "int64", "date-time"].iter().any(|known| value == known),
        _ => true,
    });
    if let Some(Value::String(description)) = fields.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    for within in ["items", "additionalProperties"] {
        fields.get_mut(within).into_iter().for_each(tidy);
    }
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(tidy);
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_manifest_is_what_the_types_say() {
        let written = include_str!("../../../manifests/base/rayadmissionpolicies.yaml");
        assert_eq!(
            manifest().expect("YAML"),
            written,
            "run: cargo run -q -p rayward-webhook -- crd > manifests/base/rayadmissionpolicies.yaml"
        );
    }

    /// `kubectl explain` has something to say about every field, and the API server takes the schema for a structural one.
    #[test]
    fn every_field_is_explained_and_has_a_type() {
        fn look(schema: &Value, at: &str) {
            let has_type = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
            assert!(has_type, "{at} has no type: {schema}");
            for word in ["default", "oneOf", "anyOf", "allOf", "$ref"] {
                assert!(schema.get(word).is_none(), "{at} has {word}: {schema}");
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                assert!(field["description"].is_string(), "{at}.{name} is not explained");
                look(field, &format!("{at}.{name}"));
            }
            for within in ["items", "additionalProperties"] {
                schema
                    .get(within)
                    .into_iter()
                    .for_each(|schema| look(schema, &format!("{at}[]")));
            }
        }
        look(
            &definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
            "",
        );
    }

    /// Each field of a policy stands in a guide, by its name and as code. Several fields share a name: what is new is noticed, not what is
    /// forgotten of two that are called the same.
    #[test]
    fn every_field_is_in_a_guide() {
        fn look(schema: &Value, at: &str, known: &HashSet<&str>, missing: &mut Vec<String>) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let at = format!("{at}.{name}");
                if !known.contains(name.as_str()) {
                    missing.push(at.clone());
                }
                look(field, &at, known, missing);
            }
            for within in ["items", "additionalProperties"] {
                schema
                    .get(within)
                    .into_iter()
                    .for_each(|schema| look(schema, &format!("{at}[]"), known, missing));
            }
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides");
        let guides: Vec<String> = std::fs::read_dir(folder)
            .expect("the guides")
            .map(|file| std::fs::read_to_string(file.expect("a guide").path()).expect("a guide"))
            .collect();
        // Every other piece between backticks is code, a block as well as a word.
        let code = guides
            .iter()
            .flat_map(|guide| guide.split('`').skip(1).step_by(2));
        let known = code
            .flat_map(|code| code.split(|character: char| !character.is_alphanumeric()))
            .collect();
        let mut missing = Vec::new();
        look(&spec(), "spec", &known, &mut missing);
        assert!(missing.is_empty(), "no guide in docs/guides shows {missing:#?}");
    }
}
