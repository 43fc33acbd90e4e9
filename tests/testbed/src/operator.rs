//! The KubeRay operator, its CRDs and its rights, all three from KubeRay's own module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use serde_json::json;

use crate::apply::Applier;
use crate::identity::{Credentials, Identity};
use crate::probe::Probe;
use crate::process::Recipe;
use crate::program::KUBERAY_CONFIG;
use crate::wire::Paths;

pub(crate) const METRICS_PORT: u16 = 8090;
const HEALTH_PORT: u16 = 8091;

/// Where KubeRay's samples are.
pub(crate) fn samples(paths: &Paths) -> Result<PathBuf> {
    Ok(config(paths)?.join("samples"))
}

/// Installs the CRDs and waits until the API server serves them.
pub(crate) async fn install_definitions(client: &kube::Client, paths: &Paths) -> Result<()> {
    let folder = config(paths)?.join("crd/bases");
    let files = yaml_files(&folder)?;
    futures::future::try_join_all(files.iter().map(|file| install_definition(client, file))).await?;
    Ok(())
}

/// Sends the file as it is: these are a megabyte of YAML each, and the API server reads YAML.
async fn install_definition(client: &kube::Client, file: &Path) -> Result<()> {
    // controller-gen names the files `<group>_<plural>.yaml`.
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .context("a CRD has a name")?;
    let (group, plural) = stem
        .split_once('_')
        .with_context(|| format!("{stem} is not named group_plural"))?;
    let name = format!("{plural}.{group}");
    let path = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager=testbed&force=true"
    );
    let request = http::Request::patch(path)
        .header("content-type", "application/apply-patch+yaml")
        .body(std::fs::read(file).with_context(|| format!("read {}", file.display()))?)?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("install the CRD {name}"))?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let established = await_condition(definitions, &name, is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established)
        .await
        .with_context(|| format!("the CRD {name} is not established after 30 s"))??;
    Ok(())
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

pub(crate) fn operator(paths: &Paths, credentials: &Credentials, feature_gates: &str) -> Result<Recipe> {
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
        environment: vec![(
            "RAYCLUSTER_DEFAULT_REQUEUE_SECONDS_ENV".to_owned(),
            "10".to_owned(),
        )],
        ready: Some(Probe::http(HEALTH_PORT, "/readyz")),
        patience: Duration::from_secs(60),
        grace: Duration::from_secs(30),
    })
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
