//! What `kubectl apply` says: refusals, warnings, defaults, and that nobody's call is lost while the webhook comes and goes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Identity, Part, Role, Testbed};

use crate::samples;

const BROKEN: &str = include_str!("../fixtures/broken-cluster.yaml");
const BARE: &str = include_str!("../fixtures/bare-cluster.yaml");

/// One refusal lists every mistake of the object, each with its code, its field and what to do.
pub(crate) async fn a_refusal_lists_every_mistake(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("broken").await?;
    let Err(refusal) = namespace.apply(BROKEN).await else {
        bail!("the broken RayCluster was admitted")
    };
    let refusal = refusal.to_string();
    for expected in [
        "RW-C001 spec.headGroupSpec.template.spec.containers",
        "RW-C007 spec.workerGroupSpecs[1].minReplicas",
        "RW-C009 spec.workerGroupSpecs[0].minReplicas",
        "RW-M009 spec.workerGroupSpecs[1].groupName",
        "nvidia.com/gpu",
    ] {
        ensure!(
            refusal.contains(expected),
            "the refusal should say `{expected}`:\n{refusal}"
        );
    }
    ensure!(
        namespace.object("RayCluster", "broken").await.is_err(),
        "a refused object was stored"
    );
    Ok(())
}

/// A sample of KubeRay's, broken in three places: `check` finds the three where they stand, and `kubectl apply` is told the same three.
pub(crate) async fn offline_and_at_admission_the_same_is_said(testbed: &Testbed) -> Result<()> {
    let breaks = [
        (
            "rayStartParams: {}",
            "rayStartParams: {redis-username: me}",
            "RW-C035",
        ),
        ("minReplicas: 1", "minReplicas: 6", "RW-C009"),
        ("groupName: workergroup", "groupName: headgroup", "RW-G002"),
    ];
    let sample = std::fs::read_to_string(testbed.samples().join("ray-cluster.sample.yaml"))?;
    let broken = breaks
        .iter()
        .fold(sample, |text, (good, bad, _)| text.replacen(good, bad, 1));
    let mut check = Command::new(std::env::current_exe()?)
        .envs([Role::Webhook.environment()])
        .args(["check", "--format=json", "--kuberay-version=1.6", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = check.stdin.take().context("it is piped")?;
    input.write_all(broken.as_bytes())?;
    drop(input);
    let checked = check.wait_with_output()?;
    let report: Value = serde_json::from_slice(&checked.stdout)
        .with_context(|| format!("read {}", String::from_utf8_lossy(&checked.stdout)))?;
    let findings = report["objects"][0]["findings"].as_array().into_iter().flatten();
    let denials: Vec<_> = findings.filter(|finding| finding["action"] == "Deny").collect();
    ensure!(denials.len() == breaks.len(), "{report:#}");

    let namespace = testbed.namespace("newcomer").await?;
    let Err(refusal) = namespace.apply(&broken).await else {
        bail!("the broken sample was admitted")
    };
    let refusal = refusal.to_string();
    ensure!(refusal.contains("3 problems"), "{refusal}");
    for (_, bad, code) in breaks {
        let line = broken.lines().position(|line| line.contains(bad)).context(bad)? + 1;
        let Some(denial) = denials.iter().find(|denial| denial["code"] == code) else {
            bail!("check does not find {code}: {report:#}")
        };
        ensure!(denial["line"] == line, "{code} stands in line {line}: {report:#}");
        let message = denial["message"].as_str().context("a message")?;
        ensure!(refusal.contains(code) && refusal.contains(message), "{refusal}");
    }
    Ok(())
}

/// What is left open is filled in, what is written stays, and applying the same manifest again is no change.
pub(crate) async fn defaults_fill_in_and_never_overwrite(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("defaults").await?;
    let written = BARE.replace(
        "          - name: ray-worker\n",
        "          - name: ray-worker\n              image: example.com/team/ray:2.60.0-custom\n",
    );
    namespace.apply(&written).await?;
    let stored = namespace.object("RayCluster", "demo").await?;
    let image = |place: &str| {
        stored
            .pointer(&format!("{place}/template/spec/containers/0/image"))
            .cloned()
    };
    ensure!(
        image("/spec/headGroupSpec") == Some("rayproject/ray:2.60.0".into()),
        "{stored:#}"
    );
    ensure!(
        image("/spec/workerGroupSpecs/0") == Some("example.com/team/ray:2.60.0-custom".into()),
        "{stored:#}"
    );
    // Applying the same manifest again changes nothing, or the operator would see another spec.
    let generation = stored["metadata"]["generation"].clone();
    namespace.apply(&written).await?;
    let again = namespace.object("RayCluster", "demo").await?;
    ensure!(
        again["metadata"]["generation"] == generation,
        "the same manifest made another generation: {again:#}"
    );
    Ok(())
}

/// Whoever finishes with an object, or is our autoscaler and scales it, does not have to wait for us. Whoever relabels it is only asked whether
/// labels of ours are still there, and whoever changes it is asked everything.
pub(crate) async fn only_what_may_do_harm_is_asked_about(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("asked").await?;
    namespace
        .apply(&BARE.replace("spec:\n  rayVersion", "spec:\n  suspend: true\n  rayVersion"))
        .await?;
    let patch = async |identity, patch: &Value| {
        let client = testbed.client_as(identity).await?;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"));
        let clusters = Api::<DynamicObject>::namespaced_with(client, namespace.name(), &kind);
        let patch = Patch::Json::<()>(serde_json::from_value(patch.clone())?);
        clusters.patch("demo", &PatchParams::default(), &patch).await?;
        anyhow::Ok(())
    };
    let replicas =
        |replicas| json!([{"op": "add", "path": "/spec/workerGroupSpecs/0/replicas", "value": replicas}]);
    let finalizers =
        |finalizers: &[&str]| json!([{"op": "add", "path": "/metadata/finalizers", "value": finalizers}]);
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"team": "a"}}]);
    patch(Identity::Admin, &label).await?;
    patch(Identity::Admin, &finalizers(&["example.com/last-words"])).await?;
    patch(Identity::Autoscaler, &replicas(1)).await?;
    patch(Identity::Admin, &replicas(0)).await?;
    namespace.delete("RayCluster", "demo").await?;
    patch(Identity::Admin, &finalizers(&[])).await?;

    let mut asked = Vec::new();
    for replica in 0..testbed.webhook_replicas() {
        let logs = testbed.logs(Part::Webhook(replica))?;
        let events = logs
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours =
            events.filter(|event| event["namespace"] == namespace.name() && event["kind"] == "RayCluster");
        asked.extend(
            ours.map(|event| format!("{} {}", event["endpoint"], event["operation"]).replace('"', "")),
        );
    }
    asked.sort();
    let expected = [
        "mutate-ray create",
        "mutate-ray update",
        "mutate-ray update",
        "validate-ray create",
        "validate-ray update",
    ];
    ensure!(asked == expected, "{asked:#?}");
    Ok(())
}

/// Ray's autoscaler is taken out of the head Pods of the clusters that we scale, and left in those of clusters that ask for it.
pub(crate) async fn the_annotation_chooses_the_autoscaler(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("modes").await?;
    for (mode, left) in [
        ("central", vec!["ray-head"]),
        ("ray", vec!["ray-head", "autoscaler"]),
        ("shadow", vec!["ray-head", "autoscaler"]),
    ] {
        let annotated = format!(
            "name: {mode}\n  annotations: {{rayward.dev/autoscaler: {mode}}}\nspec:\n  suspend: true"
        );
        namespace
            .apply(&BARE.replace("name: demo\nspec:", &annotated))
            .await?;
        let head = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("{mode}-head"),
                "labels": {"ray.io/cluster": mode, "ray.io/node-type": "head", "ray.io/group": "headgroup"},
            },
            "spec": {"containers": [
                {"name": "ray-head", "image": "rayproject/ray:2.60.0"},
                {"name": "autoscaler", "image": "rayproject/ray:2.60.0"},
            ]},
        });
        let admitted = namespace.dry_run(&head).await?.object;
        let containers = admitted["spec"]["containers"].as_array().context("containers")?;
        let names: Vec<_> = containers.iter().map(|container| &container["name"]).collect();
        ensure!(
            names == left,
            "a head in mode {mode} should have {left:?}, it has {names:?}"
        );
    }
    Ok(())
}

/// Every sample that KubeRay ships is admitted.
pub(crate) async fn every_official_sample_is_admitted(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("samples").await?;
    for (file, object) in samples::objects(testbed)? {
        namespace.dry_run(&object).await.context(file)?;
    }
    Ok(())
}

/// A rolling restart of the webhook under load: not one of the calls fails, and every broken object is refused.
pub(crate) async fn no_call_is_lost_while_the_webhook_restarts(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("rollout").await?;
    let rolling = AtomicBool::new(true);
    let calls = AtomicUsize::new(0);
    let restarts = async {
        for _ in 0..2 {
            for replica in 0..testbed.webhook_replicas() {
                testbed.restart(Part::Webhook(replica)).await?;
            }
        }
        rolling.store(false, Ordering::Relaxed);
        Ok(())
    };
    let load = async |worker: usize| {
        let good = BARE.replace("name: demo", &format!("name: demo-{worker}"));
        while rolling.load(Ordering::Relaxed) {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            // An annotation makes each apply a real update.
            let good = good.replace(
                "spec:\n  rayVersion",
                &format!("  annotations: {{call: \"{call}\"}}\nspec:\n  suspend: true\n  rayVersion"),
            );
            namespace
                .apply(&good)
                .await
                .with_context(|| format!("call {call}"))?;
            match namespace.apply(BROKEN).await {
                Ok(_) => bail!("call {call}: the broken RayCluster was admitted"),
                Err(refusal) => ensure!(refusal.to_string().contains("RW-C009"), "call {call}: {refusal}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::try_join!(restarts, load(0), load(1))?;
    let calls = calls.into_inner();
    ensure!(calls > 50, "{calls} calls are no load");
    Ok(())
}
