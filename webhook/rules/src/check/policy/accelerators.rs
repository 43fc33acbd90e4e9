//! How many accelerators a cluster may have.

use ray::accelerator;
use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::object::Kind;
use ray::path::Pointer;
use ray::quantity::Quantity;

use super::ROW;
use super::replicas::pods_max;
use crate::check::resources::{limits, quantity, requests};
use crate::finding::Findings;
use crate::policy::AcceleratorPolicy;
use crate::rule::{Check, Example, Rule, Subject};
use crate::usage::Usage;

const WHY: &str = "A platform team has said how many one may have.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-A104",
        summary: "a pod has more accelerators than the policy allows",
        why: WHY,
        example: Example {
            fires: "{policy: {accelerators: [{kind: NVIDIA, maxPerPod: 1}]}, \
                /spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits/nvidia.com~1gpu: 2}",
            passes: "{policy: {accelerators: [{kind: NVIDIA, maxPerPod: 1}]}, \
                /spec/workerGroupSpecs/1/template/spec/containers/0/resources/limits/nvidia.com~1gpu: 1}",
        },
        check: Check::Cluster(pods_are_modest),
        ..ROW
    },
    Rule {
        code: "RW-A105",
        summary: "a worker group may have more accelerators than the policy allows",
        why: WHY,
        example: Example {
            fires: "{policy: {accelerators: [{kind: NVIDIA, maxPerGroup: 16}]}, /spec/workerGroupSpecs/1/maxReplicas: 9, \
                /spec/workerGroupSpecs/1/numOfHosts: 2}",
            passes: "{policy: {accelerators: [{kind: NVIDIA, maxPerGroup: 16}]}, /spec/workerGroupSpecs/1/maxReplicas: 8, \
                /spec/workerGroupSpecs/1/numOfHosts: 2}",
        },
        check: Check::Cluster(groups_are_modest),
        ..ROW
    },
    Rule {
        code: "RW-A106",
        summary: "a cluster may have more accelerators than the policy allows",
        why: WHY,
        example: Example {
            fires: "{policy: {accelerators: [{kind: NVIDIA, maxPerCluster: 16}]}, \
                /spec/workerGroupSpecs/0/template/spec/containers/0: {name: ray, image: 'rayproject/ray:2.60.0-gpu', \
                resources: {limits: {cpu: 1, memory: 2Gi, nvidia.com/gpu: 1}}}}",
            passes: "{policy: {accelerators: [{kind: NVIDIA, maxPerCluster: 16}]}, \
                /spec/workerGroupSpecs/0/template/spec/containers/0: {name: ray, image: 'rayproject/ray:2.60.0-gpu', \
                resources: {limits: {cpu: 1, memory: 2Gi, amd.com/gpu: 1}}}}",
        },
        check: Check::Cluster(clusters_are_modest),
        ..ROW
    },
    Rule {
        code: "RW-A109",
        summary: "the objects of a namespace may have more accelerators together than the policy allows",
        why: "A platform team has said how many one may have. This is found when an object is written, and is no quota: `rayward-webhook quota` \
            prints the ResourceQuota that refuses Pods.",
        kinds: &[Kind::Cluster, Kind::Job, Kind::Service],
        example: Example {
            fires: "{policy: {accelerators: [{kind: NVIDIA, maxPerNamespace: 16}]}, /spec/workerGroupSpecs/1/maxReplicas: 17}",
            passes: "{policy: {accelerators: [{kind: NVIDIA, maxPerNamespace: 16}]}, /spec/workerGroupSpecs/1/maxReplicas: 16}",
        },
        check: Check::Beside(namespaces_are_modest),
        ..ROW
    },
];

fn pods_are_modest(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for (bound, group) in bounds(subject, "maxPerPod", |policy| policy.max_per_pod)
        .flat_map(|bound| cluster.groups().map(move |group| (bound, group)))
    {
        let count = per_pod(group, bound.kind);
        if count > bound.most {
            findings
                .at(group.ray_container_path().key("resources").key("limits"))
                .problem(bound.broken("a pod", count))
                .by(bound.author)
                .hint(format!("ask for {} at most", bound.most));
        }
    }
}

fn groups_are_modest(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for (bound, group) in bounds(subject, "maxPerGroup", |policy| policy.max_per_group)
        .flat_map(|bound| cluster.worker_groups.iter().map(move |group| (bound, group)))
    {
        let count = per_group(group, bound.kind);
        if count > bound.most {
            let of_replica = per_pod(group, bound.kind).saturating_mul(group.hosts().into());
            findings
                .at(group.path.key("maxReplicas"))
                .problem(bound.broken(&format!("group \"{}\"", group.name), count))
                .by(bound.author)
                .hint(format!(
                    "with {of_replica} to a replica let maxReplicas be {} at most",
                    bound.most / of_replica
                ));
        }
    }
}

fn clusters_are_modest(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for bound in bounds(subject, "maxPerCluster", |policy| policy.max_per_cluster) {
        let count = per_cluster(cluster, bound.kind);
        if count > bound.most {
            findings
                .at(cluster.path.key("workerGroupSpecs"))
                .problem(bound.broken("the cluster", count))
                .by(bound.author)
                .hint("lower maxReplicas of its groups");
        }
    }
}

/// Whoever has no more than before is let through, however much there is. What an object had before is its own, so that raising it is not
/// excused by the others having too much already.
fn namespaces_are_modest(
    new: &Subject<'_>,
    old: Option<&Subject<'_>>,
    others: Option<&Usage>,
    findings: &mut Findings,
) {
    if !new.policy.counts_namespaces() {
        return;
    }
    let after = Usage::of_object(new.object);
    let before = old.map(|old| Usage::of_object(old.object)).unwrap_or_default();
    for bound in bounds(new, "maxPerNamespace", |policy| policy.max_per_namespace) {
        let Bound { kind, most, author } = bound;
        let count = after.count(kind);
        let of_others = others.map_or(0, |others| others.count(kind));
        if count > before.count(kind) && count.saturating_add(of_others) > most {
            let left = most.saturating_sub(of_others).max(0);
            findings
                .at(new.object.kind().cluster_path().key("workerGroupSpecs"))
                .problem(format!(
                    "the object may have {count} {kind} accelerators and the others in its namespace {of_others}, \
                     and the policy {author} allows {most} together"
                ))
                .by(author)
                .hint(format!(
                    "lower maxReplicas of its groups to have {left} at most, or delete what is not needed"
                ));
        }
    }
}

/// The most of a kind that there may be, and who says so.
#[derive(Clone, Copy)]
struct Bound<'p> {
    kind: &'p str,
    most: i64,
    author: &'p str,
}

impl Bound<'_> {
    fn broken(&self, what: &str, count: i64) -> String {
        let Self { kind, most, author } = self;
        format!("{what} may have {count} {kind} accelerators, and the policy {author} allows {most}")
    }
}

fn bounds<'p>(
    subject: &Subject<'p>,
    field: &'static str,
    most: impl Fn(&AcceleratorPolicy) -> Option<u32>,
) -> impl Iterator<Item = Bound<'p>> {
    let policy = subject.policy;
    let kinds = policy.spec.accelerators.iter().enumerate();
    kinds.filter_map(move |(index, kind)| {
        let place = Pointer::root().key("accelerators").index(index).key(field);
        Some(Bound {
            kind: &kind.kind,
            most: most(kind)?.into(),
            author: policy.author(&place),
        })
    })
}

/// With all worker groups at their `maxReplicas`.
pub(crate) fn per_cluster(cluster: &ClusterSpec, kind: &str) -> i64 {
    let groups = cluster.worker_groups.iter();
    groups
        .map(|group| per_group(group, kind))
        .fold(per_pod(&cluster.head, kind), i64::saturating_add)
}

fn per_group(group: &WorkerGroup, kind: &str) -> i64 {
    per_pod(group, kind).saturating_mul(pods_max(group))
}

/// All containers count that run side by side; of a resource that has both, request and limit are the same.
fn per_pod(group: &dyn NodeGroup, kind: &str) -> i64 {
    let Some(kind) = accelerator::of_kind(kind) else {
        return 0;
    };
    let pod = group.template().spec.as_ref();
    let containers = pod.map_or(&[][..], |pod| &pod.containers);
    let amounts = containers.iter().flat_map(|container| {
        let limited = |name: &str| limits(container).any(|(limit, _)| limit == name);
        limits(container).chain(requests(container).filter(move |(name, _)| !limited(name)))
    });
    amounts
        .filter(|(name, _)| kind.goes_by(name))
        .filter_map(|(_, amount)| quantity(amount))
        .map(Quantity::ceil)
        .fold(0, i64::saturating_add)
}

/// What the container that runs Ray asks for or is limited to, but for nothing at all.
pub(crate) fn resources(group: &dyn NodeGroup) -> impl Iterator<Item = (&String, Quantity)> {
    let container = group.ray_container().into_iter();
    container
        .flat_map(|container| limits(container).chain(requests(container)))
        .filter_map(|(name, amount)| Some((name, quantity(amount)?)))
        .filter(|(_, amount)| *amount != Quantity::ZERO)
}
