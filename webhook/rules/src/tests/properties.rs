//! What holds of all checks and defaults, whatever the object.

use proptest::prelude::*;
use ray::fixture::{Sample, sample};
use ray::object::Kind;
use serde_json::{Map, Value, json};

use super::{created, findings, kind_of, request, updated};
use crate::edit::apply;
use crate::{Action, Facts, Finding, Operation, Policy, Request, check, defaults, judge, uninject};

/// Clusters of every kind with each field that a default looks at absent, empty or set.
pub(crate) fn objects() -> impl Strategy<Value = Value> {
    let images = [
        "",
        "rayproject/ray:2.59.0-py311",
        "rayproject/ray-ml:2.60.0.abc-gpu",
        "rayproject/ray:nightly",
        "example.org/own",
    ];
    let text = |choices: &[&str]| {
        let choices: Vec<Value> = choices
            .iter()
            .map(|choice| json!(choice))
            .chain([Value::Null])
            .collect();
        prop::sample::select(choices)
    };
    let versions = text(&["2.60.0", "v2.9", "2.61.0rc1", "nightly", ""]);
    let amounts = prop::collection::btree_map(
        prop::sample::select(vec!["cpu", "memory", "nvidia.com/gpu", "google.com/tpu"]),
        prop::sample::select(vec![
            json!(1),
            json!("2"),
            json!("500m"),
            json!("2Gi"),
            Value::Null,
        ]),
        0..3,
    );
    let container = (text(&images), amounts.clone(), amounts, any::<bool>()).prop_map(|(image, limits, requests, bare)| {
        let mut container = json!({"name": "ray", "image": image, "env": [{"name": "A", "value": "b"}], "future": {"x": [1]}});
        if !bare {
            container["resources"] = json!({"limits": limits, "requests": requests});
        }
        container
    });
    let containers = prop::collection::vec(container, 0..3);
    let annotations = prop::sample::select(vec![
        Value::Null,
        json!({}),
        json!({"a": "b"}),
        json!({"rayward.dev/injected": "?", "rayward.dev/injected-by": "?"}),
    ]);
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    (
        kinds,
        versions,
        containers.clone(),
        prop::collection::vec(containers, 0..3),
        annotations,
        prop::collection::vec(prop::sample::select(sayings()), 0..6),
    )
        .prop_map(|(kind, version, head, workers, annotations, sayings)| {
            let sample = sample(kind, "demo")
                .set("/metadata/annotations", annotations)
                .set_cluster("/rayVersion", version)
                .set_cluster("/headGroupSpec/template/spec/containers", json!(head));
            let with_group = |sample: Sample, (index, containers): (usize, Vec<Value>)| {
                sample
                    .group(&format!("group-{index}"))
                    .set_group("/template/spec/containers", json!(containers))
            };
            let has_workers = !workers.is_empty();
            let sample = workers.into_iter().enumerate().fold(sample, with_group);
            let said = sayings.into_iter().fold(sample, |sample, (place, value)| {
                match place.strip_prefix("group") {
                    Some(place) if has_workers => sample.set_group(place, value),
                    Some(_) => sample,
                    None => sample.set_cluster(place, value),
                }
            });
            said.build()
        })
}

/// What else a default may look at, in the cluster or its last group.
fn sayings() -> Vec<(&'static str, Value)> {
    let custom = r#""{\"Custom\": 4}""#;
    vec![
        ("/enableInTreeAutoscaling", json!(true)),
        ("/autoscalerOptions", json!({})),
        ("/autoscalerOptions/version", json!("v1")),
        ("/authOptions", json!({})),
        ("/authOptions/enableK8sTokenAuth", json!(true)),
        ("/authOptions/secretName", json!("token")),
        ("/headGroupSpec/serviceType", json!("NodePort")),
        ("/headGroupSpec/resources", json!({"cpu": "1"})),
        ("/headGroupSpec/rayStartParams/num-cpus", json!("1")),
        ("/headGroupSpec/rayStartParams/dashboard-port", json!("8266")),
        ("/headGroupSpec/template/spec/restartPolicy", json!("Never")),
        (
            "/headGroupSpec/template/spec/containers/0/ports",
            json!([{"name": "gcs-server", "containerPort": 6379}]),
        ),
        (
            "/headGroupSpec/template/spec/containers/0/ports",
            json!([{"containerPort": 8265}]),
        ),
        (
            "/headGroupSpec/template/spec/containers/0/env",
            json!([{"name": "RAY_enable_autoscaler_v2", "value": "1"}]),
        ),
        ("group/idleTimeoutSeconds", json!(30)),
        ("group/resources", json!({"memory": "1Gi"})),
        ("group/rayStartParams/resources", json!(custom)),
        ("group/rayStartParams/object-store-memory", json!("3000000000")),
        ("group/rayStartParams/memory", json!("3000000000")),
        ("group/template/spec/restartPolicy", json!("Always")),
    ]
}

/// Every value of `authors` that says something is also in `ours`.
pub(crate) fn keeps(authors: &Value, ours: &Value) -> bool {
    match (authors, ours) {
        (Value::Object(authors), Value::Object(ours)) => authors.iter().all(|(key, value)| {
            key.starts_with("rayward.dev/injected") || ours.get(key).is_some_and(|ours| keeps(value, ours))
        }),
        (Value::Array(authors), Value::Array(ours)) => {
            authors.len() <= ours.len()
                && authors
                    .iter()
                    .zip(ours)
                    .all(|(authors, ours)| keeps(authors, ours))
        }
        (Value::Null, _) => true,
        (Value::String(authors), _) if authors.is_empty() => true,
        _ => authors == ours,
    }
}

/// Without nulls and what is empty, which mean nothing.
pub(crate) fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), said(value)));
            Value::Object(
                fields
                    .filter(|(_, value)| {
                        !matches!(value, Value::Null) && *value != json!({}) && *value != json!("")
                    })
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(said).collect(),
        other => other.clone(),
    }
}

/// Objects with one place of theirs replaced by something that does not belong there.
pub(crate) fn garbled() -> impl Strategy<Value = Value> {
    let something = prop::sample::select(vec![
        Value::Null,
        json!(true),
        json!(-7),
        json!(2.5),
        json!("x"),
        json!(""),
        json!([]),
        json!({}),
        json!(["x", 1]),
        json!({"a/b~c": [{}]}),
    ]);
    (objects(), any::<prop::sample::Index>(), something).prop_map(|(mut object, index, something)| {
        let mut places = Vec::new();
        list_places(&object, String::new(), &mut places);
        *object
            .pointer_mut(&places[index.index(places.len())])
            .expect("it was listed") = something;
        object
    })
}

fn list_places(value: &Value, here: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                list_places(
                    value,
                    format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")),
                    places,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                list_places(value, format!("{here}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(here);
}

proptest! {
    #[test]
    fn whatever_is_sent_is_answered(kind in prop::sample::select(Kind::ALL.to_vec()), object in garbled(), old in garbled()) {
        for (operation, old) in [(Operation::Create, None), (Operation::Update, Some(&old))] {
            let request = request(operation, kind, &object, old);
            let filled = apply(&defaults(&request, &Facts::default()), &object);
            judge(check(&Request { object: &filled, ..request }, &Facts::default()), &request, &Policy::default());
            uninject(&filled);
        }
    }

    #[test]
    fn filled_in_once_is_filled_in_for_good(object in objects()) {
        let once = created(&object);
        prop_assert_eq!(created(&once), once);
    }

    #[test]
    fn authors_have_their_way(object in objects()) {
        prop_assert!(keeps(&object, &created(&object)));
    }

    /// Nothing is said that was not said already, be it of the group that the image came from. Only an audit note may be: workers get the
    /// head's image even where that holds CUDA for nothing.
    #[test]
    fn nothing_we_fill_in_is_found_fault_with(object in objects()) {
        let before = findings(&object);
        for finding in findings(&created(&object)) {
            let told = |earlier: &Finding| {
                let same_place = earlier.path == finding.path || finding.action != Action::Deny;
                earlier.code == finding.code && same_place
            };
            prop_assert!(before.iter().any(told) || finding.action == Action::Audit, "{finding}");
        }
    }

    #[test]
    fn what_we_filled_in_can_be_taken_out(object in objects()) {
        prop_assert_eq!(said(&uninject(&created(&object))), said(&uninject(&object)));
    }

    /// `kubectl apply` of the same manifest once more sends the author's lists, but leaves annotations alone that it does not know.
    #[test]
    fn applying_the_same_again_changes_nothing(object in objects()) {
        let stored = created(&object);
        let mut again = object.clone();
        again["metadata"]["annotations"] = stored["metadata"]["annotations"].clone();
        prop_assert_eq!(said(&updated(&again, &stored)), said(&stored));
    }

    #[test]
    fn an_object_from_before_our_time_is_left_alone(object in objects()) {
        let mut suspended = object.clone();
        suspended["spec"]["suspend"] = json!(true);
        prop_assert_eq!(updated(&suspended, &object), suspended);
    }

    #[test]
    fn patches_do_what_edits_say(object in objects()) {
        let edits = defaults(&request(Operation::Create, kind_of(&object), &object, None), &Facts::default());
        let after = apply(&edits, &object);
        for edit in &edits {
            let crate::Edit::Set { path, value } = edit else { unreachable!("defaults only set") };
            prop_assert_eq!(path.resolve(&after), Some(value));
        }
    }
}
