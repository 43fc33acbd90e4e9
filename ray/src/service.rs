//! A `RayService`: Serve applications, and the cluster that is made for them.

use crate::cluster::ClusterSpec;
use crate::path::Pointer;
use crate::read::Place;

/// What a `RayService` asks for.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Where it stands in its object.
    pub path: Pointer,
    /// The cluster to make for it. One without containers where the object has none.
    pub cluster: ClusterSpec,
    /// The Serve applications, a YAML text.
    pub serve_config_v2: Option<String>,
    /// How a changed cluster replaces the running one.
    pub upgrade_strategy: Option<String>,
    /// How long a replaced cluster stays.
    pub cluster_deletion_delay_seconds: Option<i32>,
    /// Whether it should have no cluster for now.
    pub suspend: Option<bool>,
    /// Who reconciles it, if not KubeRay's operator.
    pub managed_by: Option<String>,
}

impl ServiceSpec {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        Self {
            path: place.path.clone(),
            cluster: ClusterSpec::read(&place.object("rayClusterConfig")),
            serve_config_v2: place.text("serveConfigV2"),
            upgrade_strategy: place.object("upgradeStrategy").text("type"),
            cluster_deletion_delay_seconds: place.int("rayClusterDeletionDelaySeconds"),
            suspend: place.flag("suspend"),
            managed_by: place.text("managedBy"),
        }
    }
}
