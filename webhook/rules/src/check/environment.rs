//! Environment variables: names that are none, variables that are given twice, and those that KubeRay sets itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_REFUSED: &str =
    "The API server refuses every such pod, one attempt after the other; nothing is ever started.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G032",
        summary: "a variable is set that KubeRay sets itself",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay appends its own without looking, and the last of two wins; what the author wrote has no effect, or in the \
            autoscaler's container it has one that nobody expects.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_CLUSTER_NAME, value: mine}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: RAY_ADDRESS, value: '127.0.0.1:6379'}]",
        },
        check: Check::Cluster(variables_are_not_kuberays),
    },
    Rule {
        code: "RW-P020",
        summary: "the name of a variable can be none",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A=B, value: c}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A.B, value: c}]",
        },
        check: Check::Cluster(names_are_names),
    },
    Rule {
        code: "RW-P021",
        summary: "a variable is given twice",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The schema of the CRDs takes each name once, so the API server does not accept the object.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A, value: b}, {name: A, value: c}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A, value: b}, {name: a, value: c}]",
        },
        check: Check::Cluster(variables_are_given_once),
    },
    Rule {
        code: "RW-P022",
        summary: "a variable has both a value and a source of one",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_REFUSED,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/env: [{name: A, value: '', valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
        },
        check: Check::Cluster(values_have_one_source),
    },
];

/// Set in the container that runs Ray, whether it is there already or not (KubeRay `common/pod.go`).
const OF_RAY: [&str; 5] = [
    "RAY_CLUSTER_NAME",
    "RAY_CLUSTER_NAMESPACE",
    keys::ENV_CLOUD_INSTANCE_ID,
    keys::ENV_NODE_TYPE_NAME,
    keys::ENV_START_COMMAND,
];
/// Set in workers besides.
const OF_WORKERS: [&str; 2] = ["FQ_RAY_IP", "RAY_IP"];
/// Set in the head besides.
const OF_HEAD: [&str; 1] = ["RAY_USAGE_STATS_EXTRA_TAGS"];
/// Set in the autoscaler before what its author adds.
const OF_AUTOSCALER: [&str; 4] = [
    "RAY_CLUSTER_NAME",
    "RAY_CLUSTER_NAMESPACE",
    "RAY_HEAD_POD_NAME",
    "KUBERAY_CRD_VER",
];

fn variables_are_not_kuberays(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for (index, group) in cluster.groups().enumerate() {
        let besides = if index == 0 { &OF_HEAD[..] } else { &OF_WORKERS };
        let variables = group.ray_container().and_then(|ray| ray.env.as_ref());
        for (index, variable) in variables.into_iter().flatten().enumerate() {
            let name = variable.name.as_str();
            if OF_RAY.contains(&name) || besides.contains(&name) {
                findings
                    .at(group.ray_container_path().key("env").index(index))
                    .problem(format!(
                        "KubeRay sets {name} itself, after this one, so this has no effect"
                    ))
                    .hint("leave it out");
            }
        }
    }
    for (index, variable) in autoscaler_env(cluster).iter().enumerate() {
        if OF_AUTOSCALER.contains(&variable.name.as_str()) {
            findings
                .at(autoscaler_path(cluster).index(index))
                .problem(format!(
                    "{} takes the place of what KubeRay tells the autoscaler",
                    variable.name
                ))
                .hint("leave it out");
        }
    }
}

/// Kubernetes 1.32 and newer take every printable character but the equals sign.
fn names_are_names(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let relaxed = subject.facts.kubernetes.is_some_and(|version| version >= (1, 32));
    for (place, variables) in environments(cluster) {
        for (index, variable) in variables.iter().enumerate() {
            let name = variable.name.as_str();
            if is_identifier(name) || (relaxed && is_printable(name)) {
                continue;
            }
            let draft = findings
                .at(place.index(index).key("name"))
                .problem(format!("\"{name}\" cannot be the name of a variable"));
            let hint = "use letters, digits, underscores, hyphens and dots, and no digit at the beginning";
            if is_printable(name) {
                draft
                    .only(Action::Warn)
                    .hint(format!("{hint}; Kubernetes before 1.32 refuses it"));
            } else {
                draft.hint(hint);
            }
        }
    }
}

fn variables_are_given_once(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for (place, variables) in environments(cluster) {
        let mut given = BTreeMap::new();
        for (index, variable) in variables.iter().enumerate() {
            if let Some(earlier) = given.insert(variable.name.as_str(), index) {
                findings
                    .at(place.index(index).key("name"))
                    .problem(format!("{} is also given at index {earlier}", variable.name))
                    .hint("leave one of them out");
            }
        }
    }
}

fn values_have_one_source(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    for (place, variables) in environments(cluster) {
        for (index, variable) in variables.iter().enumerate() {
            let has_value = variable.value.as_deref().is_some_and(|value| !value.is_empty());
            if has_value && variable.value_from.is_some() {
                findings
                    .at(place.index(index).key("valueFrom"))
                    .problem(format!("{} has a value already", variable.name))
                    .hint("leave out one of value and valueFrom");
            }
        }
    }
}

/// Every list of variables, and where it stands.
fn environments(cluster: &ClusterSpec) -> impl Iterator<Item = (Pointer, &[EnvVar])> {
    let of_pods = cluster.groups().flat_map(NodeGroup::containers);
    let of_pods =
        of_pods.filter_map(|(place, container)| Some((place.key("env"), container.env.as_deref()?)));
    of_pods.chain(std::iter::once((
        autoscaler_path(cluster),
        autoscaler_env(cluster),
    )))
}

fn autoscaler_env(cluster: &ClusterSpec) -> &[EnvVar] {
    let options = cluster.autoscaler_options.as_ref();
    options.map_or(&[], |options| &options.env)
}

fn autoscaler_path(cluster: &ClusterSpec) -> Pointer {
    cluster.path.key("autoscalerOptions").key("env")
}

fn is_identifier(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars().all(allowed)
        && name.starts_with(|c: char| !c.is_ascii_digit())
        && !matches!(name, "." | "..")
}

fn is_printable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| (' '..='~').contains(&c) && c != '=')
}
