//! A GCS that keeps its state in a database of its own, on a volume, so that it needs no Redis.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::object::Kind;
use ray::options::FaultTolerance;
use ray::path::Pointer;

use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_REDIS: &str = "It says something of a Redis, and this backend has none. KubeRay records an event and does nothing more for \
    the object.";
const WHY_MANAGED: &str = "KubeRay itself adds the volume to the head, and tells Ray of it. It records an event and does nothing more \
    for the object.";

/// What the operator calls the volume and where it mounts it.
const VOLUME: &str = "gcs-storage";
const MOUNT_PATH: &str = "/data/gcs";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C025",
        summary: "the embedded GCS storage is not switched on in KubeRay",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::EmbeddedStorage.off()),
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb}",
            passes: "/spec/gcsFaultToleranceOptions: {backend: redis, redisAddress: 'redis:6379'}",
        },
        check: Check::Cluster(embedded_storage_is_switched_on),
    },
    Rule {
        code: "RW-C026",
        summary: "the embedded GCS storage has the address of a Redis",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REDIS,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, redisAddress: 'redis:6379'}",
            passes: "/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379'}",
        },
        check: Check::Cluster(no_redis_address),
    },
    Rule {
        code: "RW-C027",
        summary: "the embedded GCS storage has a user of Redis",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REDIS,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, redisUsername: {value: ray}}",
            passes: "/spec/gcsFaultToleranceOptions: {backend: redis, redisUsername: {value: ray}}",
        },
        check: Check::Cluster(no_redis_username),
    },
    Rule {
        code: "RW-C028",
        summary: "the embedded GCS storage has a password of Redis",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REDIS,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, redisPassword: {value: secret}}",
            passes: "/spec/gcsFaultToleranceOptions: {backend: redis, redisPassword: {value: secret}}",
        },
        check: Check::Cluster(no_redis_password),
    },
    Rule {
        code: "RW-C029",
        summary: "the embedded GCS storage has a storage namespace",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REDIS,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, externalStorageNamespace: demo}",
            passes: "/spec/gcsFaultToleranceOptions: {backend: redis, externalStorageNamespace: demo}",
        },
        check: Check::Cluster(no_storage_namespace),
    },
    Rule {
        code: "RW-C030",
        summary: "a volume claim is both given and described",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "A claim that is there already has its size. KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::EmbeddedStorage.on()),
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {claimName: gcs, size: 2Gi}}",
            passes: "/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {claimName: gcs}}",
        },
        check: Check::Cluster(claim_is_given_or_described),
    },
    Rule {
        code: "RW-C031",
        summary: "a variable of the embedded GCS storage is set on the head",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_MANAGED,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, /spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_gcs_storage_path, value: /data}]}",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_gcs_storage_path, value: /data}]",
        },
        check: Check::Cluster(storage_variables_are_kuberays),
    },
    Rule {
        code: "RW-C032",
        summary: "something is mounted where the embedded GCS storage goes",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_MANAGED,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::EmbeddedStorage.on()),
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: data, mountPath: /data/gcs}], /spec/headGroupSpec/template/spec/volumes: [{name: data, emptyDir: {}}]}",
            passes: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: data, mountPath: /data}], /spec/headGroupSpec/template/spec/volumes: [{name: data, emptyDir: {}}]}",
        },
        check: Check::Cluster(storage_mount_is_kuberays),
    },
    Rule {
        code: "RW-C033",
        summary: "a volume of the head has the name of the embedded GCS storage",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_MANAGED,
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::EmbeddedStorage.on()),
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, /spec/headGroupSpec/template/spec/volumes: [{name: gcs-storage, emptyDir: {}}]}",
            passes: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb}, /spec/headGroupSpec/template/spec/volumes: [{name: storage, emptyDir: {}}]}",
        },
        check: Check::Cluster(storage_volume_is_kuberays),
    },
    Rule {
        code: "RW-C034",
        summary: "a GCS that uses Redis has a volume",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Only the embedded storage has a volume. KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("validateGcsFaultToleranceBackend"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379', storage: {size: 2Gi}}",
            passes: "/spec/gcsFaultToleranceOptions: {redisAddress: 'redis:6379', storage: null}",
        },
        check: Check::Cluster(redis_needs_no_volume),
    },
];

fn embedded(cluster: &ClusterSpec) -> Option<&FaultTolerance> {
    let options = cluster.fault_tolerance.as_ref();
    options.filter(|options| options.backend.as_deref() == Some("rocksdb"))
}

fn embedded_storage_is_switched_on(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = embedded(cluster) {
        findings
            .at(options.path.key("backend"))
            .problem(format!(
                "KubeRay takes `rocksdb` only where its gate {} is on",
                Gate::EmbeddedStorage
            ))
            .hint("switch the gate on in the operator, or use Redis");
    }
}

fn no_redis_address(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let given = |options: &FaultTolerance| {
        options
            .redis_address
            .as_ref()
            .is_some_and(|address| !address.is_empty())
    };
    not_of_redis(cluster, "redisAddress", given, findings);
}

fn no_redis_username(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    not_of_redis(
        cluster,
        "redisUsername",
        |options| options.has_redis_username,
        findings,
    );
}

fn no_redis_password(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    not_of_redis(
        cluster,
        "redisPassword",
        |options| options.has_redis_password,
        findings,
    );
}

fn no_storage_namespace(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let given = |options: &FaultTolerance| {
        let namespace = options.external_storage_namespace.as_ref();
        namespace.is_some_and(|namespace| !namespace.is_empty())
    };
    not_of_redis(cluster, "externalStorageNamespace", given, findings);
}

fn not_of_redis(
    cluster: &ClusterSpec,
    field: &'static str,
    given: impl Fn(&FaultTolerance) -> bool,
    findings: &mut Findings,
) {
    if let Some(options) = embedded(cluster).filter(|options| given(options)) {
        findings
            .at(options.path.key(field))
            .problem("this is about a Redis, and the backend is rocksdb")
            .hint("leave it out, or choose the backend redis");
    }
}

fn claim_is_given_or_described(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(storage) = embedded(cluster).and_then(|options| options.storage.as_ref()) else {
        return;
    };
    let Some(claim) = storage.claim_name.as_ref().filter(|claim| !claim.is_empty()) else {
        return;
    };
    let described = [
        ("size", storage.size.is_some()),
        ("storageClassName", storage.storage_class_name.is_some()),
        ("accessModes", !storage.access_modes.is_empty()),
    ];
    for (field, _) in described.into_iter().filter(|(_, given)| *given) {
        findings
            .at(storage.path.key(field))
            .problem(format!("the claim \"{claim}\" is to be used as it is"))
            .hint("leave this out, or claimName");
    }
}

fn storage_variables_are_kuberays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for variable in ["RAY_gcs_storage", "RAY_gcs_storage_path"] {
        let found = embedded(cluster).and_then(|_| cluster.head.env(variable));
        if let Some((path, _)) = found {
            managed(path, format!("KubeRay itself sets {variable}"), findings);
        }
    }
}

/// The path is compared letter by letter: one with a slash behind it passes.
fn storage_mount_is_kuberays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if embedded(cluster).is_none() {
        return;
    }
    for (path, mount) in cluster.head.volume_mounts() {
        if mount.mount_path == MOUNT_PATH {
            let path = path.key("mountPath");
            managed(
                path,
                format!("KubeRay itself mounts a volume at {MOUNT_PATH}"),
                findings,
            );
        } else if mount.name == VOLUME {
            let path = path.key("name");
            managed(
                path,
                format!("KubeRay itself mounts a volume called \"{VOLUME}\""),
                findings,
            );
        }
    }
}

fn storage_volume_is_kuberays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if embedded(cluster).is_none() {
        return;
    }
    let pod = cluster.head.template.spec.iter();
    let volumes = pod.flat_map(|pod| pod.volumes.iter().flatten()).enumerate();
    for (index, _) in volumes.filter(|(_, volume)| volume.name == VOLUME) {
        let path = cluster.head.pod_path().key("volumes").index(index).key("name");
        managed(
            path,
            format!("KubeRay itself adds a volume called \"{VOLUME}\""),
            findings,
        );
    }
}

fn managed(path: Pointer, problem: String, findings: &mut Findings) {
    findings
        .at(path)
        .problem(problem)
        .hint("leave it out; gcsFaultToleranceOptions.storage describes the volume");
}

fn redis_needs_no_volume(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if embedded(cluster).is_some() {
        return;
    }
    if let Some(storage) = cluster
        .fault_tolerance
        .as_ref()
        .and_then(|options| options.storage.as_ref())
    {
        findings
            .at(storage.path.clone())
            .problem("a volume is only of use to the backend rocksdb")
            .hint("leave it out, or choose that backend");
    }
}
