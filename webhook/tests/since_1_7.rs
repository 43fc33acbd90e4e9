//! What only KubeRay 1.7 checks, by whole reviews and the table of conditions in `since_1_7.yaml`. The older versions are asked themselves (the
//! crate `parity`); the module of 1.7 is not published.

mod world;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use ray::fixture::{Sample, sample};
use ray::object::Kind;
use rayward_webhook::admit::{Admission, Endpoint};
use rules::{Action, Facts, Gates, Operator, Source, table};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Topic {
    about: String,
    /// The operator's flag.
    #[serde(default)]
    gates: String,
    /// All kinds where none is named.
    kind: Option<String>,
    given: Map<String, Value>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    set: Map<String, Value>,
    /// In place of the topic's.
    gates: Option<String>,
    refused: BTreeSet<String>,
}

#[tokio::test]
async fn every_condition_has_its_verdict() -> Result<()> {
    let topics: Vec<Topic> = serde_saphyr::from_str(include_str!("since_1_7.yaml"))?;
    let mut seen = BTreeSet::new();
    for topic in topics {
        let kinds = match &topic.kind {
            Some(name) => vec![Kind::from_kind_name(name).context("a kind of ray.io")?],
            None => Kind::ALL.to_vec(),
        };
        for (row, kind) in topic
            .rows
            .iter()
            .flat_map(|row| kinds.iter().map(move |kind| (row, *kind)))
        {
            let object = [&topic.given, &row.set]
                .into_iter()
                .flatten()
                .fold(good(kind), |sample, (field, value)| {
                    set(sample, kind, field, value)
                })
                .build();
            let admission = world::admission(facts(row.gates.as_ref().unwrap_or(&topic.gates))?);
            let refused = refused(&admission, &object).await?;
            ensure!(
                refused == row.refused,
                "{}: {} of a {kind} with {:?} is refused by {refused:?}, not by {:?}",
                topic.about,
                json!(row.set),
                row.gates.as_ref().unwrap_or(&topic.gates),
                row.refused,
            );
            seen.extend(refused);
        }
    }
    let only_1_7 = table().filter(|rule| {
        matches!(rule.source, Source::KubeRay(_))
            && rule.action == Action::Deny
            && rule.operators.since == Operator::V1_7
    });
    let missing: Vec<_> = only_1_7
        .map(|rule| rule.code)
        .filter(|code| !seen.contains(*code))
        .collect();
    ensure!(missing.is_empty(), "no condition tries {missing:?}");
    Ok(())
}

fn good(kind: Kind) -> Sample {
    sample(kind, "demo")
        .group("cpu")
        .group("gpu")
        .limit("nvidia.com/gpu", "1")
}

fn set(sample: Sample, kind: Kind, field: &str, value: &Value) -> Sample {
    let pointer = match field.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", kind.cluster_path()),
        None => field.to_owned(),
    };
    sample.set(&pointer, value.clone())
}

fn facts(gates: &str) -> Result<Facts> {
    Ok(Facts {
        operator: Some(Operator::V1_7),
        gates: gates.parse::<Gates>()?,
        pruned: true,
        ..Facts::default()
    })
}

/// The rules that refuse the object.
async fn refused(admission: &Admission, object: &Value) -> Result<BTreeSet<String>> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"group": "ray.io", "version": "v1", "kind": object["kind"]},
            "name": object["metadata"]["name"],
            "namespace": "team",
            "operation": "CREATE",
            "userInfo": {"username": "ann"},
            "object": object,
        },
    });
    let (answer, event) = admission
        .admit(Endpoint::ValidateRay, review.to_string().as_bytes())
        .await?;
    let denied = event
        .findings
        .iter()
        .filter(|(_, action)| *action == Action::Deny);
    let codes: BTreeSet<String> = denied.map(|(code, _)| code.to_string()).collect();
    let answer: Value = serde_json::from_slice(&answer)?;
    let response = &answer["response"];
    ensure!(response["allowed"] == codes.is_empty(), "{response}");
    let message = response["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        codes.iter().all(|code| message.contains(code)),
        "{codes:?} are not in: {message}"
    );
    Ok(codes)
}
