//! What a server wants to see of those who ask it: a name and a password, a token, a certificate, headers. It stands in a Secret beside the policy, which
//! we may read only where somebody has given us the right, or in a folder beside us. A Secret names the servers that may see it: else whoever may write
//! a policy could have it sent wherever he likes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::prometheus::Failure;

/// The annotation of a Secret with the servers that may see it, between commas.
const SERVERS: &str = "rayward.dev/prometheus-servers";
/// How the keys begin that hold headers: `header.X-Api-Key`.
const HEADER: &str = "header.";
/// Kubernetes answers in milliseconds.
const LOOKUP: Duration = Duration::from_secs(3);

/// A server, and how it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// Its address; without it the first that may be asked.
    pub(crate) server: Option<String>,
    /// Namespace and name of the Secret with what it wants to see.
    pub(crate) secret: Option<(String, String)>,
    /// What it is told besides.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What a server gets to see, by the keys that Kubernetes itself has for such things in Secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Access(BTreeMap<String, String>);

impl Access {
    /// What is in a Secret, if the server may see that.
    pub(super) async fn in_secret(
        client: &Client,
        (namespace, name): &(String, String),
        server: &str,
    ) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Secret {
            namespace: namespace.clone(),
            name: name.clone(),
            why,
        };
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = tokio::time::timeout(LOOKUP, secrets.get_opt(name)).await;
        let secret = match secret {
            Ok(Ok(secret)) => secret.ok_or_else(|| failed("is not there".to_owned()))?,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                let role = "may not be read: give us the Role `rayward-prometheus-secrets` there (manifests/optional/prometheus-secrets.yaml)";
                return Err(failed(role.to_owned()));
            }
            Ok(Err(error)) => return Err(failed(format!("cannot be had: {error}"))),
            Err(_) => return Err(failed("cannot be had in time".to_owned())),
        };
        let servers = secret.metadata.annotations.unwrap_or_default().remove(SERVERS);
        let servers = servers.unwrap_or_default();
        if !servers.split(',').any(|allowed| allowed.trim() == server) {
            return Err(failed(format!(
                "is not for {server}: name it in its annotation {SERVERS}"
            )));
        }
        let data = secret.data.unwrap_or_default().into_iter();
        let texts = data.map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)));
        let texts: Option<_> = texts.collect();
        texts
            .map(Self)
            .ok_or_else(|| failed("is not all text".to_owned()))
    }

    /// What is in a folder, such as a Secret that is mounted.
    pub(super) async fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Unreachable(format!("read {}: {error}", folder.display()));
        let mut texts = BTreeMap::new();
        let mut files = tokio::fs::read_dir(folder).await.map_err(failed)?;
        while let Some(file) = files.next_entry().await.map_err(failed)? {
            let name = file.file_name().to_string_lossy().into_owned();
            // Kubernetes keeps what is mounted in folders whose names begin so.
            if !name.starts_with("..") {
                let text = tokio::fs::read_to_string(file.path()).await.map_err(failed)?;
                texts.insert(name, text);
            }
        }
        Ok(Self(texts))
    }

    /// Tells a client what to show.
    pub(super) fn put_into(&self, config: &mut Config) -> Result<(), Failure> {
        let text = |key: &str| self.0.get(key).map(|text| text.trim().to_owned());
        let auth = &mut config.auth_info;
        auth.username = text("username");
        auth.password = text("password").map(Into::into);
        auth.token = text("token").map(Into::into);
        auth.client_certificate_data = text("tls.crt").map(|pem| STANDARD.encode(pem));
        auth.client_key_data = text("tls.key").map(|pem| STANDARD.encode(pem).into());
        if let Some(pem) = text("ca.crt") {
            let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            let authorities =
                authorities.map_err(|error| Failure::Unfit(format!("ca.crt is no certificate: {error}")))?;
            config.root_cert = Some(authorities.iter().map(|authority| authority.to_vec()).collect());
        }
        let headers = self.0.iter();
        let headers = headers.filter_map(|(key, value)| Some((key.strip_prefix(HEADER)?, value.trim())));
        add_headers(config, headers)
    }
}

/// Tells a client which headers to send.
pub(super) fn add_headers<'h>(
    config: &mut Config,
    headers: impl Iterator<Item = (&'h str, &'h str)>,
) -> Result<(), Failure> {
    for (name, value) in headers {
        let unfit = || Failure::Unfit(format!("{name} is no header, or its value is none"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        config.headers.push((header, value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, Failure> {
        let texts = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut config = Config::new("https://prometheus".parse().expect("an address"));
        Access(texts.collect()).put_into(&mut config)?;
        Ok(config)
    }

    #[test]
    fn a_client_shows_what_is_there() {
        let shown = config(&[
            ("username", "ray\n"),
            ("password", "secret"),
            ("header.X-Scope-OrgID", "vision"),
        ]);
        let shown = shown.expect("it fits");
        assert_eq!(shown.auth_info.username.as_deref(), Some("ray"));
        assert!(shown.auth_info.password.is_some() && shown.auth_info.token.is_none());
        assert_eq!(shown.headers[0].0, "x-scope-orgid");
        let shown = config(&[("token", "t"), ("tls.crt", "pem"), ("tls.key", "pem")]).expect("it fits");
        assert!(shown.auth_info.token.is_some() && shown.auth_info.username.is_none());
        assert_eq!(shown.auth_info.client_certificate_data.as_deref(), Some("cGVt"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for pair in [("header.X Y", "1"), ("header.X", "a\nb")] {
            let failure = config(&[pair]).map(drop).expect_err("it does not fit");
            assert!(failure.to_string().contains("is no header"), "{failure}");
        }
        let authority = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----";
        let failure = config(&[("ca.crt", authority)])
            .map(drop)
            .expect_err("it does not fit");
        assert!(
            failure.to_string().contains("ca.crt is no certificate"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_folder_is_read_as_it_is_mounted() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("..data")).expect("a folder");
        std::fs::write(folder.path().join("token"), "t\n").expect("a file");
        let access = Access::in_folder(folder.path()).await;
        assert!(access.expect("it can be read") == Access([("token".to_owned(), "t\n".to_owned())].into()));
    }
}
