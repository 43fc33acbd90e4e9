//! `options`: what a cluster has besides its nodes where nothing is said.

use std::collections::BTreeMap;

use ray::keys;
use ray::label::{is_label_value, is_qualified_name};
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Problem;

/// What a cluster has besides its nodes where its author says nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Where the GCS keeps what it must not lose when the head fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs_fault_tolerance: Option<Redis>,
    /// Whether callers of Ray need a token. From Ray 2.52 and KubeRay 1.5 on; earlier ones are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_authentication: Option<bool>,
    /// Whether Ray's nodes encrypt what they say to each other. Only where KubeRay is known to be able to, which is 1.7 with its feature gate
    /// `RayClusterMTLS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The queue of Kueue that objects wait in: the label `kueue.x-k8s.io/queue-name`. Clusters that scale get none, since Kueue admits a fixed
    /// number of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name: Option<String>,
    /// Labels of the object itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the object itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// Host and port, such as `redis.ray-system:6379`.
    #[schemars(length(min = 1))]
    pub redis_address: String,
    /// The Secret that holds the user, in the namespace of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_username: Option<SecretKey>,
    /// The Secret that holds the password, in the namespace of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_password: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

impl Options {
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let mut problems = Vec::new();
        let keys = [("labels", &self.labels), ("annotations", &self.annotations)];
        for (field, key) in keys
            .iter()
            .flat_map(|(field, map)| map.keys().map(move |key| (*field, key)))
        {
            let place = at.key(field).key(key.clone());
            if !is_qualified_name(key) {
                let hint = "write a name, or a domain and a name as in example.com/team";
                problems.push(Problem::new(
                    place,
                    format!("nothing can be called `{key}`"),
                    hint,
                ));
            } else if [
                keys::INJECTED,
                keys::INJECTED_BY,
                keys::AUTOSCALER,
                keys::ORIGINATED_FROM_KIND,
            ]
            .contains(&key.as_str())
            {
                let hint = "leave it out; the mode of the autoscaler has a field of its own";
                problems.push(Problem::new(
                    place,
                    format!("`{key}` is not a policy's to give"),
                    hint,
                ));
            }
        }
        let queue = self.queue_name.iter().map(|name| (at.key("queueName"), name));
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| (at.key("labels").key(key.clone()), value));
        let unfit = queue.chain(labels).filter(|(_, value)| !is_label_value(value));
        problems.extend(unfit.map(|(place, value)| {
            let hint = "write at most 63 letters, digits, hyphens, underscores and dots, with a letter or a digit at both ends";
            Problem::new(place, format!("no label can have the value `{value}`"), hint)
        }));
        problems
    }
}
