//! Every label, annotation, variable and resource name that more than one place must spell alike.

/// On every pod of a cluster: its name.
pub const CLUSTER: &str = "ray.io/cluster";
/// On every pod of a cluster: `head` or `worker`.
pub const NODE_TYPE: &str = "ray.io/node-type";
/// [`NODE_TYPE`] of the head.
pub const NODE_TYPE_HEAD: &str = "head";
/// [`NODE_TYPE`] of a worker.
pub const NODE_TYPE_WORKER: &str = "worker";
/// On every pod of a cluster: its group.
pub const GROUP: &str = "ray.io/group";
/// [`GROUP`] of the head.
pub const HEAD_GROUP: &str = "headgroup";
/// On every worker: which replica of its group it is.
pub const REPLICA_INDEX: &str = "ray.io/worker-group-replica-index";
/// On the workers of a group with several hosts: the slice they make up together.
pub const REPLICA_NAME: &str = "ray.io/worker-group-replica-name";
/// On the workers of a group with several hosts: which host of the slice.
pub const HOST_INDEX: &str = "ray.io/replica-host-index";
/// On an object made for a job or a service: the kind of that.
pub const ORIGINATED_FROM_KIND: &str = "ray.io/originated-from-crd";
/// On an object made for a job or a service: the name of that.
pub const ORIGINATED_FROM_NAME: &str = "ray.io/originated-from-cr-name";
/// Annotation `true`: GCS fault tolerance as it was switched on before it had a field.
pub const FT_ENABLED: &str = "ray.io/ft-enabled";
/// Annotation: what keeps clusters apart that share a Redis, as it was said before it had a field.
pub const EXTERNAL_STORAGE_NAMESPACE: &str = "ray.io/external-storage-namespace";
/// Annotation: how long a `RayService` may take to start.
pub const INITIALIZING_TIMEOUT: &str = "ray.io/initializing-timeout";
/// Annotation `true`: the command of the Ray container is the author's own.
pub const OVERWRITE_CONTAINER_COMMAND: &str = "ray.io/overwrite-container-cmd";

/// Annotation: who scales this cluster, `central`, `sidecar`, `ray` or `shadow`.
pub const AUTOSCALER: &str = "rayward.dev/autoscaler";
/// Annotation: what was taken away of which group, when; for disruption budgets.
pub const REMOVED: &str = "rayward.dev/removed";
/// On a `RayScalingPolicy`: another mode than that of its spec.
pub const MODE: &str = "rayward.dev/mode";
/// Until when, as of RFC 3339.
pub const MODE_UNTIL: &str = "rayward.dev/mode-until";
/// Annotation: what we filled in, so that it can be told from what the author wrote, and taken out.
pub const INJECTED: &str = "rayward.dev/injected";
/// Annotation: which policy, and which version of us, has given what of that.
pub const INJECTED_BY: &str = "rayward.dev/injected-by";

/// `managedBy` of KubeRay's own operator.
pub const MANAGED_BY_KUBERAY: &str = "ray.io/kuberay-operator";
/// `managedBy` of Kueue, for objects that it sends to another Kubernetes cluster.
pub const MANAGED_BY_MULTIKUEUE: &str = "kueue.x-k8s.io/multikueue";

/// In a worker's environment, the command that KubeRay would start Ray with.
pub const ENV_START_COMMAND: &str = "KUBERAY_GEN_RAY_START_CMD";

/// The sidecar that KubeRay's operator gives to the head of a cluster that scales.
pub const AUTOSCALER_CONTAINER: &str = "autoscaler";

/// In the Ray container's environment, the name of its pod; Ray reports it as the node's instance id.
pub const ENV_CLOUD_INSTANCE_ID: &str = "RAY_CLOUD_INSTANCE_ID";
/// In the Ray container's environment, the name of its group.
pub const ENV_NODE_TYPE_NAME: &str = "RAY_NODE_TYPE_NAME";
/// On the head, `1` or `true` chooses autoscaler v2.
pub const ENV_ENABLE_AUTOSCALER_V2: &str = "RAY_enable_autoscaler_v2";

/// Kubernetes' name of CPU.
pub const CPU: &str = "cpu";
/// Kubernetes' name of memory.
pub const MEMORY: &str = "memory";
/// Kubernetes' name of NVIDIA GPUs.
pub const NVIDIA_GPU: &str = "nvidia.com/gpu";
/// Kubernetes' name of Google TPU chips.
pub const TPU: &str = "google.com/tpu";

/// Node selector: the kind of TPU.
pub const TPU_ACCELERATOR: &str = "cloud.google.com/gke-tpu-accelerator";
/// Node selector: how the chips of a slice are arranged, such as `2x2x2`.
pub const TPU_TOPOLOGY: &str = "cloud.google.com/gke-tpu-topology";

/// Whether the operator takes this Kubernetes resource for GPUs: a name that ends in `gpu`, or a slice of an NVIDIA GPU such as
/// `nvidia.com/mig-1g.5gb` (KubeRay `utils/resources.go`).
pub fn is_gpu(resource: &str) -> bool {
    let is_mig = |resource: &str| {
        let slice = resource.rsplit_once("nvidia.com/mig-");
        slice.is_some_and(|(_, slice)| is_mig_slice(slice))
    };
    // Most resources are neither, and their ends tell.
    resource.ends_with("gpu") || resource.ends_with("gb") && is_mig(resource)
}

/// Whether this Kubernetes resource stands for devices, of which a container cannot get more than it asks for: any name with a
/// domain that is not Kubernetes' own.
pub fn is_device(resource: &str) -> bool {
    let domain = resource.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

fn is_mig_slice(slice: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = slice.strip_suffix("gb").and_then(|slice| slice.split_once("g."));
    parts.is_some_and(|(compute, memory)| number(compute) && number(memory))
}

#[cfg(test)]
mod tests {
    use super::is_gpu;

    #[test]
    fn gpus_as_the_operator_sees_them() {
        for gpu in [
            "nvidia.com/gpu",
            "amd.com/gpu",
            "nvidia.com/mig-1g.5gb",
            "nvidia.com/mig-12g.140gb",
        ] {
            assert!(is_gpu(gpu), "{gpu}");
        }
        for other in [
            "cpu",
            "nvidia.com/gpu.shared",
            "gpu.intel.com/i915",
            "nvidia.com/mig-1g.5gb.me",
            "nvidia.com/mig-g.5gb",
        ] {
            assert!(!is_gpu(other), "{other}");
        }
    }
}
