//! Rules only ever tighten around what a write changes: an object that was wrong before stays writable.

use std::collections::{BTreeMap, BTreeSet};

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
        (Operation::Update, Some(old)) => {
            let way = request.kind.cluster_path();
            same_but_for_scale(&request.object["spec"], &old["spec"], &way.steps()[1..])
        }
        _ => false,
    }
}

/// Marks findings that an earlier version of the object had too: the same rule at the same place, wherever in its list that
/// group, container or variable now stands.
pub(crate) fn excuse_known(findings: &mut [Finding], new: &Value, before: &[Finding], old: &Value) {
    let mut names = Names::of(old);
    let before: BTreeSet<_> = before
        .iter()
        .map(|finding| (&finding.code, names.place(&finding.path)))
        .collect();
    let mut names = Names::of(new);
    for finding in findings {
        finding.excused |= before.contains(&(&finding.code, names.place(&finding.path)));
    }
}

/// Pointers into an object with the items of lists called by their names. Of several with one name each has a place of its own.
struct Names<'v> {
    object: &'v Value,
    /// The names of all items of a list, made when first asked for. A list is known by where it lies.
    lists: BTreeMap<*const Value, Vec<String>>,
}

impl<'v> Names<'v> {
    fn of(object: &'v Value) -> Self {
        Self {
            object,
            lists: BTreeMap::new(),
        }
    }

    fn place(&mut self, path: &Pointer) -> Vec<String> {
        let mut here = Some(self.object);
        let mut place = Vec::with_capacity(path.len());
        for step in path.steps() {
            let name = match (step, here.and_then(Value::as_array)) {
                (Step::Index(index), Some(items)) if *index < items.len() => {
                    let names = self
                        .lists
                        .entry(items.as_ptr())
                        .or_insert_with(|| names_of(items));
                    names[*index].clone()
                }
                (Step::Index(index), _) => index.to_string(),
                (Step::Key(key), _) => key.to_string(),
            };
            place.push(name);
            here = here.and_then(|here| match step {
                Step::Index(index) => here.get(index),
                Step::Key(key) => here.get(key.as_ref()),
            });
        }
        place
    }
}

/// The n-th item of a name is called `name#n`, and one without a name by its place.
fn names_of(items: &[Value]) -> Vec<String> {
    let mut twins = BTreeMap::new();
    let mut name = |(index, item)| match name_of(item) {
        Some(name) => {
            let earlier = twins.entry(name).or_insert(0_usize);
            *earlier += 1;
            format!("{name}#{earlier}")
        }
        None => usize::to_string(&index),
    };
    items.iter().enumerate().map(&mut name).collect()
}

/// What a list item is called: a group, a container, a variable, a volume.
fn name_of(item: &Value) -> Option<&str> {
    item.get("groupName").or_else(|| item.get("name"))?.as_str()
}

/// Equal, but for how many workers a group has now and which of them go first. The cluster stands at the end of `way`.
fn same_but_for_scale(new: &Value, old: &Value, way: &[&Step]) -> bool {
    match way {
        [Step::Key(key), rest @ ..] => {
            let key: &str = key;
            equal_but_for(new, old, &[key]) && same_but_for_scale(&new[key], &old[key], rest)
        }
        _ => same_cluster_but_for(new, old, &["replicas", "scaleStrategy"]),
    }
}

/// Whether two clusters are equal, but for these fields of their groups.
pub(crate) fn same_cluster_but_for(new: &Value, old: &Value, fields: &[&str]) -> bool {
    const GROUPS: &str = "workerGroupSpecs";
    let same_groups = match (new[GROUPS].as_array(), old[GROUPS].as_array()) {
        (Some(new), Some(old)) => {
            let mut groups = new.iter().zip(old);
            new.len() == old.len() && groups.all(|(new, old)| equal_but_for(new, old, fields))
        }
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

#[cfg(test)]
mod tests;
