//! What a world is to have.

use crate::podlet::NodeSpec;

/// The Ray version of Pods that leave the choice to us: `RAYWARD_RAY_VERSION`, else the newest that the tests know.
pub fn default_ray_version() -> String {
    std::env::var("RAYWARD_RAY_VERSION").unwrap_or_else(|_| "2.60.0".to_owned())
}

/// What the world should have.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Nodes that Pods run on.
    pub nodes: Vec<NodeSpec>,
    /// Ray versions to have before they are asked for. Others are made on first use.
    pub ray_versions: Vec<String>,
    /// Replicas of `rayward-webhook` behind one address; 0 for a cluster without our webhook.
    pub webhook_replicas: usize,
    /// Replicas of `rayward-autoscaler`.
    pub autoscaler_replicas: usize,
    /// More arguments for each webhook replica.
    pub webhook_arguments: Vec<String>,
    /// More arguments for each replica of the autoscaler.
    pub autoscaler_arguments: Vec<String>,
    /// The operator's `--feature-gates`.
    pub operator_feature_gates: String,
    /// Whether the API server writes down what each service account asks; see [`crate::Testbed::audit_log`].
    pub audit: bool,
}

impl Default for Options {
    /// Two webhook replicas, the autoscaler, and Nodes that are larger than the machine: what is scheduled is bounded by the tests, not by it.
    fn default() -> Self {
        Self {
            nodes: vec![
                NodeSpec::new("cpu", "64", "256Gi"),
                NodeSpec::new("gpu", "64", "256Gi").with("nvidia.com/gpu", "8"),
            ],
            ray_versions: vec![default_ray_version()],
            webhook_replicas: 2,
            autoscaler_replicas: 1,
            webhook_arguments: Vec::new(),
            autoscaler_arguments: Vec::new(),
            operator_feature_gates: String::new(),
            audit: false,
        }
    }
}
