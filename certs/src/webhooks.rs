//! The webhook configurations as the API server has them: read back, and applied where they do not say what we want.
//!
//! What we want them to say is up to the caller, a [`Wish`] for each; here it only gets its `caBundle`. An apply carries the
//! resource version that was read before the state it is made of, so a replica that lags behind cannot undo what another one wrote.

use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use crate::certificate::Bundle;
use crate::changes::changes;

/// The two kinds of webhook configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `MutatingWebhookConfiguration`
    Mutating,
    /// `ValidatingWebhookConfiguration`
    Validating,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mutating, Self::Validating];

    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }
}

/// What one configuration should say: a server-side apply without the `caBundle`s.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The field manager that owns what is applied.
    pub manager: &'static str,
    /// What is applied.
    pub document: Value,
}

/// Says what the configurations should say, given what they say.
pub trait Registration: Send {
    /// What `live` should become; nothing when it is to be left alone.
    fn wish(&mut self, kind: Kind, live: Option<&Value>, now: Timestamp) -> Option<Wish>;
}

/// Publishes the authorities in configurations that somebody else installed, and touches nothing else.
#[derive(Clone, Copy, Debug)]
pub struct BundleOnly;

impl Registration for BundleOnly {
    /// Every webhook of the configuration gets its bundle; a configuration that is not there is not made.
    fn wish(&mut self, kind: Kind, live: Option<&Value>, _: Timestamp) -> Option<Wish> {
        let live = live?;
        let names = webhooks(live).map(|webhook| json!({"name": webhook["name"], "clientConfig": {}}));
        let document = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind.as_str(),
            "metadata": {"name": live["metadata"]["name"]},
            "webhooks": names.collect::<Vec<_>>(),
        });
        Some(Wish {
            manager: "rayward-certs",
            document,
        })
    }
}

/// The two configurations of one name.
#[derive(Clone)]
pub struct Configurations {
    client: Client,
    name: String,
}

/// A configuration as it was read, and what it should say.
#[derive(Debug)]
pub struct Observation {
    kind: Kind,
    live: Option<Value>,
    wish: Option<Wish>,
}

/// What goes wrong with the configurations.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {} {name}: {source}", kind.as_str())]
pub struct ConfigurationError {
    doing: &'static str,
    kind: Kind,
    name: String,
    source: kube::Error,
}

impl Configurations {
    /// The configurations called `name`.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
        }
    }

    /// Reads both.
    pub async fn read(
        &self,
        registration: &mut dyn Registration,
        now: Timestamp,
    ) -> Result<Vec<Observation>, ConfigurationError> {
        let mut observations = Vec::new();
        for kind in Kind::ALL {
            let read = self.api(kind).get_opt(&self.name).await;
            let live = read
                .map_err(|source| self.failed("read", kind, source))?
                .as_ref()
                .map(to_value);
            let wish = registration.wish(kind, live.as_ref(), now);
            observations.push(Observation { kind, live, wish });
        }
        Ok(observations)
    }

    /// Applies what is wished with `bundle` in it, unless it is so already. Returns the kinds that were changed.
    ///
    /// Where somebody else was faster nothing is done: the next reading shows what they wrote.
    pub async fn apply(
        &self,
        observations: &[Observation],
        bundle: Option<&Bundle>,
    ) -> Result<Vec<Kind>, ConfigurationError> {
        let mut changed = Vec::new();
        for Observation { kind, live, wish } in observations {
            let Some(wish) = wish else { continue };
            let document = complete(wish.document.clone(), live.as_ref(), bundle);
            if live.as_ref().is_some_and(|live| covers(live, &document)) {
                continue;
            }
            let apply = PatchParams::apply(wish.manager).force();
            match self
                .api(*kind)
                .patch(&self.name, &apply, &Patch::Apply(&document))
                .await
            {
                // An apply that changes nothing leaves the version as it was.
                Ok(now)
                    if live
                        .as_ref()
                        .is_some_and(|live| version(live) == version(&to_value(&now))) => {}
                Ok(_) => changed.push(*kind),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(source) => return Err(self.failed("apply", *kind, source)),
            }
        }
        Ok(changed)
    }

    /// The name of both.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something for each time one of them changes.
    pub(crate) fn changes(&self) -> BoxStream<'static, ()> {
        let mutating = Api::<PartialObjectMeta<MutatingWebhookConfiguration>>::all(self.client.clone());
        let validating = Api::<PartialObjectMeta<ValidatingWebhookConfiguration>>::all(self.client.clone());
        stream::select(changes(mutating, &self.name), changes(validating, &self.name)).boxed()
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = match kind {
            Kind::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Kind::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        };
        Api::all_with(self.client.clone(), &resource)
    }

    fn failed(&self, doing: &'static str, kind: Kind, source: kube::Error) -> ConfigurationError {
        ConfigurationError {
            doing,
            kind,
            name: self.name.clone(),
            source,
        }
    }
}

impl Observation {
    /// The bundles of the webhooks that are ours; an empty one for a webhook that has none.
    pub fn bundles(&self) -> Vec<Bundle> {
        let Some(live) = &self.live else { return Vec::new() };
        let ours: Vec<&Value> = match &self.wish {
            Some(wish) => webhooks(&wish.document).map(|webhook| &webhook["name"]).collect(),
            None => webhooks(live).map(|webhook| &webhook["name"]).collect(),
        };
        let ours = webhooks(live).filter(|webhook| ours.contains(&&webhook["name"]));
        ours.map(|webhook| serde_json::from_value(webhook["clientConfig"]["caBundle"].clone()))
            .map(|bundle| {
                bundle
                    .map(|ByteString(pem)| Bundle::from_pem(&pem))
                    .unwrap_or_default()
            })
            .collect()
    }
}

/// The wish with what only we know: the bundle, and the version that it is meant for.
fn complete(mut document: Value, live: Option<&Value>, bundle: Option<&Bundle>) -> Value {
    if let Some(bundle) = bundle {
        let pem = json!(ByteString(bundle.to_pem().into_bytes()));
        for webhook in document["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["clientConfig"]["caBundle"] = pem.clone();
        }
    }
    if let Some(live) = live {
        document["metadata"]["resourceVersion"] = version(live).clone();
    }
    document
}

/// Whether `live` says all that `wish` says. Lists of named things are compared by name, other lists as a whole.
fn covers(live: &Value, wish: &Value) -> bool {
    match (live, wish) {
        (Value::Object(live), Value::Object(wish)) => wish
            .iter()
            .all(|(key, wish)| live.get(key).is_some_and(|live| covers(live, wish))),
        (Value::Array(live), Value::Array(wish)) => match named(wish) {
            Some(wish) => wish.iter().all(|(name, wish)| {
                live.iter()
                    .any(|live| live["name"].as_str() == Some(name) && covers(live, wish))
            }),
            None => live.len() == wish.len() && live.iter().zip(wish).all(|(live, wish)| covers(live, wish)),
        },
        _ => live == wish,
    }
}

fn named(list: &[Value]) -> Option<Vec<(&str, &Value)>> {
    list.iter()
        .map(|item| Some((item["name"].as_str()?, item)))
        .collect()
}

fn version(configuration: &Value) -> &Value {
    &configuration["metadata"]["resourceVersion"]
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration["webhooks"].as_array().into_iter().flatten()
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_else(|_| Value::Object(Map::new()))
}
