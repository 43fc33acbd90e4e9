//! Fills in what the author of an object left out. What the author wrote always stands.
//!
//! What was filled in is noted in an annotation, with its place and value. Thus [`uninject`] can take it out again, and an update can
//! put back what it dropped: `kubectl apply` sends the author's own lists again, without what we had added to them, and an operator
//! that compares hashes of the spec would then replace the whole cluster.
//!
//! Only what is certain is filled in, and never what would give a rule something to say. So there is nothing here for replicas and hosts,
//! which the CRD fills in before anybody else can and the operator keeps within their bounds; for GPUs under names that KubeRay does not
//! know, whose amounts may be shares or megabytes; for a CPU limit, which would slow down who asked for none; for requests beside limits,
//! which Kubernetes fills in for every pod; and for exceptions from a network policy, which nobody but its author can decide.

mod auth;
mod autoscaling;
mod image;
mod ports;
mod resources;

use std::collections::BTreeMap;

use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::{Kind, Object};
use ray::path::{Pointer, Step};
use ray::version::RayVersion;
use serde_json::{Map, Value};

use crate::edit::{self, Edit};
use crate::facts::Facts;
use crate::policy::Policy;
use crate::ratchet;
use crate::request::{Operation, Request};
use crate::rule::Subject;

/// Fills in one thing for a cluster, which stands in the given object.
type Fill = fn(&ClusterSpec, &Subject<'_>, &mut Filled);

/// None depends on what another has filled in.
const TABLES: &[&[Fill]] = &[
    image::FILLS,
    resources::FILLS,
    autoscaling::FILLS,
    auth::FILLS,
    ports::FILLS,
];

/// What is filled in, by place.
type Filled = BTreeMap<Pointer, Value>;

/// The changes that fill in what `request` leaves out, the note about them last. A new object gets everything. On an update only
/// what that update itself made missing is filled in, and with the very value it had before, unless what that was derived from has
/// changed too. What the operator makes of a job or a service has got everything in that job or service already, and stays as the operator
/// wrote it.
pub fn defaults(request: &Request<'_>, facts: &Facts) -> Vec<Edit> {
    let made_by_operator = !request.object["metadata"]["labels"][keys::ORIGINATED_FROM_KIND].is_null();
    let filled = match (request.operation, request.old) {
        _ if made_by_operator => return Vec::new(),
        (Operation::Create, _) => missing(request.kind, request.object, facts, &facts.policies.of(request)),
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
    // From behind, so that the items of lists keep their places until it is their turn.
    for (place, value) in noted(object).into_iter().rev() {
        if authors.pointer(&place) == Some(&value) {
            take_out(&mut authors, &place);
        }
    }
    take_out(&mut authors, &annotation().to_string());
    authors
}

fn missing(kind: Kind, object: &Value, facts: &Facts, policy: &Policy) -> Filled {
    let (read, _) = Object::read(kind, object);
    let subject = Subject {
        object: &read,
        json: object,
        facts,
        policy,
    };
    let mut filled = Filled::new();
    for cluster in read.clusters() {
        for fill in TABLES.iter().copied().flatten() {
            fill(cluster, &subject, &mut filled);
        }
    }
    // The reader takes what is no object for an empty one, but that has no fields to fill in. An item of a list may follow another of ours.
    let is_item = |path: &Pointer| matches!(path.steps().last(), Some(Step::Index(_)));
    filled.retain(|path, value| is_item(path) || !edit::set(path, value, object).is_empty());
    filled
}

fn dropped(request: &Request<'_>, old: &Value, facts: &Facts) -> Filled {
    let policy = facts.policies.of(request);
    let before = noted(old);
    let missing_before = missing(request.kind, &uninject(old), facts, &policy);
    let still =
        |(path, value): (Pointer, Value)| match (before.get(&path.to_string()), missing_before.get(&path)) {
            // We would answer today's object as we would its predecessor: then what we answered in fact stands.
            (Some(kept), Some(again)) if *again == value => Some((path, kept.clone())),
            // It has been missing all the time.
            (None, Some(_)) => None,
            _ => Some((path, value)),
        };
    missing(request.kind, request.object, facts, &policy)
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

/// The version of Ray in the head, where all who tell of it agree on what `holds` of it.
fn ray_version_is(cluster: &ClusterSpec, facts: &Facts, holds: impl Fn(RayVersion) -> bool) -> bool {
    let written = cluster.ray_version.as_ref().map(|version| version.parse().ok());
    let tagged = image::written_image(&cluster.head).map(|image| facts.ray_version(&image));
    match (written, tagged.flatten()) {
        (Some(None), _) | (None, None) => false,
        (written, tagged) => written.flatten().into_iter().chain(tagged).all(holds),
    }
}

/// Takes a field out, and the objects around it that are left empty; or the last item of a list.
fn take_out(object: &mut Value, place: &str) {
    let Some((parent, key)) = place.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(&key.replace("~1", "/").replace("~0", "~"));
            if fields.is_empty() {
                take_out(object, parent);
            }
        }
        Some(Value::Array(items)) if key.parse().ok() == items.len().checked_sub(1) => {
            items.pop();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
