//! The KubeRay operator, its CRDs and its rights, all three from KubeRay's own module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::apply::Applier;
use crate::identity::{Credentials, Identity};
use crate::probe::Probe;
use crate::process::Recipe;
use crate::program::KUBERAY_CONFIG;
use crate::wire::Paths;

pub(crate) const METRICS_PORT: u16 = 8090;
const HEALTH_PORT: u16 = 8091;
/// Of its own webhook; there is no flag for it.
pub(crate) const WEBHOOK_PORT: u16 = 9443;

/// How long the API server may take to serve new kinds.
const DEFINITIONS_PATIENCE: Duration = Duration::from_mins(1);

/// The version that is built.
pub(crate) fn version() -> &'static str {
    include_str!("../go/kuberay/go.mod")
        .lines()
        .find_map(|line| line.strip_prefix("require github.com/ray-project/kuberay/ray-operator v"))
        .expect("go.mod requires the operator")
}

/// Where KubeRay's samples are.
pub(crate) fn samples(paths: &Paths) -> Result<PathBuf> {
    Ok(config(paths)?.join("samples"))
}

/// Installs the CRDs and waits until the API server serves them.
pub(crate) async fn install_definitions(client: &kube::Client, paths: &Paths) -> Result<()> {
    let folder = config(paths)?.join("crd/bases");
    let files = yaml_files(&folder)?;
    let plurals = try_join_all(files.iter().map(|file| create_definition(client, file))).await?;
    let served = timeout(DEFINITIONS_PATIENCE, async {
        while !are_served(client, &plurals).await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    served
        .await
        .with_context(|| format!("{plurals:?} are not served after {DEFINITIONS_PATIENCE:?}"))
}

/// Sends the file as it is, a megabyte of YAML, and says the plural of its kind. Nobody reads the CRD back: that would take longer than the rest.
async fn create_definition(client: &kube::Client, file: &Path) -> Result<String> {
    // controller-gen names the files `<group>_<plural>.yaml`.
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .context("a CRD has a name")?;
    let (_, plural) = stem
        .split_once('_')
        .with_context(|| format!("{stem} is not named group_plural"))?;
    let request = http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        .header("content-type", "application/yaml")
        .body(std::fs::read(file).with_context(|| format!("read {}", file.display()))?)?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("create the CRD of {plural}"))?;
    Ok(plural.to_owned())
}

async fn are_served(client: &kube::Client, plurals: &[String]) -> bool {
    match client.list_api_group_resources("ray.io/v1").await {
        Ok(list) => plurals
            .iter()
            .all(|plural| list.resources.iter().any(|resource| resource.name == *plural)),
        Err(_) => false,
    }
}

/// Gives the operator's service account the rights that KubeRay ships, and no others.
pub(crate) async fn install_rights(applier: &Applier, paths: &Paths) -> Result<()> {
    let file = config(paths)?.join("rbac/role.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    for role in crate::apply::documents(&text).with_context(|| format!("read {}", file.display()))? {
        applier.apply(&role, None).await?;
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kuberay-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kuberay-operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": "ray-system"}],
    });
    applier.apply(&binding, None).await?;
    Ok(())
}

/// With its own webhook, which nobody calls unless a test does: the API server does not know of it.
pub(crate) fn operator(
    paths: &Paths,
    credentials: &Credentials,
    data: &Path,
    feature_gates: &str,
) -> Result<Recipe> {
    let folder = data.join("ray-operator");
    serving_certificate(&folder, credentials)?;

    let mut arguments = vec![
        format!(
            "--kubeconfig={}",
            credentials.kubeconfig(Identity::Operator).display()
        ),
        "--enable-leader-election=false".to_owned(),
        format!("--metrics-addr=127.0.0.1:{METRICS_PORT}"),
        "--enable-metrics".to_owned(),
        format!("--health-probe-bind-address=127.0.0.1:{HEALTH_PORT}"),
    ];
    if !feature_gates.is_empty() {
        arguments.push(format!("--feature-gates={feature_gates}"));
    }
    Ok(Recipe {
        name: "ray-operator".to_owned(),
        program: paths
            .get("ray-operator")
            .context("ray-operator was not made")?
            .clone(),
        arguments,
        // KubeRay's own test suite looks again after 10 s too; 300 s would outlast our deadlines.
        environment: [
            ("RAYCLUSTER_DEFAULT_REQUEUE_SECONDS_ENV", "10"),
            ("ENABLE_WEBHOOKS", "true"),
            (
                "TMPDIR",
                folder.to_str().context("the work folder has a plain name")?,
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        ready: Some(Probe::http(HEALTH_PORT, "/readyz")),
        patience: Duration::from_mins(1),
        grace: Duration::from_secs(30),
    })
}

/// Where controller-runtime looks for it.
fn serving_certificate(folder: &Path, credentials: &Credentials) -> Result<()> {
    let place = folder.join("k8s-webhook-server/serving-certs");
    std::fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    for (ours, its) in [("server.pem", "tls.crt"), ("server.key", "tls.key")] {
        std::fs::copy(credentials.file(ours), place.join(its)).with_context(|| format!("copy {ours}"))?;
    }
    Ok(())
}

fn config(paths: &Paths) -> Result<&PathBuf> {
    paths
        .get(KUBERAY_CONFIG)
        .context("KubeRay's config folder was not made")
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    Ok(files)
}
