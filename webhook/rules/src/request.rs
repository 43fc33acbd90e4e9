//! A write that somebody asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ray::object::Kind;
use serde_json::Value;

use crate::policy::Label;
use crate::usage::Usage;

/// The label with which Kubernetes tells the name of every namespace.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A write that somebody asks of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to happen to the object.
    pub operation: Operation,
    /// What it is.
    pub kind: Kind,
    /// As it is to become; `null` when it is to be deleted.
    pub object: &'a Value,
    /// As it is now, if it is there.
    pub old: Option<&'a Value>,
    /// Where it lives.
    pub namespace: &'a str,
    /// The labels of that, if they are known.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// Who asks.
    pub user: &'a str,
    /// Of which groups.
    pub groups: &'a [String],
    /// What the other objects in the namespace have, if it is known.
    pub others: Option<&'a Usage>,
    /// When.
    pub now: Timestamp,
}

impl<'a> Request<'a> {
    /// A request of which nothing else is known.
    pub fn new(operation: Operation, kind: Kind, object: &'a Value, old: Option<&'a Value>) -> Self {
        Self {
            operation,
            kind,
            object,
            old,
            namespace: object["metadata"]["namespace"].as_str().unwrap_or_default(),
            namespace_labels: None,
            user: "",
            groups: &[],
            others: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// A label of the namespace. Kubernetes gives every namespace one with its name.
    pub(crate) fn namespace_label(&self, key: &str) -> Label<'a> {
        match self.namespace_labels {
            Some(labels) => labels.get(key).map(String::as_str).into(),
            None if key == NAMESPACE_NAME && !self.namespace.is_empty() => Label::Is(self.namespace),
            None => Label::Unknown,
        }
    }
}

/// What is to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// Somebody connects to it.
    Connect,
}
