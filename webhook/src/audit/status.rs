//! The results of an audit, in the status of each policy.

use std::collections::BTreeMap;

use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rules::Action;
use rules::audit::{Offender, Tally};
use serde_json::{Value, json};

use super::{Pass, is_absent};
use crate::policy::definition;

/// Whose fields these are; the condition beside them is another's.
const MANAGER: &str = "rayward-webhook-audit";

/// Writes what came of it into every policy that there is.
pub(super) async fn write(client: &Client, pass: &Pass) -> kube::Result<()> {
    let resource = definition::resource();
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let policies = match api.list_metadata(&ListParams::default()).await {
        Err(error) if is_absent(&error) => return Ok(()),
        policies => policies?,
    };
    for policy in policies {
        let name = policy.name_any();
        let audit = status(&pass.census.of_policy(&name), &format!("{:.0}", pass.finished));
        let patch =
            json!({"apiVersion": resource.api_version, "kind": resource.kind, "status": {"audit": audit}});
        let parameters = PatchParams::apply(MANAGER).force();
        match api.patch_status(&name, &parameters, &Patch::Apply(patch)).await {
            // It has gone meanwhile.
            Err(error) if is_absent(&error) => {}
            written => drop(written?),
        }
    }
    Ok(())
}

fn status(tally: &Tally, finished: &str) -> Value {
    json!({
        "lastRun": finished,
        "objects": tally.objects,
        "refused": tally.refused,
        "findings": counts(&tally.findings),
        "worst": tally.worst().map(offender).collect::<Vec<_>>(),
    })
}

fn offender(Offender { who, findings, codes }: &Offender) -> Value {
    json!({
        "kind": who.kind.name(),
        "namespace": who.namespace,
        "name": who.name,
        "findings": counts(findings),
        "codes": codes,
    })
}

fn counts(findings: &BTreeMap<Action, u64>) -> Value {
    let count = |action| findings.get(&action).copied().unwrap_or_default();
    json!({"deny": count(Action::Deny), "warn": count(Action::Warn), "audit": count(Action::Audit)})
}
