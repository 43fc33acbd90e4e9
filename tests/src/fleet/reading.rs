//! What the autoscaler has taken and done so far: as the kernel, the API server and the service itself count it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Request;
use kube::{Client, Config};
use serde_json::json;
use testbed::{Part, Testbed};

use crate::process::{Memory, cpu_time};

/// Requests of the autoscaler are counted under this name, and nobody else's.
const FLOW: &str = "rayward-autoscaler";

/// The counters at a moment.
pub(super) struct Reading {
    at: Instant,
    cpu: Duration,
    looks: u64,
    queries: u64,
    requests: f64,
    /// Looks that began no later than each bound, in seconds.
    late: Vec<(f64, f64)>,
    memory: Memory,
}

/// What happened between two moments.
#[derive(Debug)]
pub(super) struct Row {
    looks_per_second: f64,
    cores: f64,
    requests_per_second: f64,
    queries_per_second: f64,
    resident: u64,
    resident_most: u64,
    /// The bounds that half of all looks, and ninety-nine of a hundred, did not exceed.
    late: [f64; 2],
}

/// Has the API server count the autoscaler's requests by themselves, with the share of it that they have anyway.
pub(super) async fn count_requests(testbed: &Testbed) -> Result<()> {
    let account = json!({"name": "rayward-autoscaler", "namespace": "rayward-system"});
    let everything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
    });
    let flow = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": FLOW},
        "spec": {
            "priorityLevelConfiguration": {"name": "workload-low"},
            "matchingPrecedence": 100,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                "resourceRules": [everything],
            }],
        },
    });
    testbed.apply(&flow).await?;
    Ok(())
}

impl Reading {
    pub(super) async fn take(testbed: &Testbed, looks: u64, queries: u64) -> Result<Self> {
        let pid = testbed.pid(Part::Autoscaler(0)).await?;
        let service = format!("http://{}", testbed.autoscaler_admin_address(0));
        let service = Client::try_from(Config::new(service.parse()?))?;
        let said = metrics(&service).await?;
        let requests = metrics(testbed.client()).await?;
        let late = said
            .lines()
            .filter_map(|line| line.strip_prefix("rayward_autoscaler_tick_lateness_seconds_bucket{le=\""))
            .filter_map(|line| line.split_once("\"} "))
            .map(|(bound, count)| Ok((bound.parse()?, count.parse()?)));
        let requests = requests
            .lines()
            .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total{"))
            .filter(|line| line.contains(&format!("flow_schema=\"{FLOW}\"")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(Self {
            at: Instant::now(),
            cpu: cpu_time(pid)?,
            looks,
            queries,
            requests: requests.sum(),
            late: late.collect::<Result<_>>()?,
            memory: Memory::of(pid)?,
        })
    }
}

async fn metrics(client: &Client) -> Result<String> {
    let request = Request::get("/metrics").body(Vec::new())?;
    client.request_text(request).await.context("read the metrics")
}

impl Row {
    pub(super) const HEADER: &str = "\
| | looks/s | CPU, cores | resident, MiB | at most | API requests/s | queries/s | looks late by, p50 | p99 |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
";

    pub(super) fn between(before: &Reading, after: &Reading) -> Result<Self> {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let cpu = after.cpu.saturating_sub(before.cpu);
        ensure!(after.requests > 0.0, "the API server counts no requests of ours");
        let looks = u32::try_from(after.looks - before.looks)?;
        let queries = u32::try_from(after.queries - before.queries)?;
        Ok(Self {
            looks_per_second: f64::from(looks) / seconds,
            cores: cpu.as_secs_f64() / seconds,
            requests_per_second: (after.requests - before.requests) / seconds,
            queries_per_second: f64::from(queries) / seconds,
            resident: after.memory.resident,
            resident_most: after.memory.resident_most,
            late: [late(before, after, 0.5)?, late(before, after, 0.99)?],
        })
    }
}

/// The least bound that this share of the looks between did not exceed.
fn late(before: &Reading, after: &Reading, share: f64) -> Result<f64> {
    let bounds = before.late.iter().zip(&after.late);
    let between: Vec<_> = bounds
        .map(|((_, before), (bound, after))| (bound, after - before))
        .collect();
    let all = between.last().context("the service tells no lateness")?.1;
    ensure!(all > 0.0, "there was no look");
    let found = between.iter().find(|(_, count)| *count >= share * all);
    Ok(*found.context("the last bound has none")?.0)
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            looks_per_second,
            cores,
            requests_per_second,
            queries_per_second,
            resident,
            resident_most,
            late,
        } = self;
        let [resident, most] = [resident, resident_most].map(|bytes| bytes >> 20);
        let [p50, p99] = late.map(|seconds| format!("{:.0} ms", seconds * 1000.0));
        write!(
            formatter,
            "| {looks_per_second:.0} | {cores:.2} | {resident} | {most} | {requests_per_second:.2} | {queries_per_second:.0} | {p50} | {p99} |"
        )
    }
}
