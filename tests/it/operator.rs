//! The real operator beside our verdicts: what we admit it takes up without a word, and what we refuse in its name it complains of where
//! nobody asks us.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use ray::object::Kind;
use rules::{Action, Case, Facts, Operator, Rule, Source};
use serde_json::{Value, json};
use testbed::{Namespace, Testbed};

use crate::samples;

/// A namespace whose objects our webhook is not asked about; see `manifests/base/webhooks.yaml`.
const UNGUARDED: &str = "kube-system";
const DEADLINE: Duration = Duration::from_mins(2);

/// An object for the operator.
struct Specimen {
    /// What it shows: the code of a rule, or the file of a sample.
    label: String,
    kind: Kind,
    object: Value,
}

/// Each check of KubeRay's that our webhook makes in its place, seen in the original: the example that our rule refuses is stored where we
/// are not asked, and the operator's event says what the rule says.
pub(crate) async fn complains_of_what_we_refuse(testbed: &Testbed) -> Result<()> {
    let guarded = testbed.namespace("guarded").await?;
    let mut refused = Vec::new();
    for rule in rules_of_this_operator().filter(|rule| rule.action == Action::Deny) {
        let Some(specimen) = specimen(rule, rule.example.fires) else {
            continue;
        };
        match guarded.dry_run(&specimen.object).await {
            Err(refusal) if refusal.message.contains(rule.code) => {
                refused.push((specimen, refusal.message));
            }
            // The schema was quicker; then the operator never sees such an object.
            Err(refusal) if refusal.message.contains("is invalid: ") => {}
            Err(refusal) => bail!("{} is refused for something else: {refusal}", rule.code),
            // Our own defaults have mended it.
            Ok(mended) if mended.object["spec"] != specimen.object["spec"] => {}
            Ok(_) => bail!("{} does not refuse {}", rule.code, specimen.object),
        }
    }
    ensure!(refused.len() > 60, "only {} examples are refused", refused.len());
    for (specimen, _) in &mut refused {
        specimen.object["metadata"]["namespace"] = UNGUARDED.into();
        let stored = testbed.apply(&specimen.object).await;
        stored.with_context(|| format!("store the example of {}", specimen.label))?;
    }
    let heard = testbed.eventually(DEADLINE, "the operator complains of all", async || {
        let complaints = complaints(testbed, UNGUARDED).await?;
        let silent: Vec<_> = refused
            .iter()
            .filter(|(specimen, _)| !complaints.contains_key(&specimen.key()))
            .map(|(specimen, _)| &specimen.label)
            .collect();
        ensure!(silent.is_empty(), "it is silent about {silent:?}");
        Ok(complaints)
    });
    let heard = heard.await?;
    for (specimen, refusal) in &refused {
        // The operator stops at the first of several mistakes, and we tell all.
        let complaint = &heard[&specimen.key()];
        let answers = parity::answers(complaint).into_iter().flatten();
        ensure!(
            answers
                .flat_map(|(_, codes)| codes)
                .any(|code| refusal.contains(code)),
            "the operator says: {complaint}\nand we say of the example of {}: {refusal}",
            specimen.label
        );
        testbed
            .delete(specimen.kind.name(), UNGUARDED, specimen.name())
            .await?;
    }
    Ok(())
}

/// Every sample of KubeRay's, and the near miss of each check of its own: nothing that we admit is refused by the operator. No Pod may be made
/// in that namespace, so that nothing has to run.
pub(crate) async fn takes_up_what_we_admit(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("taken-up").await?;
    forbid_pods(&namespace).await?;
    let near_misses = rules_of_this_operator().filter_map(|rule| specimen(rule, rule.example.passes));
    let samples = samples::objects(testbed)?
        .into_iter()
        .enumerate()
        .map(|(index, (file, mut object))| {
            let kind = object["kind"].as_str().and_then(Kind::from_kind_name);
            let name = format!("sample-{index}");
            for cluster in ["/spec", "/spec/rayClusterConfig"] {
                let service = format!("{cluster}/headGroupSpec/headService/metadata/name");
                if let Some(service) = object.pointer_mut(&service) {
                    *service = format!("{name}-head").into();
                }
            }
            object["metadata"]["name"] = name.into();
            Ok(Specimen {
                label: file,
                kind: kind.context("a kind of ray.io")?,
                object,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let admitted: Vec<_> = near_misses
        .chain(samples)
        .filter(|specimen| specimen.kind != Kind::CronJob)
        .collect();
    for Specimen { label, object, .. } in &admitted {
        let mut object = object.clone();
        object["metadata"]["namespace"] = namespace.name().into();
        namespace.dry_run(&object).await.with_context(|| label.clone())?;
        testbed.apply(&object).await.with_context(|| label.clone())?;
    }
    namespace
        .eventually(DEADLINE, "the operator takes up everything", async || {
            let complaints = complaints(testbed, namespace.name()).await?;
            ensure!(complaints.is_empty(), "it complains: {complaints:?}");
            let mut left = Vec::new();
            for specimen in &admitted {
                let stored = namespace.object(specimen.kind.name(), specimen.name()).await?;
                if stored["status"].is_null() {
                    left.push(&specimen.label);
                }
            }
            ensure!(left.is_empty(), "it has not looked at {left:?}");
            Ok(())
        })
        .await
}

/// What KubeRay's own functions check, in the version and with the gates of this world.
fn rules_of_this_operator() -> impl Iterator<Item = &'static Rule> {
    let facts = Facts {
        operator: Some(Operator::V1_6),
        gates: "".parse().expect("no gates"),
        ..Facts::default()
    };
    rules::table().filter(move |rule| {
        // Its own webhook is not called here, and without the gate it does not look at any RayCronJob.
        matches!(rule.source, Source::KubeRay(function) if !function.contains("Webhook"))
            && rule.kinds != [Kind::CronJob]
            && rule.operators.contain(Operator::V1_6)
            && rule
                .gate
                .is_none_or(|state| facts.gate(state.gate) == Some(state.on))
    })
}

/// The example as an object that is new here; nothing where it shows an update, or what the operator leaves to another controller.
fn specimen(rule: &Rule, example: &str) -> Option<Specimen> {
    let case = Case::of(rule, example);
    let mut object = case.object;
    if case.old.is_some() || !object["spec"]["managedBy"].is_null() {
        return None;
    }
    samples::give_name(&mut object);
    if object["metadata"]["name"] == "demo" {
        object["metadata"]["name"] = rule.code.to_lowercase().into();
    }
    object["metadata"].as_object_mut()?.remove("namespace");
    Some(Specimen {
        label: rule.code.to_owned(),
        kind: case.kind?,
        object,
    })
}

impl Specimen {
    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().expect("it was named")
    }

    fn key(&self) -> (String, String) {
        (self.kind.name().to_owned(), self.name().to_owned())
    }
}

/// What the operator has against objects of a namespace, by their kind and name.
async fn complaints(testbed: &Testbed, namespace: &str) -> Result<BTreeMap<(String, String), String>> {
    let events: Api<Event> = Api::namespaced(testbed.client().clone(), namespace);
    let events = events.list(&ListParams::default()).await?.items;
    let invalid = events.into_iter().filter_map(|event| {
        let about = event.regarding?;
        let is_complaint = event.reason?.starts_with("Invalid");
        is_complaint.then_some(((about.kind?, about.name?), event.note?))
    });
    Ok(invalid.collect())
}

/// There is no controller here that would count for a quota, so this says what it would.
async fn forbid_pods(namespace: &Namespace) -> Result<()> {
    let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client().clone(), namespace.name());
    let none = json!({"pods": "0"});
    let quota = json!({"metadata": {"name": "no-pods"}, "spec": {"hard": none}});
    quotas
        .create(&PostParams::default(), &serde_json::from_value(quota)?)
        .await?;
    let status = json!({"status": {"hard": none, "used": none}});
    quotas
        .patch_status("no-pods", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}
