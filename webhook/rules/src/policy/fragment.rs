//! Values of Kubernetes' own types, kept as they were written: what Kubernetes of tomorrow may say is handed on by us of today.

use std::borrow::Cow;

use ray::path::Pointer;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::read::Problem;

/// An object of one of Kubernetes' own types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fragment(pub Map<String, Value>);

impl Fragment {
    /// What is wrong with it, if it is to be a `T`.
    pub(super) fn problems<T: DeserializeOwned + Serialize>(&self, at: &Pointer) -> Vec<Problem> {
        let json = Value::Object(self.0.clone());
        let read: Result<T, _> = serde_path_to_error::deserialize(&json);
        match read {
            Err(error) => {
                let hint = "write it as in a Pod; `kubectl explain pod.spec` shows every field";
                vec![Problem::new(at.clone(), error.to_string(), hint)]
            }
            Ok(read) => {
                let known = serde_json::to_value(read).expect("it was JSON before");
                let mut unknown = Vec::new();
                list_unknown(&json, &known, at, &mut unknown);
                let problem =
                    |place| Problem::new(place, "there is no such field", "see how Kubernetes spells it");
                unknown.into_iter().map(problem).collect()
            }
        }
    }
}

impl JsonSchema for Fragment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Fragment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// The places of what was written and is lost when it is read.
fn list_unknown(written: &Value, known: &Value, at: &Pointer, unknown: &mut Vec<Pointer>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let place = at.key(key.clone());
                match known.get(key) {
                    Some(known) => list_unknown(value, known, &place, unknown),
                    None => unknown.push(place),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                list_unknown(written, known, &at.index(index), unknown);
            }
        }
        _ => {}
    }
}
