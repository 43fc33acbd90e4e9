//! `--old`: the objects that are there already, and that those being checked are to replace.

use ray::object::Kind;
use serde_json::Value;

use super::report::Identity;
use crate::known::Known;
use crate::source::Document;

/// Objects as the API server has them.
#[derive(Debug, Default)]
pub(super) struct Stored(Vec<(Identity, Value)>);

impl Stored {
    /// Adds the objects of Ray in a document.
    ///
    /// What was read from an API server stays as it is. A manifest, for example of the commit before, first gets what it got when it
    /// was applied.
    pub(super) fn add(&mut self, document: &Document, known: &Known) {
        for found in document.objects() {
            let Some(kind) = found.kind() else { continue };
            let object = if found.value["metadata"]["resourceVersion"].is_string() {
                found.value
            } else {
                rules::edit::apply(&known.defaults(kind, &found.value), &found.value)
            };
            self.0.push((Identity::of(kind.name(), &object), object));
        }
    }

    /// The object that `object` replaces. One that names no namespace may be meant for any.
    pub(super) fn find(&self, kind: Kind, object: &Value) -> Option<&Value> {
        let wanted = Identity::of(kind.name(), object);
        let same = |one: &Identity| {
            let same_namespace =
                one.namespace == wanted.namespace || one.namespace.is_none() || wanted.namespace.is_none();
            one.kind == wanted.kind && one.name == wanted.name && same_namespace
        };
        self.0.iter().find(|(one, _)| same(one)).map(|(_, object)| object)
    }
}
