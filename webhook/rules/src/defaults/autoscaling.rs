//! What goes without saying in a cluster that scales.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::version::RayVersion;

use super::{Fill, Filled, ray_version_is};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[head_without_tasks, autoscaler_version];

/// From here on Ray itself takes autoscaler v2 where nobody chooses.
const V2_BY_DEFAULT: RayVersion = RayVersion::new(2, 47, 0);

/// The head of a cluster that can grow is left to the GCS and the drivers: a task that takes its memory takes the cluster with it.
fn head_without_tasks(cluster: &ClusterSpec, _: &Subject<'_>, filled: &mut Filled) {
    let head = &cluster.head;
    let explicit = head.start_params.raw.contains_key("num-cpus") || !head.resources.is_empty();
    if cluster.is_autoscaled()
        && !cluster.worker_groups.is_empty()
        && head.ray_container().is_some()
        && !explicit
    {
        filled.insert(head.start_params.path.key("num-cpus"), "0".into());
    }
}

/// Says the version that Ray would choose by itself, so that the operator knows it too, and makes pods that autoscaler v2 can replace.
fn autoscaler_version(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    if cluster.is_autoscaled()
        && is_version_open(cluster, subject)
        && ray_version_is(cluster, subject.facts, |version| version >= V2_BY_DEFAULT)
    {
        filled.insert(cluster.path.key("autoscalerOptions").key("version"), "v2".into());
    }
}

/// Whether it can be said which autoscaler it is: not where another choice is written anywhere, or where pods are to be restarted,
/// which v2 does not allow.
pub(super) fn is_version_open(cluster: &ClusterSpec, subject: &Subject<'_>) -> bool {
    let restarts = |group: &dyn NodeGroup| {
        let pod = group.template().spec.as_ref();
        let policy = pod.and_then(|pod| pod.restart_policy.as_deref());
        !matches!(policy, None | Some("" | "Never"))
    };
    let chosen = cluster
        .autoscaler_version()
        .is_some_and(|version| !version.is_empty())
        || cluster.head.env(keys::ENV_ENABLE_AUTOSCALER_V2).is_some()
        || cluster.groups().any(restarts);
    // The older schema does not have the field.
    let has_field = subject.json["apiVersion"] != "ray.io/v1alpha1";
    has_field && !chosen
}
