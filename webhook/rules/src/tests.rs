//! Every rule by its own examples, what people read, and what holds of all defaults whatever the object.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::prelude::*;
use ray::fixture::{Sample, cluster, sample};
use ray::object::Kind;
use serde_json::{Map, Value, json};

use crate::edit::{apply, to_patch};
use crate::{
    Action, Case, Facts, Finding, Operation, Policy, Request, check, defaults, judge, pod, table, uninject,
};

fn request<'a>(operation: Operation, kind: Kind, object: &'a Value, old: Option<&'a Value>) -> Request<'a> {
    Request {
        operation,
        kind,
        object,
        old,
        user: "somebody",
    }
}

fn kind_of(object: &Value) -> Kind {
    Kind::from_kind_name(object["kind"].as_str().expect("a kind")).expect("a kind of ray.io")
}

fn findings(object: &Value) -> Vec<Finding> {
    check(
        &request(Operation::Create, kind_of(object), object, None),
        &Facts::default(),
    )
}

fn created(object: &Value) -> Value {
    apply(
        &defaults(
            &request(Operation::Create, kind_of(object), object, None),
            &Facts::default(),
        ),
        object,
    )
}

fn updated(object: &Value, old: &Value) -> Value {
    apply(
        &defaults(
            &request(Operation::Update, kind_of(object), object, Some(old)),
            &Facts::default(),
        ),
        object,
    )
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// What `kubectl apply` shows.
fn refusal(object: &Value) -> String {
    answer(&request(Operation::Create, kind_of(object), object, None))
}

fn answer(request: &Request<'_>) -> String {
    let verdict = judge(check(request, &Facts::default()), &Policy::default());
    let mut text = String::new();
    for warning in verdict.warnings {
        writeln!(text, "Warning: {warning}").expect("strings take everything");
    }
    text + &verdict.message.unwrap_or_else(|| "allowed".to_owned())
}

/// The operations of a patch, one on a line.
fn patch(object: &Value, edits: &[crate::Edit]) -> String {
    let operations = to_patch(edits, object).0;
    operations
        .iter()
        .map(|operation| serde_json::to_string(operation).expect("JSON") + "\n")
        .collect()
}

#[test]
fn every_rule_fires_and_just_does_not() {
    for rule in table() {
        let good = Case::of(rule, "{}").findings();
        assert_eq!(
            good,
            [],
            "the manifest that examples of {} change is good",
            rule.code
        );
        let fires = Case::of(rule, rule.example.fires).findings();
        assert!(
            fires.iter().any(|finding| finding.code == rule.code),
            "{} does not fire on its example: {fires:?}",
            rule.code
        );
        let passes = Case::of(rule, rule.example.passes).findings();
        let wrong = |finding: &&Finding| finding.code == rule.code || finding.action == Action::Deny;
        assert_eq!(passes.iter().find(wrong), None, "{} on its near miss", rule.code);
    }
}

#[test]
fn codes_are_unique_and_findings_complete() {
    let codes: BTreeSet<_> = table().map(|rule| rule.code).collect();
    assert_eq!(codes.len(), table().count());
    for rule in table() {
        assert!(!rule.kinds.is_empty(), "{} looks at nothing", rule.code);
        for finding in Case::of(rule, rule.example.fires).findings() {
            assert!(
                !finding.problem.is_empty() && !finding.hint.is_empty(),
                "{finding:?}"
            );
            assert!(
                finding.to_string().chars().count() <= 256,
                "a warning would be cut: {finding}"
            );
        }
    }
}

#[test]
fn what_people_read() {
    let broken = yaml(include_str!("../../../tests/fixtures/broken-cluster.yaml"));
    insta::assert_snapshot!(refusal(&broken), @r#"
    Warning: RW-G023 spec.workerGroupSpecs[0].template.spec.containers[0].resources: Ray is not told how much CPU and memory it has, and takes all of the machine for its own (set limits for cpu and memory)
    Warning: RW-G023 spec.workerGroupSpecs[1].template.spec.containers[0].resources: Ray is not told how much CPU and memory it has, and takes all of the machine for its own (set limits for cpu and memory)
    5 problems:
      RW-C001 spec.headGroupSpec.template.spec.containers: the head has no container to run Ray in (add one; the first in the list runs Ray)
      RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
      RW-M009 spec.workerGroupSpecs[1].groupName: "cpu" is also the name of group 0 (give each group a name of its own)
      RW-C007 spec.workerGroupSpecs[1].minReplicas: group "cpu" cannot have -1 workers (use 0 or more)
      RW-G024 spec.workerGroupSpecs[1].template.spec.containers[0].resources.requests[nvidia.com/gpu]: 1 requested, but the limit is 2 (leave the request out; it follows the limit)
    "#);
    let one = cluster("demo").group("cpu").bounds(4, 2).build();
    insta::assert_snapshot!(refusal(&one), @"RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)");
    let doubtful = cluster("demo").group("cpu").replicas(11).build();
    insta::assert_snapshot!(refusal(&doubtful), @r#"
    Warning: RW-G005 spec.workerGroupSpecs[0].replicas: 11 is not within 0 and 10; there will be 10 (choose a number within minReplicas and maxReplicas, or change those)
    allowed
    "#);
}

#[test]
fn the_policy_has_the_last_word() {
    let object = cluster("demo")
        .group("cpu")
        .bounds(4, 2)
        .group("gpu")
        .replicas(11)
        .build();
    let actions = [
        ("RW-C009".to_owned(), Action::Warn),
        ("RW-G005".to_owned(), Action::Deny),
    ]
    .into();
    let verdict = judge(findings(&object), &Policy { actions });
    insta::assert_snapshot!(verdict.message.expect("refused"), @"RW-G005 spec.workerGroupSpecs[1].replicas: 11 is not within 0 and 10; there will be 10 (choose a number within minReplicas and maxReplicas, or change those)");
    insta::assert_snapshot!(verdict.warnings.join("\n"), @"RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)");
    insta::assert_json_snapshot!(verdict.audit, @r#"
    {
      "findings": "Warn RW-C009 /spec/workerGroupSpecs/0/minReplicas; Deny RW-G005 /spec/workerGroupSpecs/1/replicas"
    }
    "#);
}

#[test]
fn what_was_wrong_before_only_warns() {
    let bad = cluster("demo").group("cpu").bounds(4, 2);
    let old = bad.clone().build();
    let check = |new: &Value| answer(&request(Operation::Update, Kind::Cluster, new, Some(&old)));
    insta::assert_snapshot!(check(&bad.clone().set_cluster("/suspend", json!(true)).build()), @r#"
    Warning: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
    allowed
    "#);
    insta::assert_snapshot!(check(&bad.clone().group("cpu").build()), @r#"
    Warning: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
    RW-M009 spec.workerGroupSpecs[1].groupName: "cpu" is also the name of group 0 (give each group a name of its own)
    "#);
}

#[test]
fn a_bare_cluster_is_filled_in() {
    let bare = yaml(include_str!("../../../tests/fixtures/bare-cluster.yaml"));
    let edits = defaults(
        &request(Operation::Create, Kind::Cluster, &bare, None),
        &Facts::default(),
    );
    insta::assert_snapshot!(patch(&bare, &edits), @r#"
    {"op":"add","path":"/spec/headGroupSpec/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"/spec/headGroupSpec/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\"}"}}
    "#);
    assert_eq!(refusal(&created(&bare)), "allowed");
}

#[test]
fn gpus_get_an_image_with_cuda_and_a_limit() {
    let head = "/headGroupSpec/template/spec/containers/0/image";
    let worker = "/template/spec/containers/0";
    let object = cluster("demo")
        .group("gpu")
        .set_cluster("/rayVersion", Value::Null)
        .set_cluster(head, json!("registry.example:5000/rayproject/ray:2.59.0-py311"))
        .set_group(&format!("{worker}/image"), Value::Null)
        .set_group(
            &format!("{worker}/resources"),
            json!({"requests": {"nvidia.com/gpu": 2}}),
        )
        .build();
    let edits = defaults(
        &request(Operation::Create, Kind::Cluster, &object, None),
        &Facts::default(),
    );
    insta::assert_snapshot!(patch(&object, &edits), @r#"
    {"op":"add","path":"/spec/rayVersion","value":"2.59.0"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/image","value":"registry.example:5000/rayproject/ray:2.59.0-py311-gpu"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits","value":{"nvidia.com/gpu":2}}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"/spec/rayVersion\":\"2.59.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"registry.example:5000/rayproject/ray:2.59.0-py311-gpu\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/nvidia.com~1gpu\":2}"}}
    "#);
}

#[test]
fn an_image_of_ones_own_is_taken_for_the_workers_too() {
    let object = cluster("demo")
        .set_cluster(
            "/headGroupSpec/template/spec/containers/0/image",
            json!("example.org/team/model:7"),
        )
        .group("gpu")
        .limit("nvidia.com/gpu", "1")
        .set_group("/template/spec/containers/0/image", json!(""))
        .build();
    let filled = created(&object);
    assert_eq!(
        filled["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["image"],
        "example.org/team/model:7"
    );
}

#[test]
fn a_changed_version_changes_what_was_derived_from_it() {
    let manifest = |version: &str| {
        let image = "/headGroupSpec/template/spec/containers/0/image";
        cluster("demo")
            .set_cluster("/rayVersion", json!(version))
            .set_cluster(image, Value::Null)
            .build()
    };
    let image = |object: &Value| {
        object["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let stored = created(&manifest("2.59.0"));
    assert_eq!(
        image(&updated(&manifest("2.60.0"), &stored)),
        "rayproject/ray:2.60.0"
    );
    // Stored before anybody filled anything in: to begin now would replace a running cluster.
    let untouched = manifest("2.59.0");
    assert_eq!(image(&updated(&manifest("2.60.0"), &untouched)), Value::Null);
}

#[test]
fn the_head_does_without_its_autoscaler_in_central_mode() {
    let pod = |node_type: &str, names: &[&str]| {
        let containers: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"metadata": {"labels": {"ray.io/node-type": node_type, "ray.io/cluster": "demo"}}, "spec": {"containers": containers}})
    };
    let head = pod("head", &["ray-head", "log-shipper", "autoscaler"]);
    let central = |pod: &Value| patch(pod, &pod::defaults(pod, pod::AutoscalerMode::Central));
    insta::assert_snapshot!(central(&head), @r#"
    {"op":"test","path":"/spec/containers/2/name","value":"autoscaler"}
    {"op":"remove","path":"/spec/containers/2"}
    "#);
    assert_eq!(pod::defaults(&head, pod::AutoscalerMode::Ray), []);
    assert_eq!(pod::defaults(&head, pod::AutoscalerMode::Sidecar), []);
    for other in [
        pod("worker", &["ray-worker", "autoscaler"]),
        pod("head", &["autoscaler"]),
        json!({}),
    ] {
        assert_eq!(central(&other), "");
    }
}

/// Clusters of every kind with each field that a default looks at absent, empty or set.
fn objects() -> impl Strategy<Value = Value> {
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
        prop::sample::select(vec![json!(1), json!("2"), json!("500m"), Value::Null]),
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
        json!({"rayward.dev/injected": "?"}),
    ]);
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    (
        kinds,
        versions,
        containers.clone(),
        prop::collection::vec(containers, 0..3),
        annotations,
    )
        .prop_map(|(kind, version, head, workers, annotations)| {
            let sample = sample(kind, "demo")
                .set("/metadata/annotations", annotations)
                .set_cluster("/rayVersion", version)
                .set_cluster("/headGroupSpec/template/spec/containers", json!(head));
            let with_group = |sample: Sample, (index, containers): (usize, Vec<Value>)| {
                sample
                    .group(&format!("group-{index}"))
                    .set_group("/template/spec/containers", json!(containers))
            };
            workers.into_iter().enumerate().fold(sample, with_group).build()
        })
}

/// Every value of `authors` that says something is also in `ours`.
fn keeps(authors: &Value, ours: &Value) -> bool {
    match (authors, ours) {
        (Value::Object(authors), Value::Object(ours)) => authors.iter().all(|(key, value)| {
            key == "rayward.dev/injected" || ours.get(key).is_some_and(|ours| keeps(value, ours))
        }),
        (Value::Array(authors), Value::Array(ours)) => {
            authors.len() == ours.len()
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
fn said(value: &Value) -> Value {
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
fn garbled() -> impl Strategy<Value = Value> {
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
            judge(check(&Request { object: &filled, ..request }, &Facts::default()), &Policy::default());
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

    #[test]
    fn nothing_is_refused_for_what_we_filled_in(object in objects()) {
        let before: BTreeSet<_> = findings(&object).into_iter().map(|finding| (finding.code, finding.path)).collect();
        for finding in findings(&created(&object)) {
            let ours = !before.contains(&(finding.code, finding.path.clone()));
            prop_assert!(!ours || finding.action != Action::Deny, "{finding}");
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
