//! Heads that want to see a token, or a certificate.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
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
    held_for_want_of(&namespace, "rayward-gcs-secrets").await?;
    let strangers = asked_as(&namespace, &head, "stranger").await?;
    ensure!(strangers.contains("UNAUTHENTICATED"), "{strangers}");
    grant(&namespace, "gcs-secrets.yaml").await?;
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await
}

/// The head asks Kubernetes whose token it is shown. Until somebody lets us have one that is good for that and for nothing else we hold, and say what is
/// missing; then we scale.
pub(crate) async fn a_token_of_kubernetes_is_shown_once_it_may_be_made(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("account").await?;
    namespace.apply_all(&accounts(namespace.name())).await?;
    let mut cluster = cluster(None)?;
    cluster["spec"]["authOptions"] = json!({ "mode": "token", "enableK8sTokenAuth": true });
    for group in ["/spec/headGroupSpec", "/spec/workerGroupSpecs/0"] {
        let pod = cluster.pointer_mut(&format!("{group}/template/spec"));
        pod.context("a Pod")?["serviceAccountName"] = "nodes".into();
    }
    namespace.apply_all(&[cluster]).await?;
    let (head, _) = head(&namespace, "").await?;
    owner(&namespace, 60 * SECOND, &[]).await?;
    held_for_want_of(&namespace, "rayward-gcs-account").await?;
    let nodes = asked_as(&namespace, &head, &token_of(&namespace, "nodes").await?).await?;
    ensure!(nodes == "let in", "its own nodes: {nodes}");
    let strangers = asked_as(&namespace, &head, &token_of(&namespace, "stranger").await?).await?;
    ensure!(strangers.contains("UNAUTHENTICATED"), "{strangers}");
    grant(&namespace, "gcs-account.yaml").await?;
    work(&namespace, &head, "2", "1").await?;
    empty(&namespace).await
}

/// All nodes of a cluster prove to each other who they are, and so do we.
pub(crate) async fn a_certificate_is_shown(testbed: &Testbed) -> Result<()> {
    let _stage = stage().await;
    let namespace = testbed.namespace("tls").await?;
    grant(&namespace, "gcs-secrets.yaml").await?;
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

/// Applies one of `manifests/optional`.
async fn grant(namespace: &Namespace, file: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/optional");
    let file = folder.join(file);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    namespace.apply(&text).await?;
    Ok(())
}

/// An Event says which Role is missing.
async fn held_for_want_of(namespace: &Namespace, role: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(namespace.client().clone(), namespace.name());
    let held = ListParams::default().fields("reason=Held");
    let told = async || {
        let listed = events.list(&held).await?.items;
        let notes: Vec<String> = listed.into_iter().filter_map(|event| event.note).collect();
        let told = notes.iter().any(|note| note.contains(&format!("Role `{role}`")));
        ensure!(told, "{notes:?}");
        anyhow::Ok(())
    };
    namespace
        .eventually(60 * SECOND, "an Event says which right is missing", told)
        .await
}

/// What the GCS says to a state request with this token, asked from the Pod of its head.
async fn asked_as(namespace: &Namespace, head: &str, token: &str) -> Result<String> {
    let command = ["python", "-c", ASK, token].map(str::to_owned);
    let output = namespace.exec(head, "ray-head", &command).await?;
    ensure!(output.succeeded(), "{output:?}");
    Ok(output.stdout.trim().to_owned())
}

const ASK: &str = "
import sys, grpc
method = '/ray.rpc.autoscaler.AutoscalerStateService/GetClusterResourceState'
ask = grpc.insecure_channel('127.0.0.1:6379').unary_unary(method)
try:
    ask(b'', metadata=[('authorization', 'Bearer ' + sys.argv[1])], timeout=20)
    print('let in')
except grpc.RpcError as error:
    print(error.code(), error.details())
";

/// A token of an account of Kubernetes, for an hour.
async fn token_of(namespace: &Namespace, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(namespace.client().clone(), namespace.name());
    let made = accounts
        .create_token_request(account, &PostParams::default(), &TokenRequest::default())
        .await?;
    made.status.and_then(|status| status.token).context("no token")
}

/// The account of a cluster's nodes, as KubeRay's sample has it, and one that has no business with them.
fn accounts(namespace: &str) -> [Value; 5] {
    let account =
        |name: &str| json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } });
    let rbac = "rbac.authorization.k8s.io";
    let api_version = format!("{rbac}/v1");
    let nodes = json!([{ "kind": "ServiceAccount", "name": "nodes", "namespace": namespace }]);
    [
        account("nodes"),
        account("stranger"),
        json!({
            "apiVersion": api_version, "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("nodes-of-{namespace}") },
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "system:auth-delegator" },
            "subjects": nodes,
        }),
        json!({
            "apiVersion": api_version, "kind": "Role", "metadata": { "name": "ray-writer" },
            "rules": [{ "apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["ray:write"] }],
        }),
        json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": { "name": "ray-writer" },
            "roleRef": { "apiGroup": rbac, "kind": "Role", "name": "ray-writer" },
            "subjects": nodes,
        }),
    ]
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
