//! What a policy is for, what several say together, what is wrong with one, and what comes of findings.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ray::fixture::{cluster, sample};
use ray::object::Kind;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::{NamedPolicy, Policies};
use crate::tests::{kind_of, yaml};
use crate::{Facts, Operation, Request, check, judge};

fn policy(name: &str, spec: &str) -> NamedPolicy {
    NamedPolicy::read(name, &yaml(spec)).expect("nothing is wrong with it")
}

fn create(object: &Value) -> Request<'_> {
    Request::new(Operation::Create, kind_of(object), object, None)
}

/// What somebody reads who writes the object at this moment.
fn told(request: &Request<'_>, policies: impl IntoIterator<Item = NamedPolicy>) -> String {
    let policy = Policies::new(policies).of(request);
    let verdict = judge(check(request, &Facts::default()), request, &policy);
    let warnings = verdict
        .warnings
        .iter()
        .map(|warning| format!("Warning: {warning}"));
    warnings.chain(verdict.message).collect::<Vec<_>>().join("\n")
}

#[test]
fn whom_a_policy_is_for() {
    let labels = BTreeMap::from([("team".to_owned(), "vision".to_owned())]);
    let object = sample(Kind::Job, "demo")
        .set("/metadata/labels", json!({"stage": "prod"}))
        .build();
    let label = json!({"ray.io/originated-from-crd": "RayJob", "stage": "prod"});
    let owner = json!([{"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "demo", "uid": "1", "controller": true}]);
    let made_of_it = cluster("demo-x")
        .set("/metadata/labels", label)
        .set("/metadata/ownerReferences", owner)
        .build();
    let selects = |select: &str, object| {
        let request = Request {
            namespace: "vision-prod",
            namespace_labels: Some(&labels),
            ..create(object)
        };
        Policies::new([policy("one", &format!("select: {select}"))])
            .selecting(&request)
            .count()
            == 1
    };
    for (select, expected) in [
        ("{}", true),
        ("{kinds: [RayJob]}", true),
        ("{kinds: [RayCluster, RayService]}", false),
        ("{namespaceSelector: {matchLabels: {team: vision}}}", true),
        ("{namespaceSelector: {matchLabels: {team: speech}}}", false),
        (
            "{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [vision, speech]}]}}",
            true,
        ),
        (
            "{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [vision]}]}}",
            false,
        ),
        (
            "{namespaceSelector: {matchExpressions: [{key: cost-centre, operator: NotIn, values: ['1']}]}}",
            true,
        ),
        (
            "{objectSelector: {matchExpressions: [{key: stage, operator: Exists}]}}",
            true,
        ),
        (
            "{objectSelector: {matchExpressions: [{key: stage, operator: DoesNotExist}]}}",
            false,
        ),
        (
            "{kinds: [RayJob], objectSelector: {matchLabels: {stage: test}}}",
            false,
        ),
    ] {
        assert_eq!(selects(select, &object), expected, "{select}");
        assert_eq!(
            selects(select, &made_of_it),
            expected,
            "{select}, of the job's cluster"
        );
    }
}

#[test]
fn a_label_alone_is_no_way_around_a_policy() {
    let pretended = cluster("demo")
        .set(
            "/metadata/labels",
            json!({"ray.io/originated-from-crd": "RayJob"}),
        )
        .build();
    let policies = Policies::new([policy("one", "select: {kinds: [RayCluster]}")]);
    assert_eq!(policies.selecting(&create(&pretended)).count(), 1);
}

#[test]
fn where_labels_of_a_namespace_are_not_known_it_is_told_which_policies_may_be_for_the_object() {
    let told = |namespace, select: &str| {
        let object = cluster("demo")
            .set("/metadata/namespace", json!(namespace))
            .build();
        let policies = Policies::new([policy("one", &format!("select: {select}"))]);
        let request = create(&object);
        match (
            policies.selecting(&request).count(),
            policies.doubts(&request).next(),
        ) {
            (1, None) => "is for it".to_owned(),
            (0, Some(doubt)) => format!("asks for {}", doubt.label),
            (0, None) => "is not for it".to_owned(),
            odd => panic!("{odd:?}"),
        }
    };
    for (namespace, select, expected) in [
        (
            "a",
            "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}",
            "is for it",
        ),
        (
            "a",
            "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}}",
            "is not for it",
        ),
        (
            "",
            "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}",
            "asks for kubernetes.io/metadata.name",
        ),
        (
            "a",
            "{namespaceSelector: {matchLabels: {stage: prod}}}",
            "asks for stage",
        ),
        (
            "a",
            "{namespaceSelector: {matchExpressions: [{key: stage, operator: DoesNotExist}]}}",
            "asks for stage",
        ),
        ("a", "{namespaceSelector: {}}", "is for it"),
        // What is known suffices.
        (
            "a",
            "{kinds: [RayJob], namespaceSelector: {matchLabels: {stage: prod}}}",
            "is not for it",
        ),
        (
            "a",
            "{objectSelector: {matchLabels: {team: x}}, namespaceSelector: {matchLabels: {stage: prod}}}",
            "is not for it",
        ),
        (
            "a",
            "{namespaceSelector: {matchLabels: {stage: prod, kubernetes.io/metadata.name: b}}}",
            "is not for it",
        ),
    ] {
        assert_eq!(told(namespace, select), expected, "{select} in {namespace:?}");
    }
}

#[test]
fn the_most_important_policy_that_says_something_is_right() {
    let policies = Policies::new([
        policy(
            "everybody",
            "rules: [{code: RW-C*, action: Warn}, {code: RW-J001, action: 'Off'}]",
        ),
        policy(
            "lenient",
            "{priority: 5, rules: [{code: RW-C009, action: Audit, rolloutPercent: 50}]}",
        ),
        policy("strict", "{priority: 5, rules: [{code: RW-C009, action: Deny}]}"),
        policy(
            "services",
            "{priority: 9, select: {kinds: [RayService]}, rules: [{code: RW-J001, action: Warn}]}",
        ),
    ]);
    let object = cluster("demo").build();
    let policy = policies.of(&create(&object));
    let rules = serde_json::to_value(&policy.spec.rules).expect("JSON");
    insta::assert_snapshot!(rules, @r#"[{"action":"Audit","code":"RW-C009","rolloutPercent":50},{"action":"Warn","code":"RW-C*"},{"action":"Off","code":"RW-J001"}]"#);
    let provenance = policy
        .provenance
        .iter()
        .map(|(place, name)| format!("{place} {name}\n"));
    insta::assert_snapshot!(provenance.collect::<String>(), @"
    /rules/0/action lenient
    /rules/0/code lenient
    /rules/0/rolloutPercent lenient
    /rules/1/action everybody
    /rules/1/code everybody
    /rules/2/action everybody
    /rules/2/code everybody
    ");
}

#[test]
fn an_empty_list_says_nothing() {
    let policies = Policies::new([
        policy("templated", "{priority: 5, rules: []}"),
        policy("strict", "rules: [{code: RW-C009, action: Deny}]"),
    ]);
    let object = cluster("demo").build();
    let policy = policies.of(&create(&object));
    let provenance = policy
        .provenance
        .iter()
        .map(|(place, name)| format!("{place} {name}\n"));
    insta::assert_snapshot!(provenance.collect::<String>(), @"
    /rules/0/action strict
    /rules/0/code strict
    ");
}

#[test]
fn everything_that_is_wrong_with_a_policy() {
    let spec = yaml(
        "{priority: high, selekt: {},
          select: {kinds: [RayCluster, Pod], objectSelector: {matchLabels: {'a b': c}, matchExpressions: [{key: a, operator: In}]}},
          rules: [{code: RW-C09, action: Deny}, {code: RW-C001, action: Denied}, {code: RW-C003, action: Off}, {code: 'RW-Y*', action: 'Off', rolloutPercent: 101},
                  {code: RW-C002, action: Warn}, {code: RW-C002, action: Deny}],
          exceptions: [{name: a, codes: [], reason: '', expires: '2027-01-31T00:00:00Z'}],
          breakGlass: {groups: []}}",
    );
    let problems = NamedPolicy::read("broken", &spec).expect_err("it is broken");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    spec.breakGlass.groups: it is for nobody (list at least one group)
    spec.exceptions[0].codes: it is for no rule (list at least one code, such as RW-C009)
    spec.exceptions[0].reason: nothing is said (say why, for those who look at it later)
    spec.priority: expected a whole number of 32 bits, found the string "high" (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)
    spec.rules[0].code: no rule has the code `RW-C09` (perhaps RW-C009 is meant; `rayward-webhook rules` lists all)
    spec.rules[1].action: expected one of `Off`, `Audit`, `Warn`, `Deny`, found the string "Denied" (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)
    spec.rules[2].action: expected a string, found false (if Off is meant, put it in quotes: without them YAML reads it as false)
    spec.rules[3].code: no rule has the code `RW-Y*` (write a code such as RW-C009, or RW-C* for all that begin so; `rayward-webhook rules` lists all)
    spec.rules[3].rolloutPercent: there are only a hundred in a hundred (write a number from 0 to 100)
    spec.rules[5].code: there is another one above it (leave one of them out: only the first would be heard)
    spec.select.kinds[1]: `Pod` is no kind of Ray's (there are RayCluster, RayJob, RayService, RayCronJob)
    spec.select.objectSelector.matchExpressions[0].values: there is nothing to compare with (list at least one value)
    spec.select.objectSelector.matchLabels[a b]: no label can be called `a b` (write a name, or a domain and a name as in example.com/team)
    spec.selekt: there is no such field (perhaps `select` is meant)
    "#);
    let later =
        yaml("exceptions: [{name: a, codes: [RW-C001], reason: because, expires: tomorrow}, {name: b}]");
    let problems = NamedPolicy::read("broken", &later).expect_err("it is broken");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    spec.exceptions[0].expires: tomorrow is no time; write it as 2027-01-31T00:00:00Z (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)
    spec.exceptions[1].codes: it is missing (it has to be said)
    ");
}

#[test]
fn what_is_wrong_with_custom_rules() {
    let spec = yaml(
        "{customRules: [{name: Old Ray, expression: 'true', message: old}, {name: a, expression: 'object.spec.all(g g)', message: b},
           {name: b, kinds: [Pod], expression: 'objekt == 1'}, {name: c, expression: 'true', path: 'spec..a'}, {name: c, expression: 'true', message: c},
           {name: d, expression: 'true', messageExpression: '1 +', message: d, onError: Deny}],
          rules: [{code: RW-X/a, action: Warn}, {code: RW-X/*, action: Warn}, {code: RW-X, action: Warn}]}",
    );
    let problems = NamedPolicy::read("broken", &spec).expect_err("it is broken");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    spec.customRules[0].name: no rule can be called `Old Ray` (write up to 63 lower-case letters, digits and hyphens, as in no-old-ray)
    spec.customRules[1].expression: no expression in CEL: line 1, column 19: extraneous input 'g' expecting ')' (write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion)
    spec.customRules[2].expression: no expression in CEL: nothing is called `objekt`; there are object, oldObject, request, namespaceLabels (write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion)
    spec.customRules[3].message: it is missing (say what is wrong where the expression is not true, here or in messageExpression)
    spec.customRules[3].path: `spec..a` is no path (write one such as spec.workerGroupSpecs[0].replicas or /spec/workerGroupSpecs/0/replicas)
    spec.customRules[4].name: there is another one above it (leave one of them out: only the first would be heard)
    spec.customRules[5].messageExpression: no expression in CEL: line 1, column 4: mismatched input '<EOF>' (write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion)
    spec.customRules[5].onError: there is no such field (there are name, kinds, expression, message, messageExpression, path, action, hint)
    spec.rules[2].code: no rule has the code `RW-X` (write a code such as RW-C009, or RW-C* for all that begin so; `rayward-webhook rules` lists all)
    ");
}

#[test]
fn who_refuses_what() {
    let object = cluster("demo").group("cpu").replicas(11).build();
    let told = |spec: &str| told(&create(&object), [policy("guardrails", spec)]);
    insta::assert_snapshot!(told("{}"), @"Warning: RW-G005 spec.workerGroupSpecs[0].replicas: 11 is not within 0 and 10; there will be 10 (choose a number within minReplicas and maxReplicas, or change those)");
    insta::assert_snapshot!(told("rules: [{code: RW-G*, action: Deny}]"), @"RW-G005 spec.workerGroupSpecs[0].replicas: 11 is not within 0 and 10; there will be 10; refused by the policy guardrails (choose a number within minReplicas and maxReplicas, or change those)");
    insta::assert_snapshot!(told("rules: [{code: RW-G*, action: Deny}, {code: RW-G005, action: 'Off'}, {code: RW-G023, action: Audit}]"), @"");
}

#[test]
fn a_more_important_policy_is_right_however_short_its_codes() {
    let object = cluster("demo").group("cpu").bounds(4, 2).build();
    let all = [
        policy("base", "rules: [{code: RW-C009, action: Deny}]"),
        policy(
            "migration",
            "{priority: 1, rules: [{code: 'RW-*', action: Warn}]}",
        ),
    ];
    insta::assert_snapshot!(told(&create(&object), all), @"Warning: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)");
}

#[test]
fn an_exception_lets_through_until_it_ends() {
    let object = cluster("legacy-1")
        .set("/metadata/namespace", json!("vision"))
        .group("cpu")
        .bounds(4, 2)
        .build();
    let at = |now: &str, user: &str, exception: &str| {
        let spec = format!(
            "exceptions: [{{name: old-bounds, codes: [RW-C*], reason: moving, expires: '2027-01-31T00:00:00Z', {exception}}}]"
        );
        let groups = ["ml".to_owned()];
        let request = Request {
            now: now.parse().expect("a time"),
            user,
            groups: &groups,
            ..create(&object)
        };
        told(&request, [policy("guardrails", &spec)])
    };
    let (before, after) = ("2027-01-30T00:00:00Z", "2027-01-31T00:00:00Z");
    insta::assert_snapshot!(at(before, "ada", ""), @"Warning: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2; let through until 2027-01-31T00:00:00Z by the exception old-bounds of the policy guardrails (lower minReplicas or raise maxReplicas)");
    insta::assert_snapshot!(at(after, "ada", ""), @"RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2; the exception old-bounds of the policy guardrails has expired, 2027-01-31T00:00:00Z (lower minReplicas or raise maxReplicas)");
    for (exception, expected) in [
        ("objects: {names: ['legacy-*']}", true),
        ("objects: {names: ['*-1'], namespaces: [vision]}", true),
        ("objects: {names: ['l*g*-1']}", true),
        ("objects: {names: [legacy]}", false),
        ("objects: {names: ['*-1*2']}", false),
        ("objects: {namespaces: ['vision-*']}", false),
        ("objects: {kinds: [RayJob]}", false),
        ("users: [ada]", true),
        ("users: [bob]", false),
        ("users: [bob], groups: [ml]", true),
    ] {
        assert_eq!(
            at(before, "ada", exception).contains("let through"),
            expected,
            "{exception}"
        );
    }
}

#[test]
fn who_may_breaks_the_glass_and_says_why() {
    let write = |reason: &str, group: &str, spec: &str| {
        let object = cluster("demo")
            .set(
                "/metadata/annotations",
                json!({"rayward.dev/break-glass": reason}),
            )
            .group("cpu")
            .bounds(4, 2)
            .build();
        let groups = [group.to_owned()];
        let request = Request {
            user: "ada",
            groups: &groups,
            ..create(&object)
        };
        let policy = Policies::new([policy("guardrails", spec)]).of(&request);
        let verdict = judge(check(&request, &Facts::default()), &request, &policy);
        let warnings = verdict
            .warnings
            .iter()
            .map(|warning| format!("Warning: {warning}"));
        let audit = verdict.audit.iter().map(|(key, value)| format!("{key}: {value}"));
        warnings
            .chain(verdict.message)
            .chain(audit)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let groups = "breakGlass: {groups: [sre, on-call]}";
    insta::assert_snapshot!(write("the queue is stuck", "on-call", groups), @"
    Warning: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2; let through by the broken glass of the policy guardrails (lower minReplicas or raise maxReplicas)
    break-glass: RW-C009 let through for ada of the group on-call under the policy guardrails: the queue is stuck
    findings: Warn RW-C009 /spec/workerGroupSpecs/0/minReplicas
    ");
    insta::assert_snapshot!(write("the queue is stuck", "ml", groups), @"
    Warning: rayward.dev/break-glass: only members of sre, on-call may break the glass here, and ada is not one
    RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
    findings: Deny RW-C009 /spec/workerGroupSpecs/0/minReplicas
    ");
    insta::assert_snapshot!(write(" ", "sre", groups), @"
    Warning: rayward.dev/break-glass: say why, and it is let through
    RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
    findings: Deny RW-C009 /spec/workerGroupSpecs/0/minReplicas
    ");
    insta::assert_snapshot!(write("the queue is stuck", "sre", "{}"), @"
    Warning: rayward.dev/break-glass: no policy says who may break the glass here
    RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower minReplicas or raise maxReplicas)
    findings: Deny RW-C009 /spec/workerGroupSpecs/0/minReplicas
    ");
    insta::assert_snapshot!(write("the queue is stuck", "ml", "rules: [{code: RW-C009, action: 'Off'}]"), @"");
}

#[test]
fn a_rollout_reaches_more_and_more_of_the_same_objects() {
    let reached = |percent: u8| {
        let rule = policy(
            "one",
            &format!("rules: [{{code: RW-C009, action: Deny, rolloutPercent: {percent}}}]"),
        );
        let reaches = |number: &u32| {
            let object = cluster(&format!("demo-{number}")).build();
            rule.spec.rules[0].holds("RW-C009", &create(&object))
        };
        (0..1000).filter(reaches).collect::<Vec<_>>()
    };
    let (none, few, half, all) = (reached(0), reached(10), reached(50), reached(100));
    assert_eq!((none.len(), all.len()), (0, 1000));
    assert!(
        (70..130).contains(&few.len()) && (430..570).contains(&half.len()),
        "{} and {}",
        few.len(),
        half.len()
    );
    assert!(few.iter().all(|number| half.contains(number)));
}

/// Policies that say something about the same things.
fn specs() -> impl Strategy<Value = Vec<Value>> {
    let codes = prop::sample::select(vec!["RW-C*", "RW-C009", "RW-J*"]);
    let action = prop::sample::select(vec!["Deny", "Warn", "Off"]);
    let rule =
        (codes, action, prop::option::of(0..=100_u8)).prop_map(|(code, action, percent)| match percent {
            Some(percent) => json!({"code": code, "action": action, "rolloutPercent": percent}),
            None => json!({"code": code, "action": action}),
        });
    let exception = (0..3, prop::sample::select(vec!["RW-C009", "RW-J*"])).prop_map(|(name, code)| {
        json!({"name": format!("exception-{name}"), "codes": [code], "objects": {}, "reason": "because", "expires": "2027-01-31T00:00:00Z"})
    });
    let once = |things: Vec<Value>, key: &str| {
        let things = things.into_iter().map(|thing| (thing[key].to_string(), thing));
        things
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect::<Vec<_>>()
    };
    let spec = (-2..2, prop::collection::vec(rule, 0..3), prop::collection::vec(exception, 0..3)).prop_map(
        move |(priority, rules, exceptions)| {
            json!({"priority": priority, "rules": once(rules, "code"), "exceptions": once(exceptions, "name")})
        },
    );
    prop::collection::vec(spec, 0..4)
}

proptest! {
    #[test]
    fn every_value_is_the_one_of_the_policy_it_is_said_to_be_from(specs in specs()) {
        let named: Vec<_> = specs.iter().enumerate().map(|(index, spec)| (format!("policy-{index}"), spec)).collect();
        let policies = named.iter().map(|(name, spec)| NamedPolicy::read(name, spec).expect("nothing is wrong with it"));
        let object = cluster("demo").build();
        let merged = Policies::new(policies).of(&create(&object));
        let json = json!({"rules": merged.spec.rules, "exceptions": merged.spec.exceptions});
        for list in ["rules", "exceptions"] {
            let name = if list == "rules" { "code" } else { "name" };
            for (index, item) in json[list].as_array().expect("a list").iter().enumerate() {
                let author = merged.author(&Pointer::root().key(list).index(index));
                let (_, spec) = named.iter().find(|(name, _)| name == author).expect("a policy");
                prop_assert!(spec[list].as_array().expect("a list").contains(item), "{item} of {author}");
                let more_important = named.iter().filter(|(name, other)| {
                    let rank = |spec: &Value| -spec["priority"].as_i64().expect("a number");
                    (rank(other), name.as_str()) < (rank(spec), author)
                });
                for (_, other) in more_important {
                    let mut items = other[list].as_array().expect("a list").iter();
                    prop_assert!(items.all(|other| other[name] != item[name]), "{other} comes before {author}");
                }
            }
        }
    }
}
