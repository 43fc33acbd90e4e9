//! Rules only ever tighten around what a write changes: an object that was wrong before stays writable.

use std::collections::BTreeSet;

use ray::path::{Pointer, Step};
use serde_json::Value;

use crate::finding::Finding;
use crate::request::{Operation, Request};

/// Deleting is always allowed, and so is whatever an object on its way out still needs. The operator, Kueue and autoscalers write
/// metadata, status and replicas all the time, and none of that may fail for a reason that they have nothing to do with.
pub(crate) fn cannot_do_harm(request: &Request<'_>) -> bool {
    match (request.operation, request.old) {
        (Operation::Delete | Operation::Connect, _) => true,
        _ if !request.object["metadata"]["deletionTimestamp"].is_null() => true,
        (Operation::Update, Some(old)) => same_but_for_scale(&request.object["spec"], &old["spec"]),
        _ => false,
    }
}

/// Marks findings that an earlier version of the object had too: the same rule at the same place, wherever in its list that
/// group, container or variable now stands.
pub(crate) fn excuse_known(findings: &mut [Finding], new: &Value, before: &[Finding], old: &Value) {
    let before: BTreeSet<_> = before
        .iter()
        .map(|finding| (finding.code, place_by_names(&finding.path, old)))
        .collect();
    for finding in findings {
        finding.excused = before.contains(&(finding.code, place_by_names(&finding.path, new)));
    }
}

/// A pointer with the items of lists called by their names. Of several with one name each has a place of its own.
fn place_by_names(path: &Pointer, object: &Value) -> Vec<String> {
    let mut here = Some(object);
    let mut place = Vec::new();
    for step in path.steps() {
        let (name, next) = match step {
            Step::Key(key) => (key.to_string(), here.and_then(|here| here.get(key.as_ref()))),
            Step::Index(index) => {
                let items = here.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let item = items.get(*index);
                let named = item.and_then(name_of).map(|name| {
                    let twins = items[..*index].iter().filter(|twin| name_of(twin) == Some(name));
                    format!("{name}#{}", twins.count())
                });
                (named.unwrap_or_else(|| index.to_string()), item)
            }
        };
        place.push(name);
        here = next;
    }
    place
}

/// What a list item is called: a group, a container, a variable, a volume.
fn name_of(item: &Value) -> Option<&str> {
    item.get("groupName").or_else(|| item.get("name"))?.as_str()
}

/// Equal, but for how many workers a group has now and which of them go first.
fn same_but_for_scale(new: &Value, old: &Value) -> bool {
    const GROUPS: &str = "workerGroupSpecs";
    let same_group = |(new, old)| equal_but_for(new, old, &["replicas", "scaleStrategy"]);
    let same_groups = match (new[GROUPS].as_array(), old[GROUPS].as_array()) {
        (Some(new), Some(old)) => new.len() == old.len() && new.iter().zip(old).all(same_group),
        _ => new[GROUPS] == old[GROUPS],
    };
    same_groups && equal_but_for(new, old, &[GROUPS])
}

fn equal_but_for(new: &Value, old: &Value, fields: &[&str]) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return new == old;
    };
    let counts = |field: &&String| !fields.contains(&field.as_str());
    new.keys()
        .chain(old.keys())
        .filter(counts)
        .all(|field| new.get(field) == old.get(field))
}
