//! What scaling policies in files have to do with what else is in the files.

use ray::object::{Kind, Metadata, Object};
use ray::scaling_policy::{self, ScalingPolicySpec};
use rules::scaling_policy::Around;
use serde_json::Value;

use crate::source::Document;
use crate::surroundings::{groups_of, kind};

/// All that may matter to a scaling policy. One that names no namespace may be meant for any.
#[derive(Debug, Default)]
pub(super) struct Together {
    policies: Vec<(Metadata, ScalingPolicySpec)>,
    objects: Vec<(Kind, Metadata, Vec<String>)>,
}

impl Together {
    pub(super) fn of<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut together = Self::default();
        for found in documents.into_iter().flat_map(Document::objects) {
            if found.is_scaling_policy() {
                let spec = scaling_policy::read(&found.value["spec"]).ok();
                together
                    .policies
                    .extend(spec.map(|spec| (metadata(&found.value), spec)));
            } else if let Some(kind) = found.kind() {
                let groups = groups_of(kind, &found.value);
                together.objects.push((kind, metadata(&found.value), groups));
            }
        }
        together
    }

    /// What is around a policy.
    pub(super) fn around(&self, policy: &Value) -> Around {
        let own = metadata(policy);
        let near = |other: &Metadata| {
            own.namespace == other.namespace || own.namespace.is_none() || other.namespace.is_none()
        };
        let policies = self.policies.iter();
        let policies = policies.filter(|(other, _)| other.name != own.name && near(other));
        let objects = || self.objects.iter().filter(|(_, other, _)| near(other));
        let clusters = objects().filter(|(kind, ..)| *kind == Kind::Cluster);
        let groups = scaling_policy::read(&policy["spec"]).map(|spec| {
            let meant = objects().filter(|(of, object, _)| {
                let target = &spec.target;
                *of == kind(target.kind())
                    && if target.name.is_empty() {
                        target.is_for(object)
                    } else {
                        object.name.as_ref() == Some(&target.name)
                    }
            });
            meant.flat_map(|(.., groups)| groups.clone()).collect()
        });
        Around {
            policies: policies
                .map(|(other, spec)| (other.name.clone().unwrap_or_default(), spec.clone()))
                .collect(),
            clusters: clusters.map(|(_, cluster, _)| cluster.clone()).collect(),
            groups: groups.unwrap_or_default(),
        }
    }
}

fn metadata(object: &Value) -> Metadata {
    Object::read(Kind::Cluster, object).0.metadata
}
