//! Prometheus, scraping what is really there: Ray's nodes, our services, the operator; and groups that follow what it says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use testbed::{Namespace, Part, Prometheus, Testbed};
use tokio::sync::RwLock;

use crate::cluster::{BARE, BURST, run};
use crate::guarded;
use crate::recipes::{queries, recipe};
use crate::samples::{APPLICATIONS, applications, bring_applications};
use crate::signals::{apply, condition, status, told};

const SECOND: Duration = Duration::from_secs(1);
const REQUESTS: &str = include_str!("../fixtures/workloads/requests.py");
const BACKLOG: &str = include_str!("../fixtures/workloads/backlog.py");

/// Whoever needs Prometheus without a break holds this to read; whoever kills it, to write.
pub(crate) static UP: RwLock<()> = RwLock::const_new(());

/// Ray nodes, both our services and the KubeRay operator are scraped; one query says of all groups what they follow. Servers that want to see who asks get
/// to see it.
pub(crate) async fn everything_is_scraped(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("metrics").await?;
    let mut cluster = testbed::documents(BARE)?.remove(0);
    let mut spare = cluster["spec"]["workerGroupSpecs"][0].clone();
    spare["groupName"] = "spare".into();
    let groups = cluster["spec"]["workerGroupSpecs"].as_array_mut();
    groups.context("it has groups")?.push(spare);
    namespace.apply_all(&[cluster]).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?.name_any();
    let _up = UP.read().await;
    let prometheus = testbed.prometheus().await?;
    for query in [
        format!("ray_node_cpu_count{{namespace=\"{}\"}}", namespace.name()),
        "rayward_webhook_requests_total".to_owned(),
        "rayward_autoscaler_ticks_total".to_owned(),
        "up{job=\"kuberay-operator\"} == 1".to_owned(),
    ] {
        testbed
            .eventually(60 * SECOND, &format!("Prometheus answers {query}"), async || {
                let series = prometheus
                    .query(&query)
                    .await
                    .map_err(|error| error.to_string())?;
                if series.is_empty() {
                    Err("no series".to_owned())
                } else {
                    Ok(())
                }
            })
            .await?;
    }
    one_query_serves_a_fleet(&namespace).await?;
    crate::backtest::what_ray_asked_for_is_played(&namespace, prometheus, &head).await?;
    guarded::a_guarded_one_is_shown_what_it_wants(&namespace).await?;
    guarded::tokens_and_headers_are_shown(&namespace).await
}

/// One query has a series for each cluster, or each group, of the whole fleet, and each group finds its own.
async fn one_query_serves_a_fleet(namespace: &Namespace) -> Result<()> {
    // What is scraped tells the head of every cluster that there is.
    let by_cluster = "count by (namespace, ray_io_cluster) (ray_node_cpu_count{ray_io_node_type=\"head\"})";
    let of_group = |replicas: u32, group: &str| {
        format!("label_replace({replicas} * {by_cluster}, \"ray_io_group\", \"{group}\", \"\", \"\")")
    };
    let by_group = format!("{} or {}", of_group(2, "cpu"), of_group(3, "spare"));
    let signal = |each: &str, query: &str| json!({"name": each, "role": "Floor", "prometheus": {"query": query, "each": each}});
    let signals = json!([signal("Cluster", by_cluster), signal("Group", &by_group)]);
    let groups = json!([{"signals": signals}]);
    apply(
        namespace,
        json!({"target": {"name": "demo"}, "mode": "Recommend", "groups": groups}),
    )
    .await?;
    status(namespace, "each group has its number", |status| {
        let mut groups = status["groups"].as_array().into_iter().flatten();
        let mut is = |name: &str, replicas: u64| {
            groups.any(|group| {
                let number = |signal: usize| group["signals"][signal]["replicas"].as_u64();
                group["name"] == name && (number(0), number(1)) == (Some(1), Some(replicas))
            })
        };
        is("cpu", 2) && is("spare", 3)
    })
    .await
    .map(drop)
}

/// What we refuse as no PromQL is none to Prometheus, and what is none to it we refuse: the queries of the recipes, with a character left out at each
/// place in turn. Only functions that we do not know are left to it.
pub(crate) async fn queries_are_read_as_by_prometheus(testbed: &Testbed) -> Result<()> {
    let _up = UP.read().await;
    let prometheus = testbed.prometheus().await?;
    let mut queries: Vec<String> = [
        "topk(2, a) by (b) / on (c) group_left a offset -5m @ end()",
        "{a=~\"x\"} > bool (1 - -.5)",
    ]
    .map(str::to_owned)
    .into();
    queries.extend(
        self::queries()?
            .into_iter()
            .map(|(_, query)| query.replace('$', "_")),
    );
    let (mut asked, mut refused) = (0, 0);
    for query in &queries {
        for place in 0..query.len() {
            let query = format!("{}{}", &query[..place], &query[place + 1..]);
            let ours = ray::promql::check(&query).err();
            let theirs = prometheus
                .query(&query)
                .await
                .err()
                .map(|error| format!("{error:#}"));
            let theirs = theirs.filter(|error| error.contains("parse error"));
            let ours_is_right = match (&ours, &theirs) {
                (None, Some(error)) => error.contains("unknown function"),
                (ours, theirs) => ours.is_some() == theirs.is_some(),
            };
            ensure!(ours_is_right, "{query:?}: we say {ours:?}, Prometheus {theirs:?}");
            asked += 1;
            refused += usize::from(ours.is_some());
        }
    }
    ensure!(
        refused > 100 && asked - refused > 100,
        "{refused} of {asked} are none"
    );
    Ok(())
}

/// A Serve application under load grows by its queue, as the recipe says, once the policy is more than a recommendation. Every recipe has its number
/// meanwhile. A Guard holds what is too much when the load is gone. A Prometheus that is gone, and a query that it refuses, take nothing away, and what
/// Ray itself asks for still grows. In the end the policy follows the service to its next cluster.
pub(crate) async fn a_service_follows_its_queue(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("chat").await?;
    namespace.apply_all(&chat()?).await?;
    let prometheus = testbed.prometheus().await?;
    let cluster = serving_cluster(&namespace, "").await?;
    let head = namespace.ready_head(&cluster, 60 * SECOND).await?.name_any();

    apply(&namespace, policy("Recommend", &[])?).await?;
    let loaded = run(&namespace, &head, &["python", "-c", REQUESTS, "8"]);
    let growing = async {
        status(&namespace, "two workers are recommended", |status| {
            status["desiredReplicas"] == 2 && status["limitedBy"] == "signal queue"
        })
        .await?;
        ensure!(workers(&namespace, &cluster).await? == 1, "nothing is done yet");
        apply(&namespace, policy("Active", &[])?).await?;
        workers_become(&namespace, &cluster, 2).await
    };
    let working = run(&namespace, &head, &["python", "-c", BACKLOG, "120", "100"]);
    let holding = async {
        growing.await?;
        every_recipe_has_its_number(&namespace, prometheus, &cluster).await?;
        run(&namespace, &head, &["touch", "/tmp/enough"]).await?;
        status(&namespace, "the guard holds", |status| {
            status["limitedBy"] == "signal pressure" && status["desiredReplicas"] == 2
        })
        .await?;
        outage(&namespace, &cluster, &head).await?;
        run(&namespace, &head, &["touch", "/tmp/worked-off"]).await
    };
    tokio::try_join!(loaded, working, holding)?;
    workers_become(&namespace, &cluster, 1).await?;

    let wrong = "ray_resources / on (namespace) group_left ray_resources";
    apply(&namespace, policy("Active", &[("queue", wrong)])?).await?;
    status(
        &namespace,
        "the query is refused, and what there is stays",
        |status| {
            told(status).contains("queue: the server refuses the query: ") && status["desiredReplicas"] == 1
        },
    )
    .await?;

    apply(&namespace, policy("Active", &[])?).await?;
    upgrade(&namespace).await?;
    let next = serving_cluster(&namespace, &cluster).await?;
    status(&namespace, "the next cluster is followed", |status| {
        let mut groups = status["groups"].as_array().into_iter().flatten();
        groups.any(|group| group["cluster"] == next && group["signals"][0]["replicas"] == 0)
    })
    .await
    .map(drop)
}

/// Prometheus is killed, and comes back.
async fn outage(namespace: &Namespace, cluster: &str, head: &str) -> Result<()> {
    let _down = UP.write().await;
    let testbed = namespace.testbed();
    testbed.kill(Part::Prometheus).await?;
    status(namespace, "it is missed, and what there is stays", |status| {
        told(status).contains("queue: the server cannot be reached")
            && condition(status, "ScalingActive")["reason"] == "FailedGetSignals"
            && status["desiredReplicas"] == 2
    })
    .await?;
    // One of the two workers is taken.
    let demand = run(namespace, head, &["python", "-c", BURST, "2", "10"]);
    let grown = workers_become(namespace, cluster, 3);
    tokio::try_join!(demand, grown)?;
    testbed.start_part(Part::Prometheus).await?;
    status(namespace, "all is known again", |status| {
        condition(status, "ScalingActive")["status"] == "True"
    })
    .await
    .map(drop)
}

/// A `RayService` with one worker, which may become three, and an application whose requests wait for one another.
fn chat() -> Result<Vec<Value>> {
    let mut cluster = testbed::documents(BARE)?.remove(0)["spec"].take();
    bring_applications(&mut cluster);
    let group = &mut cluster["workerGroupSpecs"][0];
    (group["replicas"], group["minReplicas"]) = (json!(1), json!(1));
    group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("1");
    let application = json!({
        "name": "chat",
        "import_path": "slow:application",
        "runtime_env": {"working_dir": APPLICATIONS},
    });
    let service = json!({
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "chat"},
        "spec": {
            "serveConfigV2": json!({"applications": [application]}).to_string(),
            "rayClusterConfig": cluster,
        },
    });
    Ok(vec![applications(&["slow.py"])?, service])
}

/// The recipe for a queue with the Guard of another, at once in both directions; some queries may be others.
fn policy(mode: &str, queries: &[(&str, &str)]) -> Result<Value> {
    let mut spec = recipe("serve-queue")?;
    spec["mode"] = mode.into();
    let group = &mut spec["groups"][0];
    group["name"] = "cpu".into();
    group["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 0.into();
    let mut guard = recipe("data-backlog")?["groups"][0]["signals"][1].take();
    guard["threshold"] = "0.02".into();
    let signals = group["signals"].as_array_mut().context("signals")?;
    signals.push(guard);
    for (name, query) in queries {
        let signal = signals.iter_mut().find(|signal| signal["name"] == *name);
        signal.context("such a signal")?["prometheus"]["query"] = (*query).into();
    }
    Ok(spec)
}

/// Prometheus has one number for each query of each recipe, and it is what it should be with two workers, one of which has all the work.
async fn every_recipe_has_its_number(
    namespace: &Namespace,
    prometheus: &Prometheus,
    cluster: &str,
) -> Result<()> {
    let expected = [
        ("data-backlog/backlog", 120.0..=120.0),
        ("data-backlog/pressure", 0.02..=1.0),
        ("gpu-utilisation/use", 0.25..=0.25),
        ("pending-demand-age/waiting", 0.0..=0.0),
        ("serve-latency/latency", 1000.0..=f64::MAX),
        ("serve-queue/queue", 8.0..=8.0),
        ("spot-loss-headroom/use", 0.5..=0.5),
    ];
    let queries = queries()?;
    ensure!(queries.len() == expected.len(), "a recipe is gone");
    for (signal, query) in queries {
        let (_, right) = expected
            .iter()
            .find(|(of, _)| *of == signal)
            .with_context(|| format!("say above what {signal} should be"))?;
        let query = query
            .replace("$namespace", namespace.name())
            .replace("$cluster", cluster)
            .replace("$group", "cpu");
        let what = format!("{signal} has its number");
        namespace
            .eventually(90 * SECOND, &what, async || {
                let series = prometheus
                    .query(&query)
                    .await
                    .map_err(|error| error.to_string())?;
                let number = match series.as_slice() {
                    [one] => one["value"][1].as_str().and_then(|text| text.parse().ok()),
                    _ => None,
                };
                number
                    .is_some_and(|number: f64| right.contains(&number))
                    .then_some(())
                    .ok_or(format!("{series:?}"))
            })
            .await?;
    }
    Ok(())
}

/// The cluster that serves, once it is another than `before`.
async fn serving_cluster(namespace: &Namespace, before: &str) -> Result<String> {
    namespace
        .eventually(
            360 * SECOND,
            "the service is ready, on a cluster of its own",
            async || {
                let service = namespace.object("RayService", "chat").await;
                let status = service.map_err(|error| error.to_string())?["status"].take();
                let ready = condition(&status, "Ready")["status"] == "True";
                match status["activeServiceStatus"]["rayClusterName"].as_str() {
                    Some(cluster) if ready && cluster != before => Ok(cluster.to_owned()),
                    _ => Err(status.to_string()),
                }
            },
        )
        .await
}

/// Another environment of the workers, for which the service takes another cluster.
async fn upgrade(namespace: &Namespace) -> Result<()> {
    let mut service = chat()?.remove(1);
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "GENERATION", "value": "2"}]);
    namespace.apply_all(&[service]).await?;
    Ok(())
}

async fn workers(namespace: &Namespace, cluster: &str) -> Result<usize> {
    let selector = format!("ray.io/cluster={cluster},ray.io/node-type=worker");
    Ok(namespace.pods(&selector).await?.len())
}

async fn workers_become(namespace: &Namespace, cluster: &str, wanted: usize) -> Result<()> {
    namespace
        .eventually(120 * SECOND, &format!("there are {wanted} workers"), async || {
            let there = workers(namespace, cluster)
                .await
                .map_err(|error| error.to_string())?;
            if there == wanted {
                return Ok(());
            }
            let policy = namespace.object("RayScalingPolicy", "demo").await;
            let status = policy.map(|mut policy| policy["status"].take().to_string());
            Err(format!("there are {there}, and the policy says {status:?}"))
        })
        .await
}
