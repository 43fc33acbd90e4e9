//! Tolerant reading of JSON: absent and `null` are the same, a field of the wrong type is noted with its place while the rest is
//! read on, and so are fields that nobody asked for: what a reader asks for is the schema.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::object::ParseProblem;
use crate::path::{Pointer, Step};
use crate::schema::{self, Differences, UnknownField};

/// Misfits that are told of one Kubernetes type, each of which takes reading it once more. A value with more of them counts as absent.
const MISFITS_MAX: usize = 100;

/// What was noted, in the order of reading.
#[derive(Default)]
pub(crate) struct Notes {
    /// Fields that are not what they should be.
    pub(crate) problems: RefCell<Vec<ParseProblem>>,
    /// How the object differs from its schema besides, where somebody wants to know.
    pub(crate) differences: Option<RefCell<Differences>>,
}

/// A JSON value, where it stands, and where to note problems.
#[derive(Clone)]
pub(crate) struct Place<'v> {
    value: &'v Value,
    pub(crate) path: Pointer,
    notes: &'v Notes,
    /// The fields that were asked for.
    asked: RefCell<Vec<&'static str>>,
}

impl<'v> Place<'v> {
    pub(crate) fn root(value: &'v Value, notes: &'v Notes) -> Self {
        Self::at(value, Pointer::root(), notes)
    }

    /// The object under `key`; an empty one when it is absent or not an object.
    pub(crate) fn object(&self, key: &'static str) -> Self {
        Self::at(self.raw(key), self.path.key(key), self.notes)
    }

    /// The objects in the list under `key`.
    pub(crate) fn objects(&self, key: &'static str) -> impl Iterator<Item = Self> + use<'_, 'v> {
        self.list(key)
            .enumerate()
            .map(move |(index, value)| Self::at(value, self.path.key(key).index(index), self.notes))
    }

    /// What `read` makes of the object under `key`, if there is one.
    pub(crate) fn optional<T>(&self, key: &'static str, read: impl FnOnce(&Self) -> T) -> Option<T> {
        self.has(key).then(|| read(&self.object(key)))
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        !self.raw(key).is_null()
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(crate) fn int(&self, key: &'static str) -> Option<i32> {
        self.read(key, "a whole number of 32 bits", |value| {
            i32::try_from(value.as_i64()?).ok()
        })
    }

    pub(crate) fn long(&self, key: &'static str) -> Option<i64> {
        self.read(key, "a whole number", Value::as_i64)
    }

    pub(crate) fn number(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A quantity, which may also be written as a bare number.
    pub(crate) fn quantity(&self, key: &'static str) -> Option<String> {
        self.read(key, "a quantity", quantity)
    }

    pub(crate) fn texts(&self, key: &'static str) -> Vec<String> {
        let item = |(index, value): (usize, &Value)| {
            let text = value.as_str().map(str::to_owned);
            text.or_else(|| self.expected(&self.path.key(key).index(index), "a string", value))
        };
        self.list(key).enumerate().filter_map(item).collect()
    }

    pub(crate) fn text_map(&self, key: &'static str) -> BTreeMap<String, String> {
        self.map(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A map of quantities, which may also be written as bare numbers.
    pub(crate) fn quantity_map(&self, key: &'static str) -> BTreeMap<String, String> {
        self.map(key, "a quantity", quantity)
    }

    /// The one field that an object has, a string.
    pub(crate) fn only_text(&self, key: &'static str) -> Option<String> {
        let text = self.text(key);
        self.no_other_fields();
        text
    }

    /// The one field that an object has, a list of strings.
    pub(crate) fn only_texts(&self, key: &'static str) -> Vec<String> {
        let texts = self.texts(key);
        self.no_other_fields();
        texts
    }

    /// Fields that may be there and are of no interest.
    pub(crate) fn known(&self, keys: &[&'static str]) {
        if self.notes.differences.is_some() {
            self.asked.borrow_mut().extend(keys);
        }
    }

    /// Notes every field that was not asked for.
    pub(crate) fn no_other_fields(&self) {
        let Some(differences) = &self.notes.differences else {
            return;
        };
        let asked = self.asked.borrow();
        let fields = self
            .value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys());
        let unknown = fields
            .filter(|field| !asked.contains(&field.as_str()))
            .map(|field| UnknownField::among(self.path.key(field.clone()), field, asked.iter().copied()));
        differences.borrow_mut().unknown.extend(unknown);
    }

    /// A Kubernetes type under `key`. Each field that does not fit is noted and left out, and the rest is read again without it.
    pub(crate) fn typed<T: DeserializeOwned + Default>(&self, key: &'static str) -> T {
        // Most values fit, and that is found out faster when nobody keeps track of the place.
        match Option::deserialize(self.raw(key)) {
            Ok(None) => return T::default(),
            Ok(Some(typed)) => {
                self.compare::<T>(key, self.raw(key));
                return typed;
            }
            Err(_) => {}
        }
        let mut pruned: Option<Value> = None;
        for _ in 0..MISFITS_MAX {
            let value = pruned.as_ref().unwrap_or_else(|| self.raw(key));
            let error = match serde_path_to_error::deserialize(value) {
                Ok(typed) => {
                    self.compare::<T>(key, value);
                    return typed;
                }
                Err(error) => error,
            };
            let within = pointer_of(error.path());
            let place = self.path.key(key).join(&within);
            // An emptied list item that still does not fit has been told already.
            if self
                .notes
                .problems
                .borrow()
                .last()
                .is_none_or(|problem| problem.path != place)
            {
                let found = within.resolve(value).unwrap_or(&Value::Null);
                // An API server takes entries of maps away that are `null`.
                let taken_away = found.is_null() && matches!(within.split_last(), Some((_, Step::Key(_))));
                if !taken_away {
                    self.note(place, misfit(&error.inner().to_string(), found));
                }
            }
            if !leave_out(pruned.get_or_insert_with(|| self.raw(key).clone()), &within) {
                break;
            }
        }
        T::default()
    }

    fn compare<T: DeserializeOwned>(&self, key: &'static str, value: &Value) {
        if let Some(differences) = &self.notes.differences {
            schema::compare::<T>(value, self.path.key(key), differences);
        }
    }

    fn map(
        &self,
        key: &'static str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let entry = |(name, value): (&String, &Value)| {
            let place = || self.path.key(key).key(name.clone());
            let text = convert(value).or_else(|| self.expected(&place(), expected, value))?;
            Some((name.clone(), text))
        };
        let object = self.read(key, "an object", Value::as_object);
        let entries = object.into_iter().flatten().filter(|(_, value)| !value.is_null());
        entries.filter_map(entry).collect()
    }

    fn list(&self, key: &'static str) -> std::slice::Iter<'v, Value> {
        self.read(key, "a list", Value::as_array)
            .map_or([].iter(), |items| items.iter())
    }

    fn read<T>(
        &self,
        key: &'static str,
        expected: &str,
        convert: impl Fn(&'v Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.raw(key);
        if value.is_null() {
            return None;
        }
        convert(value).or_else(|| self.expected(&self.path.key(key), expected, value))
    }

    fn at(value: &'v Value, path: Pointer, notes: &'v Notes) -> Self {
        let mut place = Self {
            value,
            path,
            notes,
            asked: RefCell::default(),
        };
        if !value.is_object() && !value.is_null() {
            place.expected::<()>(&place.path, "an object", value);
            place.value = &Value::Null;
        }
        place
    }

    fn raw(&self, key: &'static str) -> &'v Value {
        if self.notes.differences.is_some() {
            self.asked.borrow_mut().push(key);
        }
        self.value.get(key).unwrap_or(&Value::Null)
    }

    fn expected<T>(&self, path: &Pointer, expected: &str, found: &Value) -> Option<T> {
        self.note(
            path.clone(),
            format!("expected {expected}, found {}", describe(found)),
        );
        None
    }

    fn note(&self, path: Pointer, message: String) {
        let problem = ParseProblem { path, message };
        self.notes.problems.borrow_mut().push(problem);
    }
}

fn quantity(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a type says of a value that it cannot read, in the words that are used for all others.
pub fn misfit(message: &str, found: &Value) -> String {
    let expected = match message.split_once(", expected ") {
        Some((fault, expected)) if !fault.starts_with("unknown field") => expected,
        _ => return message.to_owned(),
    };
    let expected = match expected {
        "a boolean" => "true or false",
        "i32" => "a whole number of 32 bits",
        "i64" => "a whole number",
        "a sequence" => "a list",
        "a map" => "an object",
        // An enum.
        "string or map" => "a string",
        "IntOrString" => "a number or a string",
        "Quantity" => "a quantity",
        "Time" | "MicroTime" => "a time",
        name if name.starts_with(char::is_uppercase) => "an object",
        other => other,
    };
    format!("expected {expected}, found {}", describe(found))
}

/// Names what was found, with scalars by their value; what is long is cut.
fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("the string \"{}...\"", text.chars().take(40).collect::<String>())
        }
        Value::String(_) => format!("the string {value}"),
        scalar => scalar.to_string(),
    }
}

/// The place that a type could not read.
pub fn pointer_of(path: &serde_path_to_error::Path) -> Pointer {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(Pointer::root(), |pointer, segment| match segment {
            Segment::Seq { index } => pointer.index(*index),
            Segment::Map { key } => pointer.key(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => pointer,
        })
}

/// Takes the value at `path` away, or makes it an empty object where it is a list item and the others must keep their places.
/// False when nothing can be taken away any more.
fn leave_out(value: &mut Value, path: &Pointer) -> bool {
    match path.split_last() {
        None => false,
        Some((parent, Step::Key(key))) => {
            let removed = parent
                .resolve_mut(value)
                .and_then(|object| object.as_object_mut()?.remove(key.as_ref()));
            removed.is_some() || leave_out(value, parent)
        }
        Some((parent, Step::Index(_))) => match path.resolve_mut(value) {
            Some(item) if !item.as_object().is_some_and(serde_json::Map::is_empty) => {
                *item = Value::Object(serde_json::Map::new());
                true
            }
            _ => leave_out(value, parent),
        },
    }
}
