//! Policies on the real API server: what they refuse, what they let through, and what becomes of a broken one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde_json::{Value, json};
use testbed::{Identity, Namespace, Role, Testbed};

const PATIENCE: Duration = Duration::from_secs(30);
/// `replicas` is not within its bounds, which is worth a warning.
pub(crate) const DOUBTFUL: &str = "
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: doubtful}
spec:
  suspend: true
  rayVersion: 2.52.0
  headGroupSpec:
    rayStartParams: {}
    template: {spec: {containers: [{name: ray-head, image: rayproject/ray:2.52.0}]}}
  workerGroupSpecs:
    - groupName: cpu
      replicas: 7
      minReplicas: 0
      maxReplicas: 5
      rayStartParams: {}
      template: {spec: {containers: [{name: ray-worker, image: rayproject/ray:2.52.0}]}}
";

/// A policy refuses in its own name, also by a rule that it brings along; what it only wants noted is an Event; an exception lets through with a warning, and so does the glass for
/// who may break it; a broken policy says where in its status and stays in force as it was, also for replicas that start then; one that is gone is gone.
pub(crate) async fn a_policy_comes_changes_breaks_and_goes(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("guarded").await?;
    let name = format!("guardrails-{}", namespace.name());
    let policy = |more: &Value| {
        let mut policy = json!({
            "apiVersion": "rayward.dev/v1alpha1",
            "kind": "RayAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
                "rules": [{"code": "RW-G005", "action": "Deny"}],
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            policy["spec"][field] = value.clone();
        }
        policy
    };
    let refused = format!(
        "RW-G005 spec.workerGroupSpecs[0].replicas: 7 is not within 0 and 5; there will be 5; refused by the policy {name}"
    );
    says(&namespace, "RW-G005").await?;

    testbed.apply(&policy(&json!({}))).await?;
    says(&namespace, &refused).await?;
    ready(testbed, &name, "True", "").await?;

    let exception = json!([{
        "name": "moving",
        "codes": ["RW-G005"],
        "objects": {"names": ["doubt*"]},
        "reason": "it moves next week",
        "expires": "2999-01-01T00:00:00Z",
    }]);
    testbed.apply(&policy(&json!({"exceptions": exception}))).await?;
    says(
        &namespace,
        &format!("let through until 2999-01-01T00:00:00Z by the exception moving of the policy {name}"),
    )
    .await?;
    explained(&namespace, &name).await?;
    testbed.apply(&policy(&json!({}))).await?;
    says(&namespace, &refused).await?;

    testbed
        .apply(&policy(&json!({"breakGlass": {"groups": ["system:masters"]}})))
        .await?;
    let annotated = DOUBTFUL.replace(
        "{name: doubtful}",
        "{name: doubtful, annotations: {rayward.dev/break-glass: it burns}}",
    );
    says_of(
        &annotated,
        &namespace,
        &format!("let through by the broken glass of the policy {name}"),
    )
    .await?;
    testbed.apply(&policy(&json!({}))).await?;
    says_of(&annotated, &namespace, &refused).await?;

    let no_seven = json!([{
        "name": "no-seven",
        "kinds": ["RayCluster"],
        "expression": "object.spec.workerGroupSpecs.all(group, group.replicas != 7)",
        "messageExpression": "object.spec.workerGroupSpecs[0].groupName + ' has seven replicas'",
        "path": "spec.workerGroupSpecs",
    }]);
    testbed.apply(&policy(&json!({"customRules": no_seven}))).await?;
    let custom =
        format!("RW-X/no-seven spec.workerGroupSpecs: cpu has seven replicas; so says the policy {name}");
    says(&namespace, &custom).await?;
    testbed.apply(&policy(&json!({}))).await?;

    noted(
        &namespace,
        &policy(&json!({"rules": [{"code": "RW-G*", "action": "Audit"}]})),
    )
    .await?;
    testbed.apply(&policy(&json!({}))).await?;
    says(&namespace, &refused).await?;

    let broken = policy(&json!({"rules": [{"code": "RW-G05", "action": "Warn"}]}));
    let Err(refusal) = testbed.apply(&broken).await else {
        bail!("a broken policy was admitted");
    };
    let wrong = "spec.rules[0].code: no rule has the code `RW-G05`";
    ensure!(refusal.to_string().contains(wrong), "{refusal}");
    store_unseen(&namespace, &broken).await?;
    ready(testbed, &name, "False", wrong).await?;
    says(&namespace, &refused).await?;
    for replica in 0..testbed.webhook_replicas() {
        testbed.restart(testbed::Part::Webhook(replica)).await?;
    }
    says(&namespace, &refused).await?;

    policies(testbed).delete(&name, &DeleteParams::default()).await?;
    says(&namespace, "Warning: RW-G005").await
}

/// A policy changes again and again, each time until it is in force, while others write without pause: not one of their calls fails.
#[allow(clippy::print_stderr)] // The numbers are what it is for.
pub(crate) async fn no_call_is_lost_while_a_policy_changes(testbed: &Testbed) -> Result<()> {
    const CHANGES: usize = 100;
    let namespace = testbed.namespace("changing").await?;
    let name = format!("changing-{}", namespace.name());
    let changing = AtomicBool::new(true);
    let (calls, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let last = Mutex::new(None);
    let changes = async {
        for change in 0..CHANGES {
            let policy = json!({
                "apiVersion": "rayward.dev/v1alpha1",
                "kind": "RayAdmissionPolicy",
                "metadata": {"name": name},
                "spec": {
                    "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
                    "rules": [{"code": "RW-G005", "action": "Warn"}],
                    "options": {"labels": {"change": change.to_string()}},
                },
            });
            testbed.apply(&policy).await?;
            labelled(&namespace, change).await?;
        }
        changing.store(false, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let load = async |worker: usize| {
        let mut object = testbed::documents(DOUBTFUL)?.remove(0);
        object["metadata"]["name"] = json!(format!("doubtful-{worker}"));
        for round in 0.. {
            if !changing.load(Ordering::Relaxed) {
                break;
            }
            let call = calls.fetch_add(1, Ordering::Relaxed);
            // Each apply is a real update.
            object["spec"]["workerGroupSpecs"][0]["maxReplicas"] = json!(5 + round / 2 % 2);
            let answer = if round % 2 == 0 {
                namespace.dry_run(&object).await
            } else {
                let applied = namespace.apply_all(std::slice::from_ref(&object)).await;
                applied.map(|mut applied| applied.remove(0))
            };
            // The warning shows that it was looked at.
            let failure = match answer {
                Ok(applied) if applied.warnings.iter().any(|warning| warning.contains("RW-G005")) => None,
                Ok(applied) => Some(format!("call {call}: the warnings are {:?}", applied.warnings)),
                Err(refusal) => Some(format!("call {call}: {refusal}")),
            };
            if failure.is_some() {
                failures.fetch_add(1, Ordering::Relaxed);
                *last.lock().expect("nobody panics with it") = failure;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(changes, load(0), load(1), load(2))?;
    policies(testbed).delete(&name, &DeleteParams::default()).await?;
    let (calls, failures) = (calls.into_inner(), failures.into_inner());
    eprintln!("{CHANGES} changes of a policy: {calls} calls, {failures} failures");
    ensure!(calls > CHANGES, "{calls} calls are no load");
    ensure!(
        failures == 0,
        "{failures} of {calls} calls failed; the last: {last:?}"
    );
    Ok(())
}

/// Waits until new objects would get this label.
async fn labelled(namespace: &Namespace, change: usize) -> Result<()> {
    let object = testbed::documents(DOUBTFUL)?.remove(0);
    let what = format!("the policy gives the label {change}");
    namespace
        .eventually(PATIENCE, &what, async || {
            let would_be = namespace.dry_run(&object).await?.object;
            let given = &would_be["metadata"]["labels"]["change"];
            ensure!(*given == json!(change.to_string()), "it gives {given}");
            anyhow::Ok(())
        })
        .await
}

/// Waits until whoever applies the doubtful cluster reads this, be it in a warning or in the refusal.
async fn says(namespace: &Namespace, expected: &str) -> Result<()> {
    says_of(DOUBTFUL, namespace, expected).await
}

/// The same of another cluster.
async fn says_of(cluster: &str, namespace: &Namespace, expected: &str) -> Result<()> {
    let what = format!("`kubectl apply` says: {expected}");
    namespace
        .eventually(PATIENCE, &what, async || {
            let object = testbed::documents(cluster)?.remove(0);
            let told = match namespace.dry_run(&object).await {
                Ok(applied) => {
                    let warnings = applied
                        .warnings
                        .iter()
                        .map(|warning| format!("Warning: {warning}"));
                    warnings.collect::<Vec<_>>().join("\n")
                }
                Err(refusal) => refusal.to_string(),
            };
            ensure!(told.contains(expected), "it says: {told}");
            Ok(())
        })
        .await
}

/// What the policy only wants noted is noted on the object, once it is stored, and does not depend on who reads the audit log.
async fn noted(namespace: &Namespace, policy: &Value) -> Result<()> {
    namespace.testbed().apply(policy).await?;
    let events = Api::<Event>::namespaced(namespace.client().clone(), namespace.name());
    let about = ListParams::default().fields("reason=PolicyViolation");
    namespace
        .eventually(PATIENCE, "an Event says RW-G005", async || {
            // Dry runs leave nothing behind.
            for _ in 0..3 {
                namespace
                    .dry_run(&testbed::documents(DOUBTFUL)?.remove(0))
                    .await?;
            }
            ensure!(events.list(&about).await?.items.is_empty(), "a dry run was noted");
            namespace.apply(DOUBTFUL).await?;
            anyhow::Ok(())
        })
        .await?;
    namespace
        .eventually(PATIENCE, "an Event says RW-G005", async || {
            let all = events.list(&about).await?.items;
            let told = all.iter().filter_map(|event| event.note.as_deref());
            let about_it = all.iter().all(|event| {
                let regarding = event.regarding.as_ref();
                regarding.and_then(|regarding| regarding.name.as_deref()) == Some("doubtful")
            });
            ensure!(
                about_it
                    && told
                        .clone()
                        .any(|note| note.contains("RW-G005 spec.workerGroupSpecs[0].replicas")),
                "they are {all:#?}"
            );
            anyhow::Ok(())
        })
        .await?;
    namespace.delete("RayCluster", "doubtful").await
}

/// `explain-policy` says of an object in the API server which policy each value is from.
async fn explained(namespace: &Namespace, policy: &str) -> Result<()> {
    namespace.apply(DOUBTFUL).await?;
    let testbed = namespace.testbed();
    let explain = tokio::process::Command::new(std::env::current_exe()?)
        .envs([Role::Webhook.environment()])
        .arg("explain-policy")
        .arg(format!("{}/raycluster/doubtful", namespace.name()))
        .arg("--kubeconfig")
        .arg(testbed.kubeconfig(Identity::Admin))
        .output()
        .await?;
    let told = String::from_utf8_lossy(&explain.stdout);
    let line = told.lines().find(|line| line.contains("exceptions[0].name"));
    ensure!(
        told.contains(&format!("falls under {policy} (priority 0)"))
            && line.is_some_and(|line| line.contains("\"moving\"") && line.ends_with(policy)),
        "it says: {told}{}",
        String::from_utf8_lossy(&explain.stderr)
    );
    namespace.delete("RayCluster", "doubtful").await
}

/// Waits until the policy's condition is this, with this in its message.
async fn ready(testbed: &Testbed, name: &str, status: &str, message: &str) -> Result<()> {
    let what = format!("Ready of {name} is {status}, with {message:?}");
    testbed
        .eventually(PATIENCE, &what, async || {
            let policy = policies(testbed).get(name).await?;
            let condition = &policy.data["status"]["conditions"][0];
            let observed = condition["observedGeneration"] == json!(policy.metadata.generation);
            let told = condition["message"].as_str().unwrap_or_default();
            let holds = observed && condition["status"] == status && told.contains(message);
            ensure!(holds, "it is {condition:#}");
            anyhow::Ok(())
        })
        .await
}

/// Stores a policy that is refused, as can happen while no replica answers: in the moment for which our registration is gone.
async fn store_unseen(namespace: &Namespace, policy: &Value) -> Result<()> {
    namespace
        .eventually(PATIENCE, "the policy slips through", async || {
            forget_registration(namespace.testbed()).await?;
            namespace.testbed().apply(policy).await?;
            anyhow::Ok(())
        })
        .await
}

async fn forget_registration(testbed: &Testbed) -> Result<()> {
    let kind = GroupVersionKind::gvk(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
    );
    let configurations =
        Api::<DynamicObject>::all_with(testbed.client().clone(), &ApiResource::from_gvk(&kind));
    let registered = configurations.get("rayward").await?;
    let webhooks = registered.data["webhooks"].as_array();
    let index = webhooks.and_then(|all| {
        all.iter()
            .position(|one| one["name"] == "validate-policy.rayward.dev")
    });
    if let Some(index) = index {
        let patch = json!([
            {"op": "test", "path": format!("/webhooks/{index}/name"), "value": "validate-policy.rayward.dev"},
            {"op": "remove", "path": format!("/webhooks/{index}")},
        ]);
        let patch = Patch::<Value>::Json(serde_json::from_value(patch)?);
        configurations
            .patch("rayward", &PatchParams::default(), &patch)
            .await?;
    }
    Ok(())
}

/// All policies there are.
pub(crate) fn policies(testbed: &Testbed) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("rayward.dev", "v1alpha1", "RayAdmissionPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rayadmissionpolicies");
    Api::all_with(testbed.client().clone(), &resource)
}
