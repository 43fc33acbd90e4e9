//! The results of an audit as `PolicyReport` objects, one in each namespace that has something to report: what dashboards read, whoever wrote
//! it. Where nobody has installed that kind, there are none.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rules::audit::Who;
use rules::{Action, Finding};
use serde_json::{Value, json};

use super::is_absent;

/// What ours are called, and how they are found again.
const NAME: &str = "rayward";
const LABEL: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "rayward-webhook-audit";
/// A report has to stay an object that etcd takes. The summary counts the rest, too.
const RESULTS_MAX: usize = 1000;

/// What is to be reported in a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    fail: u64,
    warn: u64,
    results: Vec<Value>,
}

impl Draft {
    /// What was found about an object.
    pub(super) fn add(&mut self, who: &Who, findings: &[Finding]) {
        for finding in findings {
            let (count, result, severity) = match finding.action {
                Action::Deny => (&mut self.fail, "fail", "high"),
                Action::Warn => (&mut self.warn, "warn", "medium"),
                Action::Audit | Action::Off => (&mut self.warn, "warn", "low"),
            };
            *count += 1;
            if self.results.len() < RESULTS_MAX {
                self.results.push(json!({
                    "source": NAME,
                    "policy": finding.policy.as_deref().unwrap_or(NAME),
                    "rule": finding.code,
                    "result": result,
                    "severity": severity,
                    "message": finding.to_string(),
                    "resources": [{
                        "apiVersion": "ray.io/v1",
                        "kind": who.kind.name(),
                        "namespace": who.namespace,
                        "name": who.name,
                        "uid": who.uid,
                    }],
                    "properties": {"path": finding.path.to_string(), "action": finding.action.to_string()},
                }));
            }
        }
    }

    fn summary(&self) -> Value {
        json!({"pass": 0, "fail": self.fail, "warn": self.warn, "error": 0, "skip": 0})
    }

    fn is_told_by(&self, written: &Value) -> bool {
        written["summary"] == self.summary() && written["results"].as_array() == Some(&self.results)
    }
}

/// Makes the reports that there are say what they should: those of other namespaces go, and those that say so already are left alone.
pub(super) async fn write(client: &Client, drafts: &BTreeMap<String, Draft>) -> kube::Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "wgpolicyk8s.io",
        "v1alpha2",
        "PolicyReport",
    ));
    let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let ours = ListParams::default().labels(&format!("{LABEL}={NAME}"));
    let written = match all.list(&ours).await {
        Err(error) if is_absent(&error) => return Ok(()),
        written => written?,
    };
    let within =
        |namespace: &str| Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let mut told: Vec<String> = Vec::new();
    for report in written {
        let namespace = report.namespace().unwrap_or_default();
        match drafts.get(&namespace) {
            _ if report.name_any() != NAME => {}
            Some(draft) if draft.is_told_by(&report.data) => told.push(namespace),
            Some(_) => {}
            None => {
                within(&namespace).delete(NAME, &DeleteParams::default()).await?;
            }
        }
    }
    for (namespace, draft) in drafts.iter().filter(|(namespace, _)| !told.contains(namespace)) {
        let report = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": NAME, "namespace": namespace, "labels": {LABEL: NAME}},
            "summary": draft.summary(),
            "results": draft.results,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        match within(namespace)
            .patch(NAME, &parameters, &Patch::Apply(report))
            .await
        {
            // The namespace has gone meanwhile, or is about to.
            Err(error) if is_absent(&error) => tracing::debug!(namespace, %error, "a report was not written"),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                tracing::debug!(namespace, message = status.message, "a report was not written");
            }
            written => {
                written?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ray::object::Kind;
    use ray::path::Pointer;

    use super::*;

    fn finding(action: Action) -> Finding {
        Finding {
            code: "RW-G005".into(),
            path: Pointer::root().key("spec").key("workerGroupSpecs").index(0),
            problem: "it is wrong".to_owned(),
            hint: "correct it".to_owned(),
            action,
            excused: false,
            policy: None,
        }
    }

    fn who() -> Who {
        Who {
            namespace: "team".to_owned(),
            kind: Kind::Job,
            name: "train".to_owned(),
            uid: "1-2".to_owned(),
        }
    }

    #[test]
    fn a_report_names_the_object_the_rule_and_what_is_wrong() {
        let mut draft = Draft::default();
        draft.add(&who(), &[finding(Action::Deny)]);
        insta::assert_json_snapshot!(draft.results[0], @r#"
        {
          "message": "RW-G005 spec.workerGroupSpecs[0]: it is wrong (correct it)",
          "policy": "rayward",
          "properties": {
            "action": "Deny",
            "path": "/spec/workerGroupSpecs/0"
          },
          "resources": [
            {
              "apiVersion": "ray.io/v1",
              "kind": "RayJob",
              "name": "train",
              "namespace": "team",
              "uid": "1-2"
            }
          ],
          "result": "fail",
          "rule": "RW-G005",
          "severity": "high",
          "source": "rayward"
        }
        "#);
        let written = json!({"summary": draft.summary(), "results": draft.results});
        assert!(draft.is_told_by(&written));
        draft.add(&who(), &[finding(Action::Audit)]);
        assert!(!draft.is_told_by(&written));
    }

    #[test]
    fn a_report_stays_small_and_counts_all() {
        let mut draft = Draft::default();
        for _ in 0..600 {
            draft.add(&who(), &[finding(Action::Deny), finding(Action::Warn)]);
        }
        assert_eq!(draft.results.len(), RESULTS_MAX);
        assert_eq!(
            draft.summary(),
            json!({"pass": 0, "fail": 600, "warn": 600, "error": 0, "skip": 0})
        );
    }
}
