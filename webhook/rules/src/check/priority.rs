//! Groups that grow before others. It takes a Ray that knows priorities, and its autoscaler v2.

use ray::cluster::{ClusterSpec, WorkerGroup};
use ray::object::Kind;
use ray::version::RayVersion;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_VERSION: &str = "Older versions of Ray know no priorities, so KubeRay insists on knowing the version. It records an event and \
    does nothing more for the object.";

/// The first version of Ray that knows priorities.
const RAY_SINCE: RayVersion = RayVersion::new(2, 56, 0);

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C015",
        summary: "a priority needs to know the version of Ray",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_VERSION,
        source: Source::KubeRay("validateWorkerGroupPriority"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: null}",
            passes: "{/spec/workerGroupSpecs/0/priority: 0, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: null}",
        },
        check: Check::Cluster(version_is_stated),
    },
    Rule {
        code: "RW-C016",
        summary: "a priority cannot read the version of Ray",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_VERSION,
        source: Source::KubeRay("validateWorkerGroupPriority"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: nightly}",
            passes: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: v2.60}",
        },
        check: Check::Cluster(version_is_readable),
    },
    Rule {
        code: "RW-C017",
        summary: "a priority needs a newer version of Ray",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_VERSION,
        source: Source::KubeRay("validateWorkerGroupPriority"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: 2.55.1}",
            passes: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true, /spec/rayVersion: 2.60.0rc0}",
        },
        check: Check::Cluster(version_is_recent),
    },
    Rule {
        code: "RW-C018",
        summary: "a priority needs autoscaler v2",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Autoscaler v1 knows no priorities. KubeRay records an event and does nothing more for the object.",
        source: Source::KubeRay("validateWorkerGroupPriority"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/priority: 1, /spec/enableInTreeAutoscaling: true}",
            passes: "{/spec/workerGroupSpecs/0/priority: 1, /spec/autoscalerOptions: {version: v2}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(autoscaler_is_v2),
    },
];

fn version_is_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.ray_version.is_none() {
        for group in with_priority(cluster) {
            findings
                .at(group.path.key("priority"))
                .problem(format!(
                    "priorities need Ray {RAY_SINCE}, and rayVersion is absent"
                ))
                .hint("state the version of Ray in the images as rayVersion");
        }
    }
}

fn version_is_readable(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let version = cluster.ray_version.as_ref();
    if let Some(error) = version.and_then(|version| version.parse::<RayVersion>().err()) {
        for group in with_priority(cluster) {
            findings
                .at(group.path.key("priority"))
                .problem(format!(
                    "priorities need Ray {RAY_SINCE}, and in rayVersion {error}"
                ))
                .hint("state the version of Ray in the images as rayVersion");
        }
    }
}

fn version_is_recent(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let version = cluster
        .ray_version
        .as_ref()
        .and_then(|version| version.parse::<RayVersion>().ok());
    if let Some(version) = version.filter(|version| *version < RAY_SINCE) {
        for group in with_priority(cluster) {
            findings
                .at(group.path.key("priority"))
                .problem(format!(
                    "priorities need Ray {RAY_SINCE}, and rayVersion is {version}"
                ))
                .hint("leave the priority out, or use a newer Ray");
        }
    }
}

fn autoscaler_is_v2(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.chooses_autoscaler_v2() {
        for group in with_priority(cluster) {
            findings
                .at(group.path.key("priority"))
                .problem("only autoscaler v2 knows priorities, and it is not chosen")
                .hint("set autoscalerOptions.version to v2");
        }
    }
}

/// Zero means none.
fn with_priority(cluster: &ClusterSpec) -> impl Iterator<Item = &WorkerGroup> {
    let groups = cluster.worker_groups.iter();
    groups.filter(|group| group.priority.is_some_and(|priority| priority != 0))
}
