//! Changes of a RayCluster that runs, besides those of its list of groups.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;

use super::{at, clusters, condition, is_true, kept_groups, runs};
use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::pod::AutoscalerMode;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-T004",
        summary: "a change does not reach the pods that run",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay never compares a pod that runs with its template: old and new pods mix, and where the version of Ray \
            changed the new ones cannot join.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/memory: 4Gi, old: {}}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/memory: 4Gi, \
                /spec/upgradeStrategy: {type: Recreate}, old: {}}",
        },
        check: Check::Change(changes_reach_pods),
    },
    Rule {
        code: "RW-T007",
        summary: "autoscaling is switched on or off while the head runs",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "Ray's autoscaler is a container of the head, and a head that runs does not change: it neither comes nor goes, while \
            KubeRay deletes workers by the other rules from this moment on.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, old: {}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /metadata/annotations: {rayward.dev/autoscaler: central}, old: {}}",
        },
        check: Check::Change(autoscaling_stays),
    },
    Rule {
        code: "RW-T010",
        summary: "a cluster is to run again before it has stopped",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay finishes what it began: it deletes all pods, and with them all that runs in them, before it makes new ones.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/suspend: false, old: {/spec/suspend: true, /status/conditions: [{type: RayClusterSuspending, status: 'True'}]}}",
            passes: "{/spec/suspend: false, old: {/spec/suspend: true, /status/conditions: [{type: RayClusterSuspended, status: 'True'}]}}",
        },
        check: Check::Change(suspending_ends),
    },
    Rule {
        code: "RW-T011",
        summary: "a change does not reach the volume of the GCS",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay makes the claim once and never changes it; it records an event.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::EmbeddedStorage.on()),
        example: Example {
            fires: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {size: 2Gi}}, \
                old: {/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {size: 1Gi}}}}",
            passes: "{/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {size: 1Gi, deletionPolicy: Retain}}, \
                old: {/spec/gcsFaultToleranceOptions: {backend: rocksdb, storage: {size: 1Gi}}}}",
        },
        check: Check::Change(volume_stays),
    },
];

/// Whether a change makes all pods anew.
pub(super) fn is_replaced(cluster: &ClusterSpec) -> bool {
    cluster.upgrade_strategy.as_deref() == Some("Recreate")
}

fn changes_reach_pods(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    /// What pods are made of, in a group,
    const OF_GROUP: &[&str] = &["template", "rayStartParams", "resources", "labels"];
    /// in the whole cluster,
    const OF_CLUSTER: &[&str] = &[
        "rayVersion",
        "gcsFaultToleranceOptions",
        "authOptions",
        "tlsOptions",
    ];
    /// and in the autoscaler's container. The other options are read as they are by whoever scales.
    const OF_AUTOSCALER: &[&str] = &[
        "version",
        "image",
        "imagePullPolicy",
        "resources",
        "env",
        "envFrom",
        "volumeMounts",
        "securityContext",
        "command",
        "args",
    ];
    let Some((cluster, before)) = running(new, old).filter(|(new, _)| !is_replaced(new)) else {
        return;
    };
    let heads: (&dyn NodeGroup, &dyn NodeGroup) = (&cluster.head, &before.head);
    let workers = kept_groups(cluster, before).into_iter();
    let groups = workers.map(|(group, before)| (group as &dyn NodeGroup, before as &dyn NodeGroup));
    let places = std::iter::once(heads)
        .chain(groups)
        .map(|(group, before)| (group.path().clone(), before.path().clone(), OF_GROUP))
        .chain([
            (cluster.path.clone(), before.path.clone(), OF_CLUSTER),
            (
                cluster.path.key("autoscalerOptions"),
                before.path.key("autoscalerOptions"),
                OF_AUTOSCALER,
            ),
        ]);
    for (place, before, fields) in places {
        let (now, before) = (at(new, &place), at(old, &before));
        for field in fields.iter().filter(|field| now[**field] != before[**field]) {
            findings
                .at(place.key(*field))
                .problem("pods that run stay as they are; only new ones follow this change")
                .hint("delete the old pods when it suits you, or have all made anew by upgradeStrategy Recreate (KubeRay 1.6)");
        }
    }
}

/// Where we scale from outside the head nothing is in the way.
fn autoscaling_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((cluster, before)) = running(new, old).filter(|(new, _)| !is_replaced(new)) else {
        return;
    };
    let asked = new.object.metadata.annotations.get(keys::AUTOSCALER);
    let mode = asked
        .and_then(|mode| mode.parse().ok())
        .or(new.facts.autoscaler_mode);
    if cluster.is_autoscaled() == before.is_autoscaled() || mode == Some(AutoscalerMode::Central) {
        return;
    }
    let problem = if cluster.is_autoscaled() {
        "the head that runs gets no autoscaler, so nothing scales until it is made anew"
    } else {
        "the head that runs keeps its autoscaler, while KubeRay deletes workers of its own choice"
    };
    findings
        .at(cluster.path.key("enableInTreeAutoscaling"))
        .problem(problem)
        .hint("delete the head pod when it suits you, which ends what runs");
}

fn suspending_ends(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((cluster, before)) = clusters(new, old) else {
        return;
    };
    if runs(cluster) && !runs(before) && is_true(condition(old, "RayClusterSuspending")) {
        findings
            .at(cluster.path.key("suspend"))
            .problem("KubeRay is still deleting the pods, and finishes that first")
            .hint("wait for the condition RayClusterSuspended to see all pods gone");
    }
}

fn volume_stays(new: &Subject<'_>, old: &Subject<'_>, findings: &mut Findings) {
    let Some((cluster, before)) = running(new, old) else {
        return;
    };
    let place = |cluster: &ClusterSpec| cluster.path.key("gcsFaultToleranceOptions").key("storage");
    let (now, was) = (at(new, &place(cluster)), at(old, &place(before)));
    if now.is_null() || was.is_null() {
        return;
    }
    for field in ["size", "storageClassName", "accessModes"] {
        if now[field] != was[field] {
            findings
                .at(place(cluster).key(field))
                .problem("the volume that is there stays as it is")
                .hint("change the PersistentVolumeClaim itself, or make a new cluster");
        }
    }
}

/// The cluster as it is to become and as it was, where pods of it run all the while.
fn running<'a>(new: &Subject<'a>, old: &Subject<'a>) -> Option<(&'a ClusterSpec, &'a ClusterSpec)> {
    clusters(new, old).filter(|(new, old)| runs(new) && runs(old))
}
