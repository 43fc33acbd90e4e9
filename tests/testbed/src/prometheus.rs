//! Prometheus: scrapes Ray's nodes, our two services and the operator, and answers `PromQL`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::identity::{Credentials, Identity};
use crate::probe::Probe;
use crate::process::Recipe;
use crate::wire::Paths;

/// Where Prometheus listens, on the loopback.
pub const PROMETHEUS_PORT: u16 = 9090;

/// Where one listens that knows nothing, and wants to see who asks.
pub const GUARDED_PROMETHEUS_PORT: u16 = 9091;
/// Who may ask it; `GUARD` has the password as bcrypt does it.
pub(crate) const GUARDED_PROMETHEUS_USER: [&str; 2] = ["rayward", "monitoring"];
const GUARD: &str = "$2b$04$vtoZnc8QAldNo60cWp.5XOMDkL6A8H.AnZAjp9lHhWNRx/g6c8qcK";

/// A running Prometheus.
#[derive(Clone)]
pub struct Prometheus {
    client: kube::Client,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Prometheus at port {PROMETHEUS_PORT}")
    }
}

impl Prometheus {
    pub(crate) fn connect() -> Result<Self> {
        // Any HTTP client will do, and this one is here.
        let config = kube::Config::new(format!("http://127.0.0.1:{PROMETHEUS_PORT}").parse()?);
        Ok(Self {
            client: kube::Client::try_from(config)?,
        })
    }

    /// The address that our autoscaler is told.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{PROMETHEUS_PORT}")
    }

    /// The series that an instant query yields, as Prometheus writes them: `{"metric": {..}, "value": [seconds, "number"]}`.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let request =
            http::Request::get(format!("/api/v1/query?query={}", percent_encoded(query))).body(Vec::new())?;
        let answer: Value = self
            .client
            .request(request)
            .await
            .with_context(|| format!("ask Prometheus for {query}"))?;
        ensure!(answer["status"] == "success", "Prometheus on {query}: {answer}");
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

/// The one that scrapes.
pub(crate) fn prometheus(
    paths: &Paths,
    credentials: &Credentials,
    data: &Path,
    services: &[(&str, Vec<u16>)],
) -> Result<Recipe> {
    let recipe = recipe(
        paths,
        data,
        "prometheus",
        PROMETHEUS_PORT,
        &configuration(credentials, services),
    )?;
    Ok(Recipe {
        ready: Some(Probe::http(PROMETHEUS_PORT, "/-/ready")),
        ..recipe
    })
}

/// One that is asked by HTTPS, by those who have a certificate of this world's authority and the password. It would not answer a probe.
pub(crate) fn guarded(paths: &Paths, credentials: &Credentials, data: &Path) -> Result<Recipe> {
    let web = data.join("prometheus-web.yaml");
    let guards = json!({
        "tls_server_config": {
            "cert_file": credentials.file("server.pem"),
            "key_file": credentials.file("server.key"),
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": credentials.file("ca.pem"),
        },
        "basic_auth_users": {GUARDED_PROMETHEUS_USER[0]: GUARD},
    });
    std::fs::write(&web, format!("{guards:#}"))?;
    let mut recipe = recipe(
        paths,
        data,
        "prometheus-guarded",
        GUARDED_PROMETHEUS_PORT,
        &json!({}),
    )?;
    recipe
        .arguments
        .push(format!("--web.config.file={}", web.display()));
    Ok(recipe)
}

/// One on the loopback, with a folder and a configuration of its own.
fn recipe(paths: &Paths, data: &Path, name: &str, port: u16, configuration: &Value) -> Result<Recipe> {
    let file = data.join(format!("{name}.yaml"));
    std::fs::write(&file, format!("{configuration:#}"))?;
    Ok(Recipe {
        name: name.to_owned(),
        program: paths
            .get("prometheus")
            .context("prometheus was not made")?
            .clone(),
        arguments: vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", data.join(name).display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--storage.tsdb.retention.time=1h".to_owned(),
            "--log.level=warn".to_owned(),
        ],
        environment: Vec::new(),
        ready: None,
        patience: Duration::from_mins(1),
        grace: Duration::from_secs(30),
    })
}

/// JSON is YAML. Ray's nodes are found as KubeRay's documentation finds them: by the container port named `metrics`.
fn configuration(credentials: &Credentials, services: &[(&str, Vec<u16>)]) -> Value {
    let label = |source: &str, target: &str| json!({"source_labels": [source], "target_label": target});
    let mut jobs = vec![json!({
        "job_name": "ray",
        "kubernetes_sd_configs": [{
            "role": "pod",
            "kubeconfig_file": credentials.kubeconfig(Identity::Prometheus),
        }],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_pod_label_ray_io_cluster"], "regex": ".+", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "metrics", "action": "keep"},
            label("__meta_kubernetes_namespace", "namespace"),
            label("__meta_kubernetes_pod_name", "pod"),
            label("__meta_kubernetes_pod_label_ray_io_cluster", "ray_io_cluster"),
            label("__meta_kubernetes_pod_label_ray_io_group", "ray_io_group"),
            label("__meta_kubernetes_pod_label_ray_io_node_type", "ray_io_node_type"),
        ],
    })];
    jobs.extend(services.iter().map(|(name, ports)| {
        let targets: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        json!({"job_name": name, "static_configs": [{"targets": targets}]})
    }));
    // Tests wait for what is scraped, so it is scraped often.
    json!({"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": jobs})
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_query_survives_a_url() {
        assert_eq!(percent_encoded("up{a=\"b\"}"), "up%7Ba%3D%22b%22%7D");
    }
}
