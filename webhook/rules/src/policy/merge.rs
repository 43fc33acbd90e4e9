//! Makes one policy of several, as JSON and without knowing what it means: objects field by field, lists of things that have a name, a
//! code or a kind by that, and of everything else the value of the most important policy that has one. What has a name or a code is one
//! thing, which nobody gets half of; a kind is a topic, on which each policy may have something to say.

use std::collections::BTreeMap;

use ray::path::Pointer;
use serde_json::{Map, Value};

use super::{NamedPolicy, Policy};

/// What the things in a list are called by, if all have it.
const NAMES: [&str; 3] = ["name", "code", KIND];
const KIND: &str = "kind";
/// What a policy says about itself.
const OWN: [&str; 2] = ["priority", "select"];

/// What these policies say together, the most important first.
pub(super) fn policies<'p>(policies: impl Iterator<Item = &'p NamedPolicy>) -> Policy {
    let mut merged = Value::Object(Map::new());
    let mut provenance: BTreeMap<Pointer, String> = BTreeMap::new();
    for NamedPolicy { name, json, .. } in policies {
        let mut json = json.clone();
        for own in OWN {
            json.as_object_mut().and_then(|fields| fields.remove(own));
        }
        add(&json, &mut merged, &Pointer::root(), &mut |place| {
            provenance.insert(place, name.clone());
        });
    }
    // A list that one policy has left empty, and another has filled, is the other's. What is within it comes right behind it.
    let within = provenance.keys().skip(1);
    let filled = provenance
        .keys()
        .zip(within)
        .filter(|(list, next)| next.starts_with(list));
    let filled: Vec<Pointer> = filled.map(|(list, _)| list.clone()).collect();
    provenance.retain(|place, _| !filled.contains(place));
    Policy {
        spec: serde_json::from_value(merged)
            .expect("each of them was read, and their fields have fixed types"),
        provenance,
    }
}

/// Adds what is missing in `merged`, and tells `added` the place of each value. An empty list says nothing.
fn add(json: &Value, merged: &mut Value, place: &Pointer, added: &mut impl FnMut(Pointer)) {
    match (json, merged) {
        (Value::Object(fields), Value::Object(merged)) => {
            for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let there = merged.entry(key).or_insert(Value::Null);
                if there.as_array().is_some_and(Vec::is_empty) {
                    *there = Value::Null;
                }
                add(value, there, &place.key(key.clone()), added);
            }
        }
        (Value::Array(items), Value::Array(merged)) => {
            let Some(name) = name_of(&items.iter().chain(merged.iter())) else {
                return;
            };
            for item in items {
                let twin = merged.iter().position(|there| there[name] == item[name]);
                let index = match twin {
                    Some(index) if name == KIND => index,
                    Some(_) => continue,
                    None => {
                        merged.push(Value::Null);
                        merged.len() - 1
                    }
                };
                add(item, &mut merged[index], &place.index(index), added);
            }
        }
        (value, merged @ Value::Null) => match value {
            Value::Object(fields) if !fields.is_empty() => {
                *merged = Value::Object(Map::new());
                add(value, merged, place, added);
            }
            Value::Array(items) if name_of(&items.iter()).is_some() => {
                *merged = Value::Array(Vec::new());
                add(value, merged, place, added);
            }
            value => {
                *merged = value.clone();
                added(place.clone());
            }
        },
        _ => {}
    }
}

/// Where a list has a thing that it has had already: only one of them would be heard.
pub(super) fn twins(json: &Value, place: &Pointer) -> Vec<Pointer> {
    match json {
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .flat_map(|(key, value)| twins(value, &place.key(key.clone())))
                .collect()
        }
        Value::Array(items) => {
            let name = name_of(&items.iter());
            let within = |(index, item): (usize, &Value)| {
                let mut earlier = items[..index].iter();
                let twin = name.filter(|name| earlier.any(|other| other[*name] == item[*name]));
                let twin = twin.map(|name| place.index(index).key(name));
                twin.into_iter().chain(twins(item, &place.index(index)))
            };
            items.iter().enumerate().flat_map(within).collect()
        }
        _ => Vec::new(),
    }
}

/// What all of these things are called by.
fn name_of<'v>(items: &(impl Iterator<Item = &'v Value> + Clone)) -> Option<&'static str> {
    let mut names = NAMES.into_iter();
    names.find(|name| items.clone().next().is_some() && items.clone().all(|item| item[*name].is_string()))
}
