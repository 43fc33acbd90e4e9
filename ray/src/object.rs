//! Any of the four objects of `ray.io`, read from JSON. What was read is for looking at only: changes are made to the JSON itself,
//! so that fields we do not know survive.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::cluster::ClusterSpec;
use crate::cron_job::CronJobSpec;
use crate::job::JobSpec;
use crate::path::Pointer;
use crate::read::Place;
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
        let problems = RefCell::default();
        let root = Place::root(object, &problems);
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
        (object, problems.into_inner())
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
        Self {
            name: non_empty(place.text("name")),
            generate_name: non_empty(place.text("generateName")),
            namespace: non_empty(place.text("namespace")),
            labels: place.text_map("labels"),
            annotations: place.text_map("annotations"),
            deletion_timestamp: place.text("deletionTimestamp"),
            uid: place.text("uid"),
            generation: place.long("generation"),
            resource_version: place.text("resourceVersion"),
        }
    }
}
