//! TPU workers: which host of which slice a pod is, and how the hosts find each other. What GKE's own webhook keeps in memory is worked
//! out here from the labels that KubeRay gives the pod, so any number of replicas of ours says the same.
//!
//! The hosts of a slice are pods on the machines of one node pool. They know each other by `<group>-<replica>-<host>` behind the headless
//! service that KubeRay makes for a cluster with such groups.

use ray::keys;
use ray::path::Pointer;
use ray::quantity::Quantity;
use ray::tpu::{Generation, Topology};
use serde_json::{Value, json};

use super::growing::Growing;
use crate::policy::OURSELVES;

pub(super) const WORKER_ID: &str = "TPU_WORKER_ID";
pub(super) const WORKER_HOSTNAMES: &str = "TPU_WORKER_HOSTNAMES";
const NAME: &str = "TPU_NAME";
const DEVICE_PLUGIN_HOST_IP: &str = "TPU_DEVICE_PLUGIN_HOST_IP";
const DEVICE_PLUGIN_ADDRESS: &str = "TPU_DEVICE_PLUGIN_ADDR";
pub(super) const NUMBER_OF_SLICES: &str = "MEGASCALE_NUM_SLICES";
const SLICE_ID: &str = "MEGASCALE_SLICE_ID";
pub(super) const COORDINATOR: &str = "MEGASCALE_COORDINATOR_ADDRESS";
const COORDINATOR_PORT: &str = "MEGASCALE_PORT";

/// The TPU device plugin of GKE serves its metrics there.
const DEVICE_PLUGIN_PORT: u16 = 2112;
/// Not the default, 8080: Ray's metrics are there.
const COORDINATOR_PORT_NUMBER: &str = "8081";
/// Nodes of one pool are the machines of one slice.
const NODE_POOL: &str = "cloud.google.com/gke-nodepool";
/// The largest slices have about half as many; a longer list of names would be too long for a variable.
const HOSTS_MAX: u64 = 4096;
/// A machine has no more chips, where its kind is not known.
const CHIPS_OF_A_MACHINE_MAX: i64 = 8;
/// Leaves room in a DNS label for two numbers and their hyphens.
const GROUP_CHARS_MAX: usize = 40;

/// Tells the containers that use TPUs where they are.
pub(super) fn identity(pod: &mut Growing) {
    let Some(worker) = Worker::read(&pod.json) else {
        return;
    };
    pod.by(OURSELVES);
    for (field, name) in worker.names() {
        pod.fill(Pointer::root().key("spec").key(field), name.into());
    }
    if let Place::Host { slice, .. } = &worker.place {
        together_and_alone(pod, slice);
    }
    let is_addressed = worker.is_addressed(&pod.json);
    let containers = Pointer::root().key("spec").key("containers");
    for container in &worker.containers {
        let several_slices = variable(&pod.json, *container, NUMBER_OF_SLICES).is_some();
        for variable in worker.environment(is_addressed, several_slices) {
            pod.add_named(&containers.index(*container).key("env"), variable);
        }
    }
}

/// A worker that uses TPUs.
pub(super) struct Worker {
    cluster: String,
    group: String,
    /// Which replica of its group it is, where KubeRay says so.
    pub(super) replica: Option<u32>,
    /// Where it is in a slice.
    pub(super) place: Place,
    /// Those of its containers that use TPUs.
    pub(super) containers: Vec<usize>,
}

/// Where a pod is in a slice.
pub(super) enum Place {
    /// Its machine is the slice, or more than that.
    Alone,
    /// It is one of several.
    Host {
        /// From nought.
        index: u32,
        /// Of how many.
        hosts: u32,
        /// The name of this very slice.
        slice: String,
    },
    /// The slice has several hosts, and nobody says which one this is.
    NotSaid {
        /// How many.
        hosts: u64,
        /// Whether it might be a single machine after all, which pods share.
        perhaps_shared: bool,
    },
    /// It is one of several, and nobody says of how many.
    NoTopology,
}

impl Worker {
    pub(super) fn read(pod: &Value) -> Option<Self> {
        let label = |key| pod["metadata"]["labels"][key].as_str();
        if label(keys::NODE_TYPE) != Some(keys::NODE_TYPE_WORKER) {
            return None;
        }
        let mut containers = Vec::new();
        let mut chips: i64 = 0;
        for (index, container) in pod["spec"]["containers"].as_array()?.iter().enumerate() {
            let of_container = chips_of(&container["resources"]);
            if of_container > 0 {
                containers.push(index);
                chips = chips.saturating_add(of_container);
            }
        }
        let number = |key| label(key).and_then(|text| text.parse().ok());
        let replica: Option<u32> = number(keys::REPLICA_INDEX);
        let place = place(pod, chips, replica, number(keys::HOST_INDEX));
        (!containers.is_empty()).then_some(Self {
            cluster: label(keys::CLUSTER)?.to_owned(),
            group: label(keys::GROUP)?.to_owned(),
            replica,
            place,
            containers,
        })
    }

    /// The fields of its pod that make up the name by which the other hosts know it; none where there are no others.
    pub(super) fn names(&self) -> Vec<(&'static str, String)> {
        match self.place {
            Place::Host { index, .. } => {
                vec![("hostname", self.host_name(index)), ("subdomain", self.service())]
            }
            Place::Alone | Place::NotSaid { .. } | Place::NoTopology => Vec::new(),
        }
    }

    /// Whether the other hosts find it under that name.
    fn is_addressed(&self, pod: &Value) -> bool {
        let names = self.names();
        !names.is_empty() && names.iter().all(|(field, name)| pod["spec"][field] == *name)
    }

    /// Whether all containers that use TPUs have this variable.
    pub(super) fn says(&self, pod: &Value, name: &str) -> bool {
        let mut containers = self.containers.iter();
        containers.all(|container| variable(pod, *container, name).is_some())
    }

    fn environment(&self, is_addressed: bool, several_slices: bool) -> Vec<Value> {
        let set = |name: &str, value: String| json!({"name": name, "value": value});
        let mut environment = Vec::new();
        match self.place {
            Place::Alone => environment.push(set(WORKER_ID, "0".to_owned())),
            Place::Host { index, hosts, .. } => {
                environment.push(set(WORKER_ID, index.to_string()));
                if is_addressed {
                    let names: Vec<_> = (0..hosts).map(|host| self.address(host)).collect();
                    environment.push(set(WORKER_HOSTNAMES, names.join(",")));
                }
            }
            Place::NotSaid { .. } | Place::NoTopology => {}
        }
        if let Some(replica) = self.replica {
            environment.push(set(NAME, format!("{}-{replica}", self.group)));
            if several_slices {
                environment.push(set(SLICE_ID, replica.to_string()));
                environment.push(set(COORDINATOR_PORT, COORDINATOR_PORT_NUMBER.to_owned()));
            }
        }
        if several_slices && is_addressed {
            let first = format!("{}.{}", host_name(&self.group, 0, 0), self.service());
            environment.push(set(COORDINATOR, first));
        }
        environment.push(
            json!({"name": DEVICE_PLUGIN_HOST_IP, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}),
        );
        // What it refers to has to stand before it.
        environment.push(set(
            DEVICE_PLUGIN_ADDRESS,
            format!("$({DEVICE_PLUGIN_HOST_IP}):{DEVICE_PLUGIN_PORT}"),
        ));
        environment
    }

    fn address(&self, host: u32) -> String {
        format!("{}.{}", self.host_name(host), self.service())
    }

    fn host_name(&self, host: u32) -> String {
        host_name(&self.group, self.replica.unwrap_or_default(), host)
    }

    /// KubeRay never shortens this name; GKE's webhook does, and so names a service that is not there where clusters have long names.
    fn service(&self) -> String {
        format!("{}-headless", self.cluster)
    }
}

fn place(pod: &Value, chips: i64, replica: Option<u32>, host: Option<u32>) -> Place {
    let selected = |key| pod["spec"]["nodeSelector"][key].as_str();
    let topology: Option<Topology> = selected(keys::TPU_TOPOLOGY).and_then(|text| text.parse().ok());
    let slice = pod["metadata"]["labels"][keys::REPLICA_NAME].as_str();
    let machine = selected(keys::TPU_ACCELERATOR)
        .and_then(Generation::of)
        .and_then(|generation| generation.chips_of_single_host.iter().copied().max())
        .unwrap_or(CHIPS_OF_A_MACHINE_MAX);
    let hosts = topology
        .as_ref()
        .map(|topology| topology.chips() / u64::try_from(chips).unwrap_or_default().max(1));
    let fits_a_machine = topology.is_none_or(|topology| i128::from(topology.chips()) <= i128::from(machine));
    match (hosts, host, slice, replica) {
        (Some(hosts @ 2..=HOSTS_MAX), Some(index), Some(slice), Some(_)) => Place::Host {
            index,
            hosts: u32::try_from(hosts).expect("there are not so many"),
            slice: slice.to_owned(),
        },
        (None, Some(_), _, _) => Place::NoTopology,
        // KubeRay numbers its replicas, but not the hosts of this one: there is only one.
        (Some(2..), None, _, Some(_)) if fits_a_machine => Place::Alone,
        (Some(hosts @ 2..), _, _, _) => Place::NotSaid {
            hosts,
            perhaps_shared: fits_a_machine,
        },
        _ => Place::Alone,
    }
}

/// A slice gets a node pool to itself: its hosts are drawn together, and keep off those where another slice is, of whatever cluster.
fn together_and_alone(pod: &mut Growing, slice: &str) {
    let affinity = Pointer::root().key("spec").key("affinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let named = |operator: &str| json!({"key": keys::REPLICA_NAME, "operator": operator, "values": [slice]});
    let together = json!({
        "labelSelector": {"matchExpressions": [named("In")]},
        "topologyKey": NODE_POOL,
    });
    // A pod without the label is no part of a slice, yet its name would not be this one.
    let is_slice = json!({"key": keys::REPLICA_NAME, "operator": "Exists"});
    let alone = json!({
        "labelSelector": {"matchExpressions": [is_slice, named("NotIn")]},
        "namespaceSelector": {},
        "topologyKey": NODE_POOL,
    });
    for (kind, term) in [("podAffinity", together), ("podAntiAffinity", alone)] {
        let same = term.clone();
        pod.add(&affinity.key(kind).key(required), term, |there| *there == same);
    }
}

/// A DNS label, made of the name of a group, which need not be one. Two groups must not come out alike, so what is changed is marked.
fn host_name(group: &str, replica: u32, host: u32) -> String {
    let fits = group.len() <= GROUP_CHARS_MAX
        && group.starts_with(|first: char| first.is_ascii_alphanumeric())
        && group
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return format!("{group}-{replica}-{host}");
    }
    let marked = format!("{:08x}", fingerprint(group));
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let kept = GROUP_CHARS_MAX - marked.len() - 1;
    let shortened: String = group.chars().take(kept).map(plain).collect();
    format!("{marked}-{}-{replica}-{host}", shortened.trim_matches('-'))
}

/// FNV-1a. All replicas of the webhook, of any version, have to come to the same.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The limit, as the API server itself takes it for a request that is not there.
fn chips_of(resources: &Value) -> i64 {
    let amount = |kind| match &resources[kind][keys::TPU] {
        Value::String(text) => text.parse::<Quantity>().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    };
    amount("limits")
        .or_else(|| amount("requests"))
        .map_or(0, Quantity::ceil)
}

/// The number of its slice, as the container has it.
pub(super) fn own_slice_id(pod: &Value, container: usize) -> Option<u32> {
    variable(pod, container, SLICE_ID)?["value"]
        .as_str()?
        .parse()
        .ok()
}

/// A variable of a container.
pub(super) fn variable<'p>(pod: &'p Value, container: usize, name: &str) -> Option<&'p Value> {
    let variables = pod["spec"]["containers"][container]["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)
}
