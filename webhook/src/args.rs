//! The command line.

mod namespaces;
mod offline;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rules::Facts;
use rules::pod::AutoscalerMode;

pub use namespaces::Namespaces;
pub use offline::{Check, ExplainPolicy, ManifestFormat, Mutate, Quota, ReportFormat, Uninject};
pub use world::World;

use crate::crd::{self, OwnKind};
use crate::policy::{explain, quota};
use crate::registration::{Address, FailurePolicies, FailurePolicy};
use crate::{check, list, output, rewrite, serve};

/// Admission webhook for Ray on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "rayward-webhook", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer the API server.
    Serve(Box<Serve>),
    /// Check manifests by the same rules. Ends with 0 when they are clean, 1 with findings, 2 when something cannot be read.
    Check(Check),
    /// Print manifests as they become with our defaults.
    Mutate(Mutate),
    /// Print manifests without what we have injected.
    Uninject(Uninject),
    /// List every rule, or explain one.
    Rules(Rules),
    /// Say which policies an object falls under, and which of them each value is from.
    ExplainPolicy(ExplainPolicy),
    /// Print the `ResourceQuota` that makes what policies allow a namespace a hard bound.
    Quota(Quota),
    /// Print the definition of one of our kinds.
    Crd {
        /// Which one.
        #[arg(default_value = "rayadmissionpolicies")]
        kind: OwnKind,
    },
}

/// The flags of `rules`.
#[derive(Debug, clap::Args)]
pub struct Rules {
    /// Only this one, with an example that fails and one that passes.
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// How to write them.
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// How rules are listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A table for people.
    Text,
    /// For programs; stable.
    Json,
    /// For documentation.
    Markdown,
}

/// The flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Where the API server is answered, over TLS.
    #[arg(long, default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// Where probes and metrics are answered, in plain text.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// How to reach the API server; without it, as the environment says.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Register our webhook configurations, and repair them when they are changed. Without it, only their caBundle is kept.
    #[arg(long)]
    pub manage_webhooks: bool,
    /// What becomes of Ray's objects while the webhook cannot be reached. With Ignore they are stored as they are written, so a manifest that is
    /// applied meanwhile loses what was filled in, until the next change. Registered by --manage-webhooks.
    #[arg(long, value_name = "POLICY", ignore_case = true, default_value = "Fail")]
    pub ray_failure_policy: FailurePolicy,
    /// What becomes of Pods that take TPUs while the webhook cannot be reached: without what it puts in, the hosts of a slice do not find
    /// each other. Registered by --manage-webhooks.
    #[arg(long, value_name = "POLICY", ignore_case = true, default_value = "Ignore")]
    pub tpu_failure_policy: FailurePolicy,
    /// The API server reaches us at this URL (`https://host:port`) instead of a Service.
    #[arg(long, value_parser = https)]
    pub webhook_url: Option<String>,
    /// The API server reaches us through this Service,
    #[arg(long, default_value = "rayward-webhook")]
    pub service_name: String,
    /// in this namespace.
    #[arg(long, default_value = "rayward-system")]
    pub service_namespace: String,
    /// Serve this certificate instead of one of our own; PEM, leaf first. It is read again when it changes.
    #[arg(long, requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The private key of the certificate.
    #[arg(long, requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Publish these authorities for the certificate. Without it, somebody else does, for example cert-manager.
    #[arg(long, requires = "tls_cert_file")]
    pub ca_file: Option<PathBuf>,
    /// The Secret in which replicas share the authority of our own certificates.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "rayward-system/rayward-webhook-certs"
    )]
    pub cert_secret: SecretName,
    /// Who scales clusters that do not say.
    #[arg(long, value_name = "central|sidecar|ray|shadow", default_value = "central")]
    pub autoscaler_mode: AutoscalerMode,
    /// What scales clusters of the mode sidecar, in a container of their head.
    #[arg(long, value_name = "IMAGE", default_value = rules::pod::SIDECAR_IMAGE)]
    pub sidecar_image: String,
    /// Which KubeRay reconciles what we admit. What is not told is found out: from the Deployment of its operator, and from the API server.
    #[command(flatten)]
    pub world: World,
    /// Service accounts whose writes carry on what users wrote, and are warned, never refused; * is any namespace.
    #[arg(
        long,
        value_name = "NAMESPACE:NAME,..",
        value_delimiter = ',',
        value_parser = controller,
        default_values_t = Facts::default().controllers
    )]
    pub controllers: Vec<String>,
    /// How often one replica looks at all objects of Ray that there are, by the rules and policies of the day, besides whenever those change.
    /// 0 is never.
    #[arg(long, value_name = "N", default_value = "6", value_parser = hours)]
    pub audit_hours: Duration,
    /// How long to go on serving after SIGTERM, until nobody calls us any more.
    #[arg(long, value_name = "N", default_value = "10", value_parser = seconds)]
    pub drain_seconds: Duration,
}

/// Namespace and name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// The namespace,
    pub namespace: String,
    /// and the name.
    pub name: String,
}

impl Args {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { command } = self;
        match command {
            Command::Serve(flags) => serve::run(*flags).await?,
            Command::Check(flags) => return Ok(unless_unusable(check::run(&flags))),
            Command::Mutate(flags) => return Ok(unless_unusable(rewrite::mutate(&flags))),
            Command::Uninject(flags) => return Ok(unless_unusable(rewrite::uninject(&flags))),
            Command::Rules(flags) => list::print(&flags)?,
            Command::ExplainPolicy(flags) => return Ok(unless_unusable(explain::run(&flags).await)),
            Command::Quota(flags) => return Ok(unless_unusable(quota::run(&flags))),
            Command::Crd { kind } => return crd::print(kind),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// To these commands 1 means findings, and 2 that they could not do their work.
fn unless_unusable(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        output::tell(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}

impl Serve {
    /// What the API server is to do without us.
    pub fn failure_policies(&self) -> FailurePolicies {
        FailurePolicies {
            ray: self.ray_failure_policy,
            tpu: self.tpu_failure_policy,
        }
    }

    /// Where the API server finds us.
    pub fn address(&self) -> Address {
        match &self.webhook_url {
            Some(url) => Address::Url(url.clone()),
            None => Address::Service {
                namespace: self.service_namespace.clone(),
                name: self.service_name.clone(),
            },
        }
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err("write NAMESPACE/NAME".to_owned()),
        }
    }
}

fn controller(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write NAMESPACE:NAME, or *:NAME".to_owned()),
    }
}

fn https(text: &str) -> Result<String, String> {
    let uri: axum::http::Uri = text.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() {
        return Err("write https://host:port".to_owned());
    }
    Ok(text.to_owned())
}

fn hours(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse::<u32>()
        .map(|hours| Duration::from_hours(hours.into()))
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        let problem = |flags: &[&str]| {
            let line = ["rayward-webhook", "serve"].iter().chain(flags);
            let error = Args::try_parse_from(line).expect_err("refused").to_string();
            error.lines().next().unwrap_or_default().to_owned()
        };
        insta::assert_snapshot!(
            [
                problem(&["--webhook-url=http://127.0.0.1:9443"]),
                problem(&["--cert-secret=certs"]),
                problem(&["--autoscaler-mode=none"]),
                problem(&["--tls-cert-file=tls.crt"]),
                problem(&["--kuberay-version=1.3.0"]),
                problem(&["--feature-gates=RayCronJob"]),
                problem(&["--kubernetes-version=new"]),
                problem(&["--controllers=kuberay-operator"]),
            ]
            .join("\n"),
            @r#"
            error: invalid value 'http://127.0.0.1:9443' for '--webhook-url <WEBHOOK_URL>': write https://host:port
            error: invalid value 'certs' for '--cert-secret <NAMESPACE/NAME>': write NAMESPACE/NAME
            error: invalid value 'none' for '--autoscaler-mode <central|sidecar|ray|shadow>': `none` is not an autoscaler mode: write central, sidecar, ray or shadow
            error: the following required arguments were not provided:
            error: invalid value '1.3.0' for '--kuberay-version <VERSION>': `1.3.0` is not a version of KubeRay that Rayward knows: write 1.4, 1.5, 1.6 or 1.7, with or without a patch version
            error: invalid value 'RayCronJob' for '--feature-gates <GATE=true,..>': `RayCronJob` does not say true or false: write RayCronJob=true
            error: invalid value 'new' for '--kubernetes-version <VERSION>': write it as 1.36
            error: invalid value 'kuberay-operator' for '--controllers <NAMESPACE:NAME,..>': write NAMESPACE:NAME, or *:NAME
            "#
        );
    }
}
