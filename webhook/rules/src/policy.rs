//! What a platform team wants of all of Ray's objects. Several policies may select an object; together they make up the one that
//! applies to it, in which each value is that of the most important policy to have a word on it. What a policy may say stands in the
//! files below, a topic each; what comes of it, with the checks and defaults.

mod accelerators;
mod amounts;
mod autoscaler;
mod break_glass;
mod custom_rules;
mod exceptions;
mod fragment;
pub(crate) mod images;
mod merge;
mod nodes;
mod options;
mod pods;
mod read;
mod rules;
mod selector;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use ray::path::Pointer;
use serde_json::Value;

use crate::finding::Finding;
use crate::request::Request;

pub use crate::expression::Expression as Cel;
pub use accelerators::{AcceleratorPolicy, Given};
pub use amounts::{Amount, Resources};
pub use autoscaler::{AutoscalerDefaults, Mode, UpscalingMode, Version};
pub use break_glass::BreakGlass;
pub(crate) use break_glass::Broken;
pub use custom_rules::CustomRule;
pub(crate) use exceptions::is_like;
pub use exceptions::{Exception, Objects};
pub use fragment::Fragment;
pub use images::{AllowedImages, ContainerOf, ImageTemplate, Images, PullPolicy};
pub use nodes::{NodeDefaults, Replicas};
pub use options::{Options, Redis, SecretKey};
pub(crate) use pods::REQUIRED;
pub use pods::{Capacity, MountedVolume, PodDefaults, SecretName};
pub use read::Problem;
pub use rules::RuleAction;
pub(crate) use selector::Label;
use selector::Selected;
pub use selector::{Expression, Operator as SelectorOperator, Selector};
pub use spec::{PolicySpec, Select};

/// Combinations of policies that are kept. There are as many as ways in which objects are selected, so a handful, unless somebody makes
/// up labels to find more.
const COMBINATIONS_MAX: usize = 1000;

/// Who gives what no policy asks for.
pub(crate) const OURSELVES: &str = "rayward";

/// The code of what is wrong with a policy itself.
pub const CODE: &str = "RW-A001";

/// Everything that is wrong with a policy, an object with a `spec`.
pub fn check(policy: &Value) -> Vec<Finding> {
    let problems = read::spec(&policy["spec"]).err().unwrap_or_default();
    let findings = problems.into_iter().map(|problem| Finding::of(problem, CODE));
    findings.collect()
}

/// The policy that applies to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What it says.
    pub spec: PolicySpec,
    /// Which policy each value is from, by its place in the spec.
    pub provenance: BTreeMap<Pointer, String>,
}

/// A policy that can be kept to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPolicy {
    name: String,
    spec: PolicySpec,
    /// The spec as it was written, to be merged with others.
    json: Value,
}

/// All policies.
#[derive(Debug, Default)]
pub struct Policies {
    /// The most important first.
    all: Vec<NamedPolicy>,
    /// What some of them make up together, worked out when first asked for.
    combined: RwLock<BTreeMap<Vec<usize>, Arc<Policy>>>,
}

/// Nobody can tell whether a policy is for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt<'p> {
    /// The policy,
    pub policy: &'p str,
    /// and the label of the namespace that it would take to know.
    pub label: &'p str,
}

/// In the words of somebody who has named the object.
impl fmt::Display for Doubt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, label } = self;
        write!(
            f,
            "whether the policy {policy} is for it depends on the label {label} of its namespace, which is not known here"
        )
    }
}

impl Policy {
    /// Whether it takes the other objects of the namespace to judge by it.
    pub fn counts_namespaces(&self) -> bool {
        let mut kinds = self.spec.accelerators.iter();
        kinds.any(|kind| kind.max_per_namespace.is_some())
    }

    /// The policies that have a say in it, by name.
    pub fn authors(&self) -> BTreeSet<&str> {
        self.provenance.values().map(String::as_str).collect()
    }

    /// The policy that a value is from, or else the first value within it, or the value that it is part of.
    pub fn author(&self, place: &Pointer) -> &str {
        let within = self
            .provenance
            .range(place..)
            .next()
            .filter(|(part, _)| part.starts_with(place));
        let around = || self.provenance.iter().find(|(whole, _)| place.starts_with(whole));
        within.or_else(around).map_or("", |(_, author)| author)
    }
}

impl NamedPolicy {
    /// Reads the spec of the policy called `name`, or says everything that is wrong with it.
    pub fn read(name: impl Into<String>, spec: &Value) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            name: name.into(),
            spec: read::spec(spec)?,
            json: spec.clone(),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its spec, as it was written.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// How important it is.
    pub fn priority(&self) -> i32 {
        self.spec.priority
    }
}

impl Policies {
    /// These policies, in any order.
    pub fn new(all: impl IntoIterator<Item = NamedPolicy>) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|one, other| (other.spec.priority, &one.name).cmp(&(one.spec.priority, &other.name)));
        Self {
            all,
            combined: RwLock::default(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The policies that select what is to be written, the most important first.
    pub fn selecting(&self, request: &Request<'_>) -> impl Iterator<Item = &NamedPolicy> {
        self.places(request).map(|index| &self.all[index])
    }

    fn places(&self, request: &Request<'_>) -> impl Iterator<Item = usize> {
        (0..self.all.len()).filter(|index| self.all[*index].spec.select.selects(request) == Selected::Yes)
    }

    /// Which policies are for what is to be written, or not, by a label of its namespace that nobody knows. They have no say.
    pub fn doubts(&self, request: &Request<'_>) -> impl Iterator<Item = Doubt<'_>> {
        self.all
            .iter()
            .filter_map(|policy| match policy.spec.select.selects(request) {
                Selected::Perhaps(label) => Some(Doubt {
                    policy: &policy.name,
                    label,
                }),
                Selected::Yes | Selected::No => None,
            })
    }

    /// The policy that applies to what is to be written.
    pub fn of(&self, request: &Request<'_>) -> Arc<Policy> {
        let selecting: Vec<usize> = self.places(request).collect();
        // Whoever panics with the lock held leaves a whole map behind.
        let known = self
            .combined
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&selecting)
            .cloned();
        known.unwrap_or_else(|| self.combine(selecting))
    }

    fn combine(&self, selecting: Vec<usize>) -> Arc<Policy> {
        let policy = Arc::new(merge::policies(selecting.iter().map(|index| &self.all[*index])));
        let mut combined = self.combined.write().unwrap_or_else(PoisonError::into_inner);
        if combined.len() >= COMBINATIONS_MAX {
            combined.clear();
        }
        combined.insert(selecting, policy.clone());
        policy
    }
}

/// What has been worked out from them does not count.
impl PartialEq for Policies {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Policies {}

#[cfg(test)]
mod tests;
