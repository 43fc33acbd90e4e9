//! Encryption between the nodes. KubeRay hands every node its certificate, by variables and a volume that are then not the author's.

use k8s_openapi::api::core::v1::{EnvVar, VolumeMount};
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::object::Kind;
use ray::options::TlsOptions;
use ray::path::Pointer;

use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const VARIABLES: [&str; 4] = [
    "RAY_USE_TLS",
    "RAY_TLS_SERVER_CERT",
    "RAY_TLS_SERVER_KEY",
    "RAY_TLS_CA_CERT",
];
const VOLUME: &str = "ray-tls";
const MOUNT_PATH: &str = "/etc/ray/tls";

const ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "KubeRay records an event and does nothing more for the object.",
    source: Source::KubeRay("validateTLSOptions"),
    operators: Operators::since(Operator::V1_7),
    gate: None,
    example: Example {
        fires: "",
        passes: "",
    },
    check: Check::Reading,
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C070",
        summary: "tlsOptions while their feature gate is off",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        gate: Some(Gate::Mtls.off()),
        example: Example {
            fires: "/spec/tlsOptions: {enabled: false}",
            passes: "/spec/tlsOptions: null",
        },
        check: Check::Cluster(gate_is_on),
        ..ROW
    },
    Rule {
        code: "RW-C071",
        summary: "the head's environment is told of TLS besides tlsOptions",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_USE_TLS, value: '1'}]}",
            passes: "{/spec/tlsOptions: {enabled: false}, /spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_USE_TLS, value: '1'}]}",
        },
        check: Check::Cluster(head_variables_are_free),
        ..ROW
    },
    Rule {
        code: "RW-C072",
        summary: "the head mounts something in the place of its certificate",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/headGroupSpec/template/spec/volumes: [{name: own, emptyDir: {}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: own, mountPath: /etc/ray/tls}]}",
            passes: "{/spec/tlsOptions: {enabled: true}, /spec/headGroupSpec/template/spec/volumes: [{name: own, emptyDir: {}}], \
                /spec/headGroupSpec/template/spec/containers/0/volumeMounts: [{name: own, mountPath: /etc/ray/own}]}",
        },
        check: Check::Cluster(head_mounts_are_free),
        ..ROW
    },
    Rule {
        code: "RW-C073",
        summary: "a worker's environment is told of TLS besides tlsOptions",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/1/template/spec/containers/0/env: [{name: RAY_TLS_CA_CERT}]}",
            passes: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/1/template/spec/containers/0/env: [{name: TLS_CA_CERT}]}",
        },
        check: Check::Cluster(worker_variables_are_free),
        ..ROW
    },
    Rule {
        code: "RW-C074",
        summary: "a worker mounts something in the place of its certificate",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/0/template/spec/volumes: [{name: ray-tls, emptyDir: {}}], \
                /spec/workerGroupSpecs/0/template/spec/containers/0/volumeMounts: [{name: ray-tls, mountPath: /certs}]}",
            passes: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/0/template/spec/volumes: [{name: tls, emptyDir: {}}], \
                /spec/workerGroupSpecs/0/template/spec/containers/0/volumeMounts: [{name: tls, mountPath: /certs}]}",
        },
        check: Check::Cluster(worker_mounts_are_free),
        ..ROW
    },
    Rule {
        code: "RW-C075",
        summary: "the autoscaler's environment is told of TLS besides tlsOptions",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/autoscalerOptions: {env: [{name: RAY_USE_TLS, value: '0'}]}}",
            passes: "/spec/autoscalerOptions: {env: [{name: RAY_USE_TLS, value: '0'}]}",
        },
        check: Check::Cluster(autoscaler_variables_are_free),
        ..ROW
    },
    Rule {
        code: "RW-C076",
        summary: "the autoscaler mounts something in the place of its certificate",
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/autoscalerOptions: {volumeMounts: [{name: ray-logs, mountPath: /etc/ray/tls}]}}",
            passes: "{/spec/tlsOptions: {enabled: true}, /spec/autoscalerOptions: {volumeMounts: [{name: ray-logs, mountPath: /etc/ray/logs}]}}",
        },
        check: Check::Cluster(autoscaler_mounts_are_free),
        ..ROW
    },
    Rule {
        code: "RW-U003",
        summary: "TLS needs cert-manager",
        action: Action::Warn,
        why: "KubeRay asks cert-manager for the certificates. Where that was not installed when the operator started, it records an \
            event and does nothing more for the object.",
        source: Source::KubeRay("RayClusterReconciler.rayClusterReconcile"),
        example: Example {
            fires: "/spec/tlsOptions: {enabled: true}",
            passes: "/spec/tlsOptions: {enabled: false}",
        },
        check: Check::Cluster(cert_manager_is_needed),
        ..ROW
    },
    Rule {
        code: "RW-G030",
        summary: "TLS with an image that may lack openssl",
        action: Action::Warn,
        why: "KubeRay adds a container of the same image that waits for the certificate by means of openssl, and ends in an error \
            without.",
        source: Source::Hole,
        example: Example {
            fires: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/0/template/spec/containers/0/image: example.org/slim:1}",
            passes: "{/spec/tlsOptions: {enabled: true}, /spec/workerGroupSpecs/0/template/spec/containers/0/image: example.org/rayproject/ray:2.60.0}",
        },
        check: Check::Cluster(images_have_openssl),
        ..ROW
    },
];

fn gate_is_on(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(tls) = &cluster.tls {
        findings
            .at(tls.path.clone())
            .problem(format!("the operator's feature gate {} is off", Gate::Mtls))
            .hint("switch it on, or leave tlsOptions out");
    }
}

fn head_variables_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if enabled(cluster).is_some() {
        ray_variables_are_free(&cluster.head, findings);
    }
}

fn head_mounts_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if enabled(cluster).is_some() {
        mounts_are_free(cluster.head.volume_mounts(), findings);
    }
}

fn worker_variables_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if enabled(cluster).is_some() {
        for group in &cluster.worker_groups {
            ray_variables_are_free(group, findings);
        }
    }
}

fn worker_mounts_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if enabled(cluster).is_some() {
        for group in &cluster.worker_groups {
            mounts_are_free(group.volume_mounts(), findings);
        }
    }
}

fn autoscaler_variables_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = enabled(cluster).and(cluster.autoscaler_options.as_ref()) {
        variables_are_free(&options.path.key("env"), &options.env, findings);
    }
}

fn autoscaler_mounts_are_free(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = enabled(cluster).and(cluster.autoscaler_options.as_ref()) {
        let place = options.path.key("volumeMounts");
        let mounts = options.volume_mounts.iter().enumerate();
        mounts_are_free(mounts.map(|(index, mount)| (place.index(index), mount)), findings);
    }
}

fn ray_variables_are_free(group: &dyn NodeGroup, findings: &mut Findings) {
    let variables = group
        .ray_container()
        .and_then(|container| container.env.as_deref());
    variables_are_free(
        &group.ray_container_path().key("env"),
        variables.unwrap_or_default(),
        findings,
    );
}

fn variables_are_free(place: &Pointer, variables: &[EnvVar], findings: &mut Findings) {
    for (index, variable) in variables.iter().enumerate() {
        if VARIABLES.contains(&variable.name.as_str()) {
            findings
                .at(place.index(index))
                .problem(format!(
                    "KubeRay sets {} itself where tlsOptions are enabled",
                    variable.name
                ))
                .hint("leave it out");
        }
    }
}

/// Paths are compared as they are written, which is how KubeRay does it.
fn mounts_are_free<'m>(mounts: impl Iterator<Item = (Pointer, &'m VolumeMount)>, findings: &mut Findings) {
    for (path, mount) in mounts {
        if mount.name == VOLUME || mount.mount_path == MOUNT_PATH {
            findings
                .at(path)
                .problem(format!(
                    "KubeRay mounts the volume {VOLUME} at {MOUNT_PATH} itself where tlsOptions are enabled"
                ))
                .hint("use another volume and another path");
        }
    }
}

fn cert_manager_is_needed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(tls) = enabled(cluster) {
        findings
            .at(tls.path.key("enabled"))
            .problem(
                "KubeRay makes nothing of this unless cert-manager was there before the operator started",
            )
            .hint("install cert-manager, and start the operator again if it came first");
    }
}

fn images_have_openssl(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if enabled(cluster).is_none() {
        return;
    }
    for group in cluster.groups() {
        let image = group
            .ray_container()
            .and_then(|container| container.image.as_deref());
        let Some(image) = image.filter(|image| !image.is_empty()).map(Image::parse) else {
            continue;
        };
        if !image.is_from_ray_project() && image.repository != subject.facts.image_repository {
            findings
                .at(group.ray_container_path().key("image"))
                .problem(
                    "nodes wait for their certificates by means of openssl, which this image may not have",
                )
                .hint("make sure that it has, or begin it from one of rayproject/ray");
        }
    }
}

fn enabled(cluster: &ClusterSpec) -> Option<&TlsOptions> {
    cluster.tls.as_ref().filter(|tls| tls.enabled == Some(true))
}
