//! The notes in an object about what was filled in, for programs and for people: which value each place was given, and by which policy and
//! which version of us. They stand in annotations, which no hash of a spec takes in.
//!
//! `rayward.dev/injected` is `{"/spec/rayVersion":"2.60.0"}`, and `rayward.dev/injected-by` is `{"0.1.0":{"rayward":["/spec/rayVersion"]}}`.

use std::collections::BTreeMap;

use ray::keys;
use ray::path::{Pointer, Step};
use serde_json::{Map, Value, json};

use super::{Gift, Gifts, Giver, resources};
use crate::edit::Edit;

/// Everything that an object's notes say is ours. The operator writes amounts in its own way when it writes a spec, `"1"` for `1`: then
/// that is what we have given.
pub(super) fn read(object: &Value) -> Gifts {
    let values: Map<String, Value> = annotation(object, keys::INJECTED).unwrap_or_default();
    if values.is_empty() {
        return Gifts::new();
    }
    let mut givers = givers(object);
    let gift = |(text, value): (String, Value)| {
        let place = pointer(&text, object);
        let rewritten = place
            .resolve(object)
            .filter(|there| is_same_amount(&place, there, &value));
        let value = rewritten.cloned().unwrap_or(value);
        let giver = givers.remove(&text);
        (place, Gift { value, giver })
    };
    values.into_iter().map(gift).collect()
}

/// The notes about these; none that would say nothing.
pub(super) fn write(gifts: &Gifts) -> Vec<Edit> {
    let mut values = Map::new();
    let mut givers: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for (place, Gift { value, giver }) in gifts {
        values.insert(place.to_string(), value.clone());
        if let Some(Giver { version, policy }) = giver {
            let of_version = givers.entry(version).or_default();
            of_version.entry(policy).or_default().push(place.to_string());
        }
    }
    places()
        .zip([json!(values), json!(givers)])
        .filter(|(_, note)| *note != json!({}))
        .map(|(path, note)| Edit::Set {
            path,
            value: note.to_string().into(),
        })
        .collect()
}

/// Where the notes are.
pub(super) fn places() -> impl Iterator<Item = Pointer> {
    let annotations = Pointer::root().key("metadata").key("annotations");
    [keys::INJECTED, keys::INJECTED_BY]
        .into_iter()
        .map(move |key| annotations.key(key))
}

/// Who has given what is at a place.
fn givers(object: &Value) -> BTreeMap<String, Giver> {
    type Noted = BTreeMap<String, BTreeMap<String, Vec<String>>>;
    let versions: Noted = annotation(object, keys::INJECTED_BY).unwrap_or_default();
    let mut givers = BTreeMap::new();
    for (version, policies) in versions {
        for (policy, places) in policies {
            let giver = Giver {
                version: version.clone(),
                policy,
            };
            givers.extend(places.into_iter().map(|place| (place, giver.clone())));
        }
    }
    givers
}

fn annotation<T: serde::de::DeserializeOwned>(object: &Value, key: &str) -> Option<T> {
    let text = object["metadata"]["annotations"][key].as_str()?;
    serde_json::from_str(text).ok()
}

fn is_same_amount(place: &Pointer, one: &Value, other: &Value) -> bool {
    let is_amount = place.steps().contains(&&Step::Key("resources".into()));
    let amounts = resources::quantity(one).zip(resources::quantity(other));
    is_amount && amounts.is_some_and(|(one, other)| one == other)
}

/// The way into `object` that is written `place`.
fn pointer(place: &str, object: &Value) -> Pointer {
    place.split('/').skip(1).fold(Pointer::root(), |way, step| {
        let is_list = way.resolve(object).is_some_and(Value::is_array);
        match step.parse() {
            Ok(index) if is_list => way.index(index),
            _ => way.key(step.replace("~1", "/").replace("~0", "~")),
        }
    })
}
