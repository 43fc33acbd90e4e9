//! Which of Ray's autoscalers a cluster gets, and what goes with it. Whether there is anything to scale is in `elasticity.rs`.

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::image::Image;
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::version::RayVersion;

use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_IDLE: &str = "KubeRay records an event and from then on does nothing for the cluster: pods that die are not replaced, and it \
    does not scale.";
const WHY_RESTART: &str = "Autoscaler v2 takes each container that starts for a new node. One that starts again in its pod is a node \
    that it never asked for, so KubeRay records an event and does nothing more for the object.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C013",
        summary: "the idle timeout of a group is negative",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_IDLE,
        source: Source::KubeRay("validateWorkerGroupIdleTimeout"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/idleTimeoutSeconds: -1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/idleTimeoutSeconds: 60, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Workers(idle_timeout_is_not_negative),
    },
    Rule {
        code: "RW-C014",
        summary: "a group has an idle timeout of its own without autoscaler v2",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Autoscaler v1 has one idle timeout for all groups. KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("validateWorkerGroupIdleTimeout"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/idleTimeoutSeconds: 60, /spec/autoscalerOptions: {version: v1}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/idleTimeoutSeconds: 60, /spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_enable_autoscaler_v2, value: 'true'}], /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(group_idle_timeout_has_v2),
    },
    Rule {
        code: "RW-C036",
        summary: "a suspended group where KubeRay cannot suspend groups",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: Some(Gate::DeletionPolicy.off()),
        example: Example {
            fires: "/spec/workerGroupSpecs/0/suspend: true",
            passes: "/spec/workerGroupSpecs/0/suspend: false",
        },
        check: Check::Workers(group_is_not_suspended),
    },
    Rule {
        code: "RW-C037",
        summary: "autoscaler v2 is chosen for a cluster that does not scale",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay starts no autoscaler for the cluster. It records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_enable_autoscaler_v2, value: 'true'}]",
            passes: "{/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_enable_autoscaler_v2, value: 'true'}], /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(v2_variable_has_autoscaling),
    },
    Rule {
        code: "RW-C038",
        summary: "a group of a cluster that scales is suspended",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Ray's autoscaler would go on to ask for its workers. KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/suspend: true, /spec/enableInTreeAutoscaling: true}",
            passes: "/spec/workerGroupSpecs/0/suspend: true",
        },
        check: Check::Cluster(scaling_groups_are_not_suspended),
    },
    Rule {
        code: "RW-C039",
        summary: "the autoscaler's version is said twice",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay sets the variable from the field, and of two values nobody could say which counts. It records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_enable_autoscaler_v2, value: 'true'}], /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(version_is_said_once),
    },
    Rule {
        code: "RW-C040",
        summary: "the head may restart under autoscaler v2",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_RESTART,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/template/spec/restartPolicy: Always, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/headGroupSpec/template/spec/restartPolicy: Never, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(head_never_restarts_under_v2),
    },
    Rule {
        code: "RW-C041",
        summary: "workers may restart under autoscaler v2",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_RESTART,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: OnFailure, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: OnFailure, /spec/autoscalerOptions: {version: v2}}",
        },
        check: Check::Cluster(workers_never_restart_under_v2),
    },
    Rule {
        code: "RW-C042",
        summary: "the idle timeout of the cluster is negative",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_IDLE,
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/spec/autoscalerOptions: {idleTimeoutSeconds: -1}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/autoscalerOptions: {idleTimeoutSeconds: 60}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(cluster_idle_timeout_is_not_negative),
    },
    Rule {
        code: "RW-C043",
        summary: "the autoscaler's start command is overwritten",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay puts the generated command into this variable, for `args` to refer to. It records an event and does nothing more for the object.",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/autoscalerOptions: {env: [{name: KUBERAY_GEN_AUTOSCALER_START_CMD, value: 'true'}]}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/autoscalerOptions: {env: [{name: START_CMD, value: 'true'}]}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(start_command_is_kuberays),
    },
    Rule {
        code: "RW-U004",
        summary: "workers may restart under autoscaler v1",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "A worker that restarts in its pod is a node that autoscaler v1 never asked for. KubeRay only warns, in an event.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: Always, /spec/autoscalerOptions: {version: v1}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: Never, /spec/autoscalerOptions: {version: v1}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(workers_never_restart_under_v1),
    },
    Rule {
        code: "RW-G028",
        summary: "containers may restart under an autoscaler v2 that nobody chose",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "From 2.47 on Ray takes autoscaler v2 where nothing is said, which takes each container that starts for a new node. KubeRay sees to it that containers never restart only where the version is said.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: Always, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/restartPolicy: Always, /spec/rayVersion: 2.46.0, /spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/containers/0/image: 'rayproject/ray:2.46.0', /spec/workerGroupSpecs/0/template/spec/containers/0/image: 'rayproject/ray:2.46.0', /spec/workerGroupSpecs/1/template/spec/containers/0/image: 'rayproject/ray:2.46.0'}",
        },
        check: Check::Cluster(nobody_restarts_under_implicit_v2),
    },
];

fn idle_timeout_is_not_negative(group: &WorkerGroup, findings: &mut Findings) {
    seconds_are_not_negative(&group.path, group.idle_timeout_seconds, findings);
}

fn cluster_idle_timeout_is_not_negative(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = &cluster.autoscaler_options {
        seconds_are_not_negative(&options.path, options.idle_timeout_seconds, findings);
    }
}

fn seconds_are_not_negative(place: &Pointer, seconds: Option<i32>, findings: &mut Findings) {
    if let Some(seconds) = seconds.filter(|seconds| *seconds < 0) {
        findings
            .at(place.key("idleTimeoutSeconds"))
            .problem(format!("a worker cannot idle for {seconds} seconds"))
            .hint("use the number of seconds after which an idle worker may go, such as 60");
    }
}

fn group_idle_timeout_has_v2(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.chooses_autoscaler_v2() {
        return;
    }
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| group.idle_timeout_seconds.is_some()) {
        findings
            .at(group.path.key("idleTimeoutSeconds"))
            .problem("only autoscaler v2 has a timeout for each group, and it is not chosen")
            .hint(
                "set autoscalerOptions.version to v2, or autoscalerOptions.idleTimeoutSeconds for all groups",
            );
    }
}

fn group_is_not_suspended(group: &WorkerGroup, findings: &mut Findings) {
    if group.suspend == Some(true) {
        findings
            .at(group.path.key("suspend"))
            .problem(format!(
                "KubeRay suspends groups only where its gate {} is on",
                Gate::DeletionPolicy
            ))
            .hint("leave it out, or switch the gate on in the operator");
    }
}

fn scaling_groups_are_not_suspended(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.is_autoscaled() {
        return;
    }
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| group.suspend == Some(true)) {
        findings
            .at(group.path.key("suspend"))
            .problem("a group cannot be suspended while the cluster is autoscaled")
            .hint("leave it out, and set maxReplicas to 0 to have no workers");
    }
}

fn v2_variable_has_autoscaling(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.is_autoscaled() || !cluster.env_enables_autoscaler_v2() {
        return;
    }
    if let Some((path, _)) = cluster.head.env(keys::ENV_ENABLE_AUTOSCALER_V2) {
        findings
            .at(path)
            .problem("autoscaler v2 is chosen, but the cluster is not autoscaled")
            .hint("set enableInTreeAutoscaling to true, or leave the variable out");
    }
}

fn version_is_said_once(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.is_autoscaled() {
        return;
    }
    let Some(version) = cluster.autoscaler_version() else {
        return;
    };
    if let Some((path, _)) = cluster.head.env(keys::ENV_ENABLE_AUTOSCALER_V2) {
        findings
            .at(path)
            .problem(format!("autoscalerOptions.version says {version} already"))
            .hint("leave the variable out");
    }
}

fn head_never_restarts_under_v2(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.is_autoscaled() && cluster.autoscaler_version() == Some("v2") {
        never_restarts(&cluster.head, "autoscaler v2", findings);
    }
}

fn workers_never_restart_under_v2(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.is_autoscaled() && cluster.autoscaler_version() == Some("v2") {
        for group in &cluster.worker_groups {
            never_restarts(group, "autoscaler v2", findings);
        }
    }
}

fn workers_never_restart_under_v1(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.is_autoscaled() && cluster.autoscaler_version() == Some("v1") {
        for group in &cluster.worker_groups {
            never_restarts(group, "autoscaler v1", findings);
        }
    }
}

/// What the templates leave out Kubernetes fills in with `Always`; of that only the audit log hears, since it is in most manifests.
fn nobody_restarts_under_implicit_v2(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let implicit = cluster.is_autoscaled() && cluster.autoscaler_version().is_none();
    if !implicit || !ray_takes_v2(cluster, subject) {
        return;
    }
    for group in cluster.groups() {
        never_restarts(
            group,
            "autoscaler v2, which Ray takes where nothing is said,",
            findings,
        );
    }
    if cluster.groups().any(|group| restart_policy(group).is_none()) {
        findings
            .at(cluster.path.key("autoscalerOptions").key("version"))
            .only(Action::Audit)
            .problem("Ray takes autoscaler v2 here, and KubeRay lets containers restart under it")
            .hint("say v2, and KubeRay sets restartPolicy to Never");
    }
}

/// Whether Ray would take autoscaler v2 where the field says nothing.
fn ray_takes_v2(cluster: &ClusterSpec, subject: &Subject<'_>) -> bool {
    const DEFAULT_SINCE: RayVersion = RayVersion::new(2, 47, 0);
    if cluster.head.env(keys::ENV_ENABLE_AUTOSCALER_V2).is_some() {
        return cluster.env_enables_autoscaler_v2();
    }
    let held = || {
        let image = cluster.head.ray_container()?.image.as_ref()?;
        subject.facts.ray_version(&Image::parse(image))
    };
    let stated = cluster.ray_version.as_ref().map(|version| version.parse().ok());
    stated
        .unwrap_or_else(held)
        .is_some_and(|version| version >= DEFAULT_SINCE)
}

fn never_restarts(group: &dyn NodeGroup, under: &str, findings: &mut Findings) {
    if let Some(policy) = restart_policy(group).filter(|policy| *policy != "Never") {
        findings
            .at(group.pod_path().key("restartPolicy"))
            .problem(format!(
                "{policy} lets a node restart in its pod, which {under} cannot follow"
            ))
            .hint("use Never");
    }
}

fn restart_policy(group: &dyn NodeGroup) -> Option<&str> {
    let policy = group.template().spec.as_ref()?.restart_policy.as_deref();
    policy.filter(|policy| !policy.is_empty())
}

fn start_command_is_kuberays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    const START_COMMAND: &str = "KUBERAY_GEN_AUTOSCALER_START_CMD";
    let Some(options) = &cluster.autoscaler_options else {
        return;
    };
    if let Some(index) = options
        .env
        .iter()
        .position(|variable| variable.name == START_COMMAND)
    {
        findings
            .at(options.path.key("env").index(index))
            .problem(format!("KubeRay itself sets {START_COMMAND}"))
            .hint("leave it out");
    }
}
