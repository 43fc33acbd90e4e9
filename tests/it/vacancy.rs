//! Clusters that nobody uses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::cluster::{BARE, run, workers_become_at_least};
use crate::demands::{edit, ready};
use crate::scaling::event_of;

const SECOND: Duration = Duration::from_secs(1);

/// Uses the cluster for a while, and says when it no longer does.
const DRIVER: &str = "
import ray, time
ray.init(address='auto')
@ray.remote(num_cpus=1)
def work():
    time.sleep(20)
ray.get(work.remote())
print('leaves at', time.time())
";

/// What no KubeRay of today has, and Ray 2.60's own autoscaler knows: a cluster is suspended some time after its last driver has left, and not while one is there.
pub(crate) async fn a_cluster_that_nobody_uses_is_suspended(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("vacant").await?;
    extend_definition(testbed).await?;
    namespace.apply(BARE).await?;
    let head = ready(&namespace).await?;
    let driver = ["python", "-c", DRIVER];
    let driver = run(&namespace, &head, &driver);
    let asked = async {
        workers_become_at_least(&namespace, "demo", 1).await?;
        let options = json!({ "timeoutSeconds": 5 });
        namespace
            .eventually(60 * SECOND, "the definition has the options", async || {
                let asked = edit(&namespace, "/spec/idleTerminationOptions", options.clone()).await;
                asked.map_err(|error| error.to_string())?;
                let there = spec(&namespace).await?["idleTerminationOptions"].clone();
                if there == options {
                    Ok(())
                } else {
                    Err(there.to_string())
                }
            })
            .await
    };
    let (said, ()) = tokio::try_join!(driver, asked)?;
    let left = said.rsplit("leaves at ").next().unwrap_or_default().trim();
    let left: f64 = left
        .parse()
        .with_context(|| format!("when the driver left: {said}"))?;
    namespace
        .eventually(60 * SECOND, "it is suspended", async || {
            let spec = spec(&namespace).await?;
            if spec["idleSuspend"] == true {
                Ok(())
            } else {
                Err(spec["idleSuspend"].to_string())
            }
        })
        .await?;
    let event = event_of(&namespace, "IdleSuspended", "suspended: no driver").await?;
    let suspended = event.event_time.context("it has a time")?.0;
    let after = suspended.as_duration().as_secs_f64() - left;
    ensure!(after >= 5.0, "suspended {after} s after its driver left");
    Ok(())
}

/// As the definition of a later KubeRay would be. It harms nobody else's clusters: none has these fields.
async fn extend_definition(testbed: &Testbed) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(testbed.client().clone());
    let definition = definitions.get("rayclusters.ray.io").await?;
    let mut versions = definition.spec.versions.iter();
    let version = versions.position(|version| version.name == "v1").context("v1")?;
    let properties = format!("/spec/versions/{version}/schema/openAPIV3Schema/properties/spec/properties");
    let options = json!({
        "type": "object",
        "properties": {
            "timeoutSeconds": { "type": "integer" },
            "policy": { "type": "string", "enum": ["Suspend", "Delete"] },
        },
    });
    let edits = json!([
        { "op": "add", "path": format!("{properties}/idleTerminationOptions"), "value": options },
        { "op": "add", "path": format!("{properties}/idleSuspend"), "value": { "type": "boolean" } },
    ]);
    let edits = Patch::<()>::Json(serde_json::from_value(edits)?);
    definitions
        .patch("rayclusters.ray.io", &PatchParams::default(), &edits)
        .await?;
    Ok(())
}

async fn spec(namespace: &Namespace) -> Result<Value, String> {
    let object = namespace.object("RayCluster", "demo").await;
    Ok(object.map_err(|error| error.to_string())?["spec"].take())
}
