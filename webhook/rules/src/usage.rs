//! How many accelerators objects have, each at its largest: what a bound of a whole namespace is about.

use std::collections::BTreeMap;

use ray::accelerator;
use ray::object::{Kind, Object};
use serde_json::Value;

use crate::check::policy::accelerators::per_cluster;

/// How many accelerators there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<&'static str, i64>);

impl Usage {
    /// What an object may have. A `RayCronJob` has nothing by itself: its jobs do, which are objects of their own.
    pub fn of(kind: Kind, object: &Value) -> Self {
        Self::of_object(&Object::read(kind, object).0)
    }

    pub(crate) fn of_object(object: &Object) -> Self {
        let clusters = || object.clusters().filter(|_| object.kind() != Kind::CronJob);
        let of_kind = |kind| {
            let counts = clusters().map(|cluster| per_cluster(cluster, kind));
            counts.fold(0, i64::saturating_add)
        };
        let counts = accelerator::ALL
            .iter()
            .map(|known| (known.kind, of_kind(known.kind)));
        Self(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: &str) -> i64 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        self.with(other, i64::saturating_add)
    }

    /// Of each kind the greater number.
    #[must_use]
    pub fn max(self, other: &Self) -> Self {
        self.with(other, i64::max)
    }

    fn with(mut self, other: &Self, combine: impl Fn(i64, i64) -> i64) -> Self {
        for (kind, count) in &other.0 {
            let there = self.0.entry(kind).or_default();
            *there = combine(*there, *count);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ray::fixture::sample;

    use super::*;
    use crate::policy::NamedPolicy;
    use crate::{Facts, Operation, Policies, Request, check};

    /// With so many GPUs.
    fn with(kind: Kind, count: i32) -> Value {
        sample(kind, "demo")
            .group("gpu")
            .bounds(0, count)
            .limit("nvidia.com/gpu", "1")
            .build()
    }

    /// What the rule says where eight are allowed, of an object that goes from `before` to `after` while others have `others`.
    fn told(kind: Kind, before: Option<i32>, after: i32, others: Option<i64>) -> Vec<String> {
        let policy = serde_json::json!({"accelerators": [{"kind": "NVIDIA", "maxPerNamespace": 8}]});
        let facts = Facts {
            policies: Arc::new(Policies::new([
                NamedPolicy::read("team", &policy).expect("a policy")
            ])),
            ..Facts::default()
        };
        let old = before.map(|count| with(kind, count));
        let operation = old.as_ref().map_or(Operation::Create, |_| Operation::Update);
        let others = others.map(|count| Usage(BTreeMap::from([("NVIDIA", count)])));
        let new = with(kind, after);
        let request = Request {
            user: "somebody",
            others: others.as_ref(),
            ..Request::new(operation, kind, &new, old.as_ref())
        };
        let mut findings = check(&request, &facts);
        findings.retain(|finding| finding.code == "RW-A109" && !finding.excused);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_more_than_before_is_refused() {
        for (before, after, others, fires) in [
            (None, 8, None, false),
            (None, 9, None, true),
            (None, 2, Some(6), false),
            (None, 3, Some(6), true),
            (None, 0, Some(9), false),
            // Its own old amount is not counted against it.
            (Some(2), 4, Some(4), false),
            (Some(2), 5, Some(4), true),
            // However much there is by now, who stays or lowers is let through, and who raises is not.
            (Some(4), 4, Some(9), false),
            (Some(4), 3, Some(9), false),
            (Some(4), 5, Some(9), true),
            (Some(9), 10, None, true),
        ] {
            for kind in [Kind::Cluster, Kind::Job, Kind::Service] {
                let told = told(kind, before, after, others);
                assert_eq!(
                    !told.is_empty(),
                    fires,
                    "{kind} {before:?} {after} {others:?}: {told:?}"
                );
            }
            assert!(told(Kind::CronJob, before, after, others).is_empty());
        }
    }

    #[test]
    fn counts_are_told_with_whose_bound_it_is() {
        insta::assert_snapshot!(told(Kind::Job, None, 3, Some(6)).join("\n"), @"RW-A109 spec.rayClusterSpec.workerGroupSpecs: the object may have 3 NVIDIA accelerators and the others in its namespace 6, and the policy team allows 8 together (lower maxReplicas of its groups to have 2 at most, or delete what is not needed)");
    }

    #[test]
    fn amounts_are_put_together_by_kind() {
        let (two, five) = (
            Usage::of(Kind::Cluster, &with(Kind::Cluster, 2)),
            Usage::of(Kind::Job, &with(Kind::Job, 5)),
        );
        assert_eq!(two.clone().plus(&five).count("NVIDIA"), 7);
        assert_eq!(two.clone().max(&five), five);
        assert_eq!((two.count("TPU"), two.is_empty()), (0, false));
        assert!(Usage::of(Kind::CronJob, &with(Kind::CronJob, 5)).is_empty());
    }
}
