//! Any of the four objects of `ray.io`, read from JSON. What was read is for looking at only: changes are made to the JSON itself,
//! so that fields we do not know survive.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::cluster::ClusterSpec;
use crate::cron_job::CronJobSpec;
use crate::job::JobSpec;
use crate::path::Pointer;
use crate::read::{Notes, Place};
use crate::service::ServiceSpec;

/// The kinds of `ray.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `RayCluster`
    Cluster,
    /// `RayJob`
    Job,
    /// `RayService`
    Service,
    /// `RayCronJob`
    CronJob,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Cluster, Kind::Job, Kind::Service, Kind::CronJob];

    /// The kind called `name` in a manifest, such as `RayCluster`.
    pub fn from_kind_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As a manifest calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "RayCluster",
            Kind::Job => "RayJob",
            Kind::Service => "RayService",
            Kind::CronJob => "RayCronJob",
        }
    }

    /// Where an object of this kind describes its Ray cluster.
    pub fn cluster_path(self) -> Pointer {
        let spec = Pointer::root().key("spec");
        match self {
            Kind::Cluster => spec,
            Kind::Job => spec.key("rayClusterSpec"),
            Kind::Service => spec.key("rayClusterConfig"),
            Kind::CronJob => spec.key("jobTemplate").key("rayClusterSpec"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object of `ray.io`.
#[derive(Clone, Debug)]
pub struct Object {
    /// Who it is.
    pub metadata: Metadata,
    /// What its author wants.
    pub spec: Spec,
}

/// What the author of an object wants.
#[derive(Clone, Debug)]
pub enum Spec {
    /// Of a `RayCluster`.
    Cluster(ClusterSpec),
    /// Of a `RayJob`.
    Job(JobSpec),
    /// Of a `RayService`.
    Service(ServiceSpec),
    /// Of a `RayCronJob`.
    CronJob(CronJobSpec),
}

/// The metadata that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Absent until the API server has made one up from `generate_name`.
    pub name: Option<String>,
    /// Prefix of a name to be made up.
    pub generate_name: Option<String>,
    /// Absent in a manifest that leaves it to the command line.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When deletion was asked for: from then on the object only waits for its finalizers.
    pub deletion_timestamp: Option<String>,
    /// Given by the API server, unique for ever.
    pub uid: Option<String>,
    /// Counts changes of the spec.
    pub generation: Option<i64>,
    /// Changes with every write.
    pub resource_version: Option<String>,
}

/// A field that is not of the type it must be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", path.field())]
pub struct ParseProblem {
    /// The field.
    pub path: Pointer,
    /// What was expected there and what was found.
    pub message: String,
}

impl Object {
    /// Reads an object whose every field we know is of the right type.
    pub fn parse(kind: Kind, object: &Value) -> Result<Self, Vec<ParseProblem>> {
        match Self::read(kind, object) {
            (object, problems) if problems.is_empty() => Ok(object),
            (_, problems) => Err(problems),
        }
    }

    /// Reads what can be read, and tells what cannot; that much counts as absent.
    pub fn read(kind: Kind, object: &Value) -> (Self, Vec<ParseProblem>) {
        let notes = Notes::default();
        let object = Self::read_into(kind, object, &notes);
        (object, notes.problems.into_inner())
    }

    pub(crate) fn read_into(kind: Kind, object: &Value, notes: &Notes) -> Self {
        let root = Place::root(object, notes);
        let spec = root.object("spec");
        let object = Self {
            metadata: Metadata::read(&root.object("metadata")),
            spec: match kind {
                Kind::Cluster => Spec::Cluster(ClusterSpec::read(&spec)),
                Kind::Job => Spec::Job(JobSpec::read(&spec)),
                Kind::Service => Spec::Service(ServiceSpec::read(&spec)),
                Kind::CronJob => Spec::CronJob(CronJobSpec::read(&spec)),
            },
        };
        let _ = (root.text("apiVersion"), root.text("kind"));
        root.known(&["status"]);
        root.no_other_fields();
        object
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.spec {
            Spec::Cluster(_) => Kind::Cluster,
            Spec::Job(_) => Kind::Job,
            Spec::Service(_) => Kind::Service,
            Spec::CronJob(_) => Kind::CronJob,
        }
    }

    /// The Ray job it describes, if it is one or a template of one.
    pub fn job(&self) -> Option<&JobSpec> {
        match &self.spec {
            Spec::Job(job) => Some(job),
            Spec::CronJob(cron_job) => Some(&cron_job.job),
            Spec::Cluster(_) | Spec::Service(_) => None,
        }
    }

    /// The Ray clusters it describes: one, or none for a job that runs in a cluster that is there already.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterSpec> {
        let cluster = match &self.spec {
            Spec::Cluster(cluster) => Some(cluster),
            Spec::Job(job) => job.cluster.as_ref(),
            Spec::Service(service) => Some(&service.cluster),
            Spec::CronJob(cron_job) => cron_job.job.cluster.as_ref(),
        };
        cluster.into_iter()
    }
}

impl Metadata {
    fn read(place: &Place<'_>) -> Self {
        let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        place.known(&[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "finalizers",
            "managedFields",
            "ownerReferences",
            "selfLink",
        ]);
        let metadata = Self {
            name: non_empty(place.text("name")),
            generate_name: non_empty(place.text("generateName")),
            namespace: non_empty(place.text("namespace")),
            labels: place.text_map("labels"),
            annotations: place.text_map("annotations"),
            deletion_timestamp: place.text("deletionTimestamp"),
            uid: place.text("uid"),
            generation: place.long("generation"),
            resource_version: place.text("resourceVersion"),
        };
        place.no_other_fields();
        metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Kind, Object, Spec};

    fn problems(kind: Kind, object: &Value) -> String {
        let (_, problems) = Object::read(kind, object);
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn all_mistyped_fields_are_told_and_the_rest_is_read() {
        let containers = json!([
            {"name": "ray", "image": 7, "env": [{"name": "A", "value": 1}, {"name": "B", "value": true}], "args": ["a", 1]},
            "sidecar",
            {"name": "third", "future": {"field": []}},
        ]);
        let object = json!({
            "metadata": {"name": "demo", "labels": {"a": 1}, "unknown": 7},
            "spec": {
                "rayVersion": 2.6,
                "suspend": null,
                "enableInTreeAutoscaling": "yes",
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": 0, "port": "6380"},
                    "template": {"spec": {"containers": containers, "futureField": {}}},
                },
                "workerGroupSpecs": [
                    {"groupName": "a", "replicas": 3_000_000_000_u32, "resources": {"CPU": 2}, "scaleStrategy": {"workersToDelete": ["x", 1]}},
                    "b",
                    {"groupName": "c", "minReplicas": 1.5, "template": []},
                ],
            },
        });
        insta::assert_snapshot!(problems(Kind::Cluster, &object), @r#"
        metadata.labels.a: expected a string, found 1
        spec.rayVersion: expected a string, found 2.6
        spec.enableInTreeAutoscaling: expected true or false, found the string "yes"
        spec.headGroupSpec.rayStartParams[num-cpus]: expected a string, found 0
        spec.headGroupSpec.template.spec.containers[0].args[1]: expected a string, found 1
        spec.headGroupSpec.template.spec.containers[0].env[0].value: expected a string, found 1
        spec.headGroupSpec.template.spec.containers[0].env[1].value: expected a string, found true
        spec.headGroupSpec.template.spec.containers[0].image: expected a string, found 7
        spec.headGroupSpec.template.spec.containers[1]: expected an object, found the string "sidecar"
        spec.workerGroupSpecs[0].replicas: expected a whole number of 32 bits, found 3000000000
        spec.workerGroupSpecs[0].scaleStrategy.workersToDelete[1]: expected a string, found 1
        spec.workerGroupSpecs[1]: expected an object, found the string "b"
        spec.workerGroupSpecs[2].minReplicas: expected a whole number of 32 bits, found 1.5
        spec.workerGroupSpecs[2].template: expected an object, found a list
        "#);

        let (object, _) = Object::read(Kind::Cluster, &object);
        let Spec::Cluster(cluster) = &object.spec else {
            unreachable!("it was read as a cluster")
        };
        let head = cluster.head.template.spec.as_ref().expect("it has one");
        let names: Vec<_> = head
            .containers
            .iter()
            .map(|container| container.name.as_str())
            .collect();
        assert_eq!(names, ["ray", "", "third"]);
        assert_eq!(cluster.head.gcs_port(), 6380);
        assert_eq!(cluster.worker_groups[0].resources["CPU"], "2");
        assert_eq!(cluster.worker_groups[0].workers_to_delete, ["x"]);
        assert_eq!(cluster.worker_groups[2].name, "c");
    }

    #[test]
    fn clusters_are_found_where_their_kind_keeps_them() {
        for kind in Kind::ALL {
            let object = crate::fixture::sample(kind, "demo").group("cpu").build();
            let object = Object::parse(kind, &object).expect("a sample has nothing wrong");
            let cluster = object.clusters().next().expect("a sample has one");
            assert_eq!((object.kind(), &cluster.path), (kind, &kind.cluster_path()));
            assert_eq!(
                cluster.worker_groups[0].path,
                cluster.path.key("workerGroupSpecs").index(0)
            );
            assert_eq!(Kind::from_kind_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn next_to_nothing_is_an_object_too() {
        for kind in Kind::ALL {
            for object in [
                json!(null),
                json!({}),
                json!({"spec": null}),
                json!({"metadata": {}, "spec": {}}),
            ] {
                assert_eq!(problems(kind, &object), "", "{kind} {object}");
            }
        }
        assert_eq!(
            problems(Kind::Job, &json!([])),
            ": expected an object, found a list"
        );
    }
}
