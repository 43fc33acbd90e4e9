//! Pods that KubeRay's operator makes of a cluster, looked at when they are created. Nothing hashes them and the operator never
//! compares them with what it asked for, so what need not show in the cluster's own manifest is done here.
//!
//! [`defaults`] goes through the stages, each with a file of its own; [`check`] looks at what has become of the pod in the end.

mod autoscaler;
mod check;
mod containers;
mod growing;
mod images;
mod metadata;
mod placement;
mod provenance;
#[cfg(test)]
mod tests;
mod tpu;
mod wanted;

pub use self::autoscaler::SIDECAR_IMAGE;
use growing::Growing;
pub use ray::autoscaler_mode::AutoscalerMode;
use serde_json::Value;

pub(crate) use self::check::RULES;
pub use self::check::check;
use crate::edit::Edit;
use crate::policy::Policy;

/// A pod that is to be created.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As it is so far.
    pub pod: &'a Value,
    /// Who scales its cluster.
    pub mode: AutoscalerMode,
    /// What scales it in a container of its head, where that is Rayward.
    pub sidecar_image: &'a str,
    /// What platform teams want of that.
    pub policy: &'a Policy,
}

impl<'a> Request<'a> {
    /// A pod of which nothing else is known.
    pub fn new(pod: &'a Value, policy: &'a Policy) -> Self {
        Self {
            pod,
            mode: AutoscalerMode::Ray,
            sidecar_image: SIDECAR_IMAGE,
            policy,
        }
    }
}

/// What to change in a pod. What it says already stands, and pods that are none of Ray's are left alone.
pub fn defaults(request: &Request<'_>) -> Vec<Edit> {
    completed(request).edits
}

fn completed(request: &Request<'_>) -> Growing {
    let mut pod = Growing::new(request.pod);
    autoscaler::choose(&mut pod, request);
    wanted::inject(&mut pod, request.policy);
    images::replace(&mut pod, request.policy);
    tpu::identity(&mut pod);
    provenance::note(&mut pod);
    pod
}
