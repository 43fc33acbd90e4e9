//! What shows a rule at work: small changes to a good manifest, for people to read and for tests to try.

use std::sync::Arc;

use ray::fixture::{sample, set, tpu_worker};
use ray::object::Kind;
use serde_json::{Map, Value, json};

use crate::check::check;
use crate::edit;
use crate::facts::{Facts, Gates};
use crate::finding::Finding;
use crate::pod;
use crate::policy::{NamedPolicy, Policies, Policy};
use crate::request::{Operation, Request};
use crate::rule::Rule;

/// What shows a rule at work. An example is YAML: changes to a good manifest of a `RayCluster` with the groups `cpu` and `gpu`, or to the
/// pod of one host in a TPU slice, each a JSON pointer and a value, where `null` takes a field away. `kind: RayJob` chooses another
/// manifest; `old: {..}` are changes to the same manifest which give the object as it was before, and make the write an update; `policy: {..}` is the spec of the policy that applies.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// With these changes the rule fires.
    pub fires: &'static str,
    /// With these it just does not.
    pub passes: &'static str,
}

/// An example worked out, in the newest world that its rule is about.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the object is: a pod, if nothing of Ray's.
    pub kind: Option<Kind>,
    /// The object.
    pub object: Value,
    /// As it was before, if this is an update.
    pub old: Option<Value>,
    /// The spec of the policy that applies, if there is one.
    pub policy: Option<Value>,
    /// What is known around it.
    pub facts: Facts,
    changes: Map<String, Value>,
}

impl Case {
    /// Works out an example of `rule`.
    pub fn of(rule: &Rule, example: &str) -> Self {
        let mut changes: Map<String, Value> =
            serde_saphyr::from_str(example).expect("examples are maps, as the tests see");
        let kind = match changes.remove("kind") {
            Some(kind) => kind.as_str().and_then(Kind::from_kind_name),
            None => rule.kinds.first().copied(),
        };
        let old = changes.remove("old").map(|old| match old {
            Value::Object(changes) => changes,
            other => panic!("old is a map: {other}"),
        });
        let policy = changes.remove("policy");
        let named = |spec| NamedPolicy::read("guardrails", spec).expect("nothing is wrong with it");
        let policies = Policies::new(policy.iter().map(named));
        let object = changed(kind, &changes);
        let before = old.as_ref().map(|changes| changed(kind, changes));
        changes.extend(old.unwrap_or_default());
        // Every gate is on, but for one that the rule is about.
        let mut gates: Gates = "AllAlpha=true,AllBeta=true".parse().expect("gates");
        gates.stated.extend(rule.gate.map(|state| (state.gate, state.on)));
        Self {
            kind,
            object,
            old: before,
            policy,
            facts: Facts {
                policies: Arc::new(policies),
                operator: Some(rule.operators.until),
                gates,
                ..Facts::default()
            },
            changes,
        }
    }

    /// Everything that is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let Some(kind) = self.kind else {
            return pod::check(&pod::Request::new(&self.object, &Policy::default()));
        };
        let (operation, old) = match &self.old {
            Some(old) => (Operation::Update, Some(old)),
            None => (Operation::Create, None),
        };
        let request = Request {
            user: "somebody",
            ..Request::new(operation, kind, &self.object, old)
        };
        check(&request, &self.facts)
    }

    /// Only those parts of `object`, one of this case's two, that the example is about.
    pub fn excerpt(&self, object: &Value) -> Value {
        let mut excerpt = json!({"kind": self.kind.map_or("Pod", Kind::name)});
        for place in self.changes.keys() {
            copy(place.split('/').skip(1), object, &mut excerpt);
        }
        excerpt
    }
}

/// The manifest that examples change.
fn changed(kind: Option<Kind>, changes: &Map<String, Value>) -> Value {
    let changes = changes.clone().into_iter();
    let Some(kind) = kind else {
        let made = tpu_worker("demo", "tpu");
        let good = edit::apply(
            &pod::defaults(&pod::Request::new(&made, &Policy::default())),
            &made,
        );
        return changes.fold(good, |mut pod, (pointer, value)| {
            set(&mut pod, pointer.as_str(), value);
            pod
        });
    };
    let good = sample(kind, "demo")
        .group("cpu")
        .group("gpu")
        .limit("nvidia.com/gpu", "1")
        .set_group(
            "/template/spec/containers/0/image",
            json!("rayproject/ray:2.60.0-gpu"),
        );
    changes
        .fold(good, |sample, (pointer, value)| sample.set(&pointer, value))
        .build()
}

/// Copies what stands at the end of the way. List items on the way, and those before them, are shown by their names.
fn copy<'w>(mut way: impl Iterator<Item = &'w str>, from: &Value, to: &mut Value) {
    let Some(step) = way.next() else {
        *to = from.clone();
        return;
    };
    match from {
        Value::Object(fields) => {
            let key = step.replace("~1", "/").replace("~0", "~");
            if !to.is_object() {
                *to = json!({});
            }
            let value = fields.get(&key).unwrap_or(&Value::Null);
            copy(way, value, &mut to[key]);
        }
        Value::Array(items) => {
            let index: usize = step.parse().expect("a place in a list");
            if !to.is_array() {
                *to = json!([]);
            }
            let shown = to.as_array_mut().expect("it is one now");
            for item in items.iter().take(index + 1).skip(shown.len()) {
                shown.push(name_of(item));
            }
            if let (Some(item), Some(shown)) = (items.get(index), shown.get_mut(index)) {
                copy(way, item, shown);
            }
        }
        _ => {}
    }
}

fn name_of(item: &Value) -> Value {
    let named = |key: &str| Some(json!({key: item.get(key)?}));
    named("groupName")
        .or_else(|| named("name"))
        .unwrap_or_else(|| item.clone())
}
