//! A Ray cluster as its author describes it: a head, groups of workers, and how to scale them. The same description stands in a
//! `RayCluster` and, as a template, in the other kinds; its `path` tells where.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements, SecurityContext,
    Service, VolumeMount,
};

use crate::keys;
use crate::options::{AuthOptions, FaultTolerance, HistoryServer, NetworkPolicy, TlsOptions, read_ingress};
use crate::path::Pointer;
use crate::read::Place;
use crate::start_params::StartParams;

/// The port of the GCS where the start parameters name none.
pub const GCS_PORT_DEFAULT: u16 = 6379;

/// A Ray cluster.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Where this description stands in its object.
    pub path: Pointer,
    /// The version of Ray that its author says the images hold.
    pub ray_version: Option<String>,
    /// Whether the number of workers follows the load.
    pub enable_in_tree_autoscaling: Option<bool>,
    /// Whether it should have no pods for now.
    pub suspend: Option<bool>,
    /// Whether it has no pods for now because nobody used it.
    pub idle_suspend: Option<bool>,
    /// What becomes of it once nobody uses it.
    pub idle_termination: Option<IdleTermination>,
    /// Who reconciles it, if not KubeRay's operator.
    pub managed_by: Option<String>,
    /// How to scale.
    pub autoscaler_options: Option<AutoscalerOptions>,
    /// What a change of the templates does to running pods: `Recreate` or `None`.
    pub upgrade_strategy: Option<String>,
    /// Where the GCS keeps what it must not lose.
    pub fault_tolerance: Option<FaultTolerance>,
    /// How callers of Ray prove who they are.
    pub auth: Option<AuthOptions>,
    /// Encryption between the nodes.
    pub tls: Option<TlsOptions>,
    /// Who may talk to whom.
    pub network_policy: Option<NetworkPolicy>,
    /// What collects events.
    pub history_server: Option<HistoryServer>,
    /// The head. One without containers where the object has none.
    pub head: HeadGroup,
    /// The groups of workers, in their order.
    pub worker_groups: Vec<WorkerGroup>,
}

/// What becomes of a cluster that nobody uses.
#[derive(Clone, Debug)]
pub struct IdleTermination {
    /// For how long nobody has to have used it; for ever where it does not say.
    pub timeout_seconds: Option<i32>,
    /// `Suspend`, which is also what no word means, or `Delete`.
    pub policy: Option<String>,
}

/// How to scale a cluster.
#[derive(Clone, Debug)]
pub struct AutoscalerOptions {
    /// Where they stand.
    pub path: Pointer,
    /// Which of Ray's autoscalers: `v1` or `v2`.
    pub version: Option<String>,
    /// How long a node may idle before it goes, where its group does not say.
    pub idle_timeout_seconds: Option<i32>,
    /// `Default`, `Aggressive` or `Conservative`.
    pub upscaling_mode: Option<String>,
    /// Image of the sidecar, where it is not the head's.
    pub image: Option<String>,
    /// What is added to its environment.
    pub env: Vec<EnvVar>,
    /// What is added to its environment from elsewhere.
    pub env_from: Vec<EnvFromSource>,
    /// What is mounted into it besides.
    pub volume_mounts: Vec<VolumeMount>,
    /// What it asks of Kubernetes.
    pub resources: Option<ResourceRequirements>,
    /// What it runs instead.
    pub command: Vec<String>,
    /// With these arguments.
    pub args: Vec<String>,
}

/// The head.
#[derive(Clone, Debug)]
pub struct HeadGroup {
    /// Where it stands.
    pub path: Pointer,
    /// What it offers to Ray, where that is not what its container has.
    pub resources: BTreeMap<String, String>,
    /// Its labels for Ray's scheduler.
    pub labels: BTreeMap<String, String>,
    /// Flags of its `ray start`.
    pub start_params: StartParams,
    /// Its pod.
    pub template: Box<PodTemplateSpec>,
    /// Where that stands.
    pub pod_places: PodPlaces,
    /// The service in front of it, where that is not to be KubeRay's own.
    pub service: Option<Box<Service>>,
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    pub service_type: Option<String>,
}

/// A group of like workers.
#[derive(Clone, Debug)]
pub struct WorkerGroup {
    /// Where it stands.
    pub path: Pointer,
    /// Its place in the list.
    pub index: usize,
    /// `groupName`, which is also Ray's node type.
    pub name: String,
    /// How many are wanted now; slices where there are several hosts.
    pub replicas: Option<i32>,
    /// How many there must be at least.
    pub min_replicas: Option<i32>,
    /// How many there may be at most.
    pub max_replicas: Option<i32>,
    /// How many pods make one replica.
    pub num_of_hosts: Option<i32>,
    /// How long a node may idle before it goes.
    pub idle_timeout_seconds: Option<i32>,
    /// Groups of higher priority grow first.
    pub priority: Option<i32>,
    /// Whether it should have no pods for now.
    pub suspend: Option<bool>,
    /// What a worker offers to Ray, where that is not what its container has.
    pub resources: BTreeMap<String, String>,
    /// The labels of its nodes for Ray's scheduler.
    pub labels: BTreeMap<String, String>,
    /// Flags of its `ray start`.
    pub start_params: StartParams,
    /// Whether it says anything of how it is scaled down.
    pub has_scale_strategy: bool,
    /// Names of the pods that are to go first.
    pub workers_to_delete: Vec<String>,
    /// Its pod.
    pub template: Box<PodTemplateSpec>,
    /// Where that stands.
    pub pod_places: PodPlaces,
}

/// Where the parts of a group's pod stand. Nearly every rule names one, so they are put together once.
#[derive(Clone, Debug, Default)]
pub struct PodPlaces {
    /// The pod itself.
    pod: Pointer,
    /// The list of its containers,
    containers: Pointer,
    /// of which the first runs Ray.
    ray_container: Pointer,
    /// The variables of that.
    ray_env: Pointer,
    /// Every container, in the order of [`NodeGroup::containers`].
    each_container: Vec<Pointer>,
}

/// What the head and a group of workers have in common.
pub trait NodeGroup {
    /// Where it stands.
    fn path(&self) -> &Pointer;
    /// What its nodes offer to Ray, where that is not what their container has.
    fn resources(&self) -> &BTreeMap<String, String>;
    /// The labels of its nodes for Ray's scheduler.
    fn labels(&self) -> &BTreeMap<String, String>;
    /// Flags of its `ray start`.
    fn start_params(&self) -> &StartParams;
    /// Its pod.
    fn template(&self) -> &PodTemplateSpec;
    /// Where that stands.
    fn pod_places(&self) -> &PodPlaces;

    /// The container that runs Ray. For KubeRay that is always the first.
    fn ray_container(&self) -> Option<&Container> {
        self.template().spec.as_ref()?.containers.first()
    }

    /// Every container of its pod and where it stands, those that run before the others first.
    fn containers(&self) -> Box<dyn Iterator<Item = (Pointer, &Container)> + '_> {
        let pod = self.template().spec.as_ref();
        let places = self.pod_places().each_container.iter().cloned();
        Box::new(places.zip(pod.into_iter().flat_map(all_containers)))
    }

    /// A variable in the environment of the container that runs Ray, as KubeRay finds it: by its exact name, the first of several,
    /// and only where it is written out.
    fn env(&self, name: &str) -> Option<(Pointer, &EnvVar)> {
        let place = &self.pod_places().ray_env;
        let mut variables = self.ray_container()?.env.iter().flatten().enumerate();
        variables
            .find(|(_, variable)| variable.name == name)
            .map(|(index, variable)| (place.index(index), variable))
    }

    /// What is mounted into the container that runs Ray.
    fn volume_mounts(&self) -> Box<dyn Iterator<Item = (Pointer, &VolumeMount)> + '_> {
        let mounts = self.ray_container().and_then(|ray| ray.volume_mounts.as_deref());
        Box::new(numbered(
            self.ray_container_path().key("volumeMounts"),
            mounts.unwrap_or_default(),
        ))
    }

    /// Where the pod itself stands.
    fn pod_path(&self) -> &Pointer {
        &self.pod_places().pod
    }

    /// Where the containers of its pod stand.
    fn containers_path(&self) -> &Pointer {
        &self.pod_places().containers
    }

    /// Where the container that runs Ray stands.
    fn ray_container_path(&self) -> &Pointer {
        &self.pod_places().ray_container
    }
}

impl PodPlaces {
    fn of(group: &Pointer, template: &PodTemplateSpec) -> Self {
        let pod = group.key("template").key("spec");
        let (init_containers, containers) = (pod.key("initContainers"), pod.key("containers"));
        let ray_container = containers.index(0);
        let each = template.spec.iter().flat_map(|pod| {
            let places =
                |place: &Pointer, count| (0..count).map(|index| place.index(index)).collect::<Vec<_>>();
            let first = pod.init_containers.as_ref().map_or(0, Vec::len);
            [
                places(&init_containers, first),
                places(&containers, pod.containers.len()),
            ]
        });
        Self {
            ray_env: ray_container.key("env"),
            each_container: each.flatten().collect(),
            pod,
            containers,
            ray_container,
        }
    }
}

/// Those that run before the others first.
fn all_containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}

fn numbered<T>(place: Pointer, items: &[T]) -> impl Iterator<Item = (Pointer, &T)> {
    let place = move |(index, item)| (place.index(index), item);
    items.iter().enumerate().map(place)
}

impl ClusterSpec {
    /// Whether the number of its workers follows the load.
    pub fn is_autoscaled(&self) -> bool {
        self.enable_in_tree_autoscaling == Some(true)
    }

    /// The head, then the worker groups.
    pub fn groups(&self) -> impl Iterator<Item = &dyn NodeGroup> {
        std::iter::once(&self.head as &dyn NodeGroup)
            .chain(self.worker_groups.iter().map(|group| group as &dyn NodeGroup))
    }

    /// Each group that has the name of an earlier one, with that one.
    pub fn duplicate_groups(&self) -> impl Iterator<Item = (&WorkerGroup, &WorkerGroup)> {
        let mut first = BTreeMap::new();
        self.worker_groups.iter().filter_map(move |group| {
            let twin: &WorkerGroup = first.entry(group.name.as_str()).or_insert(group);
            (twin.index != group.index).then_some((group, twin))
        })
    }

    /// Whether autoscaler v2 was chosen, by the field or by the head's environment. Where neither speaks, Ray itself chooses.
    pub fn chooses_autoscaler_v2(&self) -> bool {
        self.autoscaler_version() == Some("v2") || self.env_enables_autoscaler_v2()
    }

    /// The autoscaler's version as its field says.
    pub fn autoscaler_version(&self) -> Option<&str> {
        self.autoscaler_options.as_ref()?.version.as_deref()
    }

    /// Whether the head's environment says `1` or `true`, in just these letters.
    pub fn env_enables_autoscaler_v2(&self) -> bool {
        let variable = self.head.env(keys::ENV_ENABLE_AUTOSCALER_V2);
        variable.is_some_and(|(_, variable)| matches!(variable.value.as_deref(), Some("1" | "true")))
    }

    pub(crate) fn read(place: &Place<'_>) -> Self {
        let cluster = Self {
            path: place.path.clone(),
            ray_version: place.text("rayVersion").filter(|version| !version.is_empty()),
            enable_in_tree_autoscaling: place.flag("enableInTreeAutoscaling"),
            suspend: place.flag("suspend"),
            idle_suspend: place.flag("idleSuspend"),
            idle_termination: place.optional("idleTerminationOptions", IdleTermination::read),
            managed_by: place.text("managedBy"),
            autoscaler_options: place.optional("autoscalerOptions", AutoscalerOptions::read),
            upgrade_strategy: place.object("upgradeStrategy").only_text("type"),
            fault_tolerance: place.optional("gcsFaultToleranceOptions", FaultTolerance::read),
            auth: place.optional("authOptions", AuthOptions::read),
            tls: place.optional("tlsOptions", TlsOptions::read),
            network_policy: place.optional("networkPolicy", NetworkPolicy::read),
            history_server: place.optional("historyServerOptions", HistoryServer::read),
            head: HeadGroup::read(&place.object("headGroupSpec")),
            worker_groups: place
                .objects("workerGroupSpecs")
                .enumerate()
                .map(|(index, group)| WorkerGroup::read(index, &group))
                .collect(),
        };
        let _ = place.text_map("headServiceAnnotations");
        place.no_other_fields();
        cluster
    }
}

impl IdleTermination {
    fn read(place: &Place<'_>) -> Self {
        let options = Self {
            timeout_seconds: place.int("timeoutSeconds"),
            policy: place.text("policy"),
        };
        place.no_other_fields();
        options
    }
}

impl AutoscalerOptions {
    fn read(place: &Place<'_>) -> Self {
        let _: SecurityContext = place.typed("securityContext");
        let options = Self {
            path: place.path.clone(),
            version: place.text("version"),
            idle_timeout_seconds: place.int("idleTimeoutSeconds"),
            upscaling_mode: place.text("upscalingMode"),
            image: place.text("image"),
            env: place.typed("env"),
            env_from: place.typed("envFrom"),
            volume_mounts: place.typed("volumeMounts"),
            resources: place.has("resources").then(|| place.typed("resources")),
            command: place.texts("command"),
            args: place.texts("args"),
        };
        let _ = place.text("imagePullPolicy");
        place.no_other_fields();
        options
    }
}

impl HeadGroup {
    /// The container that runs Ray.
    pub fn ray_container(&self) -> Option<&Container> {
        NodeGroup::ray_container(self)
    }

    /// Where workers and clients find the GCS.
    pub fn gcs_port(&self) -> u16 {
        self.start_params.port.unwrap_or(GCS_PORT_DEFAULT)
    }

    fn read(place: &Place<'_>) -> Self {
        let mut head = Self {
            path: place.path.clone(),
            resources: place.quantity_map("resources"),
            labels: place.text_map("labels"),
            start_params: StartParams::read(place),
            template: place.typed("template"),
            pod_places: PodPlaces::default(),
            service: place.has("headService").then(|| place.typed("headService")),
            service_type: place.text("serviceType"),
        };
        head.pod_places = PodPlaces::of(&head.path, &head.template);
        let _ = place.flag("enableIngress");
        let _ = place.optional("ingressOptions", read_ingress);
        place.no_other_fields();
        head
    }
}

impl WorkerGroup {
    /// The container that runs Ray.
    pub fn ray_container(&self) -> Option<&Container> {
        NodeGroup::ray_container(self)
    }

    /// How many pods make one replica; at least one.
    pub fn hosts(&self) -> i32 {
        self.num_of_hosts.unwrap_or(1).max(1)
    }

    /// How many replicas the operator keeps up: `replicas` within the bounds, and none while suspended. A minimum above the maximum
    /// wins when `replicas` is below it, as in KubeRay `utils/util.go`.
    pub fn desired_replicas(&self) -> i32 {
        let (min, max) = (
            self.min_replicas.unwrap_or(0),
            self.max_replicas.unwrap_or(i32::MAX),
        );
        match self.replicas {
            _ if self.suspend == Some(true) => 0,
            Some(replicas) if replicas >= min => replicas.min(max),
            _ => min,
        }
    }

    /// What the names of its pods begin with in a cluster called `cluster`; five more characters follow (KubeRay `utils/util.go`).
    pub fn pod_name_prefix(&self, cluster: &str) -> String {
        // The name of a pod has room for 63, and `-worker-` and the five take 13.
        const OWNER_CHARS_MAX: usize = 50;
        let mut owner = format!("{cluster}-{}", self.name);
        if let Some((end, _)) = owner.char_indices().nth(OWNER_CHARS_MAX) {
            owner.truncate(end);
        }
        owner.to_lowercase() + "-worker-"
    }

    fn read(index: usize, place: &Place<'_>) -> Self {
        let mut group = Self {
            path: place.path.clone(),
            index,
            name: place.text("groupName").unwrap_or_default(),
            replicas: place.int("replicas"),
            min_replicas: place.int("minReplicas"),
            max_replicas: place.int("maxReplicas"),
            num_of_hosts: place.int("numOfHosts"),
            idle_timeout_seconds: place.int("idleTimeoutSeconds"),
            priority: place.int("priority"),
            suspend: place.flag("suspend"),
            resources: place.quantity_map("resources"),
            labels: place.text_map("labels"),
            start_params: StartParams::read(place),
            has_scale_strategy: place.has("scaleStrategy"),
            workers_to_delete: place.object("scaleStrategy").only_texts("workersToDelete"),
            template: place.typed("template"),
            pod_places: PodPlaces::default(),
        };
        group.pod_places = PodPlaces::of(&group.path, &group.template);
        place.no_other_fields();
        group
    }
}

macro_rules! node_group {
    ($group:ty) => {
        impl NodeGroup for $group {
            fn path(&self) -> &Pointer {
                &self.path
            }
            fn resources(&self) -> &BTreeMap<String, String> {
                &self.resources
            }
            fn labels(&self) -> &BTreeMap<String, String> {
                &self.labels
            }
            fn start_params(&self) -> &StartParams {
                &self.start_params
            }
            fn template(&self) -> &PodTemplateSpec {
                &self.template
            }

            fn pod_places(&self) -> &PodPlaces {
                &self.pod_places
            }
        }
    };
}

node_group!(HeadGroup);
node_group!(WorkerGroup);

#[cfg(test)]
mod tests {
    use super::WorkerGroup;
    use crate::fixture::cluster;
    use crate::object::{Kind, Object};

    fn group(sample: crate::fixture::Sample) -> WorkerGroup {
        let object = Object::parse(Kind::Cluster, &sample.build()).expect("a sample has nothing wrong");
        object.clusters().next().expect("it is one").worker_groups[0].clone()
    }

    #[test]
    fn replicas_stay_within_their_bounds() {
        let desired = |replicas, min, max| {
            group(cluster("demo").group("cpu").bounds(min, max).replicas(replicas)).desired_replicas()
        };
        assert_eq!(
            (
                desired(3, 0, 10),
                desired(11, 0, 10),
                desired(0, 2, 10),
                desired(-4, 0, 10)
            ),
            (3, 10, 2, 0)
        );
        // Bounds that contradict each other, as the operator resolves them.
        assert_eq!((desired(1, 4, 2), desired(5, 4, 2)), (4, 2));
    }

    #[test]
    fn a_suspended_group_has_nobody() {
        let suspended = cluster("demo")
            .group("cpu")
            .bounds(2, 10)
            .set_group("/suspend", true.into());
        assert_eq!(group(suspended).desired_replicas(), 0);
    }

    #[test]
    fn pods_are_named_after_cluster_and_group() {
        let prefix = |name: &str| group(cluster("demo").group(name)).pod_name_prefix("demo");
        assert_eq!(prefix("GPU"), "demo-gpu-worker-");
        assert_eq!(
            prefix(&"x".repeat(60)),
            format!("demo-{}-worker-", "x".repeat(45))
        );
    }

    #[test]
    fn a_replica_has_at_least_one_host() {
        let hosts = |hosts| group(cluster("demo").group("tpu").hosts(hosts)).hosts();
        assert_eq!((hosts(4), hosts(0)), (4, 1));
    }
}
