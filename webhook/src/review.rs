//! The envelope of admission: `AdmissionReview` of `admission.k8s.io/v1`, in and out.
//!
//! Our own, because it is small and the one in `kube_core::admission` writes the patch as a list of numbers where the API server
//! expects base64.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rules::{Action, Finding, Operation, TOLD_MAX, Verdict};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// The API server drops warnings beyond this many bytes in all, so the rest is told in one line.
const WARNING_BYTES_MAX: usize = 4096;
/// Numbers, strings, lists and so on of a review in all. Large clusters have a few thousand, and twice that in an update; each costs
/// hundreds of bytes while it is looked at, whatever it took to send.
pub(crate) const VALUES_MAX: usize = 100_000;

/// What the API server asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Goes back with the answer.
    pub uid: String,
    /// What the object is.
    pub kind: GroupVersionKind,
    /// Set when only a part of the object is written, such as its status.
    #[serde(default)]
    pub sub_resource: String,
    /// Empty when the API server is still to make one up.
    #[serde(default)]
    pub name: String,
    /// Where the object lives.
    #[serde(default)]
    pub namespace: String,
    /// What happens to it.
    #[serde(deserialize_with = "operation")]
    pub operation: Operation,
    /// Who does it.
    #[serde(default)]
    pub user_info: UserInfo,
    /// As it is to become, but for who wrote which of its fields; `null` when it is deleted.
    #[serde(default, deserialize_with = "object")]
    pub object: Value,
    /// As it is, likewise; `null` when it is new.
    #[serde(default, deserialize_with = "object")]
    pub old_object: Value,
    /// Whether nothing is to be stored in the end. We store nothing anyway.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an object is.
#[derive(Debug, Default, Deserialize)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Such as `v1`.
    #[serde(default)]
    pub version: String,
    /// Such as `RayCluster`.
    #[serde(default)]
    pub kind: String,
}

/// Who writes.
#[derive(Debug, Default, Deserialize)]
pub struct UserInfo {
    /// Such as `system:serviceaccount:kuberay:kuberay-operator`.
    #[serde(default)]
    pub username: String,
    /// Such as `system:authenticated`.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Why a review cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or a field is missing or mistyped.
    #[error("read the AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else than what we answer.
    #[error("read the AdmissionReview: expected {KIND} of {API_VERSION}, found {kind:?} of {api_version:?}")]
    Version {
        /// What it says it is,
        api_version: String,
        /// and of which version.
        kind: String,
    },
    /// Many small values, which take more memory than there is.
    #[error("read the AdmissionReview: it has more than {VALUES_MAX} values")]
    TooMany,
    /// An answer was sent to us.
    #[error("read the AdmissionReview: it has no request")]
    NoRequest,
}

impl Review {
    /// Reads what the API server sent.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
            request: Option<Review>,
        }
        // None takes less than two bytes.
        if body.len() / 2 > VALUES_MAX && values(body) > VALUES_MAX {
            return Err(Malformed::TooMany);
        }
        let Envelope {
            api_version,
            kind,
            request,
        } = serde_json::from_slice(body)?;
        if (api_version.as_str(), kind.as_str()) != (API_VERSION, KIND) {
            return Err(Malformed::Version { api_version, kind });
        }
        request.ok_or(Malformed::NoRequest)
    }

    /// The object before the write, if there was one.
    pub fn old(&self) -> Option<&Value> {
        Some(&self.old_object).filter(|old| !old.is_null())
    }
}

/// How many values there are in JSON, without reading it: each but the outermost stands behind one of these marks.
fn values(json: &[u8]) -> usize {
    let (mut in_string, mut escaped, mut values) = (false, false, 1);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

/// A third of a small object is `managedFields`, which no rule looks at: many maps of a few keys each, the dearest there is to read.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Without(&["metadata", "managedFields"]).deserialize(deserializer)
}

/// Reads an object, and passes over the field at this path.
struct Without(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let (&here, within) = self.0.split_first().expect("a path has steps");
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = if key != here {
                fields.next_value()?
            } else if within.is_empty() {
                fields.next_value::<IgnoredAny>()?;
                continue;
            } else {
                fields.next_value_seed(Without(within))?
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

fn operation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Operation, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "CREATE" => Ok(Operation::Create),
        "UPDATE" => Ok(Operation::Update),
        "DELETE" => Ok(Operation::Delete),
        "CONNECT" => Ok(Operation::Connect),
        other => Err(serde::de::Error::custom(format!("`{other}` is no operation"))),
    }
}

/// What we answer.
#[derive(Debug)]
pub struct Answer {
    /// Whether the write may happen.
    pub allowed: bool,
    /// Why not.
    pub message: Option<String>,
    /// What was found, with what came of it.
    pub findings: Vec<Finding>,
    /// For the eyes of whoever writes.
    pub warnings: Vec<String>,
    /// For the audit log.
    pub audit: BTreeMap<String, String>,
    /// What changes; empty when nothing does.
    pub patch: json_patch::Patch,
}

impl Answer {
    /// Nothing to say and nothing to change.
    pub fn allowed() -> Self {
        Self {
            allowed: true,
            message: None,
            findings: Vec::new(),
            warnings: Vec::new(),
            audit: BTreeMap::new(),
            patch: json_patch::Patch(Vec::new()),
        }
    }

    /// Writes the answer to the review with this `uid`.
    pub fn encode(&self, uid: &str) -> Vec<u8> {
        let patch = (!self.patch.0.is_empty())
            .then(|| STANDARD.encode(serde_json::to_vec(&self.patch).expect("a patch is JSON")));
        let envelope = Envelope {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid,
                allowed: self.allowed,
                status: self.message.as_deref().map(|message| Status {
                    code: 403,
                    reason: "Forbidden",
                    message,
                    details: Details {
                        causes: self.denials().take(TOLD_MAX).map(Cause::from).collect(),
                    },
                }),
                // The API server refuses a patch type without a patch.
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch,
                warnings: header_safe(&self.warnings),
                audit_annotations: &self.audit,
            },
        };
        serde_json::to_vec(&envelope).expect("maps have string keys")
    }

    fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.action == Action::Deny)
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        Self {
            allowed: verdict.allowed,
            message: verdict.message,
            findings: verdict.findings,
            warnings: verdict.warnings,
            audit: verdict.audit,
            ..Self::allowed()
        }
    }
}

/// Warnings travel in an HTTP header: one line each, no control characters, and only so much of them.
fn header_safe(warnings: &[String]) -> Vec<String> {
    let mut bytes = 0;
    let mut told: Vec<String> = Vec::new();
    for warning in warnings {
        let line: String = warning
            .chars()
            .map(|char| if char.is_control() { ' ' } else { char })
            .collect();
        bytes += line.len();
        if bytes > WARNING_BYTES_MAX - 64 {
            told.push(format!("and {} more", warnings.len() - told.len()));
            break;
        }
        told.push(line);
    }
    told
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
    details: Details,
}

#[derive(Serialize)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: rules::Code,
    field: String,
    message: String,
}

impl From<&Finding> for Cause {
    fn from(finding: &Finding) -> Self {
        Self {
            reason: finding.code.clone(),
            field: finding.path.field().to_string(),
            message: format!("{} ({})", finding.problem, finding.hint),
        }
    }
}

#[cfg(test)]
mod tests;
