//! The Secret that all replicas share. Whoever writes first wins; the others read what was written.

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use crate::changes::changes;
use crate::rotation::State;

/// The version of what we write. A replica that meets another one leaves it alone.
const FORMAT: u32 = 1;
const STATE: &str = "state.json";

/// Where the Secret is.
#[derive(Clone, Debug)]
pub struct Store {
    api: Api<Secret>,
    metadata: Api<PartialObjectMeta<Secret>>,
    namespace: String,
    name: String,
}

/// The state and the version at which it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What the Secret holds.
    pub state: State,
    version: Option<String>,
}

/// What goes wrong with the Secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server did not let us read it.
    #[error("read Secret {secret}: {source}")]
    Read {
        /// Namespace and name.
        secret: String,
        /// Why.
        source: kube::Error,
    },
    /// The API server did not let us write it.
    #[error("write Secret {secret}: {source}")]
    Write {
        /// Namespace and name.
        secret: String,
        /// Why.
        source: kube::Error,
    },
    /// It holds something that we did not write.
    #[error(
        "Secret {secret} does not hold our certificates ({reason}): delete it to start anew, or name another one"
    )]
    Foreign {
        /// Namespace and name.
        secret: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Store {
    /// The Secret of this name.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        let metadata = Api::namespaced(client, namespace);
        Self {
            api,
            metadata,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// What it holds now; nothing when there is none.
    pub async fn read(&self) -> Result<Option<Stored>, StoreError> {
        let secret = self.api.get_opt(&self.name).await;
        let secret = secret.map_err(|source| StoreError::Read {
            secret: self.to_string(),
            source,
        })?;
        secret.map(|secret| self.parse(secret)).transpose()
    }

    /// Writes `state` unless somebody has written since `stored` was read. Says whether it did.
    pub async fn write(&self, stored: Option<&Stored>, state: &State) -> Result<bool, StoreError> {
        let secret = self.render(state, stored.and_then(|stored| stored.version.clone()));
        let written = match stored {
            None => self.api.create(&PostParams::default(), &secret).await,
            Some(_) => {
                self.api
                    .replace(&self.name, &PostParams::default(), &secret)
                    .await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Somebody else created, changed or deleted it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(source) => Err(StoreError::Write {
                secret: self.to_string(),
                source,
            }),
        }
    }

    /// Something for each time it changes.
    pub(crate) fn changes(&self) -> BoxStream<'static, ()> {
        changes(self.metadata.clone(), &self.name)
    }

    fn parse(&self, secret: Secret) -> Result<Stored, StoreError> {
        let foreign = |reason: String| StoreError::Foreign {
            secret: self.to_string(),
            reason,
        };
        let ByteString(json) = secret
            .data
            .and_then(|mut data| data.remove(STATE))
            .ok_or_else(|| foreign(format!("it has no {STATE}")))?;
        let file: File = serde_json::from_slice(&json).map_err(|error| foreign(error.to_string()))?;
        if file.format != FORMAT {
            return Err(foreign(format!("format {} instead of {FORMAT}", file.format)));
        }
        Ok(Stored {
            state: file.state,
            version: secret.metadata.resource_version,
        })
    }

    fn render(&self, state: &State, resource_version: Option<String>) -> Secret {
        let json = serde_json::to_vec(&File {
            format: FORMAT,
            state: state.clone(),
        });
        let json = json.expect("names and PEM are valid JSON");
        // `ca.crt` is for people and tools; we only read the state.
        let bundle = state.bundle().to_pem().into_bytes();
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version,
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/name".to_owned(),
                    "rayward".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([
                (STATE.to_owned(), ByteString(json)),
                ("ca.crt".to_owned(), ByteString(bundle)),
            ])),
            ..Secret::default()
        }
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    #[serde(flatten)]
    state: State,
}
