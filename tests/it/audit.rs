//! Objects that were there before a policy was, on the real API server: they stay, and are counted and reported.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::policy::{DOUBTFUL, policies};

/// A pass waits until nothing changes any more, and other tests change policies, too.
const PATIENCE: Duration = Duration::from_secs(90);

/// A policy that would refuse an older object says so in its status, where the worst objects are named, and in a report; once the object is
/// put right, both say that, though the replica that counted is gone.
pub(crate) async fn older_objects_are_counted_and_reported(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("audited").await?;
    let name = format!("audit-{}", namespace.name());
    testbed.apply(&report_definition()).await?;
    namespace.apply(DOUBTFUL).await?;
    let policy = json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "select": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}}},
            "rules": [{"code": "RW-G005", "action": "Deny"}, {"code": "RW-G023", "action": "Off"}],
        },
    });
    testbed.apply(&policy).await?;
    let worst = json!([{
        "kind": "RayCluster",
        "namespace": namespace.name(),
        "name": "doubtful",
        "findings": {"deny": 1, "warn": 0, "audit": 0},
        "codes": ["RW-G005"],
    }]);
    audited(
        testbed,
        &name,
        &json!({"objects": 1, "refused": 1, "worst": worst}),
    )
    .await?;
    let told = "RW-G005 spec.workerGroupSpecs[0].replicas";
    reported(&namespace, Some((told, &name))).await?;

    // Nobody is refused what an audit is about: the object is as it was, and may be put right.
    namespace
        .apply(&DOUBTFUL.replace("replicas: 7", "replicas: 5"))
        .await?;
    for replica in 0..testbed.webhook_replicas() {
        testbed.restart(testbed::Part::Webhook(replica)).await?;
    }
    audited(testbed, &name, &json!({"objects": 1, "refused": 0, "worst": []})).await?;
    reported(&namespace, None).await?;
    policies(testbed).delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

async fn audited(testbed: &Testbed, policy: &str, expected: &Value) -> Result<()> {
    let what = format!("the status of {policy} says {expected}");
    testbed
        .eventually(PATIENCE, &what, async || {
            let status = policies(testbed).get(policy).await?.data["status"].clone();
            let says = |(field, value): (&String, &Value)| status["audit"][field] == *value;
            let expected = expected.as_object().context("fields")?;
            ensure!(expected.iter().all(says), "it says {status:#}");
            // The two that write it leave each other's fields alone.
            ensure!(status["conditions"][0]["status"] == "True", "it says {status:#}");
            anyhow::Ok(())
        })
        .await
}

/// The report of a namespace says this first, because of this policy; or there is none.
async fn reported(namespace: &Namespace, expected: Option<(&str, &str)>) -> Result<()> {
    let kind = GroupVersionKind::gvk("wgpolicyk8s.io", "v1alpha2", "PolicyReport");
    let reports = Api::<DynamicObject>::namespaced_with(
        namespace.client().clone(),
        namespace.name(),
        &ApiResource::from_gvk(&kind),
    );
    let what = format!("the report says {expected:?}");
    namespace
        .eventually(PATIENCE, &what, async || {
            let report = reports.get_opt("rayward").await?.map(|report| report.data);
            let first = |field: &str| {
                report
                    .as_ref()
                    .and_then(|report| report["results"][0][field].as_str())
            };
            let holds = match expected {
                Some((message, policy)) => {
                    first("message").is_some_and(|told| told.starts_with(message))
                        && first("policy") == Some(policy)
                }
                None => report.is_none(),
            };
            ensure!(holds, "it is {report:#?}");
            anyhow::Ok(())
        })
        .await
}

/// As much of the working group's kind as the API server needs to keep one.
fn report_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "policyreports.wgpolicyk8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": "wgpolicyk8s.io",
            "scope": "Namespaced",
            "names": {"kind": "PolicyReport", "listKind": "PolicyReportList", "plural": "policyreports", "singular": "policyreport"},
            "versions": [{
                "name": "v1alpha2",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}
