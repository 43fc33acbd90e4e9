//! Heads that want to see a token, or a certificate.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::scene::{SECOND, cluster, empty, head, owner, stage, work};

/// KubeRay gives the cluster a token. Until somebody lets us read it we hold, and say what is missing; then we scale.
pub(crate) async fn a_token_is_shown_once_it_may_be_read(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("token").await?;
    let mut cluster = cluster(None)?;
    cluster["spec"]["authOptions"] = json!({ "mode": "token" });
    namespace.apply_all(&[cluster]).await?;
    let (head, _) = head(&namespace, "").await?;
    owner(&namespace, 60 * SECOND, &[]).await?;
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    namespace
        .eventually(60 * SECOND, "an Event says which right is missing", async || {
            let listed = events.list(&ListParams::default()).await?.items;
            let notes: Vec<String> = listed.into_iter().filter_map(|event| event.note).collect();
            let told = notes
                .iter()
                .any(|note| note.contains("Role `rayward-gcs-secrets`"));
            ensure!(told, "{notes:?}");
            anyhow::Ok(())
        })
        .await?;
    may_read_secrets(&namespace).await?;
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await
}

/// All nodes of a cluster prove to each other who they are, and so do we.
pub(crate) async fn a_certificate_is_shown(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("tls").await?;
    may_read_secrets(&namespace).await?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "demo-tls" },
        "stringData": certificate(namespace.name())?,
    });
    let mut cluster = cluster(None)?;
    for group in ["/spec/headGroupSpec", "/spec/workerGroupSpecs/0"] {
        let pod = cluster.pointer_mut(&format!("{group}/template/spec"));
        encrypted(pod.context("a Pod")?);
    }
    namespace.apply_all(&[secret, cluster]).await?;
    let (head, _) = head(&namespace, "").await?;
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await
}

async fn may_read_secrets(namespace: &Namespace) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/optional/gcs-secrets.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    namespace.apply(&text).await?;
    Ok(())
}

/// As Ray's documentation has it.
fn encrypted(pod: &mut Value) {
    let variable = |name: &str, value: &str| json!({ "name": name, "value": value });
    let container = &mut pod["containers"][0];
    container["env"] = json!([
        variable("RAY_USE_TLS", "1"),
        variable("RAY_TLS_SERVER_CERT", "/etc/ray/tls/tls.crt"),
        variable("RAY_TLS_SERVER_KEY", "/etc/ray/tls/tls.key"),
        variable("RAY_TLS_CA_CERT", "/etc/ray/tls/ca.crt"),
    ]);
    container["volumeMounts"] = json!([{ "name": "tls", "mountPath": "/etc/ray/tls", "readOnly": true }]);
    pod["volumes"] = json!([{ "name": "tls", "secret": { "secretName": "demo-tls" } }]);
}

/// One certificate for all nodes, whichever of the first addresses they get.
fn certificate(namespace: &str) -> Result<Value> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "demo-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let service = format!("demo-head-svc.{namespace}.svc.cluster.local");
    let names = ["localhost", "127.0.0.1", "demo-head-svc", &service].map(str::to_owned);
    let addresses = (0..2).flat_map(|block| (0..=255).map(move |host| format!("10.244.{block}.{host}")));
    let node = CertificateParams::new(names.into_iter().chain(addresses).collect::<Vec<_>>())?;
    let node = node.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(json!({ "tls.crt": node.pem(), "tls.key": key.serialize_pem(), "ca.crt": authority_pem }))
}
