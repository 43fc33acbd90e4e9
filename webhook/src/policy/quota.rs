//! `quota`: the `ResourceQuota` that makes what policies allow a namespace a hard bound. Policies count what is about to be written; a quota
//! counts Pods, and cannot be missed by two writes at once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use ray::accelerator;
use ray::object::Kind;
use rules::{Facts, Policy};
use serde_json::json;

use super::files;
use crate::args::Quota;
use crate::known::Known;
use crate::output;
use crate::source::{self, Document};

/// Prints a quota for each namespace that the flags name.
pub fn run(flags: &Quota) -> anyhow::Result<ExitCode> {
    let sources = source::read(&flags.files);
    let mut documents: Vec<Document> = Vec::new();
    for source in &sources {
        let read = source.documents();
        documents.extend(read.map_err(|unreadable| anyhow::anyhow!("{unreadable}"))?);
    }
    let facts = Facts {
        policies: Arc::new(files::read(&flags.policy)?),
        ..Facts::default()
    };
    let known = Known::new(facts, &flags.namespaces, &documents);
    let namespaces = known.namespaces();
    if namespaces.is_empty() {
        bail!("no namespace is named: say --namespace, or name manifests of namespaces");
    }
    let quotas: Vec<String> = namespaces
        .into_iter()
        .map(|namespace| of_namespace(&known, namespace))
        .collect::<anyhow::Result<_>>()?;
    output::print(&quotas.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// By the policies that are for any cluster there.
fn of_namespace(known: &Known, namespace: &str) -> anyhow::Result<String> {
    let cluster = json!({"metadata": {"namespace": namespace}});
    let request = known.request(Kind::Cluster, &cluster, None);
    if let Some(doubt) = known.facts.policies.doubts(&request).next() {
        bail!("namespace {namespace}: {doubt}: say --namespace-labels");
    }
    let quota = manifest(&known.facts.policies.of(&request), namespace)?;
    quota.with_context(|| {
        format!("namespace {namespace}: no policy that is for every RayCluster there has maxPerNamespace")
    })
}

/// The quota of a namespace, if a policy bounds what it may have.
pub fn manifest(policy: &Policy, namespace: &str) -> anyhow::Result<Option<String>> {
    let mut hard = BTreeMap::new();
    let mut uncounted = Vec::new();
    for accelerators in &policy.spec.accelerators {
        let (Some(most), Some(kind)) = (
            accelerators.max_per_namespace,
            accelerator::of_kind(&accelerators.kind),
        ) else {
            continue;
        };
        let given = accelerators
            .given
            .iter()
            .filter_map(|given| given.resource.as_deref());
        for name in kind.resources.iter().copied().chain(given) {
            if name.ends_with('*') {
                uncounted.push(name);
            } else {
                hard.insert(format!("requests.{name}"), most.to_string());
            }
        }
    }
    if hard.is_empty() {
        return Ok(None);
    }
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "rayward-accelerators", "namespace": namespace},
        "spec": {"hard": hard},
    });
    let yaml = serde_saphyr::to_string(&quota).context("write YAML")?;
    let patterns = match uncounted.join(", ") {
        none if none.is_empty() => none,
        names => format!("# A quota knows no patterns: add what nodes offer of {names}.\n"),
    };
    Ok(Some(format!(
        "# Each name is counted by itself; Pods that are not Ray's count, too.\n{patterns}{yaml}"
    )))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use rules::Policies;
    use rules::policy::NamedPolicy;
    use rules::{Operation, Request};
    use serde_json::Value;

    use super::*;

    fn quota(spec: &Value) -> Option<String> {
        let policies = Policies::new([NamedPolicy::read("defaults", spec).expect("a policy")]);
        let request = Request::new(Operation::Create, Kind::Cluster, &Value::Null, None);
        manifest(&policies.of(&request), "vision").expect("it can be written")
    }

    #[test]
    fn every_name_of_a_bounded_kind_is_bounded() {
        let mig = json!({"groups": ["*"], "amount": 1, "resource": "nvidia.com/mig-1g.10gb"});
        let spec = json!({"accelerators": [
            {"kind": "NVIDIA", "maxPerNamespace": 128, "given": mig},
            {"kind": "TPU", "maxPerNamespace": 0},
            {"kind": "AMD", "maxPerCluster": 8},
        ]});
        let quota = quota(&spec).expect("there are bounds");
        insta::assert_snapshot!(quota, @r#"
        # Each name is counted by itself; Pods that are not Ray's count, too.
        # A quota knows no patterns: add what nodes offer of nvidia.com/mig-*.
        apiVersion: v1
        kind: ResourceQuota
        metadata:
          name: rayward-accelerators
          namespace: vision
        spec:
          hard:
            requests.google.com/tpu: "0"
            requests.nvidia.com/gpu: "128"
            requests.nvidia.com/gpu.shared: "128"
            requests.nvidia.com/mig-1g.10gb: "128"
        "#);
        let read: ResourceQuota = serde_saphyr::from_str(&quota).expect("a quota");
        assert_eq!(
            read.spec.and_then(|spec| spec.hard).map(|hard| hard.len()),
            Some(4)
        );
    }

    #[test]
    fn without_a_bound_there_is_none() {
        assert_eq!(
            quota(&json!({"accelerators": [{"kind": "NVIDIA", "maxPerPod": 8}]})),
            None
        );
    }
}
