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
/// is an annotation. The second cluster of a service that got no head has to be deleted.
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
    let changed = "sed 's/maxReplicas: 4/maxReplicas: 5/' both.yaml | kubectl apply --server-side --force-conflicts -f -";
    server.run(changed).await?;
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
    let lost = |headless: &[String]| headless.len() == 2 && headless.contains(&"recreated".to_owned());
    client
        .headless_until(
            lost,
            "the cluster has lost its head, and the service's second one gets none",
        )
        .await?;

    for replica in 0..testbed.webhook_replicas() {
        testbed.start_part(Part::Webhook(replica)).await?;
    }
    let mut other = testbed::documents(MANIFESTS)?.remove(0);
    other["metadata"]["name"] = json!("other");
    in_force(&client.namespace, &other, "elsewhere.example.com/ray:2.52.0").await?;
    client.run("kubectl apply -f both.yaml").await?;
    client.images_are([None, None]).await?;
    server.run(changed).await?;
    server.images_are([Some(IMAGE), None]).await?;
    for place in [&client, &server] {
        place
            .run("kubectl annotate rayservice/service raycluster/recreated example.com/touched=again")
            .await?;
    }
    client.specs_are(4).await?;
    server.specs_are(5).await?;
    patched.specs_are(5).await?;
    let begun = client
        .headless_until(|headless| headless.len() == 1, "the cluster has a head again")
        .await?;
    client
        .run(&format!("kubectl delete raycluster {}", begun[0]))
        .await?;
    for place in [&client, &server] {
        place
            .headless_until(<[String]>::is_empty, "all clusters have a head")
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

    /// Waits until those clusters have no head that this is true of.
    async fn headless_until(&self, enough: impl Fn(&[String]) -> bool, what: &str) -> Result<Vec<String>> {
        self.namespace
            .eventually(PATIENCE, what, async || {
                let headless = self.headless().await?;
                ensure!(enough(&headless), "{headless:?} have none");
                anyhow::Ok(headless)
            })
            .await
    }

    /// The clusters without a head.
    async fn headless(&self) -> Result<Vec<String>> {
        let heads = self.namespace.pods("ray.io/node-type=head").await?;
        let has_head = |name: &str| {
            heads.iter().any(|head| {
                head.metadata
                    .labels
                    .iter()
                    .flatten()
                    .any(|(key, value)| key == "ray.io/cluster" && value == name)
            })
        };
        let clusters = self.namespace.objects("RayCluster").await?;
        let names = clusters
            .iter()
            .filter_map(|cluster| cluster["metadata"]["name"].as_str());
        Ok(names.filter(|name| !has_head(name)).map(str::to_owned).collect())
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
            spec["workerGroupSpecs"][0]["maxReplicas"] = json!(max_replicas.to_string());
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

async fn specs(namespace: &Namespace) -> Result<[Value; 2]> {
    let service = namespace.object("RayService", "service").await?;
    let cluster = namespace.object("RayCluster", "recreated").await?;
    Ok([&service["spec"]["rayClusterConfig"], &cluster["spec"]].map(said))
}

/// What the operator leaves as it is when it writes a service: without empty objects, and with all amounts as texts.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| **value != json!({}));
            fields.map(|(key, value)| (key.clone(), said(value))).collect()
        }
        Value::Array(items) => items.iter().map(said).collect(),
        Value::Number(number) => number.to_string().into(),
        other => other.clone(),
    }
}
