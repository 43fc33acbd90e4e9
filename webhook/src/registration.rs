//! Our own webhook configurations: what `manifests/base/webhooks.yaml` says, with the address at which the API server reaches us, and
//! with what is to happen while it does not.
//!
//! Several replicas register the same and so never disagree. During an upgrade two versions run side by side: the one that started
//! last has its way, and the other one keeps its hands off, but for the certificate authorities, until it is the only one left.

use std::borrow::Cow;
use std::time::Duration;

use certs::webhooks::{BundleOnly, Kind, Registration, Wish};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The one name of both configurations.
pub const NAME: &str = "rayward";
const MANIFEST: &str = include_str!("../../manifests/base/webhooks.yaml");
/// Where the manifest says we are.
const NAMESPACE: &str = "rayward-system";
const MANAGER: &str = "rayward-webhook";
/// Who registered what we find there.
const REGISTERED: &str = "rayward.dev/registered";
/// How long we put up with another version's registration. An upgrade is over by then; if it is not, the configuration changes hands
/// once in this time, which harms nobody.
const PATIENCE: Duration = Duration::from_mins(10);

/// Where the API server finds us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Through a Service.
    Service {
        /// Of the Service.
        namespace: String,
        /// Of the Service.
        name: String,
    },
    /// At a URL: `https://` and a host, perhaps with a port.
    Url(String),
}

/// What the API server does with a write that none of us is there to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum FailurePolicy {
    /// It refuses the write.
    Fail,
    /// It goes on without us.
    Ignore,
}

/// For which writes there is a choice.
#[derive(Clone, Copy, Debug)]
pub struct FailurePolicies {
    /// Ray's objects that are to be validated.
    pub ray: FailurePolicy,
    /// Pods that take TPUs.
    pub tpu: FailurePolicy,
}

/// Registers the webhooks and repairs what others change.
#[derive(Debug)]
pub struct Registrar {
    documents: Vec<(Kind, Value)>,
    fingerprint: String,
    /// For each kind, whether our registration has been seen, and since when another one is.
    seen: [Seen; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    ours: bool,
    other_since: Option<Timestamp>,
}

impl Registrar {
    /// The registration of a webhook at `address`.
    pub fn new(address: &Address, failure: FailurePolicies) -> Self {
        // What names our namespace there means wherever we are: nobody must need us to start us.
        let manifest = match address {
            Address::Service { namespace, .. } => MANIFEST.replace(NAMESPACE, namespace).into(),
            Address::Url(_) => Cow::Borrowed(MANIFEST),
        };
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifest).expect("the manifest was parsed by the tests");
        let mut documents: Vec<(Kind, Value)> = documents.into_iter().map(|it| (kind(&it), it)).collect();
        for (_, document) in &mut documents {
            address_webhooks(document, address);
            set_failure_policies(document, failure);
        }
        let fingerprint = fingerprint(&json!(documents.iter().map(|(_, it)| it).collect::<Vec<_>>()));
        for (_, document) in &mut documents {
            document["metadata"]["annotations"][REGISTERED] = json!(fingerprint);
        }
        Self {
            documents,
            fingerprint,
            seen: <[Seen; 2]>::default(),
        }
    }

    /// Whether it is for us to say what the configuration is, given who registered what is there.
    fn ours(&mut self, kind: Kind, registered: Option<&str>, now: Timestamp) -> bool {
        let seen = &mut self.seen[kind as usize];
        match registered {
            Some(other) if other != self.fingerprint && seen.ours => {
                let since = *seen.other_since.get_or_insert(now);
                now >= since + PATIENCE
            }
            Some(other) if other != self.fingerprint => true,
            _ => {
                *seen = Seen {
                    ours: seen.ours || registered.is_some(),
                    other_since: None,
                };
                true
            }
        }
    }
}

impl Registration for Registrar {
    fn wish(&mut self, kind: Kind, live: Option<&Value>, now: Timestamp) -> Option<Wish> {
        let registered = live.and_then(|live| live["metadata"]["annotations"][REGISTERED].as_str());
        if !self.ours(kind, registered, now) {
            return BundleOnly.wish(kind, live, now);
        }
        let (_, document) = self.documents.iter().find(|(of, _)| *of == kind)?;
        Some(Wish {
            manager: MANAGER,
            document: document.clone(),
        })
    }
}

fn kind(document: &Value) -> Kind {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| document["kind"] == kind.as_str());
    kind.expect("the manifest holds webhook configurations only")
}

fn address_webhooks(document: &mut Value, address: &Address) {
    for webhook in document["webhooks"].as_array_mut().into_iter().flatten() {
        let service = &mut webhook["clientConfig"]["service"];
        match address {
            Address::Service { name, .. } => service["name"] = json!(name),
            Address::Url(base) => {
                let url = format!(
                    "{}{}",
                    base.trim_end_matches('/'),
                    service["path"].as_str().unwrap_or_default()
                );
                webhook["clientConfig"] = json!({"url": url});
            }
        }
    }
}

fn set_failure_policies(document: &mut Value, failure: FailurePolicies) {
    for webhook in document["webhooks"].as_array_mut().into_iter().flatten() {
        let policy = match webhook["name"].as_str() {
            Some("validate-ray.rayward.dev") => failure.ray,
            Some("mutate-tpu-pod.rayward.dev" | "validate-tpu-pod.rayward.dev") => failure.tpu,
            _ => continue,
        };
        webhook["failurePolicy"] = json!(format!("{policy:?}"));
    }
}

/// All it has to do is to differ where the documents differ, in any build of any version.
fn fingerprint(document: &Value) -> String {
    let hash = ray::hash::fnv1a(document.to_string().bytes());
    format!("{}-{hash:016x}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
