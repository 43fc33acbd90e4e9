//! What holds of every object, however little sense it makes: whole manifests of every kind, broken in up to four places at once.

use proptest::prelude::*;
use proptest::sample::Index;
use ray::object::Kind;
use ray::path::{Pointer, Step};
use rules::edit::{apply, to_patch};
use rules::policy::NamedPolicy;
use rules::{Facts, Finding, Operation, Policies, Policy, Request, check, defaults, judge, uninject};
use serde_json::{Map, Value, json};

const SEEDS: [&str; 4] = [
    include_str!("corpus/cluster.yaml"),
    include_str!("corpus/job.yaml"),
    include_str!("corpus/service.yaml"),
    include_str!("corpus/cron-job.yaml"),
];

/// Rules that look at everything, and take hardly anything for granted.
const CUSTOM_RULES: &str = "
customRules:
- {name: groups, path: 'spec.workerGroupSpecs[0].replicas', message: groups, expression: 'object.spec.workerGroupSpecs.all(g, g.replicas <= g.maxReplicas)'}
- {name: images, path: '/spec/headGroupSpec/template', message: images, expression: '[object.spec.headGroupSpec].all(g, g.template.spec.containers.all(c, c.image.matches(\"ray\")))'}
- {name: labels, path: 'metadata.labels[a/b]', message: labels, expression: '!has(object.metadata.labels) || object.metadata.labels.all(k, size(k) > 3)'}
- {name: version, message: version, expression: 'oldObject == null || (oldObject.spec.rayVersion == object.spec.rayVersion && oldObject.spec == object.spec)'}
- {name: spec, message: spec, expression: 'object.spec.all(k, object.spec[k] == object.spec[k])', messageExpression: 'string(object.spec.suspend)'}
- {name: sum, message: sum, expression: 'int(object.spec.numOfHosts) + int(object.spec.replicas) > 2 || object.spec.jobId + object.spec.entrypoint != \"\"'}
";

/// One change at some place of an object.
#[derive(Clone, Debug)]
enum Change {
    /// The place goes away.
    Remove,
    /// Something else stands there.
    Replace(Value),
    /// What stands at another place of the object, stands here too.
    Graft(Index),
    /// The place, where it is a list, has its first item once more.
    Repeat,
    /// The place, where it is an object, has a field that nobody knows.
    Grow(String, Value),
}

fn odd_value() -> impl Strategy<Value = Value> {
    let long = "x".repeat(5000);
    let chosen = prop::sample::select(vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-7),
        json!(2.5),
        json!(1e300),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!(" "),
        json!("-1"),
        json!("1e309"),
        json!("9223372036854775808Ei"),
        json!("\u{0}\u{7f}\u{202e}ü\u{1F600}"),
        json!(long),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!(["x", 1, null]),
        json!([{}, {}]),
        json!({"": {"a/b~c": [{}]}}),
    ]);
    prop_oneof![3 => chosen, 1 => any::<String>().prop_map(Value::String), 1 => any::<i64>().prop_map(Value::from)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Remove),
        4 => odd_value().prop_map(Change::Replace),
        1 => any::<Index>().prop_map(Change::Graft),
        1 => Just(Change::Repeat),
        1 => ("[a-z/~]{0,8}", odd_value()).prop_map(|(name, value)| Change::Grow(name, value)),
    ]
}

/// A seed, broken in up to four places; and the same after one place more was broken.
fn objects() -> impl Strategy<Value = (Kind, Value, Value)> {
    let seeds = SEEDS
        .map(|seed| serde_saphyr::from_str::<Value>(seed).expect("YAML"))
        .to_vec();
    let changes = prop::collection::vec((any::<Index>(), change()), 0..4);
    (prop::sample::select(seeds), changes, (any::<Index>(), change())).prop_map(
        |(seed, changes, (last_place, last))| {
            let kind =
                Kind::from_kind_name(seed["kind"].as_str().expect("a kind")).expect("a kind of ray.io");
            let before = changes
                .into_iter()
                .fold(seed, |object, (place, change)| changed(object, place, change));
            let after = changed(before.clone(), last_place, last);
            (kind, before, after)
        },
    )
}

fn changed(mut object: Value, place: Index, change: Change) -> Value {
    let mut places = Vec::new();
    list_places(&object, String::new(), &mut places);
    let pointer = places[place.index(places.len())].clone();
    let graft = match &change {
        Change::Graft(other) => object.pointer(&places[other.index(places.len())]).cloned(),
        _ => None,
    };
    if let (Change::Remove, Some((parent, key))) = (&change, pointer.rsplit_once('/')) {
        match object.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.remove(&key.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(items)) => {
                items.remove(key.parse().expect("an index"));
            }
            _ => unreachable!("it was listed"),
        }
        return object;
    }
    let here = object.pointer_mut(&pointer).expect("it was listed");
    match (change, here) {
        (Change::Replace(value), here) => *here = value,
        (Change::Graft(_), here) => *here = graft.expect("it was listed"),
        (Change::Repeat, Value::Array(items)) => items.extend(items.first().cloned()),
        (Change::Grow(name, value), Value::Object(fields)) => {
            fields.insert(name, value);
        }
        _ => {}
    }
    object
}

fn list_places(value: &Value, here: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                list_places(value, format!("{here}/{key}"), places);
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

/// The same object, with the fields of every object in it in the opposite order.
fn reordered(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().rev();
            Value::Object(
                fields
                    .map(|(key, value)| (key.clone(), reordered(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(reordered).collect(),
        other => other.clone(),
    }
}

fn writes<'a>(kind: Kind, before: &'a Value, after: &'a Value) -> [Request<'a>; 4] {
    let request = |operation, object, old| Request {
        user: "somebody",
        ..Request::new(operation, kind, object, old)
    };
    [
        request(Operation::Create, after, None),
        request(Operation::Update, after, Some(before)),
        request(Operation::Update, before, Some(after)),
        request(Operation::Delete, &Value::Null, Some(after)),
    ]
}

/// A finding is about a field that is there or could be, and never about an item that a list does not have.
fn is_about(finding: &Finding, object: &Value) -> bool {
    let steps = finding.path.steps();
    let mut here = Pointer::root();
    steps.into_iter().all(|step| {
        here = here.step(step.clone());
        matches!(step, Step::Key(_)) || here.resolve(object).is_some()
    })
}

/// Once noted as filled in, though it could not be.
#[test]
fn what_is_no_container_is_not_filled_in() {
    let object = ray::fixture::cluster("demo")
        .set_cluster("/headGroupSpec/template/spec/containers", json!([true]))
        .build();
    let [create, ..] = writes(Kind::Cluster, &object, &object);
    assert_eq!(defaults(&create, &Facts::default()), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_write_is_answered((kind, before, after) in objects()) {
        for request in writes(kind, &before, &after) {
            let facts = Facts::default();
            let filled = apply(&defaults(&request, &facts), request.object);
            let findings = check(&Request { object: &filled, ..request }, &facts);
            for finding in &findings {
                prop_assert!(is_about(finding, &filled), "{finding} of {filled}");
                prop_assert!(!finding.problem.is_empty() && !finding.hint.is_empty(), "{finding:?}");
            }
            let verdict = judge(findings, &request, &Policy::default());
            prop_assert_eq!(verdict.allowed, verdict.message.is_none());
            uninject(&filled);
        }
    }

    #[test]
    fn findings_stand_in_order_whatever_the_order_of_fields((kind, before, after) in objects()) {
        let (before_too, after_too) = (reordered(&before), reordered(&after));
        let writes_too = writes(kind, &before_too, &after_too);
        for (request, reordered) in writes(kind, &before, &after).iter().zip(&writes_too) {
            let findings = check(request, &Facts::default());
            prop_assert!(findings.is_sorted_by_key(|finding| (finding.path.clone(), finding.code.clone())));
            prop_assert_eq!(&check(request, &Facts::default()), &findings);
            prop_assert_eq!(&check(reordered, &Facts::default()), &findings);
        }
    }

    #[test]
    fn custom_rules_say_the_same_twice_and_never_panic((kind, before, after) in objects()) {
        let policy = NamedPolicy::read("house", &serde_saphyr::from_str(CUSTOM_RULES).expect("YAML")).expect("a policy");
        let facts = Facts { policies: Policies::new([policy]).into(), ..Facts::default() };
        let (before_too, after_too) = (reordered(&before), reordered(&after));
        let writes_too = writes(kind, &before_too, &after_too);
        for (request, reordered) in writes(kind, &before, &after).iter().zip(&writes_too) {
            let findings = check(request, &facts);
            for finding in &findings {
                prop_assert!(is_about(finding, request.object), "{finding} of {}", request.object);
            }
            prop_assert_eq!(&check(reordered, &facts), &findings);
        }
    }

    #[test]
    fn filled_in_once_is_filled_in_for_good((kind, before, after) in objects()) {
        let facts = Facts::default();
        let [create, update, ..] = writes(kind, &before, &after);
        for request in [create, update] {
            let edits = defaults(&request, &facts);
            let filled = apply(&edits, request.object);
            let again = Request { object: &filled, ..request };
            prop_assert_eq!(to_patch(&defaults(&again, &facts), &filled).0, []);
        }
    }
}
