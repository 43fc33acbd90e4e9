//! Accelerators for worker groups that do not ask for any, and what else goes with one.

use ray::accelerator;
use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::path::Pointer;

use super::super::{Fill, Filled};
use super::nodes::amounts;
use crate::check::policy::accelerators::resources;
use crate::policy::{AcceleratorPolicy, Given, is_like};
use crate::rule::Subject;

pub(super) const GIVEN: &[Fill] = &[given];
pub(super) const BESIDES: &[Fill] = &[besides];

/// Of several kinds that a group could get it gets the first. One with resources of its own has been told what it is to offer.
fn given(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let kinds = &subject.policy.spec.accelerators;
    for group in &cluster.worker_groups {
        let asks = resources(group).any(|(name, _)| accelerator::of_resource(name).is_some());
        let given = kinds.iter().enumerate();
        let mut given = given.filter_map(|(index, kind)| Some((index, kind, kind.given.as_ref()?)));
        if let Some((index, kind, given)) = given.find(|(.., given)| is_meant(group, given))
            && group.ray_container().is_some()
            && !asks
            && group.resources().is_empty()
        {
            let place = Pointer::root().key("accelerators").index(index).key("given");
            give(group, kind, given, subject.policy.author(&place), filled);
        }
    }
}

fn is_meant(group: &WorkerGroup, given: &Given) -> bool {
    given.groups.iter().any(|glob| is_like(&group.name, glob))
}

/// Request and limit of a device are the same.
fn give(group: &WorkerGroup, kind: &AcceleratorPolicy, given: &Given, author: &str, filled: &mut Filled) {
    let usual = accelerator::of_kind(&kind.kind).map(|kind| kind.resources[0]);
    let name = given.resource.as_deref().or(usual).unwrap_or_default();
    let amount = group.start_params.num_gpus.unwrap_or_else(|| given.amount.into());
    if amount > 0 && !name.is_empty() {
        let resources = group.ray_container_path().key("resources");
        for list in ["limits", "requests"] {
            filled.insert_for(
                author,
                resources.key(list).key(name.to_owned()),
                amount.to_string().into(),
            );
        }
    }
}

/// Of several kinds that a container asks for, the first that has a word on a resource is right.
fn besides(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    for group in cluster.groups() {
        let asks = |kind: &AcceleratorPolicy| {
            let kind = accelerator::of_kind(&kind.kind);
            kind.is_some_and(|kind| resources(group).any(|(name, _)| kind.goes_by(name)))
        };
        let kinds = subject.policy.spec.accelerators.iter().enumerate();
        for (index, kind) in kinds.filter(|(_, kind)| asks(kind)) {
            let place = Pointer::root().key("accelerators").index(index).key("resources");
            if let Some(resources) = &kind.resources {
                amounts(group, resources, &place, subject, filled);
            }
        }
    }
}
