//! Kueue, which lets whole clusters and jobs wait for their turn. Its own webhook enforces most of this where it is installed; it is said
//! here because it can be known before that. What belongs to schedulers of pods is in `gangs`.

use ray::cluster::ClusterSpec;
use ray::keys;
use ray::label;
use ray::object::{Kind, Object};
use ray::path::Pointer;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_KUEUE: &str = "Kueue's webhook does not accept the object.";

/// The kinds that Kueue knows.
const KINDS: &[Kind] = &[Kind::Cluster, Kind::Job, Kind::Service];

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P301",
        summary: "a queued cluster scales without being elastic to Kueue",
        action: Action::Warn,
        kinds: KINDS,
        why: "Kueue admits a fixed number of pods, unless its feature of elastic jobs is on and the object says that it is one; else \
            its webhook does not accept the object.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/enableInTreeAutoscaling: true}",
            passes: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/enableInTreeAutoscaling: true, \
                /metadata/annotations: {kueue.x-k8s.io/elastic-job: 'true'}}",
        },
        check: Check::Cluster(queued_clusters_do_not_scale),
    },
    Rule {
        code: "RW-P302",
        summary: "a queued RayJob keeps its cluster when it has finished",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "The cluster would hold its quota for ever, so Kueue's webhook does not accept the object.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}",
            passes: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/shutdownAfterJobFinishes: true}",
        },
        check: Check::Object(queued_jobs_shut_down),
    },
    Rule {
        code: "RW-P303",
        summary: "a queued RayJob runs in a cluster that is there already",
        action: Action::Warn,
        kinds: &[Kind::Job],
        why: "With a clusterSelector there is nothing to wait for: Kueue leaves such a job alone, and does not accept one that has a \
            rayClusterSpec as well.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/shutdownAfterJobFinishes: false, \
                /spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}}",
        },
        check: Check::Object(queued_jobs_bring_their_cluster),
    },
    Rule {
        code: "RW-P304",
        summary: "a queued cluster has more groups than Kueue takes",
        action: Action::Warn,
        kinds: KINDS,
        why: "Kueue counts the head and each worker group as a set of pods, of which a workload may have 8, or 18 in newer versions.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/workerGroupSpecs: [{groupName: a}, {groupName: b}, \
                {groupName: c}, {groupName: d}, {groupName: e}, {groupName: f}, {groupName: g}, {groupName: h}]}",
            passes: "/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}",
        },
        check: Check::Cluster(groups_are_few),
    },
    Rule {
        code: "RW-P305",
        summary: "a queued cluster has a worker group called head",
        action: Action::Warn,
        kinds: KINDS,
        why: WHY_KUEUE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/workerGroupSpecs/0/groupName: head}",
            passes: "{/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /spec/workerGroupSpecs/0/groupName: heads}",
        },
        check: Check::Cluster(no_group_is_called_head),
    },
    Rule {
        code: "RW-P306",
        summary: "a cluster that runs elsewhere scales",
        action: Action::Warn,
        kinds: KINDS,
        why: "MultiKueue runs it in another Kubernetes cluster; the number of workers changes there and nobody brings it back, so Kueue does \
            not accept the object.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/managedBy: kueue.x-k8s.io/multikueue, /spec/enableInTreeAutoscaling: true, \
                /metadata/labels: {kueue.x-k8s.io/queue-name: team-a}, /metadata/annotations: {kueue.x-k8s.io/elastic-job: 'true'}}",
            passes: "{/spec/managedBy: kueue.x-k8s.io/multikueue, /metadata/labels: {kueue.x-k8s.io/queue-name: team-a}}",
        },
        check: Check::Cluster(clusters_elsewhere_do_not_scale),
    },
    Rule {
        code: "RW-P307",
        summary: "the name of a queue can be none",
        action: Action::Warn,
        kinds: KINDS,
        why: WHY_KUEUE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {kueue.x-k8s.io/queue-name: Team_A}",
            passes: "/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}",
        },
        check: Check::Object(queue_has_a_name),
    },
    Rule {
        code: "RW-P308",
        summary: "an object is left to MultiKueue and is in no queue",
        action: Action::Warn,
        kinds: KINDS,
        why: "KubeRay does nothing for it, and Kueue looks only at objects with the name of a queue.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/managedBy: kueue.x-k8s.io/multikueue",
            passes: "{/spec/managedBy: kueue.x-k8s.io/multikueue, /metadata/labels: {kueue.x-k8s.io/queue-name: team-a}}",
        },
        check: Check::Object(left_to_multikueue_in_a_queue),
    },
    Rule {
        code: "RW-P309",
        summary: "a RayCronJob has a label that its jobs do not get",
        action: Action::Warn,
        kinds: &[Kind::CronJob],
        why: "KubeRay gives the jobs none of the labels of the RayCronJob, so no queue and no scheduler sees them as meant.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {kueue.x-k8s.io/queue-name: team-a}",
            passes: "/metadata/labels: {team: a}",
        },
        check: Check::Object(labels_reach_the_jobs),
    },
];

/// The queue that an object waits in.
pub(crate) const QUEUE: &str = "kueue.x-k8s.io/queue-name";
const ELASTIC: &str = "kueue.x-k8s.io/elastic-job";
/// Of an older and of a newer Kueue, without the head.
const GROUPS_MAX: [usize; 2] = [7, 17];

/// Labels by which queues and schedulers know what is theirs.
const OF_QUEUES: [&str; 6] = [
    QUEUE,
    super::gangs::VOLCANO_QUEUE,
    super::gangs::YUNIKORN_QUEUE,
    super::gangs::YUNIKORN_APPLICATION,
    super::gangs::GANG,
    super::gangs::PRIORITY_CLASS,
];

fn queued_clusters_do_not_scale(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if is_queued(subject) && cluster.is_autoscaled() && !is_elastic(subject.object) {
        findings
            .at(cluster.path.key("enableInTreeAutoscaling"))
            .problem("Kueue accepts a queued cluster that scales only if it is elastic")
            .hint(format!(
                "set the annotation {ELASTIC}: \"true\", with Kueue's elastic jobs on, or turn this off"
            ));
    }
}

fn queued_jobs_shut_down(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(job) = subject.object.job() else { return };
    let own_cluster = job.cluster_selector.is_empty();
    if is_queued(subject) && own_cluster && job.shutdown_after_job_finishes != Some(true) {
        findings
            .at(job.path.key("shutdownAfterJobFinishes"))
            .problem("Kueue wants a queued job to give up its cluster when it has finished")
            .hint("set it to true");
    }
}

fn queued_jobs_bring_their_cluster(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(job) = subject.object.job() else { return };
    if is_queued(subject) && !job.cluster_selector.is_empty() {
        findings
            .at(job.path.key("clusterSelector"))
            .problem("Kueue cannot queue a job for a cluster that is there already")
            .hint(format!(
                "leave out the label {QUEUE}, or describe the cluster in rayClusterSpec"
            ));
    }
}

fn groups_are_few(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let groups = cluster.worker_groups.len();
    let [older, newer] = GROUPS_MAX;
    if is_queued(subject) && groups > older {
        let who = if groups > newer {
            "Kueue".to_owned()
        } else {
            format!("Kueue before it took {newer}")
        };
        let most = if groups > newer { newer } else { older };
        findings
            .at(cluster.path.key("workerGroupSpecs"))
            .problem(format!("{groups} groups are more than the {most} of {who}"))
            .hint("put workers that are alike into one group");
    }
}

fn no_group_is_called_head(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if !is_queued(subject) {
        return;
    }
    for group in cluster.worker_groups.iter().filter(|group| group.name == "head") {
        findings
            .at(group.path.key("groupName"))
            .problem("\"head\" is what Kueue calls the head itself")
            .hint("call the group something else");
    }
}

fn clusters_elsewhere_do_not_scale(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    if cluster.is_autoscaled() && is_elsewhere(subject) {
        findings
            .at(cluster.path.key("enableInTreeAutoscaling"))
            .problem("MultiKueue does not take a cluster that scales")
            .hint("turn it off, or let KubeRay manage the object here");
    }
}

fn queue_has_a_name(subject: &Subject<'_>, findings: &mut Findings) {
    let queue = subject.object.metadata.labels.get(QUEUE);
    if let Some(queue) = queue.filter(|queue| !label::is_dns_subdomain(queue)) {
        findings
            .at(label_path(QUEUE))
            .problem(format!("\"{queue}\" cannot be the name of a queue"))
            .hint("use lower-case letters, digits, hyphens and dots");
    }
}

fn left_to_multikueue_in_a_queue(subject: &Subject<'_>, findings: &mut Findings) {
    if is_elsewhere(subject) && !is_queued(subject) && !is_part(subject) {
        findings
            .at(Pointer::root().key("spec").key("managedBy"))
            .problem("KubeRay leaves it to MultiKueue, and it is in no queue of Kueue's")
            .hint(format!("set the label {QUEUE}, or leave managedBy out"));
    }
}

fn labels_reach_the_jobs(subject: &Subject<'_>, findings: &mut Findings) {
    for key in OF_QUEUES
        .iter()
        .filter(|key| subject.object.metadata.labels.contains_key(**key))
    {
        findings
            .at(label_path(key))
            .problem("KubeRay does not give this label to the jobs that it makes")
            .hint("leave it out, and schedule RayJobs that have it in another way");
    }
}

/// Of what belongs to a job or a service Kueue looks at the owner.
fn is_queued(subject: &Subject<'_>) -> bool {
    subject.object.metadata.labels.contains_key(QUEUE) && !is_part(subject)
}

fn is_part(subject: &Subject<'_>) -> bool {
    ray::part_of(subject.object.kind(), subject.json).is_some()
}

/// Whether Kueue is to follow how many pods there are.
pub(crate) fn is_elastic(object: &Object) -> bool {
    object
        .metadata
        .annotations
        .get(ELASTIC)
        .is_some_and(|elastic| elastic == "true")
}

/// All kinds keep the field at one place.
fn is_elsewhere(subject: &Subject<'_>) -> bool {
    subject.json["spec"]["managedBy"] == keys::MANAGED_BY_MULTIKUEUE
}

fn label_path(key: &'static str) -> Pointer {
    Pointer::root().key("metadata").key("labels").key(key)
}
