//! `serve`: puts the service together, runs it, and stops it without losing a call.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use certs::files::Files;
use certs::keeper::{Keeper, Source};
use certs::store::Store;
use certs::webhooks::{BundleOnly, Configurations, Registration};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use rules::Facts;
use rustls_pki_types::ServerName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Admin};
use crate::admit::Admission;
use crate::args::{SecretName, Serve};
use crate::audit::{self, Auditor};
use crate::clusters::Clusters;
use crate::connection::Doorman;
use crate::events::{self, Events};
use crate::metrics::Metrics;
use crate::policy::watch::Namespaces;
use crate::registration::{Address, NAME, Registrar};
use crate::server;
use crate::usage::Ledger;
use crate::{operator, policy};

/// Runs until SIGTERM or SIGINT.
pub async fn run(flags: Serve) -> anyhow::Result<()> {
    log_to_stderr();
    let client = client(flags.kubeconfig.as_deref()).await?;
    let admission_listener = bind(flags.listen)?;
    let admin_listener = bind(flags.admin_listen)?;
    let (leave, leaving) = watch::channel(false);
    let keeper = keeper(&client, &flags)?;
    let tls = Arc::new(keeper.resolver().server_config(&["http/1.1"]));
    let Serve {
        listen,
        admin_listen,
        cert_secret,
        autoscaler_mode,
        sidecar_image,
        world,
        controllers,
        audit_hours,
        drain_seconds,
        ..
    } = flags;

    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry, keeper.status()));
    let (know_policies, policies_known) = watch::channel(false);
    let results = audit::Results::default();
    registry
        .sub_registry_with_prefix("rayward_webhook")
        .register_collector(Box::new(results.clone()));
    let (events, noted) = Events::new(client.clone(), &mut registry);
    let admin = Admin {
        certificates: keeper.status(),
        policies: policies_known.clone(),
        leaving: leaving.clone(),
        registry: Arc::new(registry),
    };
    let (clusters, keep_clusters) = Clusters::watch(client.clone(), autoscaler_mode);
    let (ledger, keep_ledger) = Ledger::watch(client.clone());
    let (namespaces, keep_namespaces) = Namespaces::watch(client.clone());
    let facts = Arc::new(ArcSwap::from_pointee(Facts {
        autoscaler_mode: Some(autoscaler_mode),
        sidecar_image,
        controllers,
        // The API server has been there before us.
        pruned: true,
        ..world.told()
    }));
    let admission = Admission {
        facts: facts.clone(),
        clusters,
        ledger,
        namespaces: namespaces.clone(),
        events,
    };
    let auditor = Auditor {
        client: client.clone(),
        facts: facts.clone(),
        namespaces: namespaces.clone(),
        policies_known,
        lease_namespace: cert_secret.namespace,
        every: audit_hours,
        results,
    };
    let router = server::router(admission, metrics);

    let mut background = JoinSet::new();
    background.spawn(keeper.run());
    background.spawn(keep_clusters);
    background.spawn(keep_ledger);
    background.spawn(keep_namespaces);
    background.spawn(policy::watch::keep(
        client.clone(),
        facts.clone(),
        namespaces,
        know_policies,
    ));
    background.spawn(operator::keep(client.clone(), world, facts));
    background.spawn(events::write(noted));
    background.spawn(auditor.keep());
    background.spawn(serve_admin(admin_listener, admin::router(admin)));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, %admin_listen, "started");
    let drained = drain(leave, drain_seconds);
    tokio::select! {
        result = server::serve(admission_listener, tls, Doorman::new(leaving), router, drained) => {
            result.context("serve admission")?;
        }
        // None of these ends by itself. A restart is better than to go on without it.
        ended = background.join_next() => anyhow::bail!("a part of the service has ended: {ended:?}"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// What keeps our certificate, and what API servers know of it. It comes from files that somebody brought, or from an authority of our own,
/// which replicas share.
fn keeper(client: &Client, flags: &Serve) -> anyhow::Result<Keeper> {
    let address = flags.address();
    let names = names(&address);
    let name = ServerName::try_from(names[0].clone()).context("read the name the API server calls us by")?;
    let brought = flags.tls_cert_file.clone().zip(flags.tls_key_file.clone());
    let source = if let Some((certificate, key)) = brought {
        Source::Brought(Files {
            certificate,
            key,
            authority: flags.ca_file.clone(),
        })
    } else {
        let SecretName { namespace, name } = &flags.cert_secret;
        Source::built_in(Store::new(client.clone(), namespace, name), names)
    };
    let registration: Box<dyn Registration> = if flags.manage_webhooks {
        Box::new(Registrar::new(&address, flags.failure_policies()))
    } else {
        Box::new(BundleOnly)
    };
    let configurations = Configurations::new(client.clone(), NAME);
    Ok(Keeper::new(source, configurations, registration, name))
}

/// Resolves when it is time to stop listening: some time after we were told to leave, so that whoever still knows us as ready has
/// learnt otherwise; at once when told again.
async fn drain(leave: watch::Sender<bool>, patience: Duration) {
    told_to_stop().await;
    tracing::info!(seconds = patience.as_secs(), "stopping: not ready, still serving");
    leave.send_replace(true);
    tokio::select! {
        () = tokio::time::sleep(patience) => {}
        () = told_to_stop() => {}
    }
}

async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn serve_admin(listener: TcpListener, router: axum::Router) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is not blocking");
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "probes and metrics are no longer served");
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener
        .set_nonblocking(true)
        .with_context(|| format!("listen on {address}"))?;
    Ok(listener)
}

/// A client for the API server that the kubeconfig names, or the environment.
pub(crate) async fn client(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file =
                Kubeconfig::read_from(path).with_context(|| format!("read kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("find the API server: pass --kubeconfig")?,
    };
    Client::try_from(config).context("make a client for the API server")
}

/// What the API server may call us, the name that it does call us first.
fn names(address: &Address) -> Vec<String> {
    match address {
        Address::Service { namespace, name } => {
            let full = format!("{name}.{namespace}.svc");
            vec![
                full.clone(),
                format!("{full}.cluster.local"),
                format!("{name}.{namespace}"),
                name.clone(),
            ]
        }
        Address::Url(url) => {
            let uri: axum::http::Uri = url.parse().expect("the command line was read");
            vec![
                uri.host()
                    .expect("the command line was read")
                    .trim_matches(['[', ']'])
                    .to_owned(),
            ]
        }
    }
}

/// Lines for people, JSON for machines; `RUST_LOG` says how much.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        subscriber.init();
    } else {
        subscriber.json().flatten_event(true).init();
    }
}
