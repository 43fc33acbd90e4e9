//! The definitions of our own kinds, and what they have in common. Their schemas are those of the Rust types; a test keeps the manifests up
//! to date, and `rayward-webhook crd` writes them.

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use kube::core::schema::StructuralSchemaRewriter;
use ray::scaling_policy::GROUP;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{output, policy, scaling_policy};

/// A kind of our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OwnKind {
    /// `RayAdmissionPolicy`
    #[default]
    Rayadmissionpolicies,
    /// `RayScalingPolicy`
    Rayscalingpolicies,
}

/// Prints the manifest of a kind.
pub fn print(kind: OwnKind) -> anyhow::Result<ExitCode> {
    output::print(&manifest(kind)?)?;
    Ok(ExitCode::SUCCESS)
}

fn manifest(kind: OwnKind) -> anyhow::Result<String> {
    let (definition, arguments) = match kind {
        OwnKind::Rayadmissionpolicies => (policy::definition::definition(), ""),
        OwnKind::Rayscalingpolicies => (scaling_policy::definition(), " rayscalingpolicies"),
    };
    let yaml = serde_saphyr::to_string(&definition).context("write YAML")?;
    Ok(format!("# Written by `rayward-webhook crd{arguments}`.\n{yaml}"))
}

/// What tells our kinds apart; the rest is the same for all.
pub(crate) struct Definition {
    pub(crate) kind: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short: &'static str,
    pub(crate) scope: &'static str,
    /// Which of our programs it is for.
    pub(crate) component: &'static str,
    pub(crate) columns: Vec<Value>,
    /// The subresource `scale`, where it has one.
    pub(crate) scale: Option<Value>,
    pub(crate) description: &'static str,
    pub(crate) spec: Value,
    pub(crate) status: Value,
}

impl Definition {
    pub(crate) fn manifest(self) -> Value {
        let Self { kind, plural, .. } = self;
        let mut subresources = json!({"status": {}});
        if let Some(scale) = self.scale {
            subresources["scale"] = scale;
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{GROUP}"),
                "labels": {"app.kubernetes.io/name": "rayward", "app.kubernetes.io/component": self.component},
            },
            "spec": {
                "group": GROUP,
                "scope": self.scope,
                "names": {
                    "kind": kind,
                    "listKind": format!("{kind}List"),
                    "plural": plural,
                    "singular": self.singular,
                    "shortNames": [self.short],
                    "categories": ["rayward"],
                },
                "versions": [{
                    "name": self.version,
                    "served": true,
                    "storage": true,
                    "subresources": subresources,
                    "additionalPrinterColumns": self.columns,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "description": self.description,
                        "required": ["spec"],
                        "properties": {"spec": self.spec, "status": self.status},
                    }},
                }],
            },
        })
    }
}

/// A column of `kubectl get`.
pub(crate) fn column(name: &str, of_type: &str, path: &str) -> Value {
    json!({"name": name, "type": of_type, "jsonPath": path})
}

/// The schema of a type.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.with_transform(StructuralSchemaRewriter).into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ray::scaling_policy::ScalingPolicySpec;
    use rules::policy::PolicySpec;

    use super::*;

    #[test]
    fn the_manifests_are_what_the_types_say() {
        let written = [
            (
                OwnKind::Rayadmissionpolicies,
                include_str!("../../manifests/base/rayadmissionpolicies.yaml"),
            ),
            (
                OwnKind::Rayscalingpolicies,
                include_str!("../../manifests/base/rayscalingpolicies.yaml"),
            ),
        ];
        for (kind, written) in written {
            assert_eq!(
                manifest(kind).expect("YAML"),
                written,
                "write it anew with the command in its first line"
            );
        }
    }

    /// `kubectl explain` has something to say about every field, and the API server takes the schemas for structural ones.
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
        for definition in [policy::definition::definition(), scaling_policy::definition()] {
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            look(schema, "");
        }
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
        look(&schema::<PolicySpec>(), "spec", &known, &mut missing);
        look(&schema::<ScalingPolicySpec>(), "spec", &known, &mut missing);
        assert!(missing.is_empty(), "no guide in docs/guides shows {missing:#?}");
    }
}
