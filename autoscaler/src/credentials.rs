//! What a head wants to see of those who call its GCS, and where we get it from.
//!
//! What it wants is in the environment of its Ray container, whoever put it there: KubeRay or the author of the cluster. What is needed for that
//! is in Secrets of the cluster's own namespace, which we may read only where somebody has given us the right; without it the cluster is held. A head
//! runs whatever its users like, so it never gets to see a token of ours with which it could ask Kubernetes for more than it may anyway.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod as KubernetesPod, Secret, ServiceAccount, Volume};
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;

/// The service account in the cluster's namespace as whom we call a head that knows Kubernetes' tokens.
const ACCOUNT: &str = "rayward-gcs";
/// Kubernetes gives no token for less.
const TOKEN_SECONDS: i64 = 600;

/// What a head wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    token: Option<Source>,
    tls: Option<Tls<Source>>,
}

/// Where something secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Secret {
        name: String,
        key: String,
    },
    /// For anybody to read who may read the Pod.
    Plain(String),
    /// A file beside us.
    File(PathBuf),
    /// A token of a service account of Kubernetes.
    ServiceAccount,
    /// Nowhere that we could look, and why.
    Nowhere(String),
}

/// What mutual TLS takes, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls<T> {
    pub(crate) certificate: T,
    pub(crate) key: T,
    pub(crate) authority: T,
}

/// All that a head wants to see.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) tls: Option<Tls<String>>,
}

/// Why it cannot be had.
#[derive(Debug, Error)]
pub(crate) enum Missing {
    #[error(
        "the head asks for what is in Secret {name}, which we may not read: give us the Role `rayward-gcs-secrets` in namespace {namespace} \
         (manifests/optional/gcs-secrets.yaml)"
    )]
    SecretRight { namespace: String, name: String },
    #[error(
        "the head asks for a token of Kubernetes, which we may not make: give us the Role `rayward-gcs-account` in namespace {namespace} \
         (manifests/optional/gcs-account.yaml)"
    )]
    AccountRight { namespace: String },
    #[error("the head asks for {key:?} of Secret {namespace}/{name}, which is not there")]
    Key {
        namespace: String,
        name: String,
        key: String,
    },
    #[error("the head asks for a token or a certificate, and {0}")]
    Nowhere(String),
    #[error("read {}: {source}", file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("ask Kubernetes for what the head asks for: {0}")]
    Kubernetes(#[from] Box<kube::Error>),
}

impl Access {
    /// What the Ray container of a head is told, and so tells others.
    pub(crate) fn of(pod: &KubernetesPod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let Some(ray) = spec.containers.first() else {
            return Self::default();
        };
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        Self {
            token: token(ray),
            tls: tls(ray, volumes),
        }
    }

    /// What the head beside us is told: we are told the same, and have the same files.
    pub(crate) fn beside(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is = |name: &str| variable(name).is_some_and(|value| is_true(&value));
        let file = |name: &str| {
            variable(name).map_or_else(
                || Source::Nowhere(format!("{name} is not set")),
                |path| Source::File(path.into()),
            )
        };
        let token = if is("RAY_ENABLE_K8S_TOKEN_AUTH") || variable("RAY_AUTH_TOKEN_PATH").is_some() {
            Some(variable("RAY_AUTH_TOKEN_PATH").map_or_else(
                || Source::File(OUR_TOKEN.into()),
                |path| Source::File(path.into()),
            ))
        } else {
            variable("RAY_AUTH_TOKEN").map(Source::Plain)
        };
        Self {
            token,
            tls: is("RAY_USE_TLS").then(|| Tls {
                certificate: file("RAY_TLS_SERVER_CERT"),
                key: file("RAY_TLS_SERVER_KEY"),
                authority: file("RAY_TLS_CA_CERT"),
            }),
        }
    }

    /// Whether anything has to be shown at all.
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Gets it.
    pub(crate) async fn fetch(&self, client: &Client, namespace: &str) -> Result<Credentials, Missing> {
        let place = Place { client, namespace };
        let token = match &self.token {
            Some(source) => Some(place.fetch(source).await?.trim().to_owned()),
            None => None,
        };
        let tls = match &self.tls {
            Some(tls) => Some(Tls {
                certificate: place.fetch(&tls.certificate).await?,
                key: place.fetch(&tls.key).await?,
                authority: place.fetch(&tls.authority).await?,
            }),
            None => None,
        };
        Ok(Credentials { token, tls })
    }
}

/// Where KubeRay puts the token of the head's own account.
const OUR_TOKEN: &str = "/var/run/secrets/ray.io/serviceaccount/token";

/// Ray turns authentication on by itself when it is told a token (Ray `_private/authentication/authentication_token_setup.py`).
fn token(ray: &Container) -> Option<Source> {
    let mode = plain(ray, "RAY_AUTH_MODE");
    if mode == Some("disabled") {
        return None;
    }
    if plain(ray, "RAY_ENABLE_K8S_TOKEN_AUTH").is_some_and(is_true) {
        return Some(Source::ServiceAccount);
    }
    let Some(variable) = variable(ray, "RAY_AUTH_TOKEN") else {
        let why = "where its token comes from is not in its environment (RAY_AUTH_TOKEN)";
        return (mode == Some("token")).then(|| Source::Nowhere(why.to_owned()));
    };
    if let Some(value) = &variable.value {
        return Some(Source::Plain(value.clone()));
    }
    let from = variable.value_from.as_ref();
    let secret = from.and_then(|from| from.secret_key_ref.as_ref());
    Some(secret.map_or_else(
        || Source::Nowhere("RAY_AUTH_TOKEN does not come from a Secret".to_owned()),
        |secret| Source::Secret {
            name: secret.name.clone(),
            key: secret.key.clone(),
        },
    ))
}

/// Ray's nodes show the same certificate to those who call them as to those whom they call, so the head's own serves us too.
fn tls(ray: &Container, volumes: &[Volume]) -> Option<Tls<Source>> {
    plain(ray, "RAY_USE_TLS").filter(|value| is_true(value))?;
    let file = |name: &str| match plain(ray, name) {
        Some(path) => mounted(ray, volumes, path),
        None => Source::Nowhere(format!("{name} is not in its environment")),
    };
    Some(Tls {
        certificate: file("RAY_TLS_SERVER_CERT"),
        key: file("RAY_TLS_SERVER_KEY"),
        authority: file("RAY_TLS_CA_CERT"),
    })
}

/// The Secret that is mounted where a file is.
fn mounted(ray: &Container, volumes: &[Volume], path: &str) -> Source {
    let mounts = ray.volume_mounts.iter().flatten();
    let mut secrets = mounts.filter_map(|mount| {
        let file = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
        let file = file.strip_prefix('/')?;
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        let secret = volume.secret.as_ref()?;
        let mut items = secret.items.iter().flatten();
        let key = items.find(|item| item.path == file).map(|item| item.key.clone());
        Some(Source::Secret {
            name: secret.secret_name.clone()?,
            key: key.unwrap_or_else(|| file.to_owned()),
        })
    });
    secrets
        .next()
        .unwrap_or_else(|| Source::Nowhere(format!("{path} of its Ray container is not from a Secret")))
}

fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a EnvVar> {
    container
        .env
        .iter()
        .flatten()
        .find(|variable| variable.name == name)
}

fn plain<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    variable(container, name)?.value.as_deref()
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true")
}

struct Place<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Place<'_> {
    async fn fetch(&self, source: &Source) -> Result<String, Missing> {
        match source {
            Source::Plain(value) => Ok(value.clone()),
            Source::Nowhere(why) => Err(Missing::Nowhere(why.clone())),
            Source::File(file) => tokio::fs::read_to_string(file)
                .await
                .map_err(|source| Missing::File {
                    file: file.clone(),
                    source,
                }),
            Source::Secret { name, key } => self.secret(name, key).await,
            Source::ServiceAccount => self.token().await,
        }
    }

    async fn secret(&self, name: &str, key: &str) -> Result<String, Missing> {
        let namespace = || self.namespace.to_owned();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let secret = secrets.get_opt(name).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 403 => Missing::SecretRight {
                namespace: namespace(),
                name: name.to_owned(),
            },
            error => Box::new(error).into(),
        })?;
        let value = secret.and_then(|secret| secret.data?.remove(key));
        let value = value.and_then(|value| String::from_utf8(value.0).ok());
        value.ok_or_else(|| Missing::Key {
            namespace: namespace(),
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Not our own, which may do more than the head may: that of an account in its namespace that may do nothing but call it.
    async fn token(&self) -> Result<String, Missing> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), self.namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let made = accounts
            .create_token_request(ACCOUNT, &PostParams::default(), &request)
            .await;
        let made = made.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 403 || status.code == 404 => Missing::AccountRight {
                namespace: self.namespace.to_owned(),
            },
            error => Missing::from(Box::new(error)),
        })?;
        made.status
            .and_then(|status| status.token)
            .ok_or_else(|| Missing::Nowhere("Kubernetes gave no token".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn access(environment: &Value, volumes: &Value) -> Access {
        let mounts = json!([{ "name": "tls", "mountPath": "/etc/ray/tls" }, { "name": "logs", "mountPath": "/tmp/ray" }]);
        let pod = json!({ "spec": {
            "containers": [{ "name": "ray-head", "env": environment, "volumeMounts": mounts }, { "name": "autoscaler" }],
            "volumes": volumes,
        } });
        Access::of(&serde_json::from_value(pod).expect("a Pod"))
    }

    fn token(environment: &Value) -> Option<Source> {
        access(environment, &json!([])).token
    }

    fn secret(name: &str, key: &str) -> Source {
        Source::Secret {
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn a_token_is_where_the_head_has_it_from() {
        let mode = |mode: &str| json!({ "name": "RAY_AUTH_MODE", "value": mode });
        let from = json!({ "secretKeyRef": { "name": "demo", "key": "auth_token" } });
        let from_secret = json!({ "name": "RAY_AUTH_TOKEN", "valueFrom": from });
        assert_eq!(token(&json!([])), None);
        assert_eq!(
            token(&json!([mode("token"), from_secret])),
            Some(secret("demo", "auth_token"))
        );
        assert_eq!(token(&json!([from_secret])), Some(secret("demo", "auth_token")));
        assert_eq!(token(&json!([mode("disabled"), from_secret])), None);
        let written = json!({ "name": "RAY_AUTH_TOKEN", "value": "t" });
        assert_eq!(token(&json!([written])), Some(Source::Plain("t".to_owned())));
        assert!(matches!(token(&json!([mode("token")])), Some(Source::Nowhere(_))));
        let kubernetes = json!({ "name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true" });
        assert_eq!(
            token(&json!([mode("token"), kubernetes])),
            Some(Source::ServiceAccount)
        );
    }

    #[test]
    fn certificates_are_in_the_secret_that_is_mounted_where_the_files_are() {
        let environment = json!([
            { "name": "RAY_USE_TLS", "value": "1" },
            { "name": "RAY_TLS_SERVER_CERT", "value": "/etc/ray/tls/tls.crt" },
            { "name": "RAY_TLS_SERVER_KEY", "value": "/etc/ray/tls/tls.key" },
            { "name": "RAY_TLS_CA_CERT", "value": "/etc/ray/tls/ca.crt" },
        ]);
        let items = json!([{ "key": "authority", "path": "ca.crt" }]);
        let volumes =
            json!([{ "name": "tls", "secret": { "secretName": "ray-head-secret-demo", "items": items } }]);
        let tls = access(&environment, &volumes).tls.expect("TLS is on");
        assert_eq!(tls.certificate, secret("ray-head-secret-demo", "tls.crt"));
        assert_eq!(tls.key, secret("ray-head-secret-demo", "tls.key"));
        assert_eq!(tls.authority, secret("ray-head-secret-demo", "authority"));
        let made_by_itself = access(&environment, &json!([{ "name": "tls", "emptyDir": {} }]));
        assert!(matches!(
            made_by_itself.tls.expect("TLS is on").key,
            Source::Nowhere(_)
        ));
        assert!(access(&json!([{ "name": "RAY_USE_TLS", "value": "0" }]), &json!([])).is_open());
    }

    #[test]
    fn beside_a_head_we_are_told_what_it_is_told() {
        let told = |pairs: &'static [(&str, &str)]| {
            Access::beside(|name| {
                let pair = pairs.iter().find(|(key, _)| *key == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(told(&[]).is_open());
        let token = told(&[("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", "t")]).token;
        assert_eq!(token, Some(Source::Plain("t".to_owned())));
        let kubernetes = told(&[("RAY_ENABLE_K8S_TOKEN_AUTH", "true")]).token;
        assert_eq!(kubernetes, Some(Source::File(OUR_TOKEN.into())));
        let tls = told(&[("RAY_USE_TLS", "true"), ("RAY_TLS_SERVER_CERT", "/c")])
            .tls
            .expect("TLS is on");
        assert_eq!(tls.certificate, Source::File("/c".into()));
        assert!(matches!(tls.key, Source::Nowhere(_)));
    }
}
