//! What an object costs grows with its size and no faster: ten times the items take about ten times the allocations, counted over all of the
//! work. Nothing is timed, so a loop within a loop that allocates nothing is not seen here, except that this then takes for ever.

use allocation_counter::{AllocationInfo, measure};
use ray::fixture::cluster;
use ray::object::Kind;
use rules::edit::{apply, to_patch};
use rules::{Facts, Operation, Policy, Request, check, defaults, judge, uninject};
use serde_json::{Value, json};

/// An object with this many of something.
type Many = fn(usize) -> Value;

const CONTAINER: &str = "/headGroupSpec/template/spec/containers/0";

#[test]
fn ten_times_the_items_take_ten_times_the_allocations() {
    let cases: &[(&str, Many)] = &[
        ("groups", |count| {
            list(
                "/workerGroupSpecs",
                count,
                |i| json!({"groupName": format!("g{i}")}),
            )
        }),
        ("groups of one name", |count| {
            list("/workerGroupSpecs", count, |_| json!({"groupName": "g"}))
        }),
        ("groups that are none", |count| {
            list("/workerGroupSpecs", count, |i| json!(i))
        }),
        ("groups without an image", |count| {
            list("/workerGroupSpecs", count, |_| group_without_image())
        }),
        ("containers", |count| {
            list(
                "/headGroupSpec/template/spec/containers",
                count,
                |i| json!({"name": format!("c{i}"), "image": "ray"}),
            )
        }),
        ("variables", |count| {
            list(
                &format!("{CONTAINER}/env"),
                count,
                |i| json!({"name": format!("V{i}"), "value": "x"}),
            )
        }),
        ("mistyped variables", |count| {
            list(
                &format!("{CONTAINER}/env"),
                count,
                |i| json!({"name": "V", "value": i}),
            )
        }),
        ("ports", |count| {
            list(
                &format!("{CONTAINER}/ports"),
                count,
                |i| json!({"name": format!("p{i}"), "containerPort": i}),
            )
        }),
        ("volumes", |count| {
            list(
                "/headGroupSpec/template/spec/volumes",
                count,
                |i| json!({"name": format!("v{i}"), "emptyDir": {}}),
            )
        }),
        ("devices", |count| {
            map(
                &format!("{CONTAINER}/resources/requests"),
                count,
                |i| format!("nvidia.com/{i}"),
                "1",
            )
        }),
        ("resources", |count| {
            map("/headGroupSpec/resources", count, |i| format!("r{i}"), "1x")
        }),
        ("start parameters", |count| {
            map("/headGroupSpec/rayStartParams", count, |i| format!("p{i}"), "1")
        }),
        ("labels", |count| {
            map("/headGroupSpec/labels", count, |i| format!("l{i}"), "1")
        }),
        ("unknown fields", |count| {
            map("/headGroupSpec", count, |i| format!("field{i}"), "1")
        }),
        ("unknown fields at the top", |count| {
            map("", count, |i| format!("field{i}"), "1")
        }),
    ];
    for (name, many) in cases {
        for work in [created, updated] {
            let [small, large] = [100, 1_000].map(|count| work(&many(count)).count_total);
            assert!(
                large < small * 12,
                "{name}: {small} allocations for 100, {large} for 1000"
            );
        }
    }
}

fn created(object: &Value) -> AllocationInfo {
    measure(|| answer(&request(Operation::Create, object, None)))
}

/// Everything of it is new.
fn updated(object: &Value) -> AllocationInfo {
    let old = cluster("demo").set_cluster("/suspend", json!(true)).build();
    let there_and_back = |object: &Value, old: &Value| {
        answer(&request(Operation::Update, object, Some(old)));
    };
    measure(|| {
        there_and_back(object, &old);
        there_and_back(&old, object);
        let mut changed = object.clone();
        changed["spec"]["rayVersion"] = json!("2.59.0");
        there_and_back(&changed, object);
    })
}

fn answer(request: &Request<'_>) {
    let facts = Facts::default();
    let edits = defaults(request, &facts);
    to_patch(&edits, request.object);
    let filled = apply(&edits, request.object);
    judge(
        check(
            &Request {
                object: &filled,
                ..*request
            },
            &facts,
        ),
        request,
        &Policy::default(),
    );
    uninject(&filled);
}

fn request<'a>(operation: Operation, object: &'a Value, old: Option<&'a Value>) -> Request<'a> {
    Request {
        user: "somebody",
        ..Request::new(operation, Kind::Cluster, object, old)
    }
}

fn list(place: &str, count: usize, item: impl Fn(usize) -> Value) -> Value {
    cluster("demo")
        .set_cluster(place, (0..count).map(item).collect())
        .build()
}

fn map(place: &str, count: usize, key: impl Fn(usize) -> String, value: &str) -> Value {
    let object = cluster("demo").build();
    let there = object
        .pointer(&format!("/spec{place}"))
        .and_then(Value::as_object);
    let mut fields = there.cloned().unwrap_or_default();
    fields.extend((0..count).map(|i| (key(i), json!(value))));
    cluster("demo").set_cluster(place, Value::Object(fields)).build()
}

fn group_without_image() -> Value {
    json!({"groupName": "g", "template": {"spec": {"containers": [{"name": "ray", "resources": {"requests": {"nvidia.com/gpu": 1}}}]}}})
}
