//! A pod while it is completed: as it is by now, and by which edits it came to be so. A stage sees what the stages before it have done.

use std::collections::BTreeMap;

use ray::keys;
use ray::path::Pointer;
use serde_json::{Value, json};

use crate::edit::{self, Edit};
use crate::policy::OURSELVES;

#[derive(Debug)]
pub(super) struct Growing {
    /// As it is by now.
    pub(super) json: Value,
    /// What has been done to it.
    pub(super) edits: Vec<Edit>,
    /// What has been put in, by who wants it.
    pub(super) put_in: BTreeMap<String, Vec<Pointer>>,
    author: String,
}

impl Growing {
    pub(super) fn new(pod: &Value) -> Self {
        Self {
            json: pod.clone(),
            edits: Vec::new(),
            put_in: BTreeMap::new(),
            author: OURSELVES.to_owned(),
        }
    }

    /// What is put in from now on is wanted by this policy.
    pub(super) fn by(&mut self, author: &str) {
        if self.author != author {
            author.clone_into(&mut self.author);
        }
    }

    /// Whether it is one of Ray's `head` or `worker` pods. The pod that cleans up Redis behind a cluster carries the head's other labels,
    /// but not this one.
    pub(super) fn is(&self, node_type: &str) -> bool {
        self.json["metadata"]["labels"][keys::NODE_TYPE] == node_type
    }

    pub(super) fn items(&self, list: &Pointer) -> &[Value] {
        list.resolve(&self.json)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Gives a field a value, unless it has one.
    pub(super) fn fill(&mut self, path: Pointer, value: Value) {
        if path.resolve(&self.json).is_none_or(Value::is_null) {
            self.put(path.clone(), path, value);
        }
    }

    /// Gives a field this value, whatever it had, and notes it under a place that people find it by.
    pub(super) fn put(&mut self, path: Pointer, noted: Pointer, value: Value) {
        if self.make(Edit::Set { path, value }) {
            let put_in = self.put_in.entry(self.author.clone()).or_default();
            if !put_in.contains(&noted) {
                put_in.push(noted);
            }
        }
    }

    /// Adds to a list, at its end, what no item of it is like.
    pub(super) fn add(&mut self, list: &Pointer, item: Value, like: impl Fn(&Value) -> bool) {
        if self.items(list).iter().any(like) {
            return;
        }
        let noted = match item["name"].as_str() {
            Some(name) => list.key(name.to_owned()),
            None => list.clone(),
        };
        match list.resolve(&self.json).filter(|list| !list.is_null()) {
            Some(Value::Array(items)) => self.put(list.index(items.len()), noted, item),
            // The API server will say that this is no list.
            Some(_) => {}
            None => self.put(list.clone(), noted, json!([item])),
        }
    }

    /// Adds to a list, at its end, what has a name that no item of it has.
    pub(super) fn add_named(&mut self, list: &Pointer, item: Value) {
        let name = item["name"].clone();
        self.add(list, item, |there| there["name"] == name);
    }

    /// Whether this changes anything.
    pub(super) fn make(&mut self, edit: Edit) -> bool {
        let changes = !edit::make(&edit, &mut self.json).is_empty();
        if changes {
            self.edits.push(edit);
        }
        changes
    }
}
