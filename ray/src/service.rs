//! A `RayService`: Serve applications, and the cluster that is made for them.

use k8s_openapi::api::core::v1::Service;

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
    /// Whether it was said how, even nothing in particular.
    pub has_upgrade_strategy: bool,
    /// How fast traffic moves over to it, where that happens step by step.
    pub upgrade_options: Option<UpgradeOptions>,
    /// The service in front of Serve, where that is not to be KubeRay's own.
    pub serve_service: Option<Box<Service>>,
    /// How long a replaced cluster stays.
    pub cluster_deletion_delay_seconds: Option<i32>,
    /// Whether it should have no cluster for now.
    pub suspend: Option<bool>,
    /// Who reconciles it, if not KubeRay's operator.
    pub managed_by: Option<String>,
}

/// How fast traffic moves over to a new cluster.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// Where they stand.
    pub path: Pointer,
    /// How much of a second cluster there may be.
    pub max_surge_percent: Option<i32>,
    /// How much moves in one step.
    pub step_size_percent: Option<i32>,
    /// How long a step takes.
    pub interval_seconds: Option<i32>,
    /// The gateway that divides the traffic.
    pub gateway_class_name: Option<String>,
}

impl ServiceSpec {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let upgrade = place.object("upgradeStrategy");
        let service = Self {
            path: place.path.clone(),
            cluster: ClusterSpec::read(&place.object("rayClusterConfig")),
            serve_config_v2: place.text("serveConfigV2"),
            upgrade_strategy: upgrade.text("type"),
            has_upgrade_strategy: place.has("upgradeStrategy"),
            upgrade_options: upgrade.optional("clusterUpgradeOptions", UpgradeOptions::read),
            serve_service: place.has("serveService").then(|| place.typed("serveService")),
            cluster_deletion_delay_seconds: place.int("rayClusterDeletionDelaySeconds"),
            suspend: place.flag("suspend"),
            managed_by: place.text("managedBy"),
        };
        let _ = (
            place.flag("excludeHeadPodFromServeSvc"),
            place.int("serviceUnhealthySecondThreshold"),
            place.int("deploymentUnhealthySecondThreshold"),
        );
        upgrade.no_other_fields();
        place.no_other_fields();
        service
    }
}

impl UpgradeOptions {
    fn read(place: &Place<'_>) -> Self {
        let options = Self {
            path: place.path.clone(),
            max_surge_percent: place.int("maxSurgePercent"),
            step_size_percent: place.int("stepSizePercent"),
            interval_seconds: place.int("intervalSeconds"),
            gateway_class_name: place.text("gatewayClassName"),
        };
        place.no_other_fields();
        options
    }
}
