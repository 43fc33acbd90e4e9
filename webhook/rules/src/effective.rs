//! The pod that KubeRay makes of a group's template: what its author wrote, and what the operator adds (KubeRay `common/pod.go`).
//! As far as names go, since that is where the two get into each other's way; values that the operator computes are not here.

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Object;
use ray::path::Pointer;

/// Where objects are shared between the processes of a node.
pub(crate) const SHARED_MEMORY_PATH: &str = "/dev/shm";
/// What the operator calls the volume it mounts there.
pub(crate) const SHARED_MEMORY_VOLUME: &str = "shared-mem";
/// Where Ray keeps its session, logs included.
pub(crate) const LOGS_PATH: &str = "/tmp/ray";
/// What the operator calls the volume it mounts there when the autoscaler is to write its logs beside Ray's.
pub(crate) const LOGS_VOLUME: &str = "ray-logs";
/// The container that holds workers back until the GCS answers. The operator can be told to leave it out.
pub(crate) const WAIT_CONTAINER: &str = "wait-gcs-ready";

const TLS_WAIT_CONTAINER: &str = "wait-for-tls-ip-san";
const SUBMITTER_CONTAINER: &str = "ray-job-submitter";
const TLS_VOLUME: &str = "ray-tls";
const TOKEN_VOLUME: &str = "ray-token";
const GCS_VOLUME: &str = "gcs-storage";

/// The pod that KubeRay makes of a group's template.
pub(crate) struct EffectivePod<'a> {
    /// The group.
    pub(crate) group: &'a dyn NodeGroup,
    /// Whether it is the head.
    pub(crate) is_head: bool,
    /// All containers, those that run before the others first, the operator's own after the author's.
    pub(crate) containers: Vec<EffectiveContainer<'a>>,
    /// The names of all volumes, the author's first.
    pub(crate) volumes: Vec<&'a str>,
}

/// A container of such a pod.
pub(crate) struct EffectiveContainer<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Where its author wrote it; nothing when the operator adds it.
    pub(crate) place: Option<Pointer>,
    /// Where its author wrote what is to be mounted into it.
    mounts_place: Option<Pointer>,
    /// What is mounted into it, the author's first.
    pub(crate) mounts: Vec<Mount<'a>>,
}

/// Something mounted.
#[derive(Clone, Copy)]
pub(crate) struct Mount<'a> {
    /// The volume,
    pub(crate) volume: &'a str,
    /// where it is seen,
    pub(crate) path: &'a str,
    /// and its place in the author's list; nothing when the operator adds it.
    index: Option<usize>,
}

/// The pods of the cluster that an object describes, the head's first.
pub(crate) fn pods(object: &Object) -> Vec<EffectivePod<'_>> {
    let submits_beside_the_head = object
        .job()
        .is_some_and(|job| job.submission_mode.as_deref() == Some("SidecarMode"));
    let of_cluster = |cluster| {
        let groups = ClusterSpec::groups(cluster).enumerate();
        groups
            .map(move |(index, group)| EffectivePod::of(cluster, group, index == 0, submits_beside_the_head))
    };
    object.clusters().flat_map(of_cluster).collect()
}

impl<'a> EffectivePod<'a> {
    fn of(cluster: &'a ClusterSpec, group: &'a dyn NodeGroup, is_head: bool, submitter: bool) -> Self {
        let template = group.template().spec.as_ref();
        let volumes = template.and_then(|pod| pod.volumes.as_ref());
        let mut pod = Self {
            group,
            is_head,
            containers: group.containers().map(EffectiveContainer::written).collect(),
            volumes: volumes
                .into_iter()
                .flatten()
                .map(|volume| volume.name.as_str())
                .collect(),
        };
        let before_ray = template
            .and_then(|pod| pod.init_containers.as_ref())
            .map_or(0, Vec::len);
        if group.ray_container().is_some() {
            pod.add(cluster, before_ray, submitter);
        }
        pod
    }

    /// What the operator adds. Volumes that it shares with nobody have names that KubeRay itself forbids to authors.
    fn add(&mut self, cluster: &'a ClusterSpec, ray: usize, submitter: bool) {
        if !self.is_head {
            self.containers.push(EffectiveContainer::added(WAIT_CONTAINER));
        }
        if cluster.tls.as_ref().is_some_and(|tls| tls.enabled == Some(true)) {
            self.containers
                .push(EffectiveContainer::added(TLS_WAIT_CONTAINER));
            self.add_volume(TLS_VOLUME);
        }
        if cluster
            .auth
            .as_ref()
            .is_some_and(|auth| auth.enable_k8s_token_auth == Some(true))
        {
            self.add_volume(TOKEN_VOLUME);
        }
        if !self.group.start_params().raw.contains_key("plasma-directory") {
            self.mount(ray, SHARED_MEMORY_VOLUME, SHARED_MEMORY_PATH);
        }
        if !self.is_head {
            return;
        }
        if cluster
            .fault_tolerance
            .as_ref()
            .is_some_and(|options| options.storage.is_some())
        {
            self.add_volume(GCS_VOLUME);
        }
        if submitter {
            self.containers
                .push(EffectiveContainer::added(SUBMITTER_CONTAINER));
        }
        if cluster.is_autoscaled() {
            self.mount(ray, LOGS_VOLUME, LOGS_PATH);
            self.containers.push(EffectiveContainer::autoscaler(cluster));
            self.mount(self.containers.len() - 1, LOGS_VOLUME, LOGS_PATH);
        }
    }

    /// An empty volume, unless the author has mounted something at that very path. A volume of that name is taken for it.
    fn mount(&mut self, container: usize, volume: &'static str, path: &'static str) {
        let mounts = &mut self.containers[container].mounts;
        if mounts.iter().all(|mount| mount.path != path) {
            mounts.push(Mount {
                volume,
                path,
                index: None,
            });
            self.add_volume(volume);
        }
    }

    fn add_volume(&mut self, name: &'static str) {
        if !self.volumes.contains(&name) {
            self.volumes.push(name);
        }
    }
}

impl<'a> EffectiveContainer<'a> {
    /// Where something mounted was written; nothing when the operator adds it.
    pub(crate) fn place_of(&self, mount: &Mount<'_>) -> Option<Pointer> {
        Some(self.mounts_place.as_ref()?.index(mount.index?))
    }

    fn written((place, container): (Pointer, &'a Container)) -> Self {
        Self {
            name: &container.name,
            mounts_place: Some(place.key("volumeMounts")),
            place: Some(place),
            mounts: Mount::written(container.volume_mounts.as_deref().unwrap_or_default()),
        }
    }

    fn added(name: &'static str) -> Self {
        Self {
            name,
            place: None,
            mounts_place: None,
            mounts: Vec::new(),
        }
    }

    fn autoscaler(cluster: &'a ClusterSpec) -> Self {
        let options = cluster.autoscaler_options.as_ref();
        Self {
            mounts_place: options.map(|options| options.path.key("volumeMounts")),
            mounts: options.map_or_else(Vec::new, |options| Mount::written(&options.volume_mounts)),
            ..Self::added(keys::AUTOSCALER_CONTAINER)
        }
    }
}

impl<'a> Mount<'a> {
    fn written(mounts: &'a [VolumeMount]) -> Vec<Self> {
        let numbered = mounts.iter().enumerate();
        let mount = |(index, mount): (usize, &'a VolumeMount)| Self {
            volume: &mount.name,
            path: &mount.mount_path,
            index: Some(index),
        };
        numbered.map(mount).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use ray::fixture::cluster;
    use ray::object::{Kind, Object};
    use serde_json::json;

    use super::pods;

    #[test]
    fn what_the_operator_adds() {
        let json = cluster("demo")
            .autoscaled()
            .set_cluster("/headGroupSpec/template/spec/volumes/0", json!({"name": "logs"}))
            .set_cluster(
                "/headGroupSpec/template/spec/containers/0/volumeMounts/0",
                json!({"name": "logs", "mountPath": "/tmp/ray"}),
            )
            .group("cpu")
            .set_group("/rayStartParams/plasma-directory", json!("/plasma"))
            .build();
        let object = Object::parse(Kind::Cluster, &json).expect("a sample has nothing wrong");
        let mut text = String::new();
        for pod in pods(&object) {
            writeln!(text, "volumes {:?}", pod.volumes).expect("strings take everything");
            for container in &pod.containers {
                let by = if container.place.is_some() {
                    "author"
                } else {
                    "KubeRay"
                };
                write!(text, "  {} by {by}", container.name).expect("strings take everything");
                for mount in &container.mounts {
                    write!(text, ", {} at {}", mount.volume, mount.path).expect("strings take everything");
                }
                text.push('\n');
            }
        }
        insta::assert_snapshot!(text, @r#"
        volumes ["logs", "shared-mem", "ray-logs"]
          ray-head by author, logs at /tmp/ray, shared-mem at /dev/shm
          autoscaler by KubeRay, ray-logs at /tmp/ray
        volumes []
          ray-worker by author
          wait-gcs-ready by KubeRay
        "#);
    }
}
