//! Our two services, installed with the rights and the webhook configurations of `manifests/base`, and started from this very executable.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;
use kube::{Client, Config};

use crate::apply::{Applier, documents};
use crate::identity::{Credentials, Identity};
use crate::operator;
use crate::probe::Probe;
use crate::process::Recipe;
use crate::role::Role;
use crate::service_proxy::Backend;
use crate::testbed::Testbed;

/// Where the API server reaches the webhook: the port that stands for its Service.
pub(crate) const WEBHOOK_SERVICE_PORT: u16 = 9400;

/// The admin port of one autoscaler replica.
pub(crate) fn autoscaler_admin_port(replica: usize) -> u16 {
    9700 + u16::try_from(replica).expect("replicas are few")
}

/// The ports of one webhook replica.
pub(crate) fn webhook_backend(replica: usize) -> Backend {
    let replica = u16::try_from(replica).expect("replicas are few");
    Backend {
        port: 9500 + replica,
        admin_port: 9600 + replica,
    }
}

/// The namespace, the kind of policies, and the rights.
pub(crate) async fn install(applier: &Applier) -> Result<()> {
    for file in [
        "namespace.yaml",
        "rayadmissionpolicies.yaml",
        "rayscalingpolicies.yaml",
        "rbac.yaml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../manifests/base")
            .join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for object in documents(&text)? {
            applier
                .apply(&object, None)
                .await
                .with_context(|| format!("apply {}", path.display()))?;
        }
    }
    Ok(())
}

/// The operator has no Deployment here, so it is told which one it is, with `feature_gates` on.
pub(crate) fn webhook(
    replica: usize,
    credentials: &Credentials,
    feature_gates: &str,
    more: &[String],
) -> Recipe {
    let Backend { port, admin_port } = webhook_backend(replica);
    let arguments = [
        "serve".to_owned(),
        format!(
            "--kubeconfig={}",
            credentials.kubeconfig(Identity::Webhook).display()
        ),
        format!("--listen=127.0.0.1:{port}"),
        format!("--admin-listen=127.0.0.1:{admin_port}"),
        "--manage-webhooks".to_owned(),
        format!("--webhook-url=https://127.0.0.1:{WEBHOOK_SERVICE_PORT}"),
        "--cert-secret=rayward-system/rayward-webhook-certs".to_owned(),
        format!("--kuberay-version={}", operator::version()),
        format!("--feature-gates={feature_gates}"),
        // The proxy looks every 100 ms who is leaving, and gets to it even on a busy machine; in a real cluster the news takes longer.
        "--drain-seconds=3".to_owned(),
    ];
    service(
        Role::Webhook,
        format!("rayward-webhook-{replica}"),
        &arguments,
        more,
        admin_port,
    )
}

pub(crate) fn autoscaler(replica: usize, credentials: &Credentials, more: &[String]) -> Recipe {
    let admin_port = autoscaler_admin_port(replica);
    let arguments = [
        "run".to_owned(),
        format!(
            "--kubeconfig={}",
            credentials.kubeconfig(Identity::Autoscaler).display()
        ),
        format!("--admin-listen=0.0.0.0:{admin_port}"),
        // All nodes are there already.
        "--unscheduled-seconds=10".to_owned(),
    ];
    service(
        Role::Autoscaler,
        format!("rayward-autoscaler-{replica}"),
        &arguments,
        more,
        admin_port,
    )
}

impl Testbed {
    /// A metric of a replica of the autoscaler as it is now, by its name and labels; 0 while there is none.
    pub async fn autoscaler_metric(&self, replica: usize, name: &str) -> Result<f64> {
        let server = format!("http://{}", self.autoscaler_admin_address(replica)).parse()?;
        let client = Client::try_from(Config::new(server))?;
        let request = Request::get("/metrics").body(Vec::new())?;
        let text = client.request_text(request).await.context("read the metrics")?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |value| {
            value.parse().with_context(|| format!("{name} is {value}"))
        })
    }
}

fn service(role: Role, name: String, arguments: &[String], more: &[String], admin_port: u16) -> Recipe {
    let (variable, value) = role.environment();
    Recipe {
        name,
        // Not by its path: a build may have replaced the file while we run.
        program: "/proc/self/exe".into(),
        arguments: [arguments, more].concat(),
        environment: vec![(variable.to_owned(), value.to_owned())],
        ready: Some(Probe::http(admin_port, "/readyz")),
        patience: Duration::from_secs(30),
        grace: Duration::from_secs(30),
    }
}
