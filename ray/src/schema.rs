//! How an object differs from the schema of its kind besides types: fields that the schema does not have, and fields that it cannot
//! do without. Ray's own fields are those that the readers here ask for; Kubernetes' own types tell theirs when they are read.
//! Nothing of this is looked for unless somebody asks: an API server has seen to it long before a webhook does.

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Error, Value};

use crate::object::{Kind, Object};
use crate::path::Pointer;
use crate::quantity::Quantity;
use crate::read::Notes;

/// What an object has that its schema has not, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Fields that no schema has.
    pub unknown: Vec<UnknownField>,
    /// Fields that are not there and must be. Only those of Kubernetes' own types.
    pub missing: Vec<Pointer>,
    /// Quantities that are none: texts that nobody can read, and broken numbers without quotes. Only those of Kubernetes' own types.
    pub malformed: Vec<Pointer>,
}

/// A field that no schema has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The field.
    pub path: Pointer,
    /// The field that was perhaps meant.
    pub meant: Option<&'static str>,
}

/// What an object has that the schema of its kind has not, and the other way round.
pub fn differences(kind: Kind, object: &Value) -> Differences {
    let notes = Notes {
        differences: Some(RefCell::default()),
        ..Notes::default()
    };
    Object::read_into(kind, object, &notes);
    notes.differences.map(RefCell::into_inner).unwrap_or_default()
}

/// Notes how a value that can be read as a `T` differs from it.
pub(crate) fn compare<T: DeserializeOwned>(value: &Value, path: Pointer, found: &RefCell<Differences>) {
    let typed = Typed { value, path, found };
    // What cannot be read has been told already, and left out.
    let _ = Option::<T>::deserialize(typed);
}

/// Of the metadata of templates, custom resources keep only these.
const METADATA: &[&str] = &["annotations", "finalizers", "labels", "name", "namespace"];

/// What the types that occur in pods and services cannot do without, as the schema has it (Kubernetes `api/core/v1/types.go`).
fn required(of_type: &str) -> &'static [&'static str] {
    match of_type {
        "Container" | "EnvVar" | "EphemeralContainer" | "PodResourceClaim" | "PodSchedulingGate"
        | "Volume" => &["name"],
        "ConfigMapKeySelector" | "SecretKeySelector" => &["key"],
        "ContainerPort" => &["containerPort"],
        "CSIVolumeSource" => &["driver"],
        "DownwardAPIVolumeFile" | "HostPathVolumeSource" | "ServiceAccountTokenProjection" => &["path"],
        "FileKeySelector" => &["key", "path", "volumeName"],
        "GRPCAction" | "HTTPGetAction" | "ServicePort" | "TCPSocketAction" => &["port"],
        "HostAlias" => &["ip"],
        "HTTPHeader" => &["name", "value"],
        "IPBlock" => &["cidr"],
        "KeyToPath" => &["key", "path"],
        "LabelSelectorRequirement" | "NodeSelectorRequirement" => &["key", "operator"],
        "NFSVolumeSource" => &["path", "server"],
        "NodeSelector" => &["nodeSelectorTerms"],
        "ObjectFieldSelector" => &["fieldPath"],
        "PersistentVolumeClaimTemplate" => &["spec"],
        "PersistentVolumeClaimVolumeSource" => &["claimName"],
        "PodAffinityTerm" => &["topologyKey"],
        "PreferredSchedulingTerm" => &["preference", "weight"],
        "ResourceFieldSelector" => &["resource"],
        "SeccompProfile" => &["type"],
        "TopologySpreadConstraint" => &["maxSkew", "topologyKey", "whenUnsatisfiable"],
        "VolumeMount" => &["mountPath", "name"],
        "WeightedPodAffinityTerm" => &["podAffinityTerm", "weight"],
        _ => &[],
    }
}

impl UnknownField {
    /// The field `name` at `path`, where only `known` ones may be.
    pub(crate) fn among(path: Pointer, name: &str, known: impl Iterator<Item = &'static str>) -> Self {
        Self {
            path,
            meant: meant(name, known),
        }
    }
}

/// Which of the `known` words somebody perhaps meant who wrote `name`.
pub fn meant<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let written = name.to_lowercase();
    let typing_errors = |known: &str| strsim::damerau_levenshtein(&written, &known.to_lowercase());
    let nearest = known
        .into_iter()
        .filter(|known| name.len() <= 2 * known.len())
        .map(|known| (typing_errors(known), known))
        .min();
    let (_, nearest) = nearest
        .filter(|(errors, known)| *errors <= name.len() / 3 || known.to_lowercase().starts_with(&written))?;
    Some(nearest)
}

/// Whether a custom resource can have this for a quantity: a text, or a whole number.
fn is_quantity(value: &Value) -> bool {
    match value {
        Value::String(text) => text.parse::<Quantity>().is_ok(),
        _ => value.is_i64() || value.is_u64(),
    }
}

/// A value that is handed to a type for reading, which tells what fields it has when it asks for them.
#[derive(Clone)]
struct Typed<'de, 'f> {
    value: &'de Value,
    path: Pointer,
    found: &'f RefCell<Differences>,
}

impl Typed<'_, '_> {
    fn note(&self, of_type: &str, fields: &'static [&'static str]) {
        let known = if of_type == "ObjectMeta" { METADATA } else { fields };
        let mut found = self.found.borrow_mut();
        let unknown = self.value.as_object().into_iter().flatten();
        found.unknown.extend(
            unknown
                .map(|(name, _)| name)
                .filter(|name| !known.contains(&name.as_str()))
                .map(|name| UnknownField::among(self.path.key(name.clone()), name, known.iter().copied())),
        );
        let missing = required(of_type)
            .iter()
            .filter(|field| self.value[**field].is_null());
        found.missing.extend(missing.map(|field| self.path.key(*field)));
    }
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(name, fields);
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(fields) = self.value.as_object() else {
            return self.deserialize_any(visitor);
        };
        visitor.visit_map(MapDeserializer::new(fields.iter().map(|(name, value)| {
            let field = Typed {
                value,
                path: self.path.key(name.clone()),
                found: self.found,
            };
            (name.as_str(), field)
        })))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(items) = self.value.as_array() else {
            return self.deserialize_any(visitor);
        };
        visitor.visit_seq(SeqDeserializer::new(items.iter().enumerate().map(
            |(index, value)| Typed {
                value,
                path: self.path.index(index),
                found: self.found,
            },
        )))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == "Quantity" && !is_quantity(self.value) {
            self.found.borrow_mut().malformed.push(self.path.clone());
        }
        self.value.deserialize_newtype_struct(name, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Typed<'de, '_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::differences;
    use crate::fixture::sample;
    use crate::object::{Kind, Object};

    fn told(kind: Kind, object: &Value) -> String {
        let found = differences(kind, object);
        let unknown = found
            .unknown
            .iter()
            .map(|field| format!("{} -> {}", field.path.field(), field.meant.unwrap_or("?")));
        let missing = found
            .missing
            .iter()
            .map(|path| format!("{} is missing", path.field()));
        let malformed = found
            .malformed
            .iter()
            .map(|path| format!("{} is malformed", path.field()));
        unknown
            .chain(missing)
            .chain(malformed)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn rays_own_fields() {
        let object = json!({
            "apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "demo", "label": {}}, "status": {"any": 1},
            "spec": {
                "entrypoint": "true", "sumbitterConfig": {}, "submitterConfig": {"backOffLimits": 1, "x": 1},
                "rayClusterSpec": {
                    "rayversion": "2.60.0", "workerGroups": [], "headGroupSpec": {"rayStartParams": {"any": "1"}, "template": {}},
                    "workerGroupSpecs": [{"groupName": "a", "minReplica": 1, "template": {"metadata": {"labels": {"any": "1"}}}}],
                },
            },
        });
        insta::assert_snapshot!(told(Kind::Job, &object), @r#"
        metadata.label -> labels
        spec.rayClusterSpec.workerGroupSpecs[0].minReplica -> minReplicas
        spec.rayClusterSpec.rayversion -> rayVersion
        spec.rayClusterSpec.workerGroups -> workerGroupSpecs
        spec.submitterConfig.backOffLimits -> backoffLimit
        spec.submitterConfig.x -> ?
        spec.sumbitterConfig -> submitterConfig
        "#);
    }

    #[test]
    fn fields_of_kubernetes_types() {
        let containers = json!([
            {"image": "x", "imagePullPolice": "Always", "env": [{"name": "A", "val": "b"}, {"value": 7}, {"name": "C", "valueFrom": {"secretKeyRef": {"nam": "s"}}}],
             "resources": {"limit": {"cpu": 1}, "requests": {"any.thing/here": "1", "cpu": 0.5}}, "livenessProbe": {"httpGet": {"port": "http", "any": 1}}},
            {"name": "b", "ports": [{"name": "p"}], "securityContext": {"runAsRoot": true}},
        ]);
        let template = json!({
            "metadata": {"labels": {"any": "1"}, "creationTimestamp": null},
            "spec": {"containers": containers, "nodeSelectors": {}, "nodeSelector": {"any": "1"}, "volumes": [{"name": "v", "emptydir": {}}, {"name": "w", "emptyDir": {"sizeLimit": "4GB"}}]},
        });
        let password = json!({"valueFrom": {"secretKeyRef": {"name": "redis"}}, "values": "x"});
        let object = json!({"spec": {
            "gcsFaultToleranceOptions": {"redisPassword": password},
            "headGroupSpec": {"template": template, "headService": {"spec": {"types": "NodePort"}}},
        }});
        insta::assert_snapshot!(told(Kind::Cluster, &object), @"
        spec.gcsFaultToleranceOptions.redisPassword.values -> value
        spec.headGroupSpec.template.metadata.creationTimestamp -> ?
        spec.headGroupSpec.template.spec.nodeSelectors -> nodeSelector
        spec.headGroupSpec.template.spec.containers[0].imagePullPolice -> imagePullPolicy
        spec.headGroupSpec.template.spec.containers[0].env[0].val -> value
        spec.headGroupSpec.template.spec.containers[0].env[2].valueFrom.secretKeyRef.nam -> name
        spec.headGroupSpec.template.spec.containers[0].livenessProbe.httpGet.any -> ?
        spec.headGroupSpec.template.spec.containers[0].resources.limit -> limits
        spec.headGroupSpec.template.spec.containers[1].securityContext.runAsRoot -> runAsGroup
        spec.headGroupSpec.template.spec.volumes[0].emptydir -> emptyDir
        spec.headGroupSpec.headService.spec.types -> type
        spec.gcsFaultToleranceOptions.redisPassword.valueFrom.secretKeyRef.key is missing
        spec.headGroupSpec.template.spec.containers[0].name is missing
        spec.headGroupSpec.template.spec.containers[0].env[1].name is missing
        spec.headGroupSpec.template.spec.containers[0].env[2].valueFrom.secretKeyRef.key is missing
        spec.headGroupSpec.template.spec.containers[1].ports[0].containerPort is missing
        spec.headGroupSpec.template.spec.containers[0].resources.requests.cpu is malformed
        spec.headGroupSpec.template.spec.volumes[1].emptyDir.sizeLimit is malformed
        ");
    }

    #[test]
    fn samples_have_nothing_that_schemas_have_not() {
        for kind in Kind::ALL {
            let object = sample(kind, "demo").group("cpu").build();
            assert_eq!(told(kind, &object), "");
            assert!(Object::parse(kind, &object).is_ok());
        }
    }
}
