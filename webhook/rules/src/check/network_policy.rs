//! Who may talk to whom. A mode says which directions are closed; rules are exceptions from that, so a rule for a direction that is
//! open is a misunderstanding. KubeRay lets the pods of a cluster talk to each other, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ray::cluster::ClusterSpec;
use ray::label::is_dns_label;
use ray::object::Kind;
use ray::options::{NetworkPolicy, PolicyRules};
use ray::path::Pointer;

use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const DNS_PORT: i32 = 53;
/// Of the API server: its service, and what is usually behind that.
const API_SERVER_PORTS: [i32; 2] = [443, 6443];

const ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "KubeRay records an event and does nothing more for the object.",
    source: Source::KubeRay("validateNetworkPolicy"),
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
        code: "RW-C061",
        summary: "networkPolicy while its feature gate is off",
        source: Source::KubeRay("ValidateRayClusterSpec"),
        gate: Some(Gate::NetworkPolicy.off()),
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress}",
            passes: "/spec/networkPolicy: null",
        },
        check: Check::Cluster(gate_is_on),
        ..ROW
    },
    Rule {
        code: "RW-C062",
        summary: "networkPolicy lets traffic into the head, which is open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllEgress, head: {ingressRules: [{}]}}",
            passes: "/spec/networkPolicy: {mode: DenyAllIngress, head: {ingressRules: [{}]}}",
        },
        check: Check::Cluster(head_ingress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C063",
        summary: "networkPolicy lets traffic out of the head, which is open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress, head: {egressRules: [{}]}}",
            passes: "/spec/networkPolicy: {head: {egressRules: [{}]}}",
        },
        check: Check::Cluster(head_egress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C064",
        summary: "networkPolicy lets traffic into the workers, which are open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllEgress, worker: {ingressRules: [{}]}}",
            passes: "/spec/networkPolicy: {mode: DenyAllEgress, worker: {ingressRules: []}}",
        },
        check: Check::Cluster(worker_ingress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C065",
        summary: "networkPolicy lets traffic out of the workers, which are open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress, worker: {egressRules: [{}]}}",
            passes: "/spec/networkPolicy: {mode: DenyAll, worker: {egressRules: [{}]}}",
        },
        check: Check::Cluster(worker_egress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C066",
        summary: "network policies cannot be named after a worker group",
        why: "Each group gets a network policy that is named after it. KubeRay records an event and does nothing more for the object.",
        example: Example {
            fires: "{/spec/networkPolicy: {mode: DenyAllIngress}, /spec/workerGroupSpecs/0/groupName: CPU-workers}",
            passes: "/spec/workerGroupSpecs/0/groupName: CPU-workers",
        },
        check: Check::Cluster(group_names_are_labels),
        ..ROW
    },
    Rule {
        code: "RW-C067",
        summary: "networkPolicy lets traffic into a worker group, which is open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllEgress, workerGroups: [{groupName: cpu, ingressRules: [{}]}]}",
            passes: "/spec/networkPolicy: {workerGroups: [{groupName: cpu, ingressRules: [{}]}]}",
        },
        check: Check::Cluster(group_ingress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C068",
        summary: "networkPolicy lets traffic out of a worker group, which is open",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress, workerGroups: [{groupName: cpu, egressRules: [{}]}]}",
            passes: "/spec/networkPolicy: {workerGroups: [{groupName: cpu, egressRules: [{}]}]}",
        },
        check: Check::Cluster(group_egress_is_closed),
        ..ROW
    },
    Rule {
        code: "RW-C069",
        summary: "networkPolicy speaks of a worker group that is not there",
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress, workerGroups: [{groupName: tpu}]}",
            passes: "/spec/networkPolicy: {mode: DenyAllIngress, workerGroups: [{groupName: gpu}]}",
        },
        check: Check::Cluster(groups_are_there),
        ..ROW
    },
    Rule {
        code: "RW-G029",
        summary: "networkPolicy closes what the cluster itself needs",
        action: Action::Warn,
        why: "Workers look up the head by name before they start, so without DNS none ever does; and the autoscaler in the head's \
            pod talks to the API server.",
        source: Source::Hole,
        example: Example {
            fires: "{/spec/enableInTreeAutoscaling: true, /spec/networkPolicy: {head: {egressRules: [{ports: [{port: 53, protocol: UDP}]}]}, worker: {egressRules: [{}]}}}",
            passes: "{/spec/enableInTreeAutoscaling: true, /spec/networkPolicy: {worker: {egressRules: [{ports: [{port: 53, protocol: UDP}]}]}, \
                head: {egressRules: [{ports: [{port: 53, protocol: UDP}]}, {ports: [{port: 443}]}]}}}",
        },
        check: Check::Cluster(necessities_are_open),
        ..ROW
    },
];

fn gate_is_on(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        findings
            .at(policy.path.clone())
            .problem(format!(
                "the operator's feature gate {} is off",
                Gate::NetworkPolicy
            ))
            .hint("switch it on, or leave networkPolicy out");
    }
}

fn head_ingress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        ingress_is_closed(policy, &policy.head, findings);
    }
}

fn head_egress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        egress_is_closed(policy, &policy.head, findings);
    }
}

fn worker_ingress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        ingress_is_closed(policy, &policy.worker, findings);
    }
}

fn worker_egress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        egress_is_closed(policy, &policy.worker, findings);
    }
}

fn group_ingress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        for (_, rules) in &policy.worker_groups {
            ingress_is_closed(policy, rules, findings);
        }
    }
}

fn group_egress_is_closed(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(policy) = &cluster.network_policy {
        for (_, rules) in &policy.worker_groups {
            egress_is_closed(policy, rules, findings);
        }
    }
}

fn ingress_is_closed(policy: &NetworkPolicy, rules: &PolicyRules, findings: &mut Findings) {
    if policy.mode.as_deref() == Some("DenyAllEgress") && !rules.ingress.is_empty() {
        findings
            .at(rules.path.key("ingressRules"))
            .problem("mode is DenyAllEgress, which lets everything in without rules")
            .hint("leave the rules out, or set mode to DenyAll");
    }
}

fn egress_is_closed(policy: &NetworkPolicy, rules: &PolicyRules, findings: &mut Findings) {
    if policy.mode.as_deref() == Some("DenyAllIngress") && !rules.egress.is_empty() {
        findings
            .at(rules.path.key("egressRules"))
            .problem("mode is DenyAllIngress, which lets everything out without rules")
            .hint("leave the rules out, or set mode to DenyAll");
    }
}

fn group_names_are_labels(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cluster.network_policy.is_none() {
        return;
    }
    for group in cluster
        .worker_groups
        .iter()
        .filter(|group| !is_dns_label(&group.name))
    {
        findings
            .at(group.path.key("groupName"))
            .problem(format!(
                "a network policy cannot be named after \"{}\"",
                group.name
            ))
            .hint(
                "use at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
            );
    }
}

fn groups_are_there(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(policy) = &cluster.network_policy else {
        return;
    };
    let there: BTreeSet<_> = cluster
        .worker_groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    for (name, rules) in &policy.worker_groups {
        if !there.contains(name.as_str()) {
            findings
                .at(rules.path.key("groupName"))
                .problem(format!("there is no worker group \"{name}\""))
                .hint("name a group of workerGroupSpecs");
        }
    }
}

/// The rules of a group replace those of all workers.
fn necessities_are_open(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(policy) = cluster
        .network_policy
        .as_ref()
        .filter(|policy| policy.mode.as_deref() != Some("DenyAllIngress"))
    else {
        return;
    };
    let of_groups: BTreeMap<_, _> = policy
        .worker_groups
        .iter()
        .map(|(name, rules)| (name.as_str(), rules))
        .collect();
    let of_workers = cluster.worker_groups.iter().map(|group| {
        of_groups
            .get(group.name.as_str())
            .copied()
            .unwrap_or(&policy.worker)
    });
    // Groups without rules of their own share what is said of workers.
    let all: BTreeMap<&Pointer, &PolicyRules> = std::iter::once(&policy.head)
        .chain(of_workers)
        .map(|rules| (&rules.path, rules))
        .collect();
    for rules in all.values().filter(|rules| !opens(&rules.egress, &[DNS_PORT])) {
        findings
            .at(rules.path.key("egressRules"))
            .problem("pods cannot reach DNS, and find nothing by its name")
            .hint("add a rule for port 53, UDP and TCP");
    }
    if cluster.is_autoscaled() && !opens(&policy.head.egress, &API_SERVER_PORTS) {
        findings
            .at(policy.head.path.key("egressRules"))
            .problem("the autoscaler in the head's pod cannot reach the API server")
            .hint("add a rule for the API server's port, 443 or 6443");
    }
}

/// Whether one of the ports is open to anybody. A named port may be any.
fn opens(rules: &[NetworkPolicyEgressRule], ports: &[i32]) -> bool {
    let matches = |open: &NetworkPolicyPort| match &open.port {
        Some(IntOrString::Int(first)) => {
            let range = *first..=open.end_port.unwrap_or(*first);
            ports.iter().any(|port| range.contains(port))
        }
        Some(IntOrString::String(_)) | None => true,
    };
    rules.iter().any(|rule| {
        let open = rule.ports.as_deref().unwrap_or_default();
        open.is_empty() || open.iter().any(matches)
    })
}
