//! A problem that is told by a RayCluster and by what its head says: both are read as the service reads them.
//!
//! There are no Pods in it. Whatever node the head knows has one that runs, and a replica that is asked for beyond those is on its way.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use planner::{Snapshot, Upscaling};
use ray::keys;
use ray::object::{Kind, Object, Spec};
use ray::path::Pointer;
use ray::resources::node_resources;
use serde_json::Value;

use super::read::Misfit;
use crate::cluster::{Cluster, Pod, Stage, View};
use crate::credentials::Access;
use crate::gcs::{RayNode, Report, Status};
use crate::observe::observe;

/// Where Ray writes the name of the slice that a node is a host of.
const SLICE_LABEL: &str = "ray.io/tpu-slice-name";

/// What the planner sees.
pub(super) fn snapshot(object: &Value, mut report: Report) -> Result<Snapshot, Misfit> {
    let cluster = read_cluster(object, &Pointer::root().key("rayCluster"))?;
    for node in &mut report.nodes {
        if node.instance.is_empty() {
            node.instance = format!("{:?}", node.id);
        }
    }
    let there = report.nodes.iter().filter(|node| node.status != Status::Dead);
    let view = View {
        pods: there
            .map(|node| (node.instance.clone(), Arc::new(pod(node))))
            .collect(),
        ..View::default()
    };
    // A problem asks what is needed in the end, as Ray's scheduler is asked, and not how fast.
    Ok(Snapshot {
        upscaling: Upscaling::Unbounded,
        ..observe(&cluster, &view, &report, 0).snapshot
    })
}

/// A RayCluster that can be planned for.
pub(crate) fn read_cluster(object: &Value, at: &Pointer) -> Result<Cluster, Misfit> {
    let kind = object.get("kind").unwrap_or(&Value::Null);
    if *kind != Kind::Cluster.name() {
        return Err(Misfit::new(
            &at.key("kind"),
            format!("{kind} is not {}", Kind::Cluster),
        ));
    }
    let (object, problems) = Object::read(Kind::Cluster, object);
    if let Some(problem) = problems.first() {
        return Err(Misfit::new(&at.join(&problem.path), &problem.message));
    }
    let Spec::Cluster(spec) = object.spec else {
        unreachable!("it was read as a RayCluster")
    };
    for group in &spec.worker_groups {
        if let Err(problem) = node_resources(group) {
            return Err(Misfit::new(&at.join(&group.path), problem.to_string()));
        }
    }
    Ok(Cluster::written(object.metadata, spec))
}

fn pod(node: &RayNode) -> Pod {
    Pod {
        name: node.instance.clone(),
        is_head: node.is_head,
        sidecar: None,
        access: Access::default(),
        group: if node.is_head {
            keys::HEAD_GROUP.to_owned()
        } else {
            node.group.clone()
        },
        slice: node.labels.get(SLICE_LABEL).cloned(),
        ip: node.ip,
        stage: Stage::Running,
        created: None,
        started: None,
        waiting: None,
    }
}
