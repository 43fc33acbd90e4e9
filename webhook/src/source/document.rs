//! A YAML or JSON document that remembers where everything in it stands.
//!
//! YAML is read as `kubectl` does, whose reader (`sigs.k8s.io/yaml`) follows YAML 1.1 for scalars: a plain `0777` is octal, a plain
//! `yes` or `off` is a boolean, and so are `y` and `n`; numbers without a fraction are whole numbers, however they are written; a
//! key is text, whatever it looks like. JSON is read as the YAML that it is.

mod order;

use std::borrow::Cow;
use std::fmt;
use std::thread;

use ray::object::Kind;
use ray::path::{Pointer, Step};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::localizer::Localizer;
use serde_saphyr::{Error, Location, Spanned, UserMessageFormatter};

use crate::policy::definition;
use crate::scaling_policy::is_scaling_policy;

pub use order::InOrder;

/// Deeper than any manifest: those of Ray's CRDs have 40 levels.
const DEPTH_MAX: usize = 100;
/// The reader calls itself for every level, which without optimisation takes some tens of kilobytes.
const STACK_BYTES: usize = 16 << 20;
/// Manifests have some thousands, a dump of a large cluster has some hundred thousands. Each costs about a hundred bytes.
const NODES_MAX: usize = 1_000_000;
/// How many nodes may come into being by aliases, which cost nothing to write.
const ALIASED_NODES_MAX: usize = 200_000;

/// A document.
#[derive(Debug)]
pub struct Document {
    root: Node,
}

/// An object within a document.
#[derive(Debug)]
pub struct Found {
    /// Where in the document: at its root, or among the items of a list.
    pub at: Pointer,
    /// The object.
    pub value: Value,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    /// In characters; what stands there may go on over several lines.
    pub length: usize,
}

#[derive(Debug)]
struct Node {
    place: Place,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<(Key, Node)>),
}

#[derive(Debug)]
struct Key {
    place: Place,
    name: String,
}

impl Document {
    /// All documents of a text but the empty ones, or where and why that cannot be read.
    pub(super) fn read_all(text: &str) -> Result<Vec<Self>, (Option<Place>, String)> {
        thread::scope(|scope| {
            let reader = thread::Builder::new().stack_size(STACK_BYTES);
            let reader = reader.spawn_scoped(scope, || read(text));
            let reader = reader.map_err(|error| (None, format!("start a reader: {error}")))?;
            let documents = reader.join().expect("the reader does not panic")?;
            Ok(documents.into_iter().map(|root| Self { root }).collect())
        })
    }

    /// All of it.
    pub fn value(&self) -> Value {
        self.root.value()
    }

    /// The objects that it holds: itself, or the items of a list.
    pub fn objects(&self) -> Vec<Found> {
        let mut document = self.value();
        let Some(items) = items_of_list(&mut document) else {
            let (at, value) = (Pointer::root(), document);
            return vec![Found { at, value }];
        };
        let found = items.into_iter().enumerate().map(|(index, value)| Found {
            at: Pointer::root().key("items").index(index),
            value,
        });
        found.collect()
    }

    /// Where `pointer` leads, or the last of the nodes on the way that is there. A value that begins in the line of its key is
    /// there; what begins below it, or has no text of its own, is where its key is.
    pub fn place(&self, pointer: &Pointer) -> Place {
        let mut node = &self.root;
        let mut place = node.place;
        for step in pointer.steps() {
            let (key, next) = match (&node.content, step) {
                (Content::Object(fields), Step::Key(name)) => {
                    match fields.iter().find(|(key, _)| key.name == *name) {
                        Some((key, field)) => (Some(key), field),
                        None => break,
                    }
                }
                (Content::List(items), Step::Index(index)) => match items.get(*index) {
                    Some(item) => (None, item),
                    None => break,
                },
                _ => break,
            };
            place = match key {
                Some(key) if key.place.line != next.place.line || next.place.length == 0 => key.place,
                _ => next.place,
            };
            node = next;
        }
        place
    }
}

impl Found {
    /// What it is, if it is one of Ray's.
    pub fn kind(&self) -> Option<Kind> {
        let known = matches!(
            self.value["apiVersion"].as_str(),
            Some("ray.io/v1" | "ray.io/v1alpha1")
        );
        self.value["kind"]
            .as_str()
            .filter(|_| known)
            .and_then(Kind::from_kind_name)
    }

    /// Whether it is a namespace.
    pub fn is_namespace(&self) -> bool {
        self.value["apiVersion"] == "v1" && self.value["kind"] == "Namespace"
    }

    /// Whether it is one of our policies for admission.
    pub fn is_policy(&self) -> bool {
        self.is_of(definition::is_policy)
    }

    /// Whether it is one of our policies for scaling.
    pub fn is_scaling_policy(&self) -> bool {
        self.is_of(is_scaling_policy)
    }

    fn is_of(&self, kind: impl Fn(&str, &str, &str) -> bool) -> bool {
        let version = self.value["apiVersion"].as_str();
        let version = version.and_then(|version| version.split_once('/'));
        version.is_some_and(|(group, version)| {
            kind(group, version, self.value["kind"].as_str().unwrap_or_default())
        })
    }
}

impl Node {
    fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, field)| (key.name.clone(), field.value()));
                Value::Object(fields.collect())
            }
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            line: number(location.line()),
            column: number(location.column()),
            length: number(location.span().len()),
        }
    }
}

fn read(text: &str) -> Result<Vec<Node>, (Option<Place>, String)> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            // What is deeper is refused by the limit above, in its words.
            flow_nesting_limit: 100 * DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_documents: NODES_MAX,
            // One anchor may well serve many groups; what comes of it is counted.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES_MAX,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| (place(&error), message(&error)))
}

/// Such as a `List`, or a `RayClusterList`.
fn items_of_list(document: &mut Value) -> Option<Vec<Value>> {
    document["kind"].as_str().filter(|kind| kind.ends_with("List"))?;
    document.get_mut("items")?.as_array_mut().map(std::mem::take)
}

fn place(error: &Error) -> Option<Place> {
    let place = error.location().map(Place::from)?;
    Some(place).filter(|place| place.line > 0)
}

/// What is wrong, in one line. The place is told beside it.
fn message(error: &Error) -> String {
    struct WithoutPlace;
    impl Localizer for WithoutPlace {
        fn attach_location<'a>(&self, message: Cow<'a, str>, _: Location) -> Cow<'a, str> {
            message
        }
    }
    match root(error) {
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => format!("this is more than {DEPTH_MAX} levels deep"),
        Error::Budget { .. } => format!("this holds more than {NODES_MAX} values"),
        Error::AliasReplayLimitExceeded { .. } => {
            format!("aliases make more than {ALIASED_NODES_MAX} values of this")
        }
        _ => {
            let plain = UserMessageFormatter.with_localizer(&WithoutPlace);
            error.render_with_formatter(&plain)
        }
    }
}

fn root(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => root(error),
        error => error,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            place: spanned.defined.into(),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyContent)
    }
}

struct AnyContent;

impl<'de> Visitor<'de> for AnyContent {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        // JSON as Go writes it has no fraction where there is none.
        let whole = format!("{value:.0}").parse::<i64>().ok();
        let number = match whole.filter(|_| value.fract() == 0.0) {
            Some(whole) => Some(whole.into()),
            None => Number::from_f64(value),
        };
        let number = number.ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Content::Scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut object = Vec::new();
        while let Some(Node { place, content }) = fields.next_key()? {
            let name = match content {
                Content::Scalar(Value::String(name)) => name,
                Content::Scalar(scalar @ (Value::Bool(_) | Value::Number(_))) => scalar.to_string(),
                _ => return Err(de::Error::custom("a key must be a string")),
            };
            object.push((Key { place, name }, fields.next_value()?));
        }
        Ok(Content::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn documents(text: &str) -> Vec<Document> {
        Document::read_all(text).expect("it can be read")
    }

    fn value(text: &str) -> Value {
        documents(text)[0].value()
    }

    fn problem(text: &str) -> String {
        let (place, message) = Document::read_all(text).expect_err("it cannot be read");
        let place = place.unwrap_or_default();
        format!("{}:{}: {message}", place.line, place.column)
    }

    #[test]
    fn scalars_are_read_as_kubectl_does() {
        let read = value(
            "{octal: 0777, new: 0o17, hex: 0x1F, long: 1_000, agreed: yes, switch: On, quoted: 'yes', whole: 2.0, half: 2.5, e: 1e3,
              version: 2.60.0, tilde: ~, none: , date: 2026-01-02, time: 12:30, keys: {1: a, on: b}}",
        );
        assert_eq!(
            read,
            json!({"octal": 511, "new": 15, "hex": 31, "long": 1000, "agreed": true, "switch": true, "quoted": "yes", "whole": 2, "half": 2.5,
                "e": 1000, "version": "2.60.0", "tilde": null, "none": null, "date": "2026-01-02", "time": "12:30",
                "keys": {"1": "a", "true": "b"}})
        );
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        let text = "base: &base {a: 1, b: [x]}\nsame: *base\nmore:\n  <<: *base\n  a: 2\n";
        assert_eq!(
            value(text),
            json!({"base": {"a": 1, "b": ["x"]}, "same": {"a": 1, "b": ["x"]}, "more": {"a": 2, "b": ["x"]}})
        );
    }

    #[test]
    fn empty_documents_are_none_and_json_is_yaml() {
        assert_eq!(
            documents("# nothing\n---\n---\na: 1\n---\n# nothing\n---\nb: 1\n...\n").len(),
            2
        );
        assert_eq!(documents("").len(), 0);
        assert_eq!(
            value("{\n\t\"a\": [\n\t\t1,\n\t\t\"\\u00e9\\/\"\n\t]\n}\n"),
            json!({"a": [1, "é/"]})
        );
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        let nest = |level| " ".repeat(level) + "a:";
        let deep_block = (0..300).map(nest).collect::<Vec<_>>().join("\n");
        let tenfold = |(name, last)| format!("{name}: &{name} [{}]", [last; 10].join(", "));
        let names = [
            ("a", "x"),
            ("b", "*a"),
            ("c", "*b"),
            ("d", "*c"),
            ("e", "*d"),
            ("f", "*e"),
        ];
        let bomb = names.map(tenfold).join("\n");
        insta::assert_snapshot!(
            [
                "a: 1\na: 2\n",
                "a: [1\nb: 2\n",
                "a: b: c\n",
                "a: *nobody\n",
                "- {{ .Values.image }}\n",
                "? [a]\n: b\n",
                "a: .inf\n",
                &deep,
                &deep_block,
                &bomb,
            ]
            .map(problem)
            .join("\n"),
            @"
            2:1: duplicate mapping key `a` is not allowed here
            2:2: illegal placement of ':' indicator
            1:5: mapping values are not allowed in this context
            1:4: reference to unknown value
            1:3: a key must be a string
            0:0: a key must be a string
            1:4: value `.inf` is not a finite number
            1:103: this is more than 100 levels deep
            101:101: this is more than 100 levels deep
            6:8: aliases make more than 200000 values of this
            "
        );
    }

    #[test]
    fn places() {
        let text = "\
# a comment
spec:
  name: demo
  list:
    - first: 1
      second: {a: [7, 'é x', 8]}
    - *nothing
  merged:
    <<: *nothing
  empty:
last: |
  two
  lines
";
        let text = text.replace("    - first", "    - &nothing\n      first");
        let document = &documents(&text)[0];
        let shown = [
            "/",
            "/spec",
            "/spec/name",
            "/spec/missing/further",
            "/spec/list",
            "/spec/list/0",
            "/spec/list/0/first",
            "/spec/list/0/second",
            "/spec/list/0/second/a/1",
            "/spec/list/0/second/a/2",
            "/spec/list/1/second/a/1",
            "/spec/merged/first",
            "/spec/empty",
            "/last",
        ]
        .map(|pointer| {
            let step = |step: &str| match step.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Key(step.to_owned().into()),
            };
            let steps = pointer.split('/').skip(1).map(step);
            let place = document.place(&steps.fold(Pointer::root(), |place, step| place.step(step)));
            format!("{}:{}+{} {pointer}", place.line, place.column, place.length)
        });
        insta::assert_snapshot!(shown.join("\n"), @"
        2:1+0 /
        2:1+4 /spec
        3:9+4 /spec/name
        2:1+4 /spec/missing/further
        4:3+4 /spec/list
        6:7+0 /spec/list/0
        6:14+1 /spec/list/0/first
        7:15+1 /spec/list/0/second
        7:23+5 /spec/list/0/second/a/1
        7:30+1 /spec/list/0/second/a/2
        7:23+5 /spec/list/1/second/a/1
        6:14+1 /spec/merged/first
        11:3+5 /spec/empty
        12:1+4 /last
        ");
    }
}
