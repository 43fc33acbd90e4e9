//! `record`: follows a live cluster and writes down what it is asked to do.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use ray::keys;
use serde_json::Value;

use super::Recording;
use crate::args::connect;
use crate::cluster::{Cluster, Pod, Stage};
use crate::explain::Key;
use crate::gcs::Gcs;
use crate::watch::ray_cluster;

/// Ray's nodes report to the head once a second.
const PERIOD: Duration = Duration::from_secs(1);
/// Pods are listed once in so many looks: all that is wanted of them is how long they took to start.
const LOOKS_PER_LIST: u64 = 10;
/// A head that does not answer for so long is not the one that was there.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// The command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Record {
    /// The cluster.
    #[arg(value_name = "NAMESPACE/NAME")]
    cluster: Key,

    /// Connect as this file says; without it, as the environment says. The head is asked directly, so its Pod has to be within reach.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// How long to record; without it, until interrupted.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// Write the scenario here; without it, to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The scenario, or nothing where it was written to a file.
pub(crate) async fn run(args: &Record) -> Result<String> {
    let client = connect(args.kubeconfig.as_deref()).await?;
    let Key { namespace, name } = &args.cluster;
    let clusters: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ray_cluster());
    let object = clusters
        .get(name)
        .await
        .with_context(|| format!("get the RayCluster {namespace}/{name}"))?;
    let cluster = Cluster::read(&object).context("read the RayCluster")?;
    let gcs = head(&client, &cluster, namespace, name).await?;
    let mut recording = Recording::new(&serde_json::to_value(&object).context("read the RayCluster")?);

    let until = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let mut starts = Starts::default();
    tracing::info!(namespace, cluster = name, head = %gcs.address(), "recording begins; an interrupt ends it");
    tokio::select! {
        followed = follow(gcs, &mut recording, &mut starts, &client, &args.cluster) => return Err(followed),
        () = until => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for SIGINT")?,
    }
    let scenario: Value = recording.scenario(starts.0);
    let text = format!("{scenario:#}\n");
    let Some(file) = &args.output else { return Ok(text) };
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(String::new())
}

/// Looks again and again, until the head is gone.
async fn follow(
    mut gcs: Gcs,
    recording: &mut Recording,
    starts: &mut Starts,
    client: &Client,
    cluster: &Key,
) -> anyhow::Error {
    let start = Instant::now();
    let mut answered = start;
    let mut look = 0_u64;
    loop {
        if look.is_multiple_of(LOOKS_PER_LIST) {
            match pods(client, &cluster.namespace, &cluster.name).await {
                Ok(pods) => starts.see(&pods),
                Err(error) => tracing::warn!(%error, "Pods not listed"),
            }
        }
        match gcs.report().await {
            Ok(report) => {
                answered = Instant::now();
                recording.look(&report, start.elapsed().as_secs());
            }
            Err(error) if answered.elapsed() > SILENCE_MAX => {
                return anyhow::Error::new(error).context("the head answers no more");
            }
            Err(error) => tracing::warn!(%error, "not recorded"),
        }
        look += 1;
        tokio::time::sleep(PERIOD).await;
    }
}

/// The GCS of the cluster's youngest head.
async fn head(client: &Client, cluster: &Cluster, namespace: &str, name: &str) -> Result<Gcs> {
    let pods = pods(client, namespace, name).await?;
    let heads = pods
        .iter()
        .filter(|pod| pod.is_head && pod.stage == Stage::Running);
    let head = heads.max_by_key(|pod| &pod.created);
    let Some((head, ip)) = head.and_then(|head| Some((head, head.ip?))) else {
        bail!("{namespace}/{name} has no running head");
    };
    let credentials = head.access.fetch(client, namespace).await?;
    let address = SocketAddr::new(ip, cluster.spec.head.gcs_port());
    let mut gcs = Gcs::new(address, &credentials)?;
    gcs.expect(pods.len());
    Ok(gcs)
}

/// How many seconds workers took from made to running, at least and at most.
#[derive(Debug, Default)]
struct Starts(Option<(u64, u64)>);

impl Starts {
    fn see(&mut self, pods: &[Pod]) {
        let workers = pods.iter().filter(|pod| !pod.is_head);
        let took = workers.filter_map(|pod| {
            let took = pod.started?.duration_since(pod.created?);
            u64::try_from(took.as_secs()).ok()
        });
        for took in took {
            let (least, most) = self.0.unwrap_or((took, took));
            self.0 = Some((least.min(took), most.max(took)));
        }
    }
}

async fn pods(client: &Client, namespace: &str, name: &str) -> Result<Vec<Pod>> {
    let pods: Api<KubernetesPod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={name}", keys::CLUSTER);
    let listed = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .with_context(|| format!("list the Pods of {namespace}/{name}"))?;
    let read = listed.items.iter().filter_map(Pod::read);
    Ok(read.map(|(_, pod)| pod).collect())
}
