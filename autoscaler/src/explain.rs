//! `explain`: asks the running service what it knows of a cluster, and why. The service is found as a user of kubectl would expect: through the
//! API server, which lets through whom RBAC allows.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Config, ResourceExt};

use crate::args::connect;
use crate::explanation::Explanation;

/// The Pods of the service.
const SELECTOR: &str = "app.kubernetes.io/name=rayward,app.kubernetes.io/component=autoscaler";

/// The command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The cluster.
    #[arg(value_name = "NAMESPACE/NAME")]
    cluster: Key,

    /// Connect as this file says; without it, as the environment says.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The namespace of the service, whose Pods are asked through the API server.
    #[arg(long, value_name = "NAMESPACE", default_value = "rayward-system")]
    service_namespace: String,

    /// The admin port of those Pods.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    admin_port: u16,

    /// Ask there instead, such as through `kubectl port-forward`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["service_namespace", "admin_port"])]
    server: Option<http::Uri>,

    /// For people or for programs.
    #[arg(long, value_name = "text|json", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A cluster, on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::str::FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = text
            .split_once('/')
            .filter(|(namespace, name)| is_name(namespace) && is_name(name))
            .ok_or("say NAMESPACE/NAME")?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Nothing that would mean something else in a path.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

/// Asks whom the command line says.
pub(crate) async fn run(args: &Explain) -> Result<String> {
    let Key { namespace, name } = &args.cluster;
    let text = match &args.server {
        Some(server) => {
            let client = Client::try_from(Config::new(server.clone())).context("set up the client")?;
            ask(&client, &format!("/clusters/{namespace}/{name}"))
                .await
                .with_context(|| format!("ask {server}"))?
        }
        None => ask_replicas(args).await?,
    };
    let text = text.with_context(|| {
        format!(
            "{namespace}/{name} is not looked after there; `rayward-autoscaler clusters` tells who scales it"
        )
    })?;
    told(&text, args.format)
}

/// Asks each replica until one looks after the cluster.
async fn ask_replicas(args: &Explain) -> Result<Option<String>> {
    let client = connect(args.kubeconfig.as_deref()).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &args.service_namespace);
    let pods = pods
        .list(&ListParams::default().labels(SELECTOR))
        .await
        .with_context(|| format!("list the Pods of the service in {}", args.service_namespace))?;
    if pods.items.is_empty() {
        bail!("no Pod in {} has the labels {SELECTOR}", args.service_namespace);
    }
    let mut faults = Vec::new();
    for pod in &pods.items {
        match ask(&client, &through_api_server(args, &pod.name_any())).await {
            Ok(Some(text)) => return Ok(Some(text)),
            Ok(None) => {}
            Err(error) => faults.push(format!("{}: {error:#}", pod.name_any())),
        }
    }
    if !faults.is_empty() {
        bail!("not all replicas could be asked: {}", faults.join("; "));
    }
    Ok(None)
}

fn through_api_server(args: &Explain, pod: &str) -> String {
    let (service, port) = (&args.service_namespace, args.admin_port);
    let Key { namespace, name } = &args.cluster;
    format!("/api/v1/namespaces/{service}/pods/{pod}:{port}/proxy/clusters/{namespace}/{name}")
}

/// What is said of the cluster; nothing where it is not looked after.
async fn ask(client: &Client, path: &str) -> Result<Option<String>> {
    let request = Request::get(path).body(Vec::new()).context("make the request")?;
    match client.request_text(request).await {
        Ok(text) => Ok(Some(text)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn told(text: &str, format: Format) -> Result<String> {
    Ok(match format {
        Format::Json => text.to_owned(),
        Format::Text => {
            let explanation: Explanation =
                serde_json::from_str(text).context("read what the service said")?;
            explanation.to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_cluster_is_named_with_its_namespace() {
        assert!("ns/demo".parse::<Key>().is_ok());
        for wrong in ["demo", "/demo", "ns/", "ns/demo/x", "../demo", "ns/a?b"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }
}
