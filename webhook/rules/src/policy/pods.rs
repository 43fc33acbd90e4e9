//! `pod`, in several places: what is put into Pods when they are created. None of it shows in the manifest of a cluster, and so none of
//! it makes the operator replace one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use ray::label::{is_label_value, is_qualified_name};
use ray::path::Pointer;
use ray::quantity::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fragment::Fragment;
use super::read::Problem;

/// What is put into Pods when they are created. What a Pod says already stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodDefaults {
    /// Labels. Those of KubeRay, `ray.io/...`, are not to be had.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the nodes that will do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are put up with. A Pod's own toleration of the same key and effect stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub tolerations: Vec<Fragment>,
    /// Node affinity, pod affinity and pod anti-affinity, as in a Pod. Terms are added to those that the Pod has; required terms of the
    /// node affinity, which are alternatives, only where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Fragment>,
    /// Whether the nodes may be taken away at any time, as the clouds mark them: required of nodes where a Pod requires nothing else of
    /// them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Capacity")]
    pub capacity: Option<Capacity>,
    /// How Pods are spread. Without a `labelSelector` the Pods of the same group of the same cluster are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub topology_spread_constraints: Vec<Fragment>,
    /// The runtime class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Secrets for pulling images, each as `name: NAME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub image_pull_secrets: Vec<SecretName>,
    /// The security context of the Pod, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Fragment>,
    /// The security context of every container, those that run first included, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_security_context: Option<Fragment>,
    /// Variables for the container that runs Ray, as in a Pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub env: Vec<Fragment>,
    /// Volumes, each mounted into the container that runs Ray.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub volumes: Vec<MountedVolume>,
    /// How much `/dev/shm` may hold, in memory. Replaces the size that KubeRay gives it, which is all memory of the container, but not one
    /// of the author's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<String>,
    /// The startup probe of the container that runs Ray. The other two stand beside `pod`: KubeRay fills them in before a Pod is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Fragment>,
}

/// Whether nodes may be taken away at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Capacity {
    /// They may: spot machines, tolerating what keeps others off them.
    Spot,
    /// They may not.
    OnDemand,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// What it is called.
    pub name: String,
}

/// A volume, and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountedVolume {
    /// What it is called.
    pub name: String,
    /// What it is, as in a Pod: `configMap: {name: NAME}`, `emptyDir: {}` and so on.
    pub source: Fragment,
    /// Where it is mounted. Nothing is mounted where the container has something mounted already.
    pub mount_path: String,
    /// A path within the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// Whether it cannot be written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl MountedVolume {
    /// As it stands among a Pod's volumes.
    pub(crate) fn volume(&self) -> Value {
        let mut volume = self.source.0.clone();
        volume.insert("name".to_owned(), self.name.clone().into());
        Value::Object(volume)
    }

    /// As it stands among a container's mounts.
    pub(crate) fn mount(&self) -> Value {
        let mut mount = json!({"name": self.name, "mountPath": self.mount_path});
        if let Some(path) = &self.sub_path {
            mount["subPath"] = json!(path);
        }
        if self.read_only {
            mount["readOnly"] = json!(true);
        }
        mount
    }
}

impl PodDefaults {
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (field, labels) in [("labels", &self.labels), ("nodeSelector", &self.node_selector)] {
            for (key, value) in labels {
                let place = at.key(field).key(key.clone());
                problems.extend(not_a_name(key, &place));
                if !is_label_value(value) {
                    let hint = "write at most 63 letters, digits, hyphens, underscores and dots";
                    problems.push(Problem::new(
                        place,
                        format!("no label has the value `{value}`"),
                        hint,
                    ));
                }
            }
        }
        for key in self.annotations.keys() {
            problems.extend(not_a_name(key, &at.key("annotations").key(key.clone())));
        }
        for key in self.labels.keys().filter(|key| key.starts_with("ray.io/")) {
            problems.push(Problem::new(
                at.key("labels").key(key.clone()),
                "KubeRay keeps this label for itself",
                "choose a label of your own",
            ));
        }
        if let Some(size) = &self.shared_memory
            && !size.parse().is_ok_and(|size: Quantity| size.nanos() > 0)
        {
            let problem = format!("`{size}` is no amount of memory");
            problems.push(Problem::new(
                at.key("sharedMemory"),
                problem,
                "write it as in 16Gi",
            ));
        }
        let own_nodes = self
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.0.get("nodeAffinity"));
        if self.capacity.is_some() && own_nodes.is_some_and(|own| !own[REQUIRED].is_null()) {
            problems.push(Problem::new(
                at.key("capacity"),
                "the node affinity requires something of nodes already",
                "say there which capacity they have, and leave this out",
            ));
        }
        problems.extend(listed::<core::Toleration>(
            &self.tolerations,
            &at.key("tolerations"),
        ));
        problems.extend(listed::<core::TopologySpreadConstraint>(
            &self.topology_spread_constraints,
            &at.key("topologySpreadConstraints"),
        ));
        problems.extend(listed::<core::EnvVar>(&self.env, &at.key("env")));
        problems.extend(single::<core::Affinity>(
            self.affinity.as_ref(),
            &at.key("affinity"),
        ));
        problems.extend(single::<core::PodSecurityContext>(
            self.security_context.as_ref(),
            &at.key("securityContext"),
        ));
        problems.extend(single::<core::SecurityContext>(
            self.container_security_context.as_ref(),
            &at.key("containerSecurityContext"),
        ));
        problems.extend(single::<core::Probe>(
            self.startup_probe.as_ref(),
            &at.key("startupProbe"),
        ));
        for (index, volume) in self.volumes.iter().enumerate() {
            let place = at.key("volumes").index(index);
            problems.extend(volume.source.problems::<core::Volume>(&place.key("source")));
            if !volume.mount_path.starts_with('/') {
                let problem = format!("`{}` is no path from the root", volume.mount_path);
                problems.push(Problem::new(
                    place.key("mountPath"),
                    problem,
                    "begin it with a slash",
                ));
            }
        }
        problems
    }
}

/// What must be so of where a Pod runs.
pub(crate) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

fn listed<T: serde::de::DeserializeOwned + Serialize>(fragments: &[Fragment], at: &Pointer) -> Vec<Problem> {
    let each = fragments.iter().enumerate();
    each.flat_map(|(index, fragment)| fragment.problems::<T>(&at.index(index)))
        .collect()
}

fn single<T: serde::de::DeserializeOwned + Serialize>(
    fragment: Option<&Fragment>,
    at: &Pointer,
) -> Vec<Problem> {
    fragment.map_or_else(Vec::new, |fragment| fragment.problems::<T>(at))
}

fn not_a_name(key: &str, at: &Pointer) -> Option<Problem> {
    (!is_qualified_name(key)).then(|| {
        let hint = "write a name, or a domain and a name as in example.com/team";
        Problem::new(at.clone(), format!("nothing can be called `{key}`"), hint)
    })
}
