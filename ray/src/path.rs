//! Pointers into a JSON object: how a finding says where, and how an edit says what it changes.
//!
//! A step remembers whether it is a key or an index, which the text of RFC 6901 alone does not tell; so the same pointer can be
//! shown to people the way Kubernetes writes field paths.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

/// A place in a JSON object. Shown as an RFC 6901 pointer: `/spec/workerGroupSpecs/0/minReplicas`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(Vec<Step>);

/// One step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a list.
    Index(usize),
    /// Into an object.
    Key(Cow<'static, str>),
}

impl Pointer {
    /// The whole object.
    pub fn root() -> Self {
        Self::default()
    }

    /// The field `key` of the object here.
    #[must_use]
    pub fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// The item `index` of the list here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// One step further.
    #[must_use]
    pub fn step(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    /// The whole way, from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The place that holds this one, and the last step into it; nothing for the root.
    pub fn split_last(&self) -> Option<(Pointer, &Step)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }

    /// What `object` holds here.
    pub fn resolve<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key.as_ref()),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }

    /// What `object` holds here, to be changed.
    pub fn resolve_mut<'v>(&self, object: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.as_object_mut()?.get_mut(key.as_ref()),
            Step::Index(index) => value.as_array_mut()?.get_mut(*index),
        })
    }

    /// As Kubernetes writes field paths: `spec.workerGroupSpecs[0].rayStartParams[num-cpus]`.
    pub fn field(&self) -> Field<'_> {
        Field(self)
    }
}

/// A pointer as Kubernetes writes field paths.
#[derive(Clone, Copy, Debug)]
pub struct Field<'p>(&'p Pointer);

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Index(index) => write!(f, "/{index}"),
            Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
        })
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        for (position, step) in self.0.steps().iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !plain(key) => write!(f, "[{key}]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

impl serde::Serialize for Pointer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pointer_two_spellings() {
        let pointer = Pointer::root()
            .key("metadata")
            .key("annotations")
            .key("rayward.dev/a~b")
            .index(2)
            .key("x");
        assert_eq!(pointer.to_string(), "/metadata/annotations/rayward.dev~1a~0b/2/x");
        assert_eq!(
            pointer.field().to_string(),
            "metadata.annotations[rayward.dev/a~b][2].x"
        );
        assert_eq!(Pointer::root().to_string(), "");
    }

    #[test]
    fn resolves_as_serde_json_does() {
        let object = serde_json::json!({"a/b": [1, {"c": null}]});
        let pointer = Pointer::root().key("a/b").index(1).key("c");
        assert_eq!(pointer.resolve(&object), object.pointer(&pointer.to_string()));
        assert_eq!(pointer.key("d").resolve(&object), None);
    }
}
