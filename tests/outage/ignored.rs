//! All replicas of the webhook away at once, in a world that does not mind: `--ray-failure-policy=Ignore`. What is stored meanwhile is stored as it
//! was written; these tests hold what docs/guides/policy.md says of that.

mod objects;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Namespace, Options, Part, Shell, Test, Testbed};

use objects::{MANIFESTS, PATIENCE, There, apply_policy, in_force, world};

const IMAGE: &str = "registry.example.com/ray:2.52.0";
const HEAD: &str = "/headGroupSpec/template/spec/containers/0/image";
const WORKER: &str = "/workerGroupSpecs/0/template/spec/containers/0/image";

fn main() -> ExitCode {
    testbed::dispatch();
    let options = Options {
        webhook_arguments: vec!["--ray-failure-policy=Ignore".to_owned()],
        ..world()
    };
    let tests = vec![Test::world(
        "ignored::the_next_change_brings_it_back",
        the_next_change_brings_it_back,
    )];
    testbed::run_tests(tests, options)
}

/// While nobody fills anything in, a manifest that is applied is stored as it was written: all lists of it by `kubectl apply`, groups of workers by
/// `kubectl apply --server-side`. What changes single fields loses nothing. Back again, Rayward puts back at the next change what was lost, even if that
/// is an annotation: the service has the cluster that it had.
async fn the_next_change_brings_it_back(testbed: &Testbed) -> Result<()> {
    apply_policy(testbed, "registry.example.com/ray").await?;
    let client = Place::with_both(testbed, "client", "kubectl apply -f both.yaml").await?;
    let server = Place::with_both(testbed, "server", "kubectl apply --server-side -f both.yaml").await?;
    let patched = Place::with_both(testbed, "patched", "kubectl apply -f both.yaml").await?;
    for replica in 0..testbed.webhook_replicas() {
        testbed.stop(Part::Webhook(replica)).await?;
    }
    apply_policy(testbed, "elsewhere.example.com/ray").await?;

    client.run("kubectl apply -f both.yaml").await?;
    client.images_are([None, None]).await?;
    server
        .run("sed 's/maxReplicas: 4/maxReplicas: 5/' both.yaml | kubectl apply --server-side -f -")
        .await?;
    server.images_are([Some(IMAGE), None]).await?;
    let patch = |kind_and_name: &str, groups: &str| {
        let patch = json!([{"op": "replace", "path": format!("{groups}/0/maxReplicas"), "value": 5}]);
        format!("kubectl patch {kind_and_name} --type json --patch '{patch}'")
    };
    patched
        .run(&patch(
            "rayservice/service",
            "/spec/rayClusterConfig/workerGroupSpecs",
        ))
        .await?;
    patched
        .run(&patch("raycluster/recreated", "/spec/workerGroupSpecs"))
        .await?;
    patched.images_are([Some(IMAGE), Some(IMAGE)]).await?;
    client
        .namespace
        .eventually(PATIENCE, "the operator makes the Pods anew", async || {
            let heads = There::look(&client.namespace, "head").await?.pods;
            ensure!(
                !heads.is_superset(&client.before.pods),
                "there still are {heads:?}"
            );
            anyhow::Ok(())
        })
        .await?;

    for replica in 0..testbed.webhook_replicas() {
        testbed.start_part(Part::Webhook(replica)).await?;
    }
    let mut other = testbed::documents(MANIFESTS)?.remove(0);
    other["metadata"]["name"] = json!("other");
    in_force(&client.namespace, &other, "elsewhere.example.com/ray:2.52.0").await?;
    for place in [&client, &server] {
        place
            .run("kubectl annotate rayservice/service raycluster/recreated example.com/touched=again")
            .await?;
    }
    client.specs_are(4).await?;
    server.specs_are(5).await?;
    patched.specs_are(5).await?;
    for place in [&client, &server, &patched] {
        let what = "the service has its cluster and no other, and both have a head";
        place
            .namespace
            .eventually(PATIENCE, what, async || {
                let now = There::look(&place.namespace, "head").await?;
                ensure!(
                    now.clusters == place.before.clusters && now.pods.len() == 2,
                    "there were {:?}, and are {now:?}",
                    place.before
                );
                anyhow::Ok(())
            })
            .await?;
    }
    let now = There::look(&patched.namespace, "head").await?;
    ensure!(
        now == patched.before,
        "there were {:?}, and are {now:?}",
        patched.before
    );
    Ok(())
}

/// A namespace with the service and the cluster, applied by somebody with `kubectl`.
struct Place {
    namespace: Namespace,
    shell: Shell,
    before: There,
    /// Of the clusters in both.
    specs: [Value; 2],
}

impl Place {
    async fn with_both(testbed: &Testbed, name: &str, apply: &str) -> Result<Self> {
        let namespace = testbed.namespace(name).await?;
        let shell = testbed.shell(namespace.name()).await?;
        shell.write("both.yaml", MANIFESTS)?;
        in_force(&namespace, &testbed::documents(MANIFESTS)?[0], IMAGE).await?;
        run(&shell, apply).await?;
        Ok(Self {
            before: There::once_there(&namespace).await?,
            specs: specs(&namespace).await?,
            namespace,
            shell,
        })
    }

    async fn run(&self, command: &str) -> Result<()> {
        run(&self.shell, command).await
    }

    /// What the manifests name as the images of heads and of workers.
    async fn images_are(&self, expected: [Option<&str>; 2]) -> Result<()> {
        for spec in specs(&self.namespace).await? {
            let images = [HEAD, WORKER].map(|image| spec.pointer(image).and_then(Value::as_str));
            ensure!(images == expected, "the images are {images:?} in {spec:#}");
        }
        Ok(())
    }

    /// As they were once the webhook had looked at them, but for `maxReplicas`.
    async fn specs_are(&self, max_replicas: u32) -> Result<()> {
        let mut expected = self.specs.clone();
        for spec in &mut expected {
            spec["workerGroupSpecs"][0]["maxReplicas"] = json!(max_replicas);
        }
        let now = specs(&self.namespace).await?;
        ensure!(now == expected, "they are {now:#?} in place of {expected:#?}");
        Ok(())
    }
}

async fn run(shell: &Shell, command: &str) -> Result<()> {
    let output = shell.run(command).await?;
    ensure!(output.succeeded(), "{command}: {output:?}");
    Ok(())
}

/// The operator writes empty objects into the one of a service.
async fn specs(namespace: &Namespace) -> Result<[Value; 2]> {
    let service = namespace.object("RayService", "service").await?;
    let cluster = namespace.object("RayCluster", "recreated").await?;
    Ok([&service["spec"]["rayClusterConfig"], &cluster["spec"]].map(said))
}

/// Without empty objects.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| **value != json!({}));
            fields.map(|(key, value)| (key.clone(), said(value))).collect()
        }
        Value::Array(items) => items.iter().map(said).collect(),
        other => other.clone(),
    }
}
