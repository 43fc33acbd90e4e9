//! Bounds that are about all objects of a namespace, on the real API server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::api::DeleteParams;
use ray::object::Kind;
use rayward_webhook::policy::quota;
use rules::policy::NamedPolicy;
use rules::{NAMESPACE_NAME, Operation, Policies, Request};
use serde_json::{Value, json};
use testbed::Testbed;

use crate::policy::policies;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two clusters fit, and a third does not, as is told with the counts and the policy's name; nor may one of the two grow. Where one is deleted,
/// the third fits. Dry runs take no room.
pub(crate) async fn what_a_namespace_may_have_together(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("together").await?;
    let policy = format!("together-{}", namespace.name());
    let bound = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayAdmissionPolicy",
        "metadata": {"name": policy},
        "spec": {
            "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
            "accelerators": [{"kind": "NVIDIA", "maxPerNamespace": 8}],
        },
    });
    testbed.apply(&bound).await?;
    namespace
        .eventually(PATIENCE, "the policy is in force", async || {
            let refused = namespace.dry_run(&cluster("all", 9)?).await.is_err();
            ensure!(refused, "nine GPUs are let through");
            anyhow::Ok(())
        })
        .await?;

    namespace.dry_run(&cluster("tried", 8)?).await?;
    namespace
        .apply_all(&[cluster("first", 4)?, cluster("second", 4)?])
        .await?;
    for (one_more, others) in [(cluster("third", 2)?, 8), (cluster("second", 5)?, 4)] {
        // The replica that is asked may have to hear of the others first.
        let told = format!(
            "NVIDIA accelerators and the others in its namespace {others}, and the policy {policy} allows 8 together"
        );
        namespace
            .eventually(PATIENCE, "more than eight GPUs are refused", async || {
                let refusal = match namespace.dry_run(&one_more).await {
                    Ok(_) => bail!("they are let through"),
                    Err(refusal) => refusal.to_string(),
                };
                ensure!(
                    refusal.contains("RW-A109") && refusal.contains(&told),
                    "{refusal}"
                );
                anyhow::Ok(())
            })
            .await?;
    }
    namespace.delete("RayCluster", "first").await?;
    namespace
        .eventually(PATIENCE, "the third fits", async || {
            namespace.apply_all(&[cluster("third", 2)?]).await?;
            anyhow::Ok(())
        })
        .await?;

    // What makes the bound a hard one is a quota that the API server takes.
    let named = NamedPolicy::read("bound", &bound["spec"]).map_err(|problems| anyhow!("{problems:?}"))?;
    let one = cluster("first", 4)?;
    let labels = BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.name().to_owned())]);
    let request = Request {
        namespace_labels: Some(&labels),
        ..Request::new(Operation::Create, Kind::Cluster, &one, None)
    };
    let quota = quota::manifest(&Policies::new([named]).of(&request), namespace.name())?;
    namespace.apply(&quota.context("there is a bound")?).await?;

    policies(testbed)
        .delete(&policy, &DeleteParams::default())
        .await?;
    Ok(())
}

/// With so many GPUs at its largest, and no Pods.
fn cluster(name: &str, gpus: u32) -> Result<Value> {
    let manifest = format!(
        "
apiVersion: ray.io/v1
kind: RayCluster
metadata: {{name: {name}}}
spec:
  suspend: true
  rayVersion: 2.52.0
  headGroupSpec:
    rayStartParams: {{}}
    template: {{spec: {{containers: [{{name: ray-head, image: rayproject/ray:2.52.0}}]}}}}
  workerGroupSpecs:
    - groupName: gpu
      replicas: 0
      minReplicas: 0
      maxReplicas: {gpus}
      rayStartParams: {{}}
      template:
        spec:
          containers:
            - name: ray-worker
              image: rayproject/ray:2.52.0-gpu
              resources: {{limits: {{cpu: 1, memory: 2Gi, nvidia.com/gpu: 1}}}}
"
    );
    testbed::documents(&manifest)?.pop().context("a cluster")
}
