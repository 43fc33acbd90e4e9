//! Who makes and keeps a cluster, and how it changes: its manager, its upgrade strategy, its suspension. Some of that only the
//! operator can see for certain; what it then says is said here as far as an object tells.

use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::{Kind, Spec};
use ray::path::Pointer;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-U001",
        summary: "the upgrade strategy of a RayCluster is none that there is",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: "KubeRay records an event and does nothing more for the cluster.",
        source: Source::KubeRay("ValidateRayClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/upgradeStrategy: {type: RollingUpdate}",
            passes: "/spec/upgradeStrategy: {type: Recreate}",
        },
        check: Check::Cluster(strategy_is_one_that_there_is),
    },
    Rule {
        code: "RW-U002",
        summary: "a RayCluster that was made for a RayJob or a RayService has an upgrade strategy",
        action: Action::Deny,
        kinds: &[Kind::Cluster],
        why: "What becomes of such a cluster is for the job or the service to say: KubeRay records an event and does nothing more for \
            it.",
        source: Source::KubeRay("ValidateRayClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{/metadata/labels: {ray.io/originated-from-crd: RayService}, /spec/upgradeStrategy: {type: Recreate}}",
            passes: "{/metadata/labels: {ray.io/originated-from-crd: RayService}, /spec/upgradeStrategy: {}}",
        },
        check: Check::Cluster(made_clusters_have_no_strategy),
    },
    Rule {
        code: "RW-G015",
        summary: "a cluster template has an upgrade strategy",
        action: Action::Deny,
        kinds: &[Kind::Job, Kind::Service, Kind::CronJob],
        why: "KubeRay makes a cluster of the template and then refuses that cluster for its strategy, which nobody is told of.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "{kind: RayService, /spec/rayClusterConfig/upgradeStrategy: {type: None}}",
            passes: "{kind: RayService, /spec/upgradeStrategy: {type: None}}",
        },
        check: Check::Cluster(templates_have_no_strategy),
    },
    Rule {
        code: "RW-U005",
        summary: "a RayCluster is being suspended and is suspended at once",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay makes nothing of such a status and tries again for ever. A write to the object does not change its status, so \
            this only warns.",
        source: Source::KubeRay("ValidateRayClusterStatus"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/status/conditions: [{type: RayClusterSuspending, status: 'True'}, {type: RayClusterSuspended, status: 'True'}]",
            passes: "/status/conditions: [{type: RayClusterSuspending, status: 'False'}, {type: RayClusterSuspended, status: 'True'}]",
        },
        check: Check::Object(suspension_is_one_thing),
    },
    Rule {
        code: "RW-U006",
        summary: "the head of an autoscaled cluster names a service account, which must be there",
        action: Action::Audit,
        kinds: &Kind::ALL,
        why: "KubeRay makes the autoscaler's account itself, but not one that the author names: where that is missing it records an \
            event and makes nothing at all. An object does not tell, so this is only noted.",
        source: Source::KubeRay("RayClusterReconciler.reconcileAutoscalerServiceAccount"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/serviceAccountName: ray}",
            passes: "/spec/headGroupSpec/template/spec/serviceAccountName: ray",
        },
        check: Check::Cluster(service_account_must_be_there),
    },
    Rule {
        code: "RW-U007",
        summary: "managedBy names nobody who could manage the object",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "KubeRay's operator leaves objects alone that somebody else manages, and so does everybody else.",
        source: Source::Schema,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/managedBy: kuberay-operator",
            passes: "/spec/managedBy: kueue.x-k8s.io/multikueue",
        },
        check: Check::Object(manager_is_one_that_there_is),
    },
    Rule {
        code: "RW-G016",
        summary: "the cluster of a job or a service is managed by somebody else",
        action: Action::Warn,
        kinds: &[Kind::Job, Kind::Service, Kind::CronJob],
        why: "KubeRay makes the cluster and then leaves it alone, so that the job or the service waits for ever. The object itself may \
            be managed by somebody else, its cluster may not.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayJob, /spec/rayClusterSpec/managedBy: kueue.x-k8s.io/multikueue}",
            passes: "{kind: RayJob, /spec/managedBy: kueue.x-k8s.io/multikueue}",
        },
        check: Check::Cluster(template_is_managed_by_the_operator),
    },
    Rule {
        code: "RW-G033",
        summary: "a RayCluster says that it was made for a job or a service, which does not own it",
        action: Action::Warn,
        kinds: &[Kind::Cluster],
        why: "KubeRay sets the label on clusters that it makes, and then chooses probes and labels of pods by it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/metadata/labels: {ray.io/originated-from-crd: RayJob}",
            passes: "{/metadata/labels: {ray.io/originated-from-crd: RayJob}, \
                /metadata/ownerReferences: [{apiVersion: ray.io/v1, kind: RayJob, name: train, uid: x, controller: true}]}",
        },
        check: Check::Object(origin_is_true),
    },
];

const STRATEGIES: [&str; 2] = ["Recreate", "None"];

fn strategy_is_one_that_there_is(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let strategy = cluster.upgrade_strategy.as_deref();
    if let Some(strategy) = strategy.filter(|strategy| !STRATEGIES.contains(strategy)) {
        findings
            .at(strategy_path(cluster))
            .problem(format!(
                "there is no upgrade strategy \"{strategy}\" for clusters"
            ))
            .hint("use Recreate or None");
    }
}

fn made_clusters_have_no_strategy(
    cluster: &ClusterSpec,
    Subject { object, .. }: &Subject<'_>,
    findings: &mut Findings,
) {
    let origin = object.metadata.labels.get(keys::ORIGINATED_FROM_KIND);
    if let Some(origin) = origin.filter(|origin| is_maker(origin))
        && cluster.upgrade_strategy.is_some()
    {
        findings
            .at(strategy_path(cluster))
            .problem(format!(
                "the label {} says that a {origin} made this cluster, so its upgrades are decided there",
                keys::ORIGINATED_FROM_KIND
            ))
            .hint("leave the strategy out");
    }
}

/// A job that runs in a cluster which is there already makes nothing of its template.
fn templates_have_no_strategy(
    cluster: &ClusterSpec,
    Subject { object, .. }: &Subject<'_>,
    findings: &mut Findings,
) {
    let is_used = object.job().is_none_or(|job| job.cluster_selector.is_empty());
    if cluster.upgrade_strategy.is_some() && is_used {
        findings
            .at(strategy_path(cluster))
            .problem(
                "KubeRay refuses clusters with a strategy of their own when it made them for another object",
            )
            .hint("leave it out");
    }
}

fn strategy_path(cluster: &ClusterSpec) -> Pointer {
    cluster.path.key("upgradeStrategy").key("type")
}

fn suspension_is_one_thing(Subject { json, .. }: &Subject<'_>, findings: &mut Findings) {
    let conditions = &json["status"]["conditions"];
    let is_true = |name: &str| {
        let mut all = conditions.as_array().into_iter().flatten();
        all.any(|condition| condition["type"] == name && condition["status"] == "True")
    };
    if is_true("RayClusterSuspending") && is_true("RayClusterSuspended") {
        findings
            .at(Pointer::root().key("status").key("conditions"))
            .problem("RayClusterSuspending and RayClusterSuspended are both true")
            .hint("set one of them to False in the status");
    }
}

fn service_account_must_be_there(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let pod = cluster.head.template.spec.as_ref();
    let account = pod.and_then(|pod| pod.service_account_name.as_deref());
    if let Some(account) = account.filter(|account| cluster.is_autoscaled() && !account.is_empty()) {
        findings
            .at(ray::cluster::NodeGroup::pod_path(&cluster.head).key("serviceAccountName"))
            .problem(format!(
                "nothing is made before the service account \"{account}\" is there"
            ))
            .hint("make it first, with a role that lets it read and patch the cluster");
    }
}

fn manager_is_one_that_there_is(subject: &Subject<'_>, findings: &mut Findings) {
    let object = subject.object;
    let of_object = match &object.spec {
        Spec::Cluster(_) => None,
        Spec::Service(service) => Some((&service.path, &service.managed_by)),
        Spec::Job(job) => Some((&job.path, &job.managed_by)),
        Spec::CronJob(cron_job) => Some((&cron_job.job.path, &cron_job.job.managed_by)),
    };
    let of_clusters = object
        .clusters()
        .map(|cluster| (&cluster.path, &cluster.managed_by));
    let known = [keys::MANAGED_BY_KUBERAY, keys::MANAGED_BY_MULTIKUEUE];
    for (path, manager) in of_object.into_iter().chain(of_clusters) {
        let manager = manager.as_deref().filter(|manager| !known.contains(manager));
        if let Some(manager) = manager.filter(|_| !subject.facts.pruned) {
            findings
                .at(path.key("managedBy"))
                .problem(format!("nobody is called \"{manager}\""))
                .hint(format!("leave it out, or use {} or {}", known[0], known[1]));
        }
    }
}

fn template_is_managed_by_the_operator(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.managed_by.as_deref() == Some(keys::MANAGED_BY_MULTIKUEUE) {
        findings
            .at(cluster.path.key("managedBy"))
            .problem("KubeRay would leave the cluster alone that it makes of this template")
            .hint("leave it out here; managedBy of the object itself is what Kueue looks at");
    }
}

fn origin_is_true(Subject { object, json, .. }: &Subject<'_>, findings: &mut Findings) {
    let label = object.metadata.labels.get(keys::ORIGINATED_FROM_KIND);
    let Some(origin) = label.filter(|origin| is_maker(origin)) else {
        return;
    };
    if ray::part_of(object.kind(), json).is_none() {
        let labels = Pointer::root().key("metadata").key("labels");
        findings
            .at(labels.key(keys::ORIGINATED_FROM_KIND))
            .problem(format!(
                "this says that a {origin} made the cluster, but none owns it"
            ))
            .hint("leave the label to KubeRay");
    }
}

/// Whether this kind has clusters made.
fn is_maker(kind: &str) -> bool {
    [Kind::Job, Kind::Service]
        .iter()
        .any(|maker| maker.name() == kind)
}
