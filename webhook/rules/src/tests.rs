//! Every rule by its own examples, what people read, and in [`properties`] what holds whatever the object.

pub(crate) mod properties;

use std::collections::BTreeSet;
use std::fmt::Write;

use ray::fixture::cluster;
use ray::object::Kind;
use serde_json::{Value, json};

use crate::edit::{apply, to_patch};
use crate::policy::NamedPolicy;
use crate::{
    Action, Case, Facts, Finding, Operation, Policies, Policy, Request, check, defaults, judge, table,
};

pub(crate) fn request<'a>(
    operation: Operation,
    kind: Kind,
    object: &'a Value,
    old: Option<&'a Value>,
) -> Request<'a> {
    Request {
        user: "somebody",
        ..Request::new(operation, kind, object, old)
    }
}

pub(crate) fn kind_of(object: &Value) -> Kind {
    Kind::from_kind_name(object["kind"].as_str().expect("a kind")).expect("a kind of ray.io")
}

pub(crate) fn findings(object: &Value) -> Vec<Finding> {
    check(
        &request(Operation::Create, kind_of(object), object, None),
        &Facts::default(),
    )
}

pub(crate) fn created(object: &Value) -> Value {
    apply(
        &defaults(
            &request(Operation::Create, kind_of(object), object, None),
            &Facts::default(),
        ),
        object,
    )
}

pub(crate) fn updated(object: &Value, old: &Value) -> Value {
    apply(
        &defaults(
            &request(Operation::Update, kind_of(object), object, Some(old)),
            &Facts::default(),
        ),
        object,
    )
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// What `kubectl apply` shows.
pub(crate) fn refusal(object: &Value) -> String {
    answer(&request(Operation::Create, kind_of(object), object, None))
}

pub(crate) fn answer(request: &Request<'_>) -> String {
    let verdict = judge(check(request, &Facts::default()), request, &Policy::default());
    let mut text = String::new();
    for warning in verdict.warnings {
        writeln!(text, "Warning: {warning}").expect("strings take everything");
    }
    text + &verdict.message.unwrap_or_else(|| "allowed".to_owned())
}

/// The operations of a patch, one on a line.
pub(crate) fn patch(object: &Value, edits: &[crate::Edit]) -> String {
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
    let rules =
        json!({"rules": [{"code": "RW-C009", "action": "Warn"}, {"code": "RW-G005", "action": "Deny"}]});
    let policies = Policies::new([NamedPolicy::read("guardrails", &rules).expect("a policy")]);
    let request = request(Operation::Create, Kind::Cluster, &object, None);
    let verdict = judge(findings(&object), &request, &policies.of(&request));
    insta::assert_snapshot!(verdict.message.expect("refused"), @"RW-G005 spec.workerGroupSpecs[1].replicas: 11 is not within 0 and 10; there will be 10; refused by the policy guardrails (choose a number within minReplicas and maxReplicas, or change those)");
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
