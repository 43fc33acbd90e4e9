//! Which of our rules answers to which of KubeRay's words, and where we knowingly say something else.

use std::collections::BTreeSet;

use rules::Operator;

use crate::compare::Kind;
use crate::oracle::Oracle;

/// A part of a message -> the rules of which one has to say the same. The first row that fits counts. What the schema refuses before the
/// operator can is not here.
const ANSWERS: &[(&str, &[&str])] = &[
    ("RayCluster name should be no more than", &["RW-M001"]),
    ("RayCluster name should be a valid DNS1035", &["RW-M002"]),
    ("RayJob name should be no more than", &["RW-M003"]),
    ("RayJob name should be a valid DNS1035", &["RW-M004"]),
    ("RayService name should be no more than", &["RW-M005"]),
    ("RayService name should be a valid DNS1035", &["RW-M006"]),
    ("RayService annotations is invalid", &["RW-M007"]),
    ("worker group names must be unique", &["RW-M009"]),
    ("headGroupSpec should have at least one container", &["RW-C001"]),
    (
        "rayStartParams and Resources for Head group",
        &["RW-C002", "RW-C010"],
    ),
    (
        "rayStartParams['labels'] is not supported for Head group",
        &["RW-C003", "RW-C011"],
    ),
    ("for Head group: '", &["RW-C004", "RW-C012"]),
    ("in Head group: '", &["RW-C004", "RW-C012"]),
    ("workerGroupSpec should have at least one container", &["RW-C005"]),
    ("has negative minReplicas", &["RW-C007"]),
    ("has negative maxReplicas", &["RW-C008"]),
    ("greater than maxReplicas", &["RW-C009"]),
    ("rayStartParams and Resources for", &["RW-C010"]),
    ("rayStartParams['labels'] is not supported for", &["RW-C011"]),
    ("invalid label key for", &["RW-C012"]),
    ("invalid label value for", &["RW-C012"]),
    (
        "autoscalerOptions.idleTimeoutSeconds must be non-negative",
        &["RW-C042"],
    ),
    ("idleTimeoutSeconds must be non-negative", &["RW-C013"]),
    (
        "idleTimeoutSeconds is set, but autoscaler v2 is not enabled",
        &["RW-C014"],
    ),
    (
        "annotation and GcsFaultToleranceOptions are both set",
        &["RW-C019"],
    ),
    ("implicitly enables GCS fault tolerance", &["RW-C020"]),
    ("cannot set `redis-password` in rayStartParams", &["RW-C021"]),
    ("cannot set `REDIS_PASSWORD` env var", &["RW-C022"]),
    ("cannot set `RAY_REDIS_ADDRESS` env var", &["RW-C023"]),
    (
        "cannot set `ray.io/external-storage-namespace` annotation",
        &["RW-C024"],
    ),
    ("cannot set redis username", &["RW-C035"]),
    (
        "can be suspended only when the RayJobDeletionPolicy",
        &["RW-C036"],
    ),
    ("when enableInTreeAutoscaling is false", &["RW-C037"]),
    ("cannot be suspended with Autoscaler enabled", &["RW-C038"]),
    (
        "both .spec.autoscalerOptions.version and head Pod env var",
        &["RW-C039"],
    ),
    (
        "restartPolicy for head Pod should be Never or unset when using autoscaler V2",
        &["RW-C040"],
    ),
    ("restartPolicy for worker group", &["RW-C041"]),
    (
        "authOptions.mode is 'token' but RayVersion was not specified",
        &["RW-C055"],
    ),
    (
        "authOptions.mode is 'token' but RayVersion format is invalid",
        &["RW-C056"],
    ),
    (
        "authOptions.mode is 'token' but minimum Ray version",
        &["RW-C057"],
    ),
    (
        "authOptions.enableK8sTokenAuth is enabled but minimum Ray version",
        &["RW-C058"],
    ),
    ("authOptions.secretName is also set", &["RW-C059"]),
    ("but authOptions.mode not set to 'token'", &["RW-C060"]),
    (
        "upgradeStrategy cannot be set when RayCluster is created by",
        &["RW-U002"],
    ),
    (
        "RayClusterSuspended conditions should not be both true",
        &["RW-U005"],
    ),
    ("set to false is not allowed to be suspended", &["RW-J001"]),
    (
        "TTLSecondsAfterFinished must be a non-negative integer",
        &["RW-J002"],
    ),
    ("set to false cannot have TTLSecondsAfterFinished", &["RW-J003"]),
    ("must be enabled to use DeletionStrategy", &["RW-J004"]),
    ("must be enabled to use the DeletionPolicy feature", &["RW-J004"]),
    (
        "the ClusterSelector mode doesn't support DeletionPolicy=",
        &["RW-J011"],
    ),
    (
        "DeletionPolicy=DeleteWorkers currently does not support",
        &["RW-J013"],
    ),
    (
        "deletionStrategy.deletionRules are mutually exclusive",
        &["RW-J005"],
    ),
    ("DeletionStrategy.OnSuccess cannot be unset", &["RW-J009"]),
    ("DeletionStrategy.OnFailure cannot be unset", &["RW-J010"]),
    (" on success", &["RW-J011"]),
    (" on failure", &["RW-J012"]),
    (
        "DeletionStrategy=DeleteWorkers currently does not support",
        &["RW-J013"],
    ),
    ("while deletion policy is 'DeleteNone'", &["RW-J014"]),
    ("not supported when ClusterSelector is set", &["RW-J017"]),
    ("not supported with autoscaling enabled", &["RW-J018"]),
    ("duplicate rule for DeletionPolicyType", &["RW-J019"]),
    (") must be >= ", &["RW-J020"]),
    (
        "the ClusterSelector mode doesn't support the suspend operation",
        &["RW-J021"],
    ),
    (
        "one of RayClusterSpec or ClusterSelector must be set",
        &["RW-J022"],
    ),
    (
        "cluster name in ClusterSelector should not be empty",
        &["RW-J023"],
    ),
    ("ClusterSelector is not supported in SidecarMode", &["RW-J024"]),
    (
        "BackoffLimit is incompatible with ClusterSelector mode",
        &["RW-J025"],
    ),
    ("BackoffLimit is incompatible with InteractiveMode", &["RW-J026"]),
    ("SidecarMode doesn't support SubmitterPodTemplate", &["RW-J027"]),
    ("SidecarMode doesn't support SubmitterConfig", &["RW-J028"]),
    ("should be Never or unset when using SidecarMode", &["RW-J029"]),
    ("not supported for RayJob", &["RW-J030"]),
    ("failed to unmarshal RuntimeEnvYAML", &["RW-J032"]),
    ("activeDeadlineSeconds must be a positive integer", &["RW-J033"]),
    ("backoffLimit must be a positive integer", &["RW-J035"]),
    ("JobDeploymentStatus cannot be `Waiting`", &["RW-J036"]),
    ("not supported for RayService", &["RW-S001"]),
    (
        "headGroupSpec.headService.metadata.name should not be set",
        &["RW-S003"],
    ),
    ("Spec.UpgradeStrategy.Type value", &["RW-S004"]),
    (
        "Ray Autoscaler is required for NewClusterWithIncrementalUpgrade",
        &["RW-S006"],
    ),
    ("ClusterUpgradeOptions are required", &["RW-S007"]),
    ("maxSurgePercent must be between", &["RW-S008"]),
    ("stepSizePercent must be between", &["RW-S009"]),
    ("intervalSeconds must be greater than 0", &["RW-S011"]),
    ("gatewayClassName is required", &["RW-S012"]),
    ("invalid cron schedule", &["RW-K003"]),
    // Here it falls over.
    ("slice bounds out of range", &["RW-G063"]),
    ("invalid memory address or nil pointer", &["RW-G066"]),
];

/// A disagreement that stays, and why.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) kind: Kind,
    /// The part of KubeRay's message, or our code.
    pub(crate) what: &'static str,
    /// In the versions where it is so.
    pub(crate) operators: &'static [Operator],
    pub(crate) reason: &'static str,
}

/// Parts of [`ANSWERS`] that no object brings about.
pub(crate) fn never_heard(heard: &BTreeSet<&str>) -> Vec<&'static str> {
    ANSWERS
        .iter()
        .map(|(part, _)| *part)
        .filter(|part| !heard.contains(part))
        .collect()
}

/// The same as in `docs/parity.md`.
pub(crate) const KEPT: &[Kept] = &[Kept {
    kind: Kind::Milder,
    what: "RayClusterSuspended conditions should not be both true",
    operators: &Oracle::OPERATORS,
    reason: "the status is the operator's own, and no write of a user's may fail for it",
}];

/// What a refusal by KubeRay says, a part for each rule that must say it too: the part of the message that we know, and the rules; nothing
/// for words that we do not know.
pub fn answers(refusal: &str) -> Vec<Option<(&'static str, &'static [&'static str])>> {
    // KubeRay reports the rules of a deletion strategy all at once, and nothing else.
    let together = ["deletionRules[", " TTL ("]
        .iter()
        .any(|part| refusal.contains(part));
    let parts: Vec<&str> = if together {
        refusal.lines().collect()
    } else {
        vec![refusal]
    };
    let row = |part: &str| ANSWERS.iter().find(|(known, _)| part.contains(known)).copied();
    parts.into_iter().map(row).collect()
}
