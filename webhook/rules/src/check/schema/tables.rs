//! What the CRDs of each version of KubeRay say, as tables: since when fields are there, which words they take, and which fields
//! cannot be left out (KubeRay `config/crd/bases`). Fields that all versions have are known to the readers in `ray`.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::object::{Kind, Spec};
use ray::path::Pointer;
use serde_json::Value;

use crate::facts::{Operator, Operators};
use crate::rule::Subject;

/// The part of an object that a place is told from.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// The description of a Ray cluster.
    Cluster,
    /// The description of a Ray cluster in another kind than `RayCluster`.
    ClusterTemplate,
    /// The description of a Ray job.
    Job,
    /// The spec of a `RayService`.
    Service,
    /// The spec of a `RayCronJob`.
    CronJob,
    /// The template of a pod.
    Pod,
}

/// A field that not all versions have.
pub(super) struct Age {
    pub(super) part: Part,
    /// Keys from there, `*` for every item of a list.
    pub(super) place: &'static str,
    /// The versions that have it.
    pub(super) operators: Operators,
    /// Whether `ray.io/v1alpha1` has it too.
    pub(super) in_v1alpha1: bool,
}

/// A field that takes certain words only.
pub(super) struct Choice {
    pub(super) part: Part,
    pub(super) place: &'static str,
    pub(super) words: &'static [&'static str],
}

/// A field that cannot be left out where the object around it is there.
pub(super) struct Need {
    pub(super) part: Part,
    /// The object around it.
    pub(super) place: &'static str,
    pub(super) field: &'static str,
    /// The versions that need it.
    pub(super) operators: Operators,
    /// Whether only `ray.io/v1alpha1` needs it.
    pub(super) in_v1alpha1: bool,
}

const fn since(part: Part, operator: Operator, place: &'static str) -> Age {
    Age {
        part,
        place,
        operators: Operators::since(operator),
        in_v1alpha1: matches!(part, Part::Pod),
    }
}

/// A field that all versions have, but not `ray.io/v1alpha1`.
const fn in_v1(part: Part, place: &'static str) -> Age {
    since(part, Operator::V1_4, place)
}

pub(super) const AGES: &[Age] = &[
    in_v1(Part::Cluster, "autoscalerOptions/version"),
    in_v1(Part::Cluster, "gcsFaultToleranceOptions"),
    in_v1(Part::Cluster, "managedBy"),
    in_v1(Part::Cluster, "workerGroupSpecs/*/idleTimeoutSeconds"),
    in_v1(Part::Cluster, "workerGroupSpecs/*/numOfHosts"),
    in_v1(Part::Cluster, "workerGroupSpecs/*/suspend"),
    since(Part::Cluster, Operator::V1_5, "authOptions"),
    since(Part::Cluster, Operator::V1_5, "headGroupSpec/labels"),
    since(Part::Cluster, Operator::V1_5, "headGroupSpec/resources"),
    since(Part::Cluster, Operator::V1_5, "workerGroupSpecs/*/labels"),
    since(Part::Cluster, Operator::V1_5, "workerGroupSpecs/*/resources"),
    since(Part::Cluster, Operator::V1_6, "authOptions/enableK8sTokenAuth"),
    since(Part::Cluster, Operator::V1_6, "authOptions/secretName"),
    since(Part::Cluster, Operator::V1_6, "upgradeStrategy"),
    since(Part::Cluster, Operator::V1_7, "autoscalerOptions/args"),
    since(Part::Cluster, Operator::V1_7, "autoscalerOptions/command"),
    since(Part::Cluster, Operator::V1_7, "gcsFaultToleranceOptions/backend"),
    since(Part::Cluster, Operator::V1_7, "gcsFaultToleranceOptions/storage"),
    since(Part::Cluster, Operator::V1_7, "headGroupSpec/ingressOptions"),
    since(Part::Cluster, Operator::V1_7, "historyServerOptions"),
    since(Part::Cluster, Operator::V1_7, "networkPolicy"),
    since(Part::Cluster, Operator::V1_7, "tlsOptions"),
    since(Part::Cluster, Operator::V1_7, "workerGroupSpecs/*/priority"),
    in_v1(Part::Job, "activeDeadlineSeconds"),
    in_v1(Part::Job, "backoffLimit"),
    in_v1(Part::Job, "managedBy"),
    in_v1(Part::Job, "submissionMode"),
    in_v1(Part::Job, "submitterConfig"),
    since(Part::Job, Operator::V1_5, "deletionStrategy"),
    since(
        Part::Job,
        Operator::V1_6,
        "deletionStrategy/deletionRules/*/condition/jobDeploymentStatus",
    ),
    since(Part::Job, Operator::V1_6, "preRunningDeadlineSeconds"),
    Age {
        operators: Operators::until(Operator::V1_4),
        ..in_v1(Part::Job, "deletionPolicy")
    },
    in_v1(Part::Service, "excludeHeadPodFromServeSvc"),
    in_v1(Part::Service, "upgradeStrategy"),
    since(Part::Service, Operator::V1_5, "rayClusterDeletionDelaySeconds"),
    since(
        Part::Service,
        Operator::V1_5,
        "upgradeStrategy/clusterUpgradeOptions",
    ),
    since(Part::Service, Operator::V1_6, "managedBy"),
    since(Part::Service, Operator::V1_7, "suspend"),
    since(Part::CronJob, Operator::V1_7, "timeZone"),
    since(Part::Pod, Operator::V1_5, "spec/hostnameOverride"),
    since(Part::Pod, Operator::V1_5, "spec/containers/*/restartPolicyRules"),
    since(
        Part::Pod,
        Operator::V1_5,
        "spec/initContainers/*/restartPolicyRules",
    ),
    since(
        Part::Pod,
        Operator::V1_5,
        "spec/containers/*/env/*/valueFrom/fileKeyRef",
    ),
    since(
        Part::Pod,
        Operator::V1_5,
        "spec/initContainers/*/env/*/valueFrom/fileKeyRef",
    ),
    since(
        Part::Pod,
        Operator::V1_5,
        "spec/volumes/*/projected/sources/*/podCertificate",
    ),
    since(
        Part::Pod,
        Operator::V1_6,
        "spec/volumes/*/projected/sources/*/podCertificate/userAnnotations",
    ),
    Age {
        operators: Operators {
            since: Operator::V1_6,
            until: Operator::V1_6,
        },
        ..since(Part::Pod, Operator::V1_6, "spec/workloadRef")
    },
    since(Part::Pod, Operator::V1_7, "spec/schedulingGroup"),
];

const DELETION_POLICIES: &[&str] = &["DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone"];

/// That of a `RayCluster`'s upgrade strategy KubeRay looks at itself.
pub(super) const CHOICES: &[Choice] = &[
    Choice {
        part: Part::Cluster,
        place: "authOptions/mode",
        words: &["disabled", "token"],
    },
    Choice {
        part: Part::Cluster,
        place: "autoscalerOptions/upscalingMode",
        words: &["Default", "Aggressive", "Conservative"],
    },
    Choice {
        part: Part::Cluster,
        place: "autoscalerOptions/version",
        words: &["v1", "v2"],
    },
    Choice {
        part: Part::Cluster,
        place: "gcsFaultToleranceOptions/backend",
        words: &["redis", "rocksdb"],
    },
    Choice {
        part: Part::Cluster,
        place: "gcsFaultToleranceOptions/storage/deletionPolicy",
        words: &["DeleteWithCluster", "Retain"],
    },
    Choice {
        part: Part::Cluster,
        place: "headGroupSpec/ingressOptions/pathType",
        words: &["Exact", "Prefix", "ImplementationSpecific"],
    },
    Choice {
        part: Part::Cluster,
        place: "networkPolicy/mode",
        words: &["DenyAll", "DenyAllIngress", "DenyAllEgress"],
    },
    Choice {
        part: Part::ClusterTemplate,
        place: "upgradeStrategy/type",
        words: &["Recreate", "None"],
    },
    Choice {
        part: Part::Job,
        place: "deletionPolicy",
        words: DELETION_POLICIES,
    },
    Choice {
        part: Part::Job,
        place: "deletionStrategy/onSuccess/policy",
        words: DELETION_POLICIES,
    },
    Choice {
        part: Part::Job,
        place: "deletionStrategy/onFailure/policy",
        words: DELETION_POLICIES,
    },
    Choice {
        part: Part::Job,
        place: "deletionStrategy/deletionRules/*/policy",
        words: DELETION_POLICIES,
    },
    Choice {
        part: Part::Job,
        place: "deletionStrategy/deletionRules/*/condition/jobStatus",
        words: &["SUCCEEDED", "FAILED"],
    },
    Choice {
        part: Part::Job,
        place: "deletionStrategy/deletionRules/*/condition/jobDeploymentStatus",
        words: &["Failed"],
    },
];

const fn need(part: Part, place: &'static str, field: &'static str) -> Need {
    Need {
        part,
        place,
        field,
        operators: Operators::ALL,
        in_v1alpha1: false,
    }
}

/// What another rule says anyway, in better words, is left to that: a missing head, container, group name or schedule.
pub(super) const NEEDS: &[Need] = &[
    Need {
        operators: Operators::until(Operator::V1_6),
        ..need(Part::Cluster, "gcsFaultToleranceOptions", "redisAddress")
    },
    Need {
        in_v1alpha1: true,
        ..need(Part::Cluster, "headGroupSpec", "rayStartParams")
    },
    Need {
        in_v1alpha1: true,
        ..need(Part::Cluster, "workerGroupSpecs/*", "rayStartParams")
    },
    Need {
        in_v1alpha1: true,
        ..need(Part::Job, "", "entrypoint")
    },
    need(Part::Job, "deletionStrategy/deletionRules/*", "policy"),
    need(Part::Job, "deletionStrategy/deletionRules/*", "condition"),
    need(
        Part::Service,
        "upgradeStrategy/clusterUpgradeOptions",
        "stepSizePercent",
    ),
    need(
        Part::Service,
        "upgradeStrategy/clusterUpgradeOptions",
        "intervalSeconds",
    ),
    need(
        Part::Service,
        "upgradeStrategy/clusterUpgradeOptions",
        "gatewayClassName",
    ),
];

impl Part {
    /// Every place in an object that is such a part of it, and has something at `place`.
    pub(super) fn all(self, place: &str, subject: &Subject<'_>) -> Vec<Pointer> {
        let keys = place.split('/').filter(|key| !key.is_empty());
        keys.fold(self.bases(subject), |places, key| {
            places
                .into_iter()
                .flat_map(|place| inside(&place, key, subject.json))
                .collect()
        })
    }

    fn bases(self, Subject { object, .. }: &Subject<'_>) -> Vec<Pointer> {
        let template = |group: &dyn NodeGroup| group.path().key("template");
        match self {
            Part::ClusterTemplate if object.kind() == Kind::Cluster => Vec::new(),
            Part::Cluster | Part::ClusterTemplate => {
                object.clusters().map(|cluster| cluster.path.clone()).collect()
            }
            Part::Job => object.job().map(|job| job.path.clone()).into_iter().collect(),
            Part::Service => match &object.spec {
                Spec::Service(service) => vec![service.path.clone()],
                _ => Vec::new(),
            },
            Part::CronJob => match &object.spec {
                Spec::CronJob(cron_job) => vec![cron_job.path.clone()],
                _ => Vec::new(),
            },
            Part::Pod => {
                let of_groups = object.clusters().flat_map(ClusterSpec::groups).map(template);
                let of_job = object.job().map(|job| job.path.key("submitterPodTemplate"));
                of_groups.chain(of_job).collect()
            }
        }
    }
}

/// Where `key` leads from `place`; every item of a list where it is `*`.
fn inside(place: &Pointer, key: &str, json: &Value) -> Vec<Pointer> {
    match (place.resolve(json), key) {
        (Some(Value::Array(items)), "*") => (0..items.len()).map(|index| place.index(index)).collect(),
        (Some(Value::Object(fields)), key) if fields.get(key).is_some_and(|value| !value.is_null()) => {
            vec![place.key(key.to_owned())]
        }
        _ => Vec::new(),
    }
}
