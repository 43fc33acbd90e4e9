//! Fills in what the author of an object left out. What the author wrote always stands.
//!
//! What was filled in is noted in an annotation, with its place and value, and in another by whom. Thus [`uninject`] can take it out
//! again, and an update can put back what it dropped: `kubectl apply` sends the author's own lists again, without what we had added to
//! them, and an operator that compares hashes of the spec would then replace the whole cluster.
//!
//! Only what is certain is filled in, and never what would give a rule something to say. So there is nothing here for replicas and hosts,
//! which the CRD fills in before anybody else can and the operator keeps within their bounds; for GPUs under names that KubeRay does not
//! know, whose amounts may be shares or megabytes; for a CPU limit, which would slow down who asked for none; for requests beside limits,
//! which Kubernetes fills in for every pod; and for exceptions from a network policy, which nobody but its author can decide.

mod auth;
mod autoscaling;
mod image;
mod note;
mod policy;
mod ports;
pub(crate) mod resources;

use std::borrow::Cow;
use std::collections::BTreeMap;

use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::{Kind, Object};
use ray::path::{Pointer, Step};
use ray::version::RayVersion;
use serde_json::Value;

use crate::edit::{self, Edit};
use crate::facts::Facts;
use crate::policy::{OURSELVES, Policy, PolicySpec};
use crate::ratchet;
use crate::request::{Operation, Request};
use crate::rule::Subject;

/// Fills in one thing for a cluster, which stands in the given object.
type Fill = fn(&ClusterSpec, &Subject<'_>, &mut Filled);

/// What goes without saying. None depends on what another has filled in.
const TABLES: &[&[Fill]] = &[
    image::FILLS,
    resources::FILLS,
    autoscaling::FILLS,
    auth::FILLS,
    ports::FILLS,
];

/// What is filled in, by place.
type Gifts = BTreeMap<Pointer, Gift>;

/// What a field is given.
#[derive(Clone, Debug)]
struct Gift {
    value: Value,
    /// Not known of what was noted by a version that did not note this.
    giver: Option<Giver>,
}

/// Who has given something.
#[derive(Clone, Debug)]
struct Giver {
    /// Of us.
    version: String,
    /// The name of the policy, or our own for what goes without saying.
    policy: String,
}

/// What the fills of a step have filled in so far.
#[derive(Default)]
struct Filled {
    gifts: Gifts,
}

impl Filled {
    /// Gives a field what goes without saying.
    fn insert(&mut self, place: Pointer, value: Value) {
        self.insert_for(OURSELVES, place, value);
    }

    /// Gives a field what a policy wants it to have.
    fn insert_for(&mut self, policy: &str, place: Pointer, value: Value) {
        let giver = Giver {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy: policy.to_owned(),
        };
        let giver = Some(giver);
        self.gifts.insert(place, Gift { value, giver });
    }

    fn contains(&self, place: &Pointer) -> bool {
        self.gifts.contains_key(place)
    }
}

/// The changes that fill in what `request` leaves out, the notes about them last. A new object gets everything. On an update only
/// what that update itself made missing is filled in, and with the very value it had before, unless what that was derived from has
/// changed too; a policy that has changed is no reason. What the operator makes of a job or a service has got everything in that job or
/// service already, and stays as the operator wrote it.
pub fn defaults(request: &Request<'_>, facts: &Facts) -> Vec<Edit> {
    // Whoever forges the label goes without defaults, and the rules look at him all the same.
    let made_by_operator = !request.object["metadata"]["labels"][keys::ORIGINATED_FROM_KIND].is_null();
    let (mut filled, mut noted) = match (request.operation, request.old) {
        _ if made_by_operator => return Vec::new(),
        (Operation::Create, _) => {
            let policy = facts.policies.of(request);
            let filled = missing(request.kind, request.object, facts, &policy);
            (filled, note::read(request.object))
        }
        (Operation::Update, Some(old)) if may_drop(request, old) => {
            let noted = followed(note::read(old), old, request.object);
            (dropped(request, old, &noted, facts), noted)
        }
        _ => return Vec::new(),
    };
    let after = edit::apply(&sets(&filled), request.object);
    // The reader takes what is no object for an empty one, but that has no fields to fill in.
    let is_there = |path: &Pointer, gift: &mut Gift| path.resolve(&after) == Some(&gift.value);
    filled.retain(is_there);
    if filled.is_empty() {
        return Vec::new();
    }
    noted.retain(is_there);
    noted.extend(filled.clone());
    let mut edits = sets(&filled);
    edits.extend(note::write(&noted));
    edits
}

/// Whether an update may drop something of ours: of the spec, or of the labels and annotations.
fn may_drop(request: &Request<'_>, old: &Value) -> bool {
    let (now, before) = (&request.object["metadata"], &old["metadata"]);
    let stays = now["deletionTimestamp"].is_null();
    let relabels = ["labels", "annotations"]
        .iter()
        .any(|field| now[field] != before[field]);
    !ratchet::cannot_do_harm(request) || stays && relabels
}

/// The object as its author wrote it: without what is noted as ours, as far as that still has the value we gave it.
pub fn uninject(object: &Value) -> Value {
    let mut authors = without(object, &note::read(object));
    for place in note::places() {
        take_out(&mut authors, &place);
    }
    authors
}

/// What is missing in an object: first what the policy wants, a step after the other, then what goes without saying.
fn missing(kind: Kind, object: &Value, facts: &Facts, policy: &Policy) -> Gifts {
    let of_policy = if policy.spec == PolicySpec::default() {
        &[]
    } else {
        policy::STEPS
    };
    let mut all = Gifts::new();
    let mut so_far = Cow::Borrowed(object);
    for tables in of_policy.iter().chain([&TABLES]) {
        let filled = missing_in_step(tables, kind, &so_far, facts, policy);
        if !filled.is_empty() {
            so_far = Cow::Owned(edit::apply(&sets(&filled), &so_far));
            all.extend(filled);
        }
    }
    all
}

fn missing_in_step(tables: &[&[Fill]], kind: Kind, object: &Value, facts: &Facts, policy: &Policy) -> Gifts {
    let (read, _) = Object::read(kind, object);
    let subject = Subject {
        object: &read,
        json: object,
        facts,
        policy,
    };
    let mut filled = Filled::default();
    for cluster in read.clusters() {
        for fill in tables.iter().copied().flatten() {
            fill(cluster, &subject, &mut filled);
        }
    }
    filled.gifts
}

/// What an update has made missing of what is `noted` as ours, and of the rest.
fn dropped(request: &Request<'_>, old: &Value, noted: &Gifts, facts: &Facts) -> Gifts {
    let policy = facts.policies.of(request);
    let missing = |object: &Value| missing(request.kind, object, facts, &policy);
    let before = followed(missing(&uninject(old)), old, request.object);
    let now = missing(&without(request.object, noted));
    // We would answer today's object as we would its predecessor, if with nothing: then what we answered in fact stands.
    let value = |gifts: &Gifts, path: &Pointer| gifts.get(path).map(|gift| gift.value.clone());
    let kept = noted
        .iter()
        .filter(|(path, _)| value(&before, path) == value(&now, path));
    let new = now.iter().filter(|(path, gift)| match before.get(path) {
        // It has been missing all the time, or is kept.
        Some(before) => noted.contains_key(path) && before.value != gift.value,
        None => true,
    });
    let is_open = |path: &Pointer| {
        let written = path.resolve(request.object);
        written.is_none_or(|value| value.is_null() || value == "")
    };
    new.chain(kept)
        .filter(|(path, _)| is_open(path))
        .map(|(path, gift)| (path.clone(), gift.clone()))
        .collect()
}

fn sets(filled: &Gifts) -> Vec<Edit> {
    let set = |(path, gift): (&Pointer, &Gift)| Edit::Set {
        path: path.clone(),
        value: gift.value.clone(),
    };
    filled.iter().map(set).collect()
}

/// The same places in another version of the object, where worker groups may have moved. What belongs to a group that is gone is left out.
fn followed(gifts: Gifts, old: &Value, new: &Value) -> Gifts {
    gifts
        .into_iter()
        .filter_map(|(place, gift)| Some((follow(&place, old, new)?, gift)))
        .collect()
}

fn follow(place: &Pointer, old: &Value, new: &Value) -> Option<Pointer> {
    let mut way = Pointer::root();
    let mut here = Some(old);
    for step in place.steps() {
        here = here.and_then(|here| match step {
            Step::Index(index) => here.get(index),
            Step::Key(key) => here.get(key.as_ref()),
        });
        let group = here.and_then(|here| here.get("groupName"));
        way = match (step, group) {
            (Step::Index(_), Some(name)) => {
                let groups = way.resolve(new)?.as_array()?;
                way.index(groups.iter().position(|group| group["groupName"] == *name)?)
            }
            (step, _) => way.step(step.clone()),
        };
    }
    Some(way)
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

/// The object without what is filled in, as far as that is there.
fn without(object: &Value, filled: &Gifts) -> Value {
    let mut object = object.clone();
    // From behind, so that the items of lists keep their places until it is their turn.
    for (place, gift) in filled.iter().rev() {
        if place.resolve(&object) == Some(&gift.value) {
            take_out(&mut object, place);
        }
    }
    object
}

/// Takes a field out, and the objects around it that are left empty; or the last item of a list.
fn take_out(object: &mut Value, place: &Pointer) {
    let Some((parent, last)) = place.split_last() else {
        return;
    };
    match (parent.resolve_mut(object), last) {
        (Some(Value::Object(fields)), Step::Key(key)) => {
            fields.remove(key.as_ref());
            if fields.is_empty() {
                take_out(object, parent);
            }
        }
        (Some(Value::Array(items)), Step::Index(index)) if index + 1 == items.len() => {
            items.pop();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
