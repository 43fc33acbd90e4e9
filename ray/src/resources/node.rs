//! What a node of a group will offer to Ray, read from the group alone: the same amounts that Ray's own autoscaler expects of it
//! (Ray `autoscaler/_private/kuberay/autoscaling_config.py`), so that a group with no node yet is judged as Ray would judge it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubernetesQuantity;
use thiserror::Error;

use super::{Amount, Resources};
use crate::cluster::NodeGroup;
use crate::keys;
use crate::quantity::Quantity;
use crate::tpu::{Generation, Topology};

/// Why it cannot be said what a node of a group will offer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NodeResourcesError {
    /// There is no number of CPUs to go by.
    #[error(
        "the group does not say how many CPUs its nodes have: set a CPU limit or request on the first container, or `num-cpus` in rayStartParams"
    )]
    NoCpu,
    /// An amount that cannot be read.
    #[error("the amount of {name} is `{text}`, which is not a quantity")]
    NotAQuantity {
        /// The resource.
        name: String,
        /// What is written there.
        text: String,
    },
    /// A start parameter that cannot be read.
    #[error("the start parameter `{name}` is `{text}`, which cannot be read")]
    StartParameter {
        /// The parameter.
        name: &'static str,
        /// What is written there.
        text: String,
    },
}

/// What a fresh node of a group offers: the group's `resources`, else its start parameters, else the limits and requests of its Ray container.
///
/// Object store memory is left out, since no template states it.
pub fn node_resources(group: &dyn NodeGroup) -> Result<Resources, NodeResourcesError> {
    let sources = Sources::of(group)?;
    let mut resources = Resources::new();
    resources.set("CPU", sources.cpu()?.ok_or(NodeResourcesError::NoCpu)?);
    if let Some(gpus) = sources.gpu()? {
        resources.set("GPU", gpus);
    }
    if let Some(chips) = sources.tpu()? {
        resources.set("TPU", chips);
        if let Some(head) = tpu_head(group) {
            resources.set(head, Amount::ONE);
        }
    }
    if let Some(bytes) = sources.memory()? {
        resources.set("memory", bytes);
    }
    for (name, amount) in &sources.custom {
        resources.set(name.as_str(), *amount);
    }
    Ok(resources)
}

/// The places that can state an amount.
struct Sources<'a> {
    group: &'a dyn NodeGroup,
    limits: Option<&'a BTreeMap<String, KubernetesQuantity>>,
    requests: Option<&'a BTreeMap<String, KubernetesQuantity>>,
    custom: Resources,
}

impl<'a> Sources<'a> {
    fn of(group: &'a dyn NodeGroup) -> Result<Self, NodeResourcesError> {
        let container = group
            .ray_container()
            .and_then(|container| container.resources.as_ref());
        Ok(Self {
            group,
            limits: container.and_then(|resources| resources.limits.as_ref()),
            requests: container.and_then(|resources| resources.requests.as_ref()),
            custom: custom(group)?,
        })
    }

    fn cpu(&self) -> Result<Option<Amount>, NodeResourcesError> {
        self.first("CPU", "num-cpus", self.group.start_params().num_cpus, keys::CPU)
    }

    fn memory(&self) -> Result<Option<Amount>, NodeResourcesError> {
        self.first("memory", "memory", self.group.start_params().memory, keys::MEMORY)
    }

    fn gpu(&self) -> Result<Option<Amount>, NodeResourcesError> {
        if let Some(stated) = self.stated("GPU", "num-gpus", self.group.start_params().num_gpus)? {
            return Ok(Some(stated));
        }
        let amounts = [self.limits, self.requests].into_iter().flatten().flatten();
        // Ray looks at the ending only, so parts of a GPU (`nvidia.com/mig-*`) are not seen.
        let gpus = amounts.filter(|(name, _)| name.ends_with("gpu"));
        for (name, quantity) in gpus {
            let amount = round_up(name, &quantity.0)?;
            if amount > Amount::ZERO {
                return Ok(Some(amount));
            }
        }
        Ok(None)
    }

    fn tpu(&self) -> Result<Option<Amount>, NodeResourcesError> {
        if let Some(text) = self.group.resources().get("TPU") {
            return round_up("TPU", text).map(Some);
        }
        if let Some(amount) = self.custom.get("TPU") {
            return Ok(Some(amount));
        }
        for amounts in [self.limits, self.requests].into_iter().flatten() {
            if let Some(quantity) = amounts.get(keys::TPU) {
                let amount = round_up(keys::TPU, &quantity.0)?;
                if amount > Amount::ZERO {
                    return Ok(Some(amount));
                }
            }
        }
        Ok(None)
    }

    /// The group's own word, else the start parameter, else the limit, else the request.
    fn first(
        &self,
        name: &str,
        parameter: &'static str,
        parsed: Option<i64>,
        kubernetes: &str,
    ) -> Result<Option<Amount>, NodeResourcesError> {
        if let Some(stated) = self.stated(name, parameter, parsed)? {
            return Ok(Some(stated));
        }
        let listed = |amounts: Option<&'a BTreeMap<String, KubernetesQuantity>>| amounts?.get(kubernetes);
        let quantity = listed(self.limits).or_else(|| listed(self.requests));
        quantity
            .map(|quantity| round_up(kubernetes, &quantity.0))
            .transpose()
    }

    fn stated(
        &self,
        name: &str,
        parameter: &'static str,
        parsed: Option<i64>,
    ) -> Result<Option<Amount>, NodeResourcesError> {
        if let Some(text) = self.group.resources().get(name) {
            return round_up(name, text).map(Some);
        }
        match (self.group.start_params().raw.get(parameter), parsed) {
            (None, _) => Ok(None),
            (Some(_), Some(number)) => Ok(Some(Amount::units(number))),
            (Some(text), None) => Err(NodeResourcesError::StartParameter {
                name: parameter,
                text: text.clone(),
            }),
        }
    }
}

/// Resources with names of the user's own. Where the group has `resources`, nothing else counts.
fn custom(group: &dyn NodeGroup) -> Result<Resources, NodeResourcesError> {
    let own = group.resources();
    if own.is_empty() {
        let parameters = group.start_params();
        return match (parameters.raw.get("resources"), &parameters.resources) {
            (None, _) => Ok(Resources::new()),
            (Some(_), Some(resources)) => Ok(resources.clone()),
            (Some(text), None) => Err(NodeResourcesError::StartParameter {
                name: "resources",
                text: text.clone(),
            }),
        };
    }
    let custom = own
        .iter()
        .filter(|(name, _)| !["CPU", "GPU", "TPU", "memory"].contains(&name.as_str()));
    custom
        .map(|(name, text)| Ok((name.clone(), round_up(name, text)?)))
        .collect()
}

/// The resource that names a whole slice, such as `TPU-v4-16-head`. Ray expects it of every host of the group.
fn tpu_head(group: &dyn NodeGroup) -> Option<String> {
    let selector = group.template().spec.as_ref()?.node_selector.as_ref()?;
    let topology: Topology = selector.get(keys::TPU_TOPOLOGY)?.parse().ok()?;
    let generation = Generation::of(selector.get(keys::TPU_ACCELERATOR)?)?;
    Some(format!(
        "TPU-{}-{}-head",
        generation.name,
        topology.chips().saturating_mul(generation.cores_per_chip)
    ))
}

/// Ray counts in whole units here, and rounds up.
fn round_up(name: &str, text: &str) -> Result<Amount, NodeResourcesError> {
    let quantity: Result<Quantity, _> = text.parse();
    let whole = quantity.map(|quantity| Amount::units(quantity.ceil()));
    whole.map_err(|_| NodeResourcesError::NotAQuantity {
        name: name.to_owned(),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::node_resources;
    use crate::object::{Kind, Object, Spec};

    /// What a group offers, or why that cannot be said.
    fn check(group: &serde_json::Value) -> String {
        let object = json!({ "spec": { "headGroupSpec": {}, "workerGroupSpecs": [group] } });
        let (object, problems) = Object::read(Kind::Cluster, &object);
        assert!(problems.is_empty(), "{problems:?}");
        let Spec::Cluster(cluster) = object.spec else {
            panic!("asked for a cluster")
        };
        match node_resources(&cluster.worker_groups[0]) {
            Ok(resources) => resources.to_string(),
            Err(problem) => problem.to_string(),
        }
    }

    fn container(resources: &serde_json::Value) -> serde_json::Value {
        json!({ "spec": { "containers": [{ "name": "ray", "resources": resources }] } })
    }

    #[test]
    fn limits_come_before_requests_and_are_rounded_up() {
        let template = container(&json!({
            "limits": { "cpu": "1500m", "nvidia.com/gpu": 2 },
            "requests": { "cpu": 1, "memory": "1Gi" },
        }));
        assert_eq!(
            check(&json!({ "template": template })),
            "{CPU: 2, GPU: 2, memory: 1073741824}"
        );
    }

    #[test]
    fn start_parameters_come_before_limits() {
        let template = container(&json!({ "limits": { "cpu": 8, "memory": "2Gi", "amd.com/gpu": 4 } }));
        let parameters =
            json!({ "num-cpus": "0", "num-gpus": "0", "memory": "1000", "resources": "'{\"disk\": 3}'" });
        assert_eq!(
            check(&json!({ "rayStartParams": parameters, "template": template })),
            "{CPU: 0, GPU: 0, disk: 3, memory: 1000}"
        );
    }

    #[test]
    fn resources_of_the_group_come_before_all() {
        let template = container(&json!({ "limits": { "cpu": 8, "nvidia.com/gpu": 1 } }));
        let parameters = json!({ "num-cpus": "4", "resources": "'{\"disk\": 3}'" });
        let group = json!({
            "resources": { "CPU": "1500m", "shelf": "7" }, "rayStartParams": parameters, "template": template,
        });
        assert_eq!(check(&group), "{CPU: 2, GPU: 1, shelf: 7}");
    }

    #[test]
    fn a_tpu_slice_has_a_name() {
        let mut template = container(&json!({ "limits": { "cpu": 8, "google.com/tpu": 4 } }));
        template["spec"]["nodeSelector"] = json!({
            "cloud.google.com/gke-tpu-accelerator": "tpu-v4-podslice", "cloud.google.com/gke-tpu-topology": "2x2x2",
        });
        assert_eq!(
            check(&json!({ "template": template })),
            "{CPU: 8, TPU: 4, TPU-v4-16-head: 1}"
        );
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        for (group, problem) in [
            (
                json!({ "template": container(&json!({})) }),
                "the group does not say how many CPUs its nodes have",
            ),
            (
                json!({ "rayStartParams": { "num-cpus": "many" } }),
                "the start parameter `num-cpus` is `many`",
            ),
            (
                json!({ "template": container(&json!({ "limits": { "cpu": "lots" } })) }),
                "the amount of cpu is `lots`",
            ),
        ] {
            let told = check(&group);
            assert!(told.starts_with(problem), "{told}");
        }
    }
}
