//! What a cluster may ask for besides its nodes: fault tolerance of the GCS, authentication, TLS, a network policy and a history
//! server. Only what was written; which of it goes together is for the rules to say.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ResourceRequirements};
use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule};

use crate::path::Pointer;
use crate::read::Place;

/// Where the GCS keeps what it must not lose.
#[derive(Clone, Debug)]
pub struct FaultTolerance {
    /// Where it stands.
    pub path: Pointer,
    /// `redis`, which is also meant by nothing, or `rocksdb`.
    pub backend: Option<String>,
    /// Host and port of a Redis.
    pub redis_address: Option<String>,
    /// Whether a user of Redis is named, in whichever way.
    pub has_redis_username: bool,
    /// Whether a password for Redis is given, in whichever way.
    pub has_redis_password: bool,
    /// Keeps the clusters that share a Redis apart.
    pub external_storage_namespace: Option<String>,
    /// The volume under `rocksdb`.
    pub storage: Option<EmbeddedStorage>,
}

/// The volume of an embedded database.
#[derive(Clone, Debug)]
pub struct EmbeddedStorage {
    /// Where it stands.
    pub path: Pointer,
    /// A claim that is there already.
    pub claim_name: Option<String>,
    /// How large a claim to make.
    pub size: Option<String>,
    /// Of which class.
    pub storage_class_name: Option<String>,
    /// How it can be mounted.
    pub access_modes: Vec<String>,
    /// Whether the claim outlives the cluster.
    pub deletion_policy: Option<String>,
}

/// How callers of Ray prove who they are.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Where they stand.
    pub path: Pointer,
    /// `disabled` or `token`.
    pub mode: Option<String>,
    /// The Secret that holds the token.
    pub secret_name: Option<String>,
    /// Whether tokens of Kubernetes are taken.
    pub enable_k8s_token_auth: Option<bool>,
}

/// Encryption between the nodes.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Where they stand.
    pub path: Pointer,
    /// Whether it is on.
    pub enabled: Option<bool>,
}

/// Who may talk to whom.
#[derive(Clone, Debug)]
pub struct NetworkPolicy {
    /// Where it stands.
    pub path: Pointer,
    /// `DenyAll`, which is also meant by nothing, `DenyAllIngress` or `DenyAllEgress`.
    pub mode: Option<String>,
    /// Exceptions for the head.
    pub head: PolicyRules,
    /// Exceptions for all workers.
    pub worker: PolicyRules,
    /// Exceptions for single groups, by `groupName`.
    pub worker_groups: Vec<(String, PolicyRules)>,
}

/// Exceptions from a network policy.
#[derive(Clone, Debug)]
pub struct PolicyRules {
    /// Where they stand.
    pub path: Pointer,
    /// Who may come in.
    pub ingress: Vec<NetworkPolicyIngressRule>,
    /// Where they may go.
    pub egress: Vec<NetworkPolicyEgressRule>,
}

/// What collects a cluster's events for the history server.
#[derive(Clone, Debug)]
pub struct HistoryServer {
    /// Where it stands.
    pub path: Pointer,
    /// The sidecar that collects.
    pub collector: Option<Collector>,
}

/// A sidecar that collects events.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Where it stands.
    pub path: Pointer,
    /// Its image.
    pub image: Option<String>,
    /// Its environment.
    pub env: Vec<EnvVar>,
}

impl FaultTolerance {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            backend: place.text("backend"),
            redis_address: place.text("redisAddress"),
            has_redis_username: place.optional("redisUsername", read_credential).is_some(),
            has_redis_password: place.optional("redisPassword", read_credential).is_some(),
            external_storage_namespace: place.text("externalStorageNamespace"),
            storage: place.optional("storage", EmbeddedStorage::read),
        };
        place.no_other_fields();
        this
    }
}

/// A user or a password of Redis, read for its types only.
fn read_credential(place: &Place<'_>) {
    let _ = place.text("value");
    let _: EnvVarSource = place.typed("valueFrom");
    place.no_other_fields();
}

impl EmbeddedStorage {
    fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            claim_name: place.text("claimName"),
            size: place.quantity("size"),
            storage_class_name: place.text("storageClassName"),
            access_modes: place.texts("accessModes"),
            deletion_policy: place.text("deletionPolicy"),
        };
        let _ = place.text("subPath");
        place.no_other_fields();
        this
    }
}

impl AuthOptions {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            mode: place.text("mode"),
            secret_name: place.text("secretName"),
            enable_k8s_token_auth: place.flag("enableK8sTokenAuth"),
        };
        place.no_other_fields();
        this
    }
}

impl TlsOptions {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            enabled: place.flag("enabled"),
        };
        place.no_other_fields();
        this
    }
}

impl NetworkPolicy {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let group = |group: Place<'_>| {
            (
                group.text("groupName").unwrap_or_default(),
                PolicyRules::read(&group),
            )
        };
        let this = Self {
            path: place.path.clone(),
            mode: place.text("mode"),
            head: PolicyRules::read(&place.object("head")),
            worker: PolicyRules::read(&place.object("worker")),
            worker_groups: place.objects("workerGroups").map(group).collect(),
        };
        place.no_other_fields();
        this
    }
}

impl PolicyRules {
    fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            ingress: place.typed("ingressRules"),
            egress: place.typed("egressRules"),
        };
        place.no_other_fields();
        this
    }
}

impl HistoryServer {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let this = Self {
            path: place.path.clone(),
            collector: place.optional("collectorOptions", Collector::read),
        };
        place.no_other_fields();
        this
    }
}

impl Collector {
    fn read(place: &Place<'_>) -> Self {
        let _: ResourceRequirements = place.typed("resources");
        let this = Self {
            path: place.path.clone(),
            image: place.text("image"),
            env: place.typed("env"),
        };
        let _ = place.text("imagePullPolicy");
        place.no_other_fields();
        this
    }
}

/// The head's way in from outside, read for its types only.
pub(crate) fn read_ingress(place: &Place<'_>) {
    let _ = (place.text("host"), place.text("path"), place.text("pathType"));
    let _: Vec<k8s_openapi::api::networking::v1::IngressTLS> = place.typed("tls");
    place.no_other_fields();
}
