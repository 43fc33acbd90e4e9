//! RayClusters, from `apply` to the last Pod: what the webhook admits comes up, what Ray asks for is there, what is idle goes, and what is killed in the middle
//! comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;
use testbed::{Namespace, Part, Testbed};

use crate::samples::sample;
use crate::scaling::event_of;
use crate::shadow;

const SECOND: Duration = Duration::from_secs(1);
pub(crate) const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");
pub(crate) const BURST: &str = include_str!("../fixtures/workloads/burst.py");

/// The official sample runs, and `ray status` on its head knows both nodes.
pub(crate) async fn official_sample_runs(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("sample").await?;
    namespace
        .apply_all(&sample(testbed, "ray-cluster.sample.yaml")?)
        .await?;
    let head = namespace.ready_head("raycluster-kuberay", 240 * SECOND).await?;
    namespace
        .eventually(
            120 * SECOND,
            "`ray status` shows the head and the worker",
            async || {
                let output = namespace
                    .exec(
                        &head.name_any(),
                        "ray-head",
                        &["ray", "status"].map(str::to_owned),
                    )
                    .await
                    .map_err(|error| error.to_string())?;
                let active = active_nodes(&output.stdout);
                if active == 2 {
                    Ok(())
                } else {
                    Err(format!("{active} active nodes in {output:?}"))
                }
            },
        )
        .await
}

/// The official autoscaling sample, with Ray's own actors as demand: up by one for each, down again when they end.
pub(crate) async fn official_autoscaling_sample_grows_and_shrinks(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("grow").await?;
    let mut documents = sample(testbed, "ray-cluster.autoscaler.yaml")?;
    // The sample waits a minute before it calls a node idle.
    documents[0]["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] = json!(5);
    namespace.apply_all(&documents).await?;
    let head = namespace
        .ready_head("raycluster-autoscaler", 240 * SECOND)
        .await?;
    only_ray_is_in(&head)?;
    for (actors, name) in ["first", "second"].into_iter().enumerate() {
        run(
            &namespace,
            &head.name_any(),
            &["python", "/home/ray/samples/detached_actor.py", name],
        )
        .await?;
        workers_become(&namespace, "raycluster-autoscaler", actors + 1).await?;
        // Of each step, although it differs from the one before in nothing but its note.
        let step = format!(": {actors} -> {} replicas", actors + 1);
        event_of(&namespace, "ScaledUp", &step).await?;
    }
    for name in ["first", "second"] {
        run(
            &namespace,
            &head.name_any(),
            &["python", "/home/ray/samples/terminate_detached_actor.py", name],
        )
        .await?;
    }
    workers_become(&namespace, "raycluster-autoscaler", 0).await?;
    let cluster = namespace.object("RayCluster", "raycluster-autoscaler").await?;
    let writers = shadow::writers(&cluster);
    ensure!(writers.contains(shadow::OURS), "{writers:?}");
    let group = &cluster["spec"]["workerGroupSpecs"][0];
    ensure!(group["replicas"] == 0, "replicas should be back at 0: {group}");
    namespace
        .eventually(
            30 * SECOND,
            "workersToDelete is cleared once the Pods are gone",
            async || {
                let cluster = namespace
                    .object("RayCluster", "raycluster-autoscaler")
                    .await
                    .map_err(|error| error.to_string())?;
                let strategy = &cluster["spec"]["workerGroupSpecs"][0]["scaleStrategy"];
                let listed = strategy["workersToDelete"].as_array().map_or(0, Vec::len);
                if listed == 0 {
                    Ok(())
                } else {
                    Err(strategy.to_string())
                }
            },
        )
        .await
}

/// The autoscaler is killed right after it asked for workers. Its successor neither forgets nor repeats: the work gets done by exactly as many Pods as it needs.
pub(crate) async fn autoscaler_killed_in_the_middle_of_growth(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("killed").await?;
    namespace.apply(BARE).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?.name_any();
    let command = ["python", "-c", BURST, "3", "15"].map(str::to_owned);
    let workload = namespace.exec(&head, "ray-head", &command);
    let mut seen = BTreeSet::new();
    let meddling = async {
        workers_become_at_least(&namespace, "demo", 1).await?;
        testbed.kill(Part::Autoscaler(0)).await?;
        testbed.restart(Part::Autoscaler(0)).await
    };
    let watching = async {
        loop {
            for pod in namespace
                .pods("ray.io/cluster=demo,ray.io/node-type=worker")
                .await?
            {
                seen.insert(pod.name_any());
            }
            tokio::time::sleep(SECOND / 5).await;
        }
    };
    let (output, ()) = tokio::select! {
        both = async { tokio::try_join!(workload, meddling) } => both?,
        failed = watching => return failed,
    };
    ensure!(output.succeeded(), "the workload failed: {output:?}");
    ensure!(output.stdout.contains("3 tasks done"), "{output:?}");
    ensure!(
        seen.len() == 3,
        "three tasks of one CPU on workers of one CPU need three Pods, there were {seen:?}"
    );
    workers_become(&namespace, "demo", 0).await
}

/// The head Pod is killed. KubeRay makes another, without Ray's autoscaler as well; the new Ray session is scaled like the old one.
pub(crate) async fn head_killed_and_everything_comes_back(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("headless").await?;
    namespace.apply(BARE).await?;
    let head = namespace.ready_head("demo", 240 * SECOND).await?.name_any();
    let burst = ["python", "-c", BURST, "2", "1"];
    run(&namespace, &head, &burst).await?;
    namespace.delete("Pod", &head).await?;
    let successor = namespace
        .eventually(240 * SECOND, "another head is ready", async || {
            match namespace.ready_head("demo", SECOND).await {
                Ok(pod) if pod.name_any() != head => Ok(pod),
                Ok(_) => Err("the old head is still there".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
    only_ray_is_in(&successor)?;
    run(&namespace, &successor.name_any(), &burst).await?;
    workers_become(&namespace, "demo", 0).await
}

/// Three Ray versions live side by side in one namespace: each cluster runs the one that its images name, and all are scaled, by their tasks and by what
/// `request_resources` asks for, which the oldest keeps in another place.
pub(crate) async fn three_ray_versions_side_by_side(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("versions").await?;
    let clusters = [("newest", "2.60.0"), ("older", "2.52.0"), ("oldest", "2.10.0")];
    for (name, version) in clusters {
        namespace
            .apply(
                &BARE
                    .replace("name: demo", &format!("name: {name}"))
                    .replace("2.60.0", version),
            )
            .await?;
    }
    let request = |cpus: u32| {
        format!(
            "import ray; from ray.autoscaler.sdk import request_resources; \
             ray.init(address='auto'); request_resources(num_cpus={cpus})"
        )
    };
    let mut heads = Vec::new();
    for (name, version) in clusters {
        let head = namespace.ready_head(name, 300 * SECOND).await?.name_any();
        let said = run(
            &namespace,
            &head,
            &["python", "-c", "import ray; print(ray.__version__)"],
        )
        .await?;
        ensure!(
            said.trim() == version,
            "{name} should run Ray {version}, it runs {said}"
        );
        let done = run(&namespace, &head, &["python", "-c", BURST, "1", "1"]).await?;
        ensure!(done.contains("1 tasks done on 1 nodes"), "{name}: {done}");
        run(&namespace, &head, &["python", "-c", &request(2)]).await?;
        heads.push((name, head));
    }
    for (name, head) in &heads {
        workers_become(&namespace, name, 2).await?;
        run(&namespace, head, &["python", "-c", &request(0)]).await?;
    }
    for (name, _) in &heads {
        workers_become(&namespace, name, 0).await?;
    }
    Ok(())
}

/// Ray's own autoscaler is not in the head of a cluster that we scale.
fn only_ray_is_in(head: &Pod) -> Result<()> {
    let containers = head.spec.iter().flat_map(|spec| &spec.containers);
    let names: Vec<_> = containers.map(|container| &container.name).collect();
    ensure!(
        names == ["ray-head"],
        "only Ray should run in {}: {names:?}",
        head.name_any()
    );
    Ok(())
}

/// Runs a command in the Ray container of a head and returns what it printed.
pub(crate) async fn run(namespace: &Namespace, pod: &str, command: &[&str]) -> Result<String> {
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    let output = namespace.exec(pod, "ray-head", &command).await?;
    ensure!(output.succeeded(), "{:?} in {pod}: {output:?}", command.first());
    Ok(output.stdout)
}

pub(crate) async fn workers_become(namespace: &Namespace, cluster: &str, wanted: usize) -> Result<()> {
    workers(namespace, cluster, &format!("{wanted} workers"), |count| {
        count == wanted
    })
    .await
}

pub(crate) async fn workers_become_at_least(
    namespace: &Namespace,
    cluster: &str,
    wanted: usize,
) -> Result<()> {
    workers(
        namespace,
        cluster,
        &format!("at least {wanted} workers"),
        |count| count >= wanted,
    )
    .await
}

async fn workers(
    namespace: &Namespace,
    cluster: &str,
    what: &str,
    enough: impl Fn(usize) -> bool,
) -> Result<()> {
    namespace
        .eventually(120 * SECOND, &format!("{cluster} has {what}"), async || {
            let selector = format!("ray.io/cluster={cluster},ray.io/node-type=worker");
            let pods = namespace
                .pods(&selector)
                .await
                .map_err(|error| error.to_string())?;
            if enough(pods.len()) {
                Ok(())
            } else {
                Err(format!("it has {}", pods.len()))
            }
        })
        .await
}

/// Nodes under `Active:` and `Idle:` in the output of `ray status`, whose lines read ` 1 headgroup`.
fn active_nodes(status: &str) -> usize {
    status
        .lines()
        .skip_while(|line| !line.starts_with("Active:"))
        .take_while(|line| !line.starts_with("Pending:"))
        .filter_map(|line| line.split_whitespace().next()?.parse::<usize>().ok())
        .sum()
}
