//! Sample objects for tests and for the examples of rules, told as sentences: `cluster("demo").group("v5e").hosts(4).replicas(2).build()`.
//!
//! A sample on its own has nothing wrong with it. What a sentence says about a group is about the group it named last.

use serde_json::{Map, Value, json};

use crate::object::Kind;

/// The version of Ray in samples.
pub const VERSION: &str = "2.60.0";

/// An object in the making.
#[derive(Clone, Debug)]
pub struct Sample {
    kind: Kind,
    object: Value,
}

/// A `RayCluster` with a head and no workers.
pub fn cluster(name: &str) -> Sample {
    sample(Kind::Cluster, name)
}

/// A `RayJob` with such a cluster.
pub fn job(name: &str) -> Sample {
    sample(Kind::Job, name).set("/spec/entrypoint", json!("python main.py"))
}

/// A `RayService` with such a cluster.
pub fn service(name: &str) -> Sample {
    sample(Kind::Service, name)
}

/// A `RayCronJob` with such a cluster.
pub fn cron_job(name: &str) -> Sample {
    sample(Kind::CronJob, name).set("/spec/jobTemplate/entrypoint", json!("python main.py"))
}

/// An object of any kind.
pub fn sample(kind: Kind, name: &str) -> Sample {
    let object = json!({"apiVersion": "ray.io/v1", "kind": kind.name(), "metadata": {"name": name, "namespace": "default"}});
    let sample = Sample { kind, object };
    let sample = match kind {
        Kind::CronJob => sample.set("/spec/schedule", json!("0 3 * * *")),
        Kind::Cluster | Kind::Job | Kind::Service => sample,
    };
    sample.set_cluster("/rayVersion", json!(VERSION)).set_cluster(
        "/headGroupSpec",
        json!({"rayStartParams": {}, "template": template("ray-head")}),
    )
}

/// A worker of a `RayCluster`, one host of a TPU slice of two, as KubeRay makes it.
pub fn tpu_worker(cluster: &str, group: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": format!("{cluster}-{group}-worker-"), "namespace": "default", "labels": {
            "ray.io/cluster": cluster, "ray.io/group": group, "ray.io/node-type": "worker",
            "ray.io/worker-group-replica-index": "0", "ray.io/worker-group-replica-name": format!("{group}-x7k2p"),
            "ray.io/replica-host-index": "1",
        }},
        "spec": {
            "nodeSelector": {
                "cloud.google.com/gke-tpu-accelerator": "tpu-v4-podslice", "cloud.google.com/gke-tpu-topology": "2x2x2",
            },
            "containers": [{"name": "ray-worker", "resources": {"limits": {"google.com/tpu": "4"}}}],
        },
    })
}

fn template(container: &str) -> Value {
    let resources = json!({"limits": {"cpu": "1", "memory": "2Gi"}});
    json!({"spec": {"containers": [{"name": container, "image": format!("rayproject/ray:{VERSION}"), "resources": resources}]}})
}

impl Sample {
    /// One more group of workers: one replica, none at least, ten at most.
    #[must_use]
    pub fn group(self, name: &str) -> Self {
        let group = json!({
            "groupName": name, "replicas": 1, "minReplicas": 0, "maxReplicas": 10, "numOfHosts": 1, "rayStartParams": {},
            "template": template("ray-worker"),
        });
        let place = format!("/workerGroupSpecs/{}", self.groups());
        self.set_cluster(&place, group)
    }

    /// `replicas` of the group.
    #[must_use]
    pub fn replicas(self, replicas: i32) -> Self {
        self.set_group("/replicas", json!(replicas))
    }

    /// `minReplicas` and `maxReplicas` of the group.
    #[must_use]
    pub fn bounds(self, min: i32, max: i32) -> Self {
        self.set_group("/minReplicas", json!(min))
            .set_group("/maxReplicas", json!(max))
    }

    /// `numOfHosts` of the group.
    #[must_use]
    pub fn hosts(self, hosts: i32) -> Self {
        self.set_group("/numOfHosts", json!(hosts))
    }

    /// The limit of a resource of the group's container.
    #[must_use]
    pub fn limit(self, resource: &str, amount: &str) -> Self {
        let resource = resource.replace('/', "~1");
        self.set_group(
            &format!("/template/spec/containers/0/resources/limits/{resource}"),
            json!(amount),
        )
    }

    /// The number of workers follows the load.
    #[must_use]
    pub fn autoscaled(self) -> Self {
        self.set_cluster("/enableInTreeAutoscaling", json!(true))
    }

    /// Any field of the group named last, by a JSON pointer from there.
    #[must_use]
    pub fn set_group(self, pointer: &str, value: Value) -> Self {
        let group = self
            .groups()
            .checked_sub(1)
            .expect("a sentence names a group before it says something about it");
        self.set_cluster(&format!("/workerGroupSpecs/{group}{pointer}"), value)
    }

    /// Any field of the cluster, by a JSON pointer from there.
    #[must_use]
    pub fn set_cluster(self, pointer: &str, value: Value) -> Self {
        let place = format!("{}{pointer}", self.kind.cluster_path());
        self.set(&place, value)
    }

    /// Any field, by a JSON pointer. What is missing on the way is made; `null` takes the field away.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        set(&mut self.object, pointer, value);
        self
    }

    /// The object.
    pub fn build(self) -> Value {
        self.object
    }

    fn groups(&self) -> usize {
        let groups = self.kind.cluster_path().key("workerGroupSpecs");
        groups
            .resolve(&self.object)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    }
}

/// Gives a field a value, by a JSON pointer. What is missing on the way is made; `null` takes the field away.
pub fn set(object: &mut Value, pointer: &str, value: Value) {
    let Some(rest) = pointer.strip_prefix('/') else {
        *object = value;
        return;
    };
    let (step, rest) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let step = step.replace("~1", "/").replace("~0", "~");
    if let Ok(index) = step.parse::<usize>() {
        if object.is_null() {
            *object = json!([]);
        }
        let items = object.as_array_mut().expect("a number steps into a list");
        items.resize(items.len().max(index + 1), Value::Null);
        set(&mut items[index], rest, value);
        return;
    }
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    let fields = object.as_object_mut().expect("a name steps into an object");
    if rest.is_empty() && value.is_null() {
        fields.remove(&step);
    } else {
        set(fields.entry(step).or_insert(Value::Null), rest, value);
    }
}
