//! What a change does to an object that lives: what cannot be, what has no effect, and what has more than was meant. Each file is
//! about one kind of object, or about its worker groups; here is what they share.
//!
//! A change is warned of where it merely disappoints, and refused only where something is lost that nobody brings back.

pub(crate) mod cluster;
pub(crate) mod groups;
pub(crate) mod immutable;
pub(crate) mod job;
pub(crate) mod service;

use std::collections::BTreeMap;

use ray::cluster::{ClusterSpec, WorkerGroup};
use ray::path::Pointer;
use serde_json::Value;

use crate::rule::Subject;

/// The cluster that an object describes, as it is to become and as it was.
fn clusters<'a>(new: &Subject<'a>, old: &Subject<'a>) -> Option<(&'a ClusterSpec, &'a ClusterSpec)> {
    new.object.clusters().next().zip(old.object.clusters().next())
}

/// Those groups that were there before, with what they were. Of several with one name only the first counts.
fn kept_groups<'a>(new: &'a ClusterSpec, old: &'a ClusterSpec) -> Vec<(&'a WorkerGroup, &'a WorkerGroup)> {
    let before = by_name(old);
    let now = by_name(new).into_values();
    now.filter_map(|group| Some((group, *before.get(group.name.as_str())?)))
        .collect()
}

fn by_name(cluster: &ClusterSpec) -> BTreeMap<&str, &WorkerGroup> {
    let groups = cluster.worker_groups.iter().rev();
    groups.map(|group| (group.name.as_str(), group)).collect()
}

/// What an object holds there; nothing and `null` are the same.
fn at<'a>(subject: &Subject<'a>, place: &Pointer) -> &'a Value {
    place.resolve(subject.json).unwrap_or(&Value::Null)
}

/// Whether something that runs comes of it.
fn runs(cluster: &ClusterSpec) -> bool {
    cluster.suspend != Some(true)
}

fn text<'a>(subject: &Subject<'a>, place: &Pointer) -> Option<&'a str> {
    at(subject, place).as_str()
}

fn condition<'a>(subject: &Subject<'a>, name: &str) -> Option<&'a Value> {
    let mut conditions = subject.json["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == name)
}

fn is_true(condition: Option<&Value>) -> bool {
    condition.is_some_and(|condition| condition["status"] == "True")
}
