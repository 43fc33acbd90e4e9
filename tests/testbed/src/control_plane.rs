//! How etcd, the API server, the controller manager and the scheduler are started.
//!
//! Every port is fixed: each run has a network of its own, so none can be taken.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::identity::{Credentials, Identity};
use crate::inside::BRIDGE_ADDRESS;
use crate::probe::Probe;
use crate::process::Recipe;
use crate::wire::Paths;

/// The API server's, on every address.
pub const API_SERVER_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
const CONTROLLER_MANAGER_PORT: u16 = 10257;
const SCHEDULER_PORT: u16 = 10259;

/// The controllers that matter to Ray. `node-lifecycle` takes the taint off new Nodes and puts it on those whose podlet went silent.
const CONTROLLERS: [&str; 18] = [
    "cronjob-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
];

const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: [system:serviceaccounts]
  - level: None
";

pub(crate) fn etcd(paths: &Paths, data: &Path) -> Result<Recipe> {
    let client = format!("http://127.0.0.1:{ETCD_PORT}");
    recipe(
        paths,
        "etcd",
        [
            format!("--data-dir={}", data.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ],
        Some(Probe::http(ETCD_PORT, "/readyz")),
    )
}

/// With `audit`, it writes down what each service account asks: a line for each request that was answered.
pub(crate) fn api_server(paths: &Paths, credentials: &Credentials, audit: Option<&Path>) -> Result<Recipe> {
    let file = |name: &str| credentials.file(name).display().to_string();
    let mut recipe = recipe(
        paths,
        "kube-apiserver",
        [
            format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={BRIDGE_ADDRESS}"),
            format!("--secure-port={API_SERVER_PORT}"),
            format!("--tls-cert-file={}", file("server.pem")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", file("service-accounts.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("service-accounts.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ],
        Some(Probe::https(API_SERVER_PORT, "/readyz")),
    )?;
    if let Some(log) = audit {
        let policy = log.with_extension("policy.yaml");
        std::fs::write(&policy, AUDIT_POLICY).with_context(|| format!("write {}", policy.display()))?;
        recipe.arguments.extend([
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", log.display()),
        ]);
    }
    Ok(recipe)
}

pub(crate) fn controller_manager(paths: &Paths, credentials: &Credentials) -> Result<Recipe> {
    recipe(
        paths,
        "kube-controller-manager",
        [
            format!(
                "--kubeconfig={}",
                credentials.kubeconfig(Identity::ControllerManager).display()
            ),
            format!("--controllers={}", CONTROLLERS.join(",")),
            format!("--root-ca-file={}", credentials.file("ca.pem").display()),
            "--leader-elect=false".to_owned(),
            // Tests wait for what it does.
            "--horizontal-pod-autoscaler-sync-period=3s".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={CONTROLLER_MANAGER_PORT}"),
        ],
        Some(Probe::https(CONTROLLER_MANAGER_PORT, "/healthz")),
    )
}

pub(crate) fn scheduler(paths: &Paths, credentials: &Credentials) -> Result<Recipe> {
    recipe(
        paths,
        "kube-scheduler",
        [
            format!(
                "--kubeconfig={}",
                credentials.kubeconfig(Identity::Scheduler).display()
            ),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={SCHEDULER_PORT}"),
        ],
        Some(Probe::https(SCHEDULER_PORT, "/healthz")),
    )
}

fn recipe<const N: usize>(
    paths: &Paths,
    name: &str,
    arguments: [String; N],
    ready: Option<Probe>,
) -> Result<Recipe> {
    Ok(Recipe {
        name: name.to_owned(),
        program: paths
            .get(name)
            .with_context(|| format!("{name} was not made"))?
            .clone(),
        arguments: arguments.into(),
        environment: Vec::new(),
        ready,
        patience: Duration::from_mins(1),
        grace: Duration::from_secs(30),
    })
}
