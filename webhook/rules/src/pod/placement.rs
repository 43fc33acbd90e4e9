//! Where a pod runs.

use ray::keys;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::growing::Growing;
use super::wanted::Wanted;
use crate::policy::{Capacity, REQUIRED};

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// How clouds label machines that may be taken away at any time: Google, Karpenter, Amazon, Azure.
const SPOT: [(&str, &str); 4] = [
    ("cloud.google.com/gke-spot", "true"),
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

pub(super) fn node_selector(pod: &mut Growing, wanted: &Wanted<'_>) {
    for (key, value) in &wanted.defaults.node_selector {
        pod.by(wanted.author_of_key("nodeSelector", key));
        pod.fill(spec("nodeSelector").key(key.clone()), json!(value));
    }
}

pub(super) fn tolerations(pod: &mut Growing, wanted: &Wanted<'_>) {
    pod.by(wanted.author("tolerations"));
    for toleration in &wanted.defaults.tolerations {
        tolerate(pod, Value::Object(toleration.0.clone()));
    }
}

fn tolerate(pod: &mut Growing, toleration: Value) {
    let taint = |toleration: &Value| {
        ["key", "effect"].map(|field| toleration[field].as_str().unwrap_or_default().to_owned())
    };
    let own = taint(&toleration);
    pod.add(&spec("tolerations"), toleration, |there| taint(there) == own);
}

/// Terms that must all hold, and wishes, are added to those that are there. The required terms of a node affinity are alternatives: one
/// more would let the pod onto nodes that its author does not want.
pub(super) fn affinity(pod: &mut Growing, wanted: &Wanted<'_>) {
    let Some(affinity) = &wanted.defaults.affinity else {
        return;
    };
    for (kind, terms) in &affinity.0 {
        pod.by(wanted.author_of_key("affinity", kind));
        let place = spec("affinity").key(kind.clone());
        let mut lists = vec![PREFERRED, REQUIRED];
        if kind == "nodeAffinity" {
            lists.pop();
            if !terms[REQUIRED].is_null() {
                pod.fill(place.key(REQUIRED), terms[REQUIRED].clone());
            }
        }
        for list in lists {
            for term in terms[list].as_array().into_iter().flatten() {
                pod.add(&place.key(list), term.clone(), |there| there == term);
            }
        }
    }
}

pub(super) fn capacity(pod: &mut Growing, wanted: &Wanted<'_>) {
    let Some(capacity) = wanted.defaults.capacity else {
        return;
    };
    let selector = &pod.json["spec"]["nodeSelector"];
    if SPOT.iter().any(|(label, _)| !selector[label].is_null()) {
        return;
    }
    let expression = |(label, value): (&str, &str), operator: &str| json!({"key": label, "operator": operator, "values": [value]});
    let terms: Vec<Value> = match capacity {
        // Any cloud's label will do,
        Capacity::Spot => SPOT
            .map(|label| json!({"matchExpressions": [expression(label, "In")]}))
            .to_vec(),
        // and none may be there.
        Capacity::OnDemand => vec![json!({"matchExpressions": SPOT.map(|label| expression(label, "NotIn"))})],
    };
    pod.by(wanted.author("capacity"));
    let required = spec("affinity").key("nodeAffinity").key(REQUIRED);
    pod.fill(required, json!({"nodeSelectorTerms": terms}));
    if capacity == Capacity::Spot {
        for (label, value) in SPOT {
            tolerate(
                pod,
                json!({"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"}),
            );
        }
    }
}

/// Kubernetes allows one constraint for each topology and way to treat it.
pub(super) fn spread(pod: &mut Growing, wanted: &Wanted<'_>) {
    pod.by(wanted.author("topologySpreadConstraints"));
    for constraint in &wanted.defaults.topology_spread_constraints {
        let mut constraint = Value::Object(constraint.0.clone());
        if constraint["labelSelector"].is_null() {
            let labels = &pod.json["metadata"]["labels"];
            constraint["labelSelector"] = json!({"matchLabels": {
                keys::CLUSTER: labels[keys::CLUSTER], keys::GROUP: labels[keys::GROUP],
            }});
        }
        let names = ["topologyKey", "whenUnsatisfiable"];
        let own = names.map(|name| constraint[name].clone());
        pod.add(&spec("topologySpreadConstraints"), constraint, |there| {
            names.map(|name| there[name].clone()) == own
        });
    }
}

pub(super) fn runtime_class(pod: &mut Growing, wanted: &Wanted<'_>) {
    if let Some(class) = &wanted.defaults.runtime_class_name {
        pod.by(wanted.author("runtimeClassName"));
        pod.fill(spec("runtimeClassName"), json!(class));
    }
}

fn spec(field: &'static str) -> Pointer {
    Pointer::root().key("spec").key(field)
}
