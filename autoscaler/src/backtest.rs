//! `simulate --policy`: what scaling policies would have done about what Prometheus measured, or what a file says that it did. Read here, played by
//! [`crate::signals::replay`], told in `told`.

mod demand;
mod history;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use jiff::{Span, SpanRelativeTo, Timestamp};
use ray::path::Pointer;
use ray::resources::Amount;
use ray::scaling_policy::{self, ScalingPolicySpec, TargetKind};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::signals::replay::work::Work;
use crate::signals::replay::{self, Moment, Question, Series, Setting};
use crate::signals::{Query, Server};
use crate::simulate::{Format, read_cluster};
use history::Columns;
use told::{Demand, Run};

/// Prometheus gives eleven thousand points at a time at most.
const POINTS_MAX: i64 = 5_000;
/// Ten weeks in minutes; each step takes a moment.
const STEPS_MAX: i64 = 100_000;
/// Where nothing says how many there may be.
const REPLICAS_MAX: i32 = 1_000;

/// The flags that `simulate` takes for policies.
#[derive(Debug, clap::Args)]
pub(crate) struct Backtest {
    /// Play this `RayScalingPolicy` against what was measured; several are compared.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// Measured by this Prometheus.
    #[arg(long, value_name = "URL", requires = "policy", conflicts_with = "history")]
    from_prometheus: Option<String>,
    /// Measured as this file says: CSV with a column `time` and one for each signal, or `OpenMetrics` with a time at each sample.
    #[arg(long, value_name = "FILE", requires = "policy")]
    history: Option<PathBuf>,
    /// How far back from now Prometheus is asked, such as 7d or 12h.
    #[arg(long, value_name = "TIME", default_value = "1d", requires = "policy", value_parser = seconds)]
    range: i64,
    /// How many seconds pass from one decision to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, requires = "policy", value_parser = clap::value_parser!(u32).range(1..=3600))]
    step: u32,
    /// How many seconds a replica takes from asked for to running.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "policy")]
    start_seconds: u32,
    /// What a replica of a group costs in an hour, such as gpu=2.50.
    #[arg(long, value_name = "GROUP=PRICE", requires = "policy", value_parser = price)]
    price: Vec<(String, f64)>,
    /// Leave out what Ray itself used and waited for, which is looked up, too, where a RayCluster is given.
    #[arg(long, requires = "policy")]
    no_demand: bool,
    /// What a task is taken to wait for, at times when Rayward did not measure it; several are waited for together.
    #[arg(long, value_name = "RESOURCE=AMOUNT", default_value = "CPU=1", requires = "policy", value_parser = amount)]
    waiting_task: Vec<(String, Amount)>,
}

fn seconds(text: &str) -> Result<i64, String> {
    let problem = || format!("{text} is no time such as 7d or 12h");
    let span: Span = text.parse().map_err(|_| problem())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| problem())?;
    Ok(duration.as_secs())
}

fn price(text: &str) -> Result<(String, f64), String> {
    let (group, price) = text.split_once('=').ok_or("say GROUP=PRICE")?;
    let price = price.parse().map_err(|_| format!("{price} is no number"))?;
    Ok((group.to_owned(), price))
}

fn amount(text: &str) -> Result<(String, Amount), String> {
    let (resource, amount) = text.split_once('=').ok_or("say RESOURCE=AMOUNT")?;
    let amount: Amount = amount
        .parse()
        .map_err(|error: ray::resources::ParseAmountError| error.to_string())?;
    Ok((resource.to_owned(), amount))
}

/// What was measured.
struct History {
    from: Timestamp,
    until: Timestamp,
    signals: BTreeMap<Query, Series>,
    work: Option<Work>,
}

/// Plays the policies; `cluster` is a RayCluster, where one is given.
pub(crate) async fn run(args: &Backtest, cluster: Option<&Path>, format: Format) -> Result<String> {
    let cluster = cluster.map(read_yaml).transpose()?;
    let mut runs = Vec::new();
    for file in &args.policy {
        let name = file.display().to_string();
        let played = play_file(args, file, cluster.as_ref())
            .await
            .with_context(|| format!("play {name}"))?;
        runs.push(Run {
            name,
            prices: args.price.iter().cloned().collect(),
            ..played
        });
    }
    Ok(match format {
        Format::Text => told::text(&runs),
        Format::Json => told::json(&runs),
        Format::Svg => told::svg(&runs),
    })
}

async fn play_file(args: &Backtest, file: &Path, cluster: Option<&Value>) -> Result<Run> {
    let policy = read_yaml(file)?;
    let spec = read_policy(&policy)?;
    // What a worker offers is only known of a RayCluster.
    let with_demand = cluster.is_some() && !args.no_demand;
    let cluster = cluster_of(&policy, &spec, cluster)?;
    let questions = replay::questions(&spec, &cluster);
    let resources = with_demand.then(|| replay::resources(&cluster));
    let history = match (&args.history, &args.from_prometheus) {
        (Some(file), _) => {
            let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            of_columns(&Columns::read(&text)?, &questions, resources)?
        }
        (None, Some(server)) => {
            let demand = demand::queries(
                &cluster.metadata,
                resources.unwrap_or_default(),
                &args.waiting_task,
            );
            ask(args, server, &questions, &demand).await?
        }
        (None, None) => bail!("say what was measured: --from-prometheus URL, or --history FILE"),
    };
    let pace = (args.step, args.start_seconds);
    play(&spec, &cluster, &history, pace, with_demand)
}

/// What a policy would have done about a history in CSV, as JSON: `simulate --policy .. --format json` without files. Replicas start at once.
pub fn backtest(policy: &Value, cluster: Option<&Value>, csv: &str, step_seconds: u32) -> Result<String> {
    let spec = read_policy(policy)?;
    let with_demand = cluster.is_some();
    let cluster = cluster_of(policy, &spec, cluster)?;
    let questions = replay::questions(&spec, &cluster);
    let resources = with_demand.then(|| replay::resources(&cluster));
    let history = of_columns(&Columns::read(csv)?, &questions, resources)?;
    let pace = (step_seconds, 0);
    Ok(told::json(&[play(&spec, &cluster, &history, pace, with_demand)?]))
}

/// In steps of so many seconds, with replicas that take so many to start.
fn play(
    spec: &ScalingPolicySpec,
    cluster: &Cluster,
    history: &History,
    (step_seconds, start_seconds): (u32, u32),
    with_demand: bool,
) -> Result<Run> {
    let setting = Setting {
        cluster,
        from: history.from,
        until: history.until,
        step_seconds,
        start_seconds,
        work: history.work.as_ref(),
    };
    let steps = (setting.until.as_second() - setting.from.as_second()) / i64::from(step_seconds) + 1;
    ensure!(
        (1..=STEPS_MAX).contains(&steps),
        "{steps} steps are too few or too many: choose another --range or --step, for 1 to {STEPS_MAX}"
    );
    let moments: Vec<Moment> = replay::replay(spec, &setting, &history.signals);
    let groups = cluster.spec.worker_groups.iter();
    Ok(Run {
        name: String::new(),
        step_seconds,
        prices: BTreeMap::new(),
        groups: groups.map(|group| group.name.clone()).collect(),
        demand: match (with_demand, &history.work) {
            (false, _) => Demand::LeftOut,
            (true, None) => Demand::NotMeasured,
            (true, Some(_)) => Demand::Replayed,
        },
        moments,
    })
}

fn read_yaml(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("read {}", file.display()))
}

fn read_policy(policy: &Value) -> Result<ScalingPolicySpec> {
    let kind = &policy["kind"];
    ensure!(
        *kind == scaling_policy::KIND,
        "{kind} is no {}",
        scaling_policy::KIND
    );
    scaling_policy::read(&policy["spec"]).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("it cannot be followed:\n{}", problems.join("\n"))
    })
}

/// The cluster that is given; else one with the groups that the policy names.
fn cluster_of(policy: &Value, spec: &ScalingPolicySpec, given: Option<&Value>) -> Result<Cluster> {
    let mut object = match given {
        Some(object) => object.clone(),
        None => bare(spec),
    };
    if object["metadata"]["namespace"].is_null() {
        let namespace = policy["metadata"]["namespace"].as_str();
        object["metadata"]["namespace"] = namespace.unwrap_or("default").into();
    }
    Ok(read_cluster(&object, &Pointer::root())?)
}

fn bare(spec: &ScalingPolicySpec) -> Value {
    let pod = json!({"spec": {"containers": [{"name": "ray", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}});
    let groups = spec.groups.iter().map(|group| {
        let most = group.max_replicas.unwrap_or(REPLICAS_MAX);
        let least = group.min_replicas.unwrap_or(0).min(most);
        json!({
            "groupName": group.name.as_deref().unwrap_or("workers"),
            "replicas": least, "minReplicas": 0, "maxReplicas": most, "rayStartParams": {}, "template": pod,
        })
    });
    json!({
        "apiVersion": "ray.io/v1",
        "kind": TargetKind::RayCluster.name(),
        "metadata": {"name": spec.target.name},
        "spec": {
            "enableInTreeAutoscaling": true,
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod},
            "workerGroupSpecs": groups.collect::<Vec<_>>(),
        },
    })
}

/// Each signal has a column, by its own name or with its group before it.
fn of_columns(
    columns: &Columns,
    questions: &[Question],
    resources: Option<BTreeSet<String>>,
) -> Result<History> {
    let (from, until) = columns.span().context("the history is empty")?;
    let mut signals = BTreeMap::new();
    for Question { query, group, signal } in questions {
        let series = columns
            .series(&format!("{group}/{signal}"))
            .or_else(|| columns.series(signal))
            .with_context(|| format!("the history has no column `{signal}` or `{group}/{signal}`"))?;
        signals.insert(query.clone(), series);
    }
    Ok(History {
        from,
        until,
        signals,
        work: resources.and_then(|resources| demand::of_columns(columns, resources)),
    })
}

/// Each query once.
async fn ask(
    args: &Backtest,
    server: &str,
    questions: &[Question],
    demand: &BTreeMap<String, Query>,
) -> Result<History> {
    let step = i64::from(args.step);
    let until = Timestamp::now().as_second() / step * step;
    let span = (until - args.range, until);
    let server = Server::new(server)?;
    let mut signals = BTreeMap::new();
    for (index, Question { query, signal, .. }) in questions.iter().enumerate() {
        if !signals.contains_key(query) {
            let series = asked(&server, query, span, args.step).await;
            let series = series.with_context(|| format!("ask for {signal}, which is `{}`", query.promql))?;
            signals.insert(query.clone(), series);
        }
        progress(&format!("{} of {} signals asked for", index + 1, questions.len()));
    }
    let mut work = Work::default();
    for (resource, query) in demand {
        let series = asked(&server, query, span, args.step).await;
        let series = series.with_context(|| format!("ask for Ray's demand, which is `{}`", query.promql))?;
        work.0.insert(resource.clone(), series);
        progress(&format!("Ray's demand for {resource} asked for"));
    }
    let is_measured = work.0.values().any(|series| !series.points.is_empty());
    let at = |second| Timestamp::from_second(second).context("that is too long ago");
    Ok(History {
        from: at(span.0)?,
        until: at(span.1)?,
        signals,
        work: is_measured.then_some(work),
    })
}

/// What a query has answered from one time to another, asked piece by piece.
async fn asked(
    server: &Server,
    query: &Query,
    (from, until): (i64, i64),
    step_seconds: u32,
) -> Result<Series> {
    let step = i64::from(step_seconds);
    let mut points = BTreeMap::new();
    let mut begin = from;
    while begin <= until {
        let end = until.min(begin + step * (POINTS_MAX - 1));
        tracing::debug!(query.promql, begin, end, "asking");
        points.extend(server.range(query, (begin, end), step_seconds).await?);
        begin = end + step;
    }
    Ok(Series {
        points,
        lookback_milliseconds: step * 1000 - 1,
    })
}

/// For people on a terminal.
fn progress(line: &str) {
    use std::io::{IsTerminal, Write};
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = writeln!(stderr, "{line}");
    }
}
