//! What the offline commands know of the world that an object is to live in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ray::object::Kind;
use rules::{Edit, Facts, NAMESPACE_NAME, Operation, Request};
use serde_json::Value;

use crate::args::Namespaces;
use crate::source::{Document, Found};

/// The facts, and the namespaces with their labels.
#[derive(Debug)]
pub struct Known {
    /// What is the same everywhere.
    pub facts: Facts,
    /// Where objects live that name no namespace; empty, if that is not known.
    namespace: String,
    labels: BTreeMap<String, BTreeMap<String, String>>,
}

impl Known {
    /// What was `told` of namespaces, and what their own manifests say of the others.
    pub fn new<'d>(
        facts: Facts,
        told: &Namespaces,
        manifests: impl IntoIterator<Item = &'d Document>,
    ) -> Self {
        let objects = manifests.into_iter().flat_map(Document::objects);
        let written = objects.filter(Found::is_namespace).map(|found| {
            let metadata = &found.value["metadata"];
            let labels = metadata["labels"].as_object().into_iter().flatten();
            let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            (
                metadata["name"].as_str().unwrap_or_default().to_owned(),
                labels.collect(),
            )
        });
        let told_of = told.namespace_labels.iter();
        let told_of = told_of.map(|told| (told.namespace.clone(), told.labels.clone()));
        let mut labels: BTreeMap<String, BTreeMap<_, _>> = written.chain(told_of).collect();
        for (namespace, labels) in &mut labels {
            labels.insert(NAMESPACE_NAME.to_owned(), namespace.clone());
        }
        Self {
            facts,
            namespace: told.namespace.clone().unwrap_or_default(),
            labels,
        }
    }

    /// Those that are known: the one that was told, or else all whose labels are.
    pub fn namespaces(&self) -> Vec<&str> {
        match self.namespace.as_str() {
            "" => self.labels.keys().map(String::as_str).collect(),
            namespace => vec![namespace],
        }
    }

    /// The write that applying `object` is.
    pub fn request<'a>(&'a self, kind: Kind, object: &'a Value, old: Option<&'a Value>) -> Request<'a> {
        let operation = old.map_or(Operation::Create, |_| Operation::Update);
        let request = Request::new(operation, kind, object, old);
        let namespace = match request.namespace {
            "" => &self.namespace,
            namespace => namespace,
        };
        Request {
            namespace,
            namespace_labels: self.labels.get(namespace),
            now: Timestamp::now(),
            ..request
        }
    }

    /// What is filled in for a new object.
    pub fn defaults(&self, kind: Kind, object: &Value) -> Vec<Edit> {
        rules::defaults(&self.request(kind, object, None), &self.facts)
    }
}
