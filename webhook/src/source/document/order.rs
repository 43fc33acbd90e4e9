//! Values, written in the order of a document. A [`Value`] sorts its keys; whoever wrote the document did not.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Content, Document, Node};

/// By what the items of lists are known, where they are known by anything.
const NAMES: [&str; 2] = ["name", "groupName"];

/// A value that was made of a document's: each object is written in the order that it has there, and what is new comes last.
#[derive(Debug)]
pub struct InOrder<'a> {
    value: &'a Value,
    /// What it was made of, if anything.
    origin: Option<&'a Node>,
}

impl Document {
    /// What has become of this document.
    pub fn in_order<'a>(&'a self, value: &'a Value) -> InOrder<'a> {
        InOrder {
            value,
            origin: Some(&self.root),
        }
    }
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.value, self.origin.map(|node| &node.content)) {
            (Value::Object(fields), Some(Content::Object(origin))) => {
                let known: BTreeSet<&str> = origin.iter().map(|(key, _)| key.name.as_str()).collect();
                let kept = origin.iter().filter_map(|(key, node)| {
                    let (name, value) = fields.get_key_value(&key.name)?;
                    let origin = Some(node);
                    Some((name, InOrder { value, origin }))
                });
                let new = fields.iter().filter(|(name, _)| !known.contains(name.as_str()));
                let new = new.map(|(name, value)| (name, InOrder { value, origin: None }));
                serializer.collect_map(kept.chain(new))
            }
            (Value::Array(items), Some(Content::List(origin))) => {
                let items = items.iter().enumerate().map(|(index, value)| InOrder {
                    value,
                    origin: origin_of(value, index, origin),
                });
                serializer.collect_seq(items)
            }
            (value, _) => value.serialize(serializer),
        }
    }
}

/// The item that this one was: the one at its place, unless another has its name since something went before it.
fn origin_of<'a>(item: &Value, index: usize, list: &'a [Node]) -> Option<&'a Node> {
    let same = |node: &&Node| NAMES.iter().all(|name| node.text(name) == item[name].as_str());
    let there = list.get(index);
    there.filter(same).or_else(|| list.iter().find(same)).or(there)
}

impl Node {
    fn text(&self, name: &str) -> Option<&str> {
        let Content::Object(fields) = &self.content else {
            return None;
        };
        let (_, field) = fields.iter().find(|(key, _)| key.name == name)?;
        match &field.content {
            Content::Scalar(value) => value.as_str(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    #[test]
    fn what_is_new_comes_last_and_items_are_known_by_their_names() {
        let text = "
spec:
  containers: [{name: first, image: a}, {image: b, name: second}, {args: [], name: third}]
  ports: [{to: 1, from: 2}, {from: 3, to: 4}]
kind: Pod
";
        let documents = Document::read_all(text).expect("it can be read");
        let mut value = documents[0].value();
        let containers = value["spec"]["containers"].as_array_mut().expect("a list");
        containers.remove(0);
        containers[0]["env"] = serde_json::json!([{"value": "1", "name": "A"}]);
        value["apiVersion"] = "v1".into();
        let written = serde_json::to_string(&documents[0].in_order(&value)).expect("it can be written");
        insta::assert_snapshot!(written, @r#"{"spec":{"containers":[{"image":"b","name":"second","env":[{"name":"A","value":"1"}]},{"args":[],"name":"third"}],"ports":[{"to":1,"from":2},{"from":3,"to":4}]},"kind":"Pod","apiVersion":"v1"}"#);
    }
}
