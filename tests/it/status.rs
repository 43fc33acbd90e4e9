//! `ray status`, where Ray's own autoscaler scales and where we do.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kube::ResourceExt;
use serde_json::json;
use testbed::{Namespace, Testbed};

use crate::cluster::{BARE, run, workers_become};

const SECOND: Duration = Duration::from_secs(1);
const FATES: &str = include_str!("../fixtures/workloads/fates.py");
const SECTIONS: [&str; 7] = [
    "Active:",
    "Idle:",
    "Pending:",
    "Recent failures:",
    "Total Usage:",
    "From request_resources:",
    "Pending Demands:",
];

/// Two like clusters in the same situation: nodes that run, one that died, one that never comes, and work that no node can hold. What `ray status` states with Ray's own
/// autoscaler it states with ours, and why the one does not come besides.
pub(crate) async fn ours_states_what_rays_does(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("status").await?;
    let (ray, ours) = tokio::try_join!(head(&namespace, "ray"), head(&namespace, "central"))?;
    let fates = ["python", "-c", FATES];
    let compared = async {
        for (cluster, head) in [("ray", &ray), ("central", &ours)] {
            // Two that run, and one that waits for a node of Kubernetes.
            workers_become(&namespace, cluster, 3).await?;
            one_dies(&namespace, cluster, head).await?;
        }
        let same = async || {
            let (theirs, ours) = (stated(&namespace, &ray).await?, stated(&namespace, &ours).await?);
            for fact in [
                "Pending: nowhere",
                "Recent failures: cpu: NodeTerminated",
                "Pending Demands: {'CPU': 100.0}: 1+ pending tasks/actors",
            ] {
                ensure!(theirs.contains(fact), "`{fact}` is not in {theirs:#?}");
            }
            let missing: Vec<_> = theirs.difference(&ours).collect();
            ensure!(missing.is_empty(), "{missing:?} are not in {ours:#?}");
            let more: Vec<_> = ours.difference(&theirs).collect();
            ensure!(
                more == ["Recent failures: nowhere: LaunchFailed"],
                "{more:?} in {ours:#?}"
            );
            anyhow::Ok(())
        };
        namespace
            .eventually(240 * SECOND, "both state the same", same)
            .await?;
        let said = run(&namespace, &ours, &["ray", "status"]).await?;
        ensure!(said.contains(": nowhere, unschedulable: 0/"), "{said}");
        Ok(())
    };
    tokio::select! {
        compared = compared => compared,
        ended = run(&namespace, &ray, &fates) => bail!("the work of one has ended: {ended:?}"),
        ended = run(&namespace, &ours, &fates) => bail!("the work of the other has ended: {ended:?}"),
    }
}

/// A cluster with a group that no node of Kubernetes suits, named after who scales it.
async fn head(namespace: &Namespace, mode: &str) -> Result<String> {
    let mut cluster = testbed::documents(BARE)?.remove(0);
    cluster["metadata"] = json!({ "name": mode, "annotations": { "rayward.dev/autoscaler": mode } });
    let mut nowhere = cluster["spec"]["workerGroupSpecs"][0].clone();
    nowhere["groupName"] = json!("nowhere");
    nowhere["rayStartParams"] = json!({ "num-cpus": "0", "resources": r#""{\"rare\": 1}""# });
    nowhere["template"]["spec"]["nodeSelector"] = json!({ "no-node": "has-this" });
    if let Some(groups) = cluster["spec"]["workerGroupSpecs"].as_array_mut() {
        groups.push(nowhere);
    }
    namespace.apply_all(&[cluster]).await?;
    Ok(namespace.ready_head(mode, 240 * SECOND).await?.name_any())
}

/// Kills Ray on a node that works, and waits until its cluster knows.
async fn one_dies(namespace: &Namespace, cluster: &str, head: &str) -> Result<()> {
    let works = async || {
        let stated = stated(namespace, head).await?;
        ensure!(stated.contains("Active: 2 cpu"), "{stated:#?}");
        anyhow::Ok(())
    };
    let what = format!("two nodes of {cluster} work");
    namespace.eventually(240 * SECOND, &what, works).await?;
    let pods = namespace
        .pods(&format!("ray.io/cluster={cluster},ray.io/group=cpu"))
        .await?;
    let kill = ["sh", "-c", "pkill -KILL raylet"].map(str::to_owned);
    let killed = namespace.exec(&pods[0].name_any(), "ray-worker", &kill).await?;
    ensure!(killed.succeeded(), "{killed:?}");
    Ok(())
}

/// What `ray status -v` states, each with its section, without the names of Pods, times and reasons.
async fn stated(namespace: &Namespace, head: &str) -> Result<BTreeSet<String>> {
    let said = run(namespace, head, &["ray", "status", "-v"]).await?;
    let mut section = None;
    let mut facts = BTreeSet::new();
    for line in said.lines() {
        if SECTIONS.contains(&line) {
            section = Some(line);
        } else if line.trim().is_empty() {
            section = None;
        } else if let Some(section) = section.filter(|section| *section != "Total Usage:") {
            facts.insert(format!("{section} {}", fact(section, line.trim())));
        }
    }
    Ok(facts)
}

fn fact<'l>(section: &str, line: &'l str) -> &'l str {
    let bare = match section {
        // `Pod: group, why`
        "Pending:" => line
            .split_once(": ")
            .and_then(|(_, after)| after.split(',').next()),
        // `group: what (when) - why`
        "Recent failures:" => line.split(" (").next(),
        _ => None,
    };
    bare.unwrap_or(line)
}
