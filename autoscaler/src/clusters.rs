//! `clusters`: the clusters that want to be scaled, who does it, and what is left to do until it is who it should be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;
use serde::Serialize;

use crate::adoption::{Writer, wanted, writer};
use crate::args::connect;
use crate::cluster::{Cluster, Pod, Stage};
use crate::watch::ray_cluster;

/// The command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Clusters {
    /// Connect as this file says; without it, as the environment says.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Only those of this namespace.
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Who scales a cluster that does not say: as for `run`.
    #[arg(long, value_name = "central|sidecar|ray|shadow", default_value = "central")]
    default_mode: AutoscalerMode,

    /// For people or for programs.
    #[arg(long, value_name = "text|json", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What is told of one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    mode: String,
    /// Nothing while there is no head.
    scaled_by: Option<String>,
    head: Option<String>,
    head_age_seconds: Option<i64>,
    /// Nothing where all is as it should be.
    next: Option<String>,
}

#[derive(Serialize)]
struct Rows {
    version: u32,
    clusters: Vec<Row>,
}

/// Lists them.
pub(crate) async fn run(args: &Clusters) -> Result<String> {
    let client = connect(args.kubeconfig.as_deref()).await?;
    let clusters = list(client.clone(), args.namespace.as_deref()).await?;
    let heads = heads(client, args.namespace.as_deref()).await?;
    let now = Timestamp::now();
    let rows = clusters.iter().map(|cluster| {
        let key = (cluster.metadata.namespace.clone(), cluster.metadata.name.clone());
        let head = key.0.zip(key.1).and_then(|key| heads.get(&key));
        row(cluster, head, args.default_mode, now)
    });
    let rows = rows.collect();
    Ok(match args.format {
        Format::Text => table(&rows),
        Format::Json => {
            let rows = Rows {
                version: 1,
                clusters: rows,
            };
            serde_json::to_string_pretty(&rows).context("write JSON")? + "\n"
        }
    })
}

async fn list(client: Client, namespace: Option<&str>) -> Result<Vec<Cluster>> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &ray_cluster()),
        None => Api::all_with(client, &ray_cluster()),
    };
    let listed = api
        .list(&ListParams::default())
        .await
        .context("list RayClusters")?;
    let read = listed.items.iter().filter_map(Cluster::read);
    Ok(read.filter(|cluster| cluster.spec.is_autoscaled()).collect())
}

/// The youngest head of each cluster.
async fn heads(client: Client, namespace: Option<&str>) -> Result<BTreeMap<(String, String), Pod>> {
    let api: Api<KubernetesPod> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let is_head = format!("{}={}", keys::NODE_TYPE, keys::NODE_TYPE_HEAD);
    let listed = api
        .list(&ListParams::default().labels(&is_head))
        .await
        .context("list the Pods of heads")?;
    let mut heads: BTreeMap<(String, String), Pod> = BTreeMap::new();
    for pod in &listed.items {
        let Some((cluster, head)) = Pod::read(pod) else {
            continue;
        };
        let key = (pod.metadata.namespace.clone().unwrap_or_default(), cluster);
        let is_there = matches!(head.stage, Stage::Pending | Stage::Running);
        if is_there && heads.get(&key).is_none_or(|other| other.created < head.created) {
            heads.insert(key, head);
        }
    }
    Ok(heads)
}

fn row(cluster: &Cluster, head: Option<&Pod>, default_mode: AutoscalerMode, now: Timestamp) -> Row {
    let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
    let mode = cluster.mode().unwrap_or(default_mode);
    // One that is suspended, or another controller's, is scaled by nobody.
    let head = head.filter(|_| cluster.is_autoscaled());
    let writer = head.map(|head| writer(mode, head));
    let next = head.filter(|_| writer != Some(wanted(mode))).map(|head| {
        let name = &head.name;
        format!("kubectl -n {namespace} delete pod {name}")
    });
    let created = head.and_then(|head| head.created);
    Row {
        name: cluster.metadata.name.clone().unwrap_or_default(),
        namespace,
        mode: mode.to_string(),
        scaled_by: writer.as_ref().map(Writer::to_string),
        head: head.map(|head| head.name.clone()),
        head_age_seconds: created.map(|created| now.duration_since(created).as_secs()),
        next,
    }
}

const HEADER: [&str; 7] = ["NAMESPACE", "NAME", "MODE", "SCALED BY", "HEAD", "AGE", "NEXT"];

/// As `kubectl get` writes one.
fn table(rows: &Vec<Row>) -> String {
    if rows.is_empty() {
        return "No RayCluster wants to be scaled.\n".to_owned();
    }
    let mut lines = vec![HEADER.map(str::to_owned)];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for row in rows {
        lines.push([
            row.namespace.clone(),
            row.name.clone(),
            row.mode.clone(),
            or_none(&row.scaled_by),
            or_none(&row.head),
            or_none(&row.head_age_seconds.map(age)),
            or_none(&row.next),
        ]);
    }
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let padded: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        // A String takes everything.
        let _ = writeln!(text, "{}", padded.join("   ").trim_end());
    }
    text
}

fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    /// A cluster of that mode, with a head of that image beside Ray, if any.
    fn one(name: &str, mode: Option<&str>, beside: Option<&str>) -> Row {
        let annotations = mode.map(|mode| json!({ "rayward.dev/autoscaler": mode }));
        let cluster = json!({
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": { "name": name, "namespace": "team", "annotations": annotations },
            "spec": { "enableInTreeAutoscaling": true, "headGroupSpec": { "template": {} } },
        });
        let mut containers = vec![json!({ "name": "ray-head" })];
        containers.extend(beside.map(|image| json!({ "name": "autoscaler", "image": image })));
        let head = json!({
            "metadata": {
                "name": format!("{name}-head-x7k2p"),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "ray.io/cluster": name, "ray.io/node-type": "head", "ray.io/group": "headgroup" },
            },
            "spec": { "containers": containers },
        });
        let cluster = Cluster::read(&serde_json::from_value(cluster).expect("an object")).expect("a cluster");
        let (_, head) = Pod::read(&serde_json::from_value(head).expect("a Pod")).expect("a head");
        let now = "2026-01-01T03:00:00Z".parse().expect("a time");
        row(&cluster, Some(&head), AutoscalerMode::Central, now)
    }

    #[test]
    fn who_scales_and_what_is_left_to_do() {
        let ray = Some("rayproject/ray:2.60.0");
        let ours = Some("rayward/autoscaler:0.1.0");
        let rows = vec![
            one("moved", None, None),
            one("older", None, ray),
            one("leaving", Some("ray"), None),
            one("left", Some("ray"), ray),
            one("beside", Some("sidecar"), ours),
            one("watched", Some("shadow"), ray),
        ];
        assert_snapshot!(table(&rows), @"
        NAMESPACE   NAME      MODE      SCALED BY             HEAD                 AGE   NEXT
        team        moved     central   rayward               moved-head-x7k2p     3h    -
        team        older     central   ray in the head       older-head-x7k2p     3h    kubectl -n team delete pod older-head-x7k2p
        team        leaving   ray       nobody                leaving-head-x7k2p   3h    kubectl -n team delete pod leaving-head-x7k2p
        team        left      ray       ray in the head       left-head-x7k2p      3h    -
        team        beside    sidecar   rayward in the head   beside-head-x7k2p    3h    -
        team        watched   shadow    ray in the head       watched-head-x7k2p   3h    -
        ");
        assert_eq!(age(90), "90s");
        assert_eq!(age(5000), "83m");
        assert_eq!(age(90 * 86_400), "90d");
        assert_snapshot!(table(&Vec::new()), @"No RayCluster wants to be scaled.");
    }
}
