//! `authOptions` without a mode: documented as `token`, done as none.

use ray::cluster::ClusterSpec;
use ray::version::RayVersion;

use super::{Fill, Filled, ray_version_is};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[mode];

/// The first Ray that takes tokens. The operator refuses them for an earlier one.
pub(super) const TOKENS_SINCE: RayVersion = RayVersion::new(2, 52, 0);

/// Whoever writes `authOptions` wants authentication. Without a mode the operator makes the Secret, and lets everybody in.
fn mode(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(auth) = &cluster.auth else { return };
    let said = auth.mode.as_ref().is_some_and(|mode| !mode.is_empty());
    if !said && ray_version_is(cluster, subject.facts, |version| version >= TOKENS_SINCE) {
        filled.insert(auth.path.key("mode"), "token".into());
    }
}
