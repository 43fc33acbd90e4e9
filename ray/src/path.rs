//! Pointers into a JSON object: how a finding says where, and how an edit says what it changes.
//!
//! A step remembers whether it is a key or an index, which the text of RFC 6901 alone does not tell; so the same pointer can be
//! shown to people the way Kubernetes writes field paths.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;

/// A place in a JSON object. Shown as an RFC 6901 pointer: `/spec/workerGroupSpecs/0/minReplicas`.
///
/// Places share the way to them, so one step further costs the same wherever it starts: rules name places at every turn.
#[derive(Clone, Default)]
pub struct Pointer(Option<Arc<Last>>);

/// The last step of a pointer, and the place that it starts from.
struct Last {
    from: Pointer,
    step: Step,
    /// How many steps there are in all.
    length: usize,
}

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
        Self(Some(Arc::new(Last {
            from: self.clone(),
            step,
            length: self.len() + 1,
        })))
    }

    /// Further by all the steps of `within`, a place in what is here.
    #[must_use]
    pub fn join(&self, within: &Pointer) -> Self {
        within
            .steps()
            .into_iter()
            .fold(self.clone(), |place, step| place.step(step.clone()))
    }

    /// How many steps it takes from the root.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |last| last.length)
    }

    /// Whether this is the root.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The whole way, from the root.
    pub fn steps(&self) -> Vec<&Step> {
        let mut steps: Vec<_> = self.back().map(|last| &last.step).collect();
        steps.reverse();
        steps
    }

    /// The place that holds this one, and the last step into it; nothing for the root.
    pub fn split_last(&self) -> Option<(&Pointer, &Step)> {
        let last = self.0.as_deref()?;
        Some((&last.from, &last.step))
    }

    /// Whether this is `whole`, or a place within it.
    pub fn starts_with(&self, whole: &Pointer) -> bool {
        self.first(whole.len()) == whole
    }

    /// The place after the first `length` steps, or this one if it has no more.
    fn first(&self, length: usize) -> &Self {
        match &self.0 {
            Some(last) if last.length > length => last.from.first(length),
            _ => self,
        }
    }

    /// What `object` holds here.
    pub fn resolve<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        let Some((from, step)) = self.split_last() else {
            return Some(object);
        };
        let value = from.resolve(object)?;
        match step {
            Step::Key(key) => value.as_object()?.get(key.as_ref()),
            Step::Index(index) => value.as_array()?.get(*index),
        }
    }

    /// What `object` holds here, to be changed.
    pub fn resolve_mut<'v>(&self, object: &'v mut Value) -> Option<&'v mut Value> {
        let Some((from, step)) = self.split_last() else {
            return Some(object);
        };
        let value = from.resolve_mut(object)?;
        match step {
            Step::Key(key) => value.as_object_mut()?.get_mut(key.as_ref()),
            Step::Index(index) => value.as_array_mut()?.get_mut(*index),
        }
    }

    /// The steps back to the root, the last one first.
    fn back(&self) -> impl Iterator<Item = &Last> {
        std::iter::successors(self.0.as_deref(), |last| last.from.0.as_deref())
    }

    /// As Kubernetes writes field paths: `spec.workerGroupSpecs[0].rayStartParams[num-cpus]`.
    pub fn field(&self) -> Field<'_> {
        Field(self)
    }
}

/// A pointer as Kubernetes writes field paths.
#[derive(Clone, Copy, Debug)]
pub struct Field<'p>(&'p Pointer);

impl PartialEq for Pointer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pointer {}

/// Step by step from the root; what is within a place comes right behind it.
impl Ord for Pointer {
    fn cmp(&self, other: &Self) -> Ordering {
        fn as_far_as_both_go(one: &Pointer, other: &Pointer) -> Ordering {
            match (&one.0, &other.0) {
                (Some(one), Some(other)) if !Arc::ptr_eq(one, other) => {
                    as_far_as_both_go(&one.from, &other.from).then_with(|| one.step.cmp(&other.step))
                }
                _ => Ordering::Equal,
            }
        }
        let both = self.len().min(other.len());
        as_far_as_both_go(self.first(both), other.first(both)).then(self.len().cmp(&other.len()))
    }
}

impl PartialOrd for Pointer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Pointer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.back().for_each(|last| last.step.hash(state));
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({self})")
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().into_iter().try_for_each(|step| match step {
            Step::Index(index) => write!(f, "/{index}"),
            Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
        })
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        for (position, step) in self.0.steps().into_iter().enumerate() {
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
    fn what_is_within_comes_right_behind() {
        let spec = Pointer::root().key("spec");
        let places = [
            Pointer::root(),
            Pointer::root().key("metadata").key("name"),
            spec.clone(),
            spec.index(1),
            spec.index(10).key("b"),
            spec.key("a"),
            Pointer::root().key("spec").key("b").index(0),
            Pointer::root().key("specs"),
        ];
        for (one, place) in places.iter().enumerate() {
            for (other, later) in places.iter().enumerate() {
                assert_eq!(place.cmp(later), one.cmp(&other), "{place} {later}");
                assert_eq!(
                    place.cmp(later),
                    place.steps().cmp(&later.steps()),
                    "{place} {later}"
                );
            }
        }
        assert!(spec.key("a").starts_with(&spec) && spec.starts_with(&Pointer::root()));
        assert!(!spec.starts_with(&spec.key("a")) && !Pointer::root().key("specs").starts_with(&spec));
    }

    #[test]
    fn resolves_as_serde_json_does() {
        let object = serde_json::json!({"a/b": [1, {"c": null}]});
        let pointer = Pointer::root().key("a/b").index(1).key("c");
        assert_eq!(pointer.resolve(&object), object.pointer(&pointer.to_string()));
        assert_eq!(pointer.key("d").resolve(&object), None);
    }
}
