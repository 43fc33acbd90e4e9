//! Whether an autoscaled cluster can grow and shrink the way its author means it to. Nobody else looks at any of this.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::object::Kind;
use ray::quantity::Quantity;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G042",
        summary: "a group of an autoscaled cluster does not say how many CPUs it has",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "Ray's autoscaler cannot size the group, fails at each of its rounds, and never scales any group of the cluster.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/0/template/spec/containers/0/resources: {limits: {memory: 1Gi}}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/0/template/spec/containers/0/resources: {requests: {cpu: 500m}, limits: {memory: 1Gi}}}",
        },
        check: Check::Cluster(cpus_are_stated),
    },
    Rule {
        code: "RW-G043",
        summary: "workers go almost as soon as they idle",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "A worker that has just come idles until it gets its first task, and one between two tasks idles too: it goes, and the next round has to start another.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {idleTimeoutSeconds: 0}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/autoscalerOptions: {idleTimeoutSeconds: 5}}",
        },
        check: Check::Cluster(idle_timeouts_outlast_a_round),
    },
    Rule {
        code: "RW-G044",
        summary: "an autoscaled group has no upper bound",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Without maxReplicas a group may grow to two thousand million workers: a task in an endless loop buys every machine there is.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/0/maxReplicas: null}",
            passes: "/spec/workerGroupSpecs/0/maxReplicas: null",
        },
        check: Check::Cluster(groups_are_bounded),
    },
    Rule {
        code: "RW-G045",
        summary: "a cluster is autoscaled and no group can grow or shrink",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The autoscaler runs, and can do nothing.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/0/minReplicas: 1, /spec/workerGroupSpecs/0/maxReplicas: 1, /spec/workerGroupSpecs/1/maxReplicas: 0, /spec/workerGroupSpecs/1/replicas: 0}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/workerGroupSpecs/0/minReplicas: 1, /spec/workerGroupSpecs/0/maxReplicas: 1}",
        },
        check: Check::Cluster(some_group_can_scale),
    },
    Rule {
        code: "RW-G046",
        summary: "tasks run on the head of an autoscaled cluster",
        action: Action::Audit,
        kinds: &Kind::ALL,
        why: "The head always stays, and work on it takes memory from the GCS and the autoscaler, with which the whole cluster fails.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/enableInTreeAutoscaling: true",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/rayStartParams: {num-cpus: '0'}}",
        },
        check: Check::Cluster(head_is_left_alone),
    },
    Rule {
        code: "RW-G047",
        summary: "autoscaler options without autoscaling",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "They have no effect.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/autoscalerOptions: {idleTimeoutSeconds: 60}",
            passes: "{/spec/autoscalerOptions: {idleTimeoutSeconds: 60}, /spec/enableInTreeAutoscaling: true}",
        },
        check: Check::Cluster(options_have_autoscaling),
    },
];

/// Where Ray's autoscaler looks: the group's own resources, its start parameters, then the container's limit and request.
fn cpus_are_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.is_autoscaled() {
        return;
    }
    for group in cluster.groups() {
        let Some(container) = group.ray_container() else {
            continue;
        };
        let asked = container
            .resources
            .iter()
            .flat_map(|resources| [&resources.limits, &resources.requests]);
        let in_container = asked.flatten().any(|amounts| amounts.contains_key(keys::CPU));
        let in_params = group.start_params().raw.contains_key("num-cpus");
        if !in_container && !in_params && own_cpus(group).is_none() {
            findings
                .at(group.ray_container_path().key("resources"))
                .problem("without its number of CPUs Ray's autoscaler gives up on the whole cluster")
                .hint("set a limit or a request for cpu");
        }
    }
}

fn idle_timeouts_outlast_a_round(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    // One round of Ray's autoscaler: what is idle at its first look is gone by the second.
    const SECONDS_MIN: i32 = 5;
    if !cluster.is_autoscaled() {
        return;
    }
    let options = cluster.autoscaler_options.as_ref();
    let of_all = options.map(|options| (&options.path, options.idle_timeout_seconds));
    let groups = cluster.worker_groups.iter();
    let of_groups = groups.map(|group| (&group.path, group.idle_timeout_seconds));
    for (path, seconds) in of_all.into_iter().chain(of_groups) {
        if let Some(seconds) = seconds.filter(|seconds| (0..SECONDS_MIN).contains(seconds)) {
            findings
                .at(path.key("idleTimeoutSeconds"))
                .problem(format!(
                    "workers that idle for {seconds} seconds go, even those that have just come"
                ))
                .hint("use more, such as 60, which is Ray's own default");
        }
    }
}

/// The CRD fills in the largest number there is, so that and none are the same.
fn groups_are_bounded(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.is_autoscaled() {
        return;
    }
    let groups = cluster.worker_groups.iter();
    for group in groups.filter(|group| group.max_replicas.unwrap_or(i32::MAX) == i32::MAX) {
        findings
            .at(group.path.key("maxReplicas"))
            .problem(format!("group \"{}\" may grow without bound", group.name))
            .hint("set the most workers that you are ready to pay for");
    }
}

fn some_group_can_scale(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if !cluster.is_autoscaled() || cluster.worker_groups.is_empty() {
        return;
    }
    let mut bounds = cluster.worker_groups.iter().map(|group| {
        (
            group.min_replicas.unwrap_or(0),
            group.max_replicas.unwrap_or(i32::MAX),
        )
    });
    if bounds.all(|(min, max)| min == max) {
        findings
            .at(cluster.path.key("enableInTreeAutoscaling"))
            .problem("every group has as many workers at least as it has at most")
            .hint("raise a maxReplicas or lower a minReplicas, or leave autoscaling off");
    }
}

fn head_is_left_alone(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let head = &cluster.head;
    let own = own_cpus(head).and_then(|cpus| cpus.parse().ok());
    let no_cpus = own == Some(Quantity::ZERO) || head.start_params.num_cpus == Some(0);
    if cluster.is_autoscaled() && !no_cpus {
        findings
            .at(head.start_params.path.key("num-cpus"))
            .problem("tasks may run on the head, beside the GCS and the autoscaler")
            .hint("set it to \"0\", so that work goes to workers that can be scaled");
    }
}

fn options_have_autoscaling(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = cluster
        .autoscaler_options
        .as_ref()
        .filter(|_| !cluster.is_autoscaled())
    {
        findings
            .at(options.path.clone())
            .problem("without enableInTreeAutoscaling these have no effect")
            .hint("set enableInTreeAutoscaling to true, or leave them out");
    }
}

/// The CPUs among the group's own resources, in whatever letters.
fn own_cpus(group: &dyn NodeGroup) -> Option<&str> {
    let mut own = group.resources().iter();
    own.find(|(name, _)| name.eq_ignore_ascii_case(keys::CPU))
        .map(|(_, amount)| amount.as_str())
}
