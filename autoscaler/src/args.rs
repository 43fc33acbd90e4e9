//! The command line, and how the parts are put together.

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{ArgAction, Parser, Subcommand};
use futures::FutureExt;
use futures::future::pending;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use planner::Policy;
use ray::autoscaler_mode::AutoscalerMode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::admin::Admin;
use crate::adoption::Scope;
use crate::clusters::{self, Clusters};
use crate::explain::{self, Explain};
use crate::journal::Journal;
use crate::lease::Keeper;
use crate::metrics::Metrics;
use crate::ownership::Ownership;
use crate::patience::UNSCHEDULED_SECONDS;
use crate::recording::command::{self, Record};
use crate::signals::{self, Signals};
use crate::simulate::{self, Simulate};
use crate::tick;
use crate::watch::Watch;

const ADMIN_PORT: u16 = 8080;
const ADMIN_PORT_BESIDE: u16 = 44217;

/// Autoscaler for Ray on Kubernetes.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scale clusters until told to stop.
    ///
    /// Beside a head it can be called as Ray's own autoscaler is: `ray kuberay-autoscaler`, where `ray` is a link to this program.
    #[command(alias = "kuberay-autoscaler")]
    Run(RunArgs),
    /// List the clusters that want to be scaled, who scales each, and what to do where that is not who should.
    Clusters(Clusters),
    /// Say why a cluster has the nodes that it has, what it waits for and what would change it, as the running service knows.
    Explain(Explain),
    /// Follow a cluster and write down what it is asked to do, as a scenario for `simulate`.
    Record(Record),
    /// Say what would be decided about a cluster that is written down. Ends with 0, or with 2 when it cannot be read.
    Simulate(Simulate),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Connect as this file says; without it, as the environment or the Pod's service account says.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Serve /livez, /readyz and /metrics here, in plain HTTP. Without it, at port 8080, or beside a head, where Ray has that port, at 44217, as
    /// Ray's own autoscaler does.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,

    /// Who scales a cluster that does not say so by the annotation `rayward.dev/autoscaler`.
    #[arg(long, value_name = "central|sidecar|ray|shadow", default_value = "central")]
    default_mode: AutoscalerMode,

    /// What tells this replica from the others with which it shares the clusters.
    #[arg(long, value_name = "NAME", env = "HOSTNAME")]
    replica: Option<String>,

    /// The namespace of the Leases by which replicas know of each other.
    #[arg(long, value_name = "NAMESPACE", default_value = "rayward-system")]
    lease_namespace: String,

    /// Scale this cluster only, whatever its mode: for use in the container `autoscaler` of its head.
    #[arg(long, value_name = "NAME", requires_all = ["cluster_namespace", "head_pod_name"])]
    cluster_name: Option<String>,

    /// The namespace of that cluster.
    #[arg(long, value_name = "NAMESPACE", requires = "cluster_name")]
    cluster_namespace: Option<String>,

    /// The Pod of that head, which is our own. KubeRay says so in the environment.
    #[arg(long, value_name = "NAME", env = "RAY_HEAD_POD_NAME")]
    head_pod_name: Option<String>,

    /// For how long a Pod that finds no node is waited for before its group is passed over, until the group's own Pods have shown how long they take. Less where all
    /// nodes are there already, more where nodes are made on demand and a group is worth waiting for.
    #[arg(long, value_name = "N", default_value_t = UNSCHEDULED_SECONDS, value_parser = clap::value_parser!(u32).range(1..=3600))]
    unscheduled_seconds: u32,

    /// Whether work goes to another group while the Pods of one wait in vain. Ray's own autoscaler takes them for nodes on their way.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    pass_over: bool,

    /// A Prometheus that scaling policies may have asked; the first of several where a policy names none. Without it, any that a policy names.
    #[arg(long, value_name = "URL")]
    prometheus: Vec<String>,

    /// What those get to see where a policy names no Secret: a folder with the same files as such a Secret has keys, `username` and `password`, `token`,
    /// `ca.crt`, `tls.crt` and `tls.key`, `header.NAME`.
    #[arg(long, value_name = "FOLDER", requires = "prometheus")]
    prometheus_credentials: Option<PathBuf>,

    /// How often Prometheus is asked what scaling policies want to know.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    prometheus_seconds: u64,
}

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => args.run().await?,
            Command::Clusters(args) => print(&clusters::run(&args).await?)?,
            Command::Explain(args) => print(&explain::run(&args).await?)?,
            Command::Record(args) => {
                install_log();
                print(&command::run(&args).await?)?;
            }
            Command::Simulate(args) => return Ok(unless_unusable(simulate::run(&args).await)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

/// As with the offline commands of the webhook, 2 means that the input is at fault.
fn unless_unusable(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody hears it, the status says it.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl RunArgs {
    async fn run(self) -> Result<()> {
        install_log();
        let client = connect(self.kubeconfig.as_deref()).await?;
        let beside = self
            .cluster_name
            .zip(self.cluster_namespace)
            .zip(self.head_pod_name);
        let scope = match beside {
            Some(((name, namespace), head)) => Scope::Beside {
                namespace,
                name,
                head,
            },
            None => Scope::Central {
                default_mode: self.default_mode,
            },
        };
        let (mut lease, ownership) = match scope {
            Scope::Central { .. } => {
                let replica = self.replica.unwrap_or_else(|| "replica".to_owned());
                let (lease, ownership) = Keeper::new(client.clone(), &self.lease_namespace, &replica);
                (Some(lease), ownership)
            }
            Scope::Beside { .. } => (None, Ownership::Alone),
        };
        let metrics = Metrics::new();
        let decisions = tick::Settings {
            policy: Policy {
                pass_over: self.pass_over,
                ..Policy::default()
            },
            unscheduled_seconds: self.unscheduled_seconds,
        };
        let settings = signals::Settings {
            servers: self.prometheus,
            credentials: self.prometheus_credentials,
            period: Duration::from_secs(self.prometheus_seconds),
        };
        // Beside one head there is no right to see policies.
        let (signals, keep_signals) = match scope {
            Scope::Central { .. } => {
                let (signals, keep) =
                    Signals::new(client.clone(), settings, ownership.clone(), metrics.clone());
                (signals, keep.boxed())
            }
            Scope::Beside { .. } => (Signals::none(), pending().boxed()),
        };
        let port = if lease.is_some() {
            ADMIN_PORT
        } else {
            ADMIN_PORT_BESIDE
        };
        let listen = self.admin_listen.unwrap_or((Ipv4Addr::UNSPECIFIED, port).into());
        let journal = Journal::default();
        let admin = Admin::bind(listen, metrics.clone(), journal.clone()).await?;
        tracing::info!(admin = %admin.address()?, ?scope, "scaling begins");
        let ended = tokio::select! {
            served = admin.serve() => served.context("serve the admin port"),
            () = Watch::new(client, scope, ownership, metrics, signals, decisions, journal).run() => Ok(()),
            () = keep(lease.as_mut()) => Ok(()),
            () = keep_signals => Ok(()),
            stopped = stop() => stopped,
        };
        // The watch and all its loops are gone by now.
        if let Some(lease) = lease {
            lease.release().await;
        }
        ended
    }
}

/// A client of the API server.
pub(crate) async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let config = match kubeconfig {
        Some(file) => {
            let kubeconfig =
                Kubeconfig::read_from(file).with_context(|| format!("read {}", file.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("find out how to connect to Kubernetes: name a --kubeconfig")?,
    };
    Client::try_from(config).context("set up the Kubernetes client")
}

/// For people on a terminal, for machines elsewhere.
fn install_log() {
    // The client calls it an error when a server of Prometheus cannot be reached; whoever asked says what that means.
    let usual = || EnvFilter::new("info,kube_client::client::builder=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second installation is of no consequence: whoever embeds us has a log of their own.
    let _ = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
}

/// Only where clusters are shared is there one to keep.
async fn keep(lease: Option<&mut Keeper>) {
    match lease {
        Some(lease) => lease.keep().await,
        None => std::future::pending().await,
    }
}

/// A tick may be cut off anywhere, so there is nothing to wait for.
async fn stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for SIGINT")?,
    }
    tracing::info!("scaling ends");
    Ok(())
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
    fn it_is_called_as_rays_own() {
        let cluster = ["--cluster-name", "demo", "--cluster-namespace", "team"];
        let parse = |more: &[&str]| {
            let words = ["ray", "kuberay-autoscaler"].iter().chain(&cluster).chain(more);
            Args::try_parse_from(words)
        };
        let beside = parse(&["--head-pod-name", "demo-head-x7k2p"]).expect("KubeRay's words");
        assert!(matches!(beside.command, Command::Run(_)));
        // Nobody would know which head that is, and whether it has another writer.
        assert!(parse(&[]).is_err());
    }
}
