//! Changes to an object, as a list against its original JSON, so that fields we do not know survive. Shown to the API server as an
//! RFC 6902 patch that makes the parents it needs, and that fails, rather than do harm, on another object than it was made for.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use ray::path::{Pointer, Step};
use serde_json::{Map, Value};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The field gets this value. Objects on the way that are absent come into being; a list item only does at the end of its list.
    Set {
        /// The field.
        path: Pointer,
        /// Its value from now on.
        value: Value,
    },
    /// The field or list item goes away, with what is behind it in the list moving up.
    Remove {
        /// The field or item.
        path: Pointer,
        /// What must be as it was, so that no other item goes that has taken its place.
        guard: Pointer,
    },
}

/// The patch that makes `edits`, in their order, to `object`. Edits that change nothing leave no trace in it.
pub fn to_patch(edits: &[Edit], object: &Value) -> Patch {
    let mut after = object.clone();
    Patch(edits.iter().flat_map(|edit| make(edit, &mut after)).collect())
}

/// The object after `edits`.
pub fn apply(edits: &[Edit], object: &Value) -> Value {
    let mut after = object.clone();
    for edit in edits {
        make(edit, &mut after);
    }
    after
}

/// Makes one edit, and says by which operations; none where it changes nothing.
pub(crate) fn make(edit: &Edit, object: &mut Value) -> Vec<PatchOperation> {
    let operations = match edit {
        Edit::Set { path, value } => set(path, value, object),
        Edit::Remove { path, guard } => remove(path, guard, object),
    };
    json_patch::patch(object, &operations).expect("the operations were made for this very object");
    operations
}

/// The operations that set a field; none where it has the value already, or where no field can be.
pub(crate) fn set(path: &Pointer, value: &Value, object: &Value) -> Vec<PatchOperation> {
    match path.resolve(object).filter(|old| !old.is_null()) {
        Some(old) if old == value => Vec::new(),
        Some(old) => vec![
            PatchOperation::Test(TestOperation {
                path: pointer(path),
                value: old.clone(),
            }),
            PatchOperation::Replace(ReplaceOperation {
                path: pointer(path),
                value: value.clone(),
            }),
        ],
        None => add(path, value.clone(), object).into_iter().collect(),
    }
}

/// Adds at the uppermost place that is missing, with everything that belongs below it.
fn add(path: &Pointer, value: Value, object: &Value) -> Option<PatchOperation> {
    let (parent, step) = path.split_last()?;
    match (parent.resolve(object), step) {
        (Some(Value::Object(_)), Step::Key(_)) => Some(PatchOperation::Add(AddOperation {
            path: pointer(path),
            value,
        })),
        (Some(Value::Array(items)), Step::Index(index)) if *index == items.len() => {
            Some(PatchOperation::Add(AddOperation {
                path: pointer(path),
                value,
            }))
        }
        (None | Some(Value::Null), Step::Key(key)) => add(
            parent,
            Value::Object(Map::from_iter([(key.to_string(), value)])),
            object,
        ),
        _ => None,
    }
}

fn remove(path: &Pointer, guard: &Pointer, object: &Value) -> Vec<PatchOperation> {
    let (Some(_), Some(guarded)) = (path.resolve(object), guard.resolve(object)) else {
        return Vec::new();
    };
    vec![
        PatchOperation::Test(TestOperation {
            path: pointer(guard),
            value: guarded.clone(),
        }),
        PatchOperation::Remove(RemoveOperation { path: pointer(path) }),
    ]
}

fn pointer(path: &Pointer) -> json_patch::jsonptr::PointerBuf {
    json_patch::jsonptr::PointerBuf::parse(path.to_string()).expect("we escape as RFC 6901 says")
}
