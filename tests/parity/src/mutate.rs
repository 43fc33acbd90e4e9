//! Changes to objects: one at a time, systematically, and those that `objects/settings.yaml` lists.

use ray::object::Kind;
use serde_json::{Map, Value, json};

/// A change of one field: what `settings.yaml` calls it, and its new value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// A JSON pointer, `-` for one more item; absolute.
    pub(crate) pointer: String,
    /// `null` takes the field away.
    pub(crate) value: Value,
}

impl Change {
    pub(crate) fn label(&self) -> String {
        format!("{} = {}", self.pointer, self.value)
    }

    /// The object with the change. Nothing where it has no such place: only fields are made, not items of lists.
    pub(crate) fn apply(&self, object: &Value) -> Option<Value> {
        let mut object = object.clone();
        let (parent, last) = self.pointer.rsplit_once('/')?;
        let parent = make_way(&mut object, parent)?;
        let last = unescape(last);
        match (parent, &self.value) {
            (Value::Object(fields), Value::Null) => {
                fields.remove(&last)?;
            }
            (Value::Object(fields), value) => {
                fields.insert(last, value.clone());
            }
            (Value::Array(items), value) if last == "-" => items.push(value.clone()),
            (Value::Array(items), value) => {
                let index = last.parse::<usize>().ok().filter(|index| *index < items.len())?;
                if value.is_null() {
                    items.remove(index);
                } else {
                    items[index] = value.clone();
                }
            }
            _ => return None,
        }
        Some(object)
    }
}

/// The place at `pointer`; fields on the way that are missing become objects.
fn make_way<'v>(value: &'v mut Value, pointer: &str) -> Option<&'v mut Value> {
    let mut place = value;
    for step in pointer.split('/').skip(1).map(unescape) {
        place = match place {
            Value::Object(fields) => fields.entry(step).or_insert_with(|| Value::Object(Map::new())),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(place)
}

/// Every place of the object, and what can be wrong with a value there.
pub(crate) fn everywhere(object: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    visit(object, "", &mut changes);
    changes
}

fn visit(value: &Value, pointer: &str, changes: &mut Vec<Change>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                visit(field, &format!("{pointer}/{}", escape(name)), changes);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{pointer}/{index}"), changes);
            }
        }
        _ => {}
    }
    let own = ["/apiVersion", "/kind", "/metadata"];
    if !pointer.is_empty() && !own.contains(&pointer) {
        changes.extend(wrong(value).into_iter().map(|value| Change {
            pointer: pointer.to_owned(),
            value,
        }));
    }
}

fn wrong(value: &Value) -> Vec<Value> {
    let mut others = match value {
        Value::String(text) => vec![
            json!(""),
            json!(-1),
            json!(true),
            json!({}),
            json!(format!("{text} x")),
            json!(text.to_uppercase()),
            json!(text.repeat(64 / text.len().max(1) + 1)),
        ],
        Value::Number(_) => vec![
            json!(-1),
            json!(0),
            json!(1),
            json!(i32::MAX),
            json!(i64::from(i32::MAX) + 1),
            json!(i64::MAX),
            json!(2.5),
            json!("3"),
            json!("3x"),
        ],
        Value::Bool(on) => vec![json!(!on), json!("true"), json!(1)],
        Value::Array(items) => {
            let mut backwards = items.clone();
            backwards.reverse();
            let mut doubled = items.clone();
            doubled.extend(items.first().cloned());
            vec![
                json!([]),
                json!({}),
                json!(["x"]),
                json!([{}]),
                json!(backwards),
                json!(doubled),
            ]
        }
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("unheardOf".to_owned(), json!(1));
            vec![json!({}), json!([]), json!("x"), json!(more)]
        }
        Value::Null => vec![json!({}), json!("x")],
    };
    others.push(Value::Null);
    others.retain(|other| other != value);
    others
}

/// The change that `settings.yaml` writes as `field: value`.
pub(crate) fn setting(kind: Kind, field: &str, value: Value) -> Change {
    let pointer = match field.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", kind.cluster_path()),
        None => field.to_owned(),
    };
    Change { pointer, value }
}

fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}
