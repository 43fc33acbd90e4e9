//! Fills in what the author of an object left out. What the author wrote always stands.
//!
//! What was filled in is noted in an annotation, with its place and value. Thus [`uninject`] can take it out again, and an update can
//! put back what it dropped: `kubectl apply` sends the author's own lists again, without what we had added to them, and an operator
//! that compares hashes of the spec would then replace the whole cluster.

mod image;
mod resources;

use std::collections::BTreeMap;

use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::{Kind, Object};
use ray::path::Pointer;
use serde_json::{Map, Value};

use crate::edit::{self, Edit};
use crate::facts::Facts;
use crate::ratchet;
use crate::request::{Operation, Request};

/// Fills in one thing for a cluster, which stands in the given object.
type Fill = fn(&ClusterSpec, &Value, &Facts, &mut Filled);

/// None depends on what another has filled in.
const TABLES: &[&[Fill]] = &[image::FILLS, resources::FILLS];

/// What is filled in, by place.
type Filled = BTreeMap<Pointer, Value>;

/// The changes that fill in what `request` leaves out, the note about them last. A new object gets everything. On an update only
/// what that update itself made missing is filled in, and with the very value it had before, unless what that was derived from has
/// changed too.
pub fn defaults(request: &Request<'_>, facts: &Facts) -> Vec<Edit> {
    let filled = match (request.operation, request.old) {
        (Operation::Create, _) => missing(request.kind, request.object, facts),
        (Operation::Update, Some(old)) if !ratchet::cannot_do_harm(request) => dropped(request, old, facts),
        _ => return Vec::new(),
    };
    if filled.is_empty() {
        return Vec::new();
    }
    let note = note(request, &filled);
    filled
        .into_iter()
        .map(|(path, value)| Edit::Set { path, value })
        .chain([note])
        .collect()
}

/// The object as its author wrote it: without what is noted as ours, as far as that still has the value we gave it.
pub fn uninject(object: &Value) -> Value {
    let mut authors = object.clone();
    for (place, value) in noted(object) {
        if authors.pointer(&place) == Some(&value) {
            take_out(&mut authors, &place);
        }
    }
    take_out(&mut authors, &annotation().to_string());
    authors
}

fn missing(kind: Kind, object: &Value, facts: &Facts) -> Filled {
    let (read, _) = Object::read(kind, object);
    let mut filled = Filled::new();
    for cluster in read.clusters() {
        TABLES
            .iter()
            .copied()
            .flatten()
            .for_each(|fill| fill(cluster, object, facts, &mut filled));
    }
    // The reader takes what is no object for an empty one, but that has no fields to fill in.
    filled.retain(|path, value| !edit::set(path, value, object).is_empty());
    filled
}

fn dropped(request: &Request<'_>, old: &Value, facts: &Facts) -> Filled {
    let before = noted(old);
    let missing_before = missing(request.kind, &uninject(old), facts);
    let still =
        |(path, value): (Pointer, Value)| match (before.get(&path.to_string()), missing_before.get(&path)) {
            // We would answer today's object as we would its predecessor: then what we answered in fact stands.
            (Some(kept), Some(again)) if *again == value => Some((path, kept.clone())),
            // It has been missing all the time.
            (None, Some(_)) => None,
            _ => Some((path, value)),
        };
    missing(request.kind, request.object, facts)
        .into_iter()
        .filter_map(still)
        .collect()
}

/// Place -> value of everything that an object's annotation says is ours.
fn noted(object: &Value) -> Map<String, Value> {
    let note = annotation().resolve(object).and_then(Value::as_str);
    note.and_then(|note| serde_json::from_str(note).ok())
        .unwrap_or_default()
}

fn note(request: &Request<'_>, filled: &Filled) -> Edit {
    let mut note = noted(request.old.unwrap_or(request.object));
    note.retain(|place, value| request.object.pointer(place) == Some(value));
    note.extend(
        filled
            .iter()
            .map(|(path, value)| (path.to_string(), value.clone())),
    );
    Edit::Set {
        path: annotation(),
        value: Value::Object(note).to_string().into(),
    }
}

fn annotation() -> Pointer {
    Pointer::root()
        .key("metadata")
        .key("annotations")
        .key(keys::INJECTED)
}

/// Takes a field out, and the objects around it that are left empty.
fn take_out(object: &mut Value, place: &str) {
    let Some((parent, key)) = place.rsplit_once('/') else {
        return;
    };
    let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else {
        return;
    };
    fields.remove(&key.replace("~1", "/").replace("~0", "~"));
    if fields.is_empty() {
        take_out(object, parent);
    }
}
