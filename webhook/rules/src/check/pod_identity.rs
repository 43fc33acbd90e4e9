//! Who a pod is: its labels and annotations, and the account it acts for.

use ray::cluster::{ClusterSpec, NodeGroup};
use ray::keys;
use ray::label;
use ray::object::Kind;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P050",
        summary: "a label is set that KubeRay keeps for itself",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay knows its pods by these labels and does not let anybody change them; selectors written for the author's value \
            find nothing.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/metadata: {labels: {ray.io/group: small}}",
            passes: "/spec/workerGroupSpecs/0/template/metadata: {labels: {ray.io/group: cpu}}",
        },
        check: Check::Cluster(labels_are_not_kuberays),
    },
    Rule {
        code: "RW-P051",
        summary: "KubeRay would shorten or change the name of the head's service account",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "With autoscaling KubeRay gives the head an account whose name it cuts to 50 characters and begins with a letter; the account \
            that was named is not used, and the one that is used does not exist.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, \
                /spec/headGroupSpec/template/spec/serviceAccountName: an-account-whose-name-goes-on-for-fifty-one-letters}",
            passes: "{/spec/enableInTreeAutoscaling: true, \
                /spec/headGroupSpec/template/spec/serviceAccountName: an-account-whose-name-goes-on-for-fifty-letters-ab}",
        },
        check: Check::Cluster(account_keeps_its_name),
    },
    Rule {
        code: "RW-P052",
        summary: "the autoscaler gets no token for the API server",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "The autoscaler runs in the head's pod and reads and patches the RayCluster with the pod's token; without one the cluster never \
            scales.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/headGroupSpec/template/spec/automountServiceAccountToken: false}",
            passes: "/spec/headGroupSpec/template/spec/automountServiceAccountToken: false",
        },
        check: Check::Cluster(autoscaler_has_a_token),
    },
    Rule {
        code: "RW-P053",
        summary: "a label or an annotation of a pod can be none",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The API server refuses every such pod, one attempt after the other; nothing is ever started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/metadata: {labels: {team: a/b}}",
            passes: "/spec/headGroupSpec/template/metadata: {labels: {team: a_b}, annotations: {team: a/b}}",
        },
        check: Check::Group(metadata_is_valid),
    },
];

/// How long a name KubeRay leaves as it is (KubeRay `CheckName`).
const ACCOUNT_BYTES_MAX: usize = 50;

fn labels_are_not_kuberays(cluster: &ClusterSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let metadata = &subject.object.metadata;
    let name = metadata
        .name
        .as_deref()
        .filter(|_| subject.object.kind() == Kind::Cluster);
    let head = std::iter::once((
        keys::NODE_TYPE_HEAD,
        keys::HEAD_GROUP,
        &cluster.head as &dyn NodeGroup,
    ));
    let workers = cluster.worker_groups.iter().map(|group| {
        (
            keys::NODE_TYPE_WORKER,
            group.name.as_str(),
            group as &dyn NodeGroup,
        )
    });
    for (node_type, group_name, group) in head.chain(workers) {
        let of_template = group
            .template()
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.labels.as_ref());
        let template = group.path().key("template").key("metadata").key("labels");
        let lists = of_template
            .into_iter()
            .map(|labels| (template.clone(), labels))
            .chain([(group.path().key("labels"), group.labels())]);
        for (place, labels) in lists {
            let kept = [
                (keys::NODE_TYPE, Some(node_type)),
                (keys::GROUP, Some(group_name)),
                (keys::CLUSTER, name),
            ];
            for (key, own) in kept {
                let Some(theirs) = labels.get(key).filter(|theirs| Some(theirs.as_str()) != own) else {
                    continue;
                };
                let own = own.map_or("the name of the RayCluster".to_owned(), |own| {
                    format!("\"{own}\"")
                });
                findings
                    .at(place.key(key))
                    .problem(format!(
                        "KubeRay sets this label to {own}, and \"{theirs}\" is dropped"
                    ))
                    .hint("leave it out, or use a key of your own");
            }
        }
    }
}

fn account_keeps_its_name(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let pod = cluster.head.template.spec.as_ref();
    let account = pod
        .and_then(|pod| pod.service_account_name.as_deref())
        .unwrap_or_default();
    let kept = account.len() <= ACCOUNT_BYTES_MAX && account.starts_with(|c: char| c.is_ascii_lowercase());
    if cluster.is_autoscaled() && !account.is_empty() && !kept {
        findings
            .at(cluster.head.pod_path().key("serviceAccountName"))
            .problem(format!("with autoscaling KubeRay changes \"{account}\""))
            .hint("use at most 50 characters, beginning with a letter");
    }
}

/// Whoever mounts a token of their own into the autoscaler needs no other.
fn autoscaler_has_a_token(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let pod = cluster.head.template.spec.as_ref();
    let mounted = cluster
        .autoscaler_options
        .iter()
        .flat_map(|options| &options.volume_mounts)
        .any(|mount| mount.mount_path.trim_end_matches('/') == TOKEN_PATH);
    let refused = pod.is_some_and(|pod| pod.automount_service_account_token == Some(false));
    if cluster.is_autoscaled() && refused && !mounted {
        findings
            .at(cluster.head.pod_path().key("automountServiceAccountToken"))
            .problem("the autoscaler in the head's pod gets no token for the API server")
            .hint("leave it out, or mount a token into it by autoscalerOptions.volumeMounts");
    }
}

/// The API server looks at the keys of annotations as if they were in lower case.
fn metadata_is_valid(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(metadata) = &group.template().metadata else {
        return;
    };
    let place = group.path().key("template").key("metadata");
    let labels = metadata.labels.iter().flatten().map(|entry| ("labels", entry));
    let annotations = metadata.annotations.iter().flatten();
    for (list, (key, value)) in labels.chain(annotations.map(|entry| ("annotations", entry))) {
        let is_key = match list {
            "labels" => label::is_qualified_name(key),
            _ => label::is_qualified_name(&key.to_lowercase()),
        };
        let (problem, hint) = if !is_key {
            (
                format!("\"{key}\" cannot be the key of a label or an annotation"),
                "use up to 63 letters, digits, hyphens, underscores and dots, after a domain and a slash if you like",
            )
        } else if list == "labels" && !label::is_label_value(value) {
            (
                format!("\"{value}\" cannot be the value of a label"),
                "use up to 63 letters, digits, hyphens, underscores and dots, or make it an annotation",
            )
        } else {
            continue;
        };
        findings
            .at(place.key(list).key(key.clone()))
            .problem(problem)
            .hint(hint);
    }
}
