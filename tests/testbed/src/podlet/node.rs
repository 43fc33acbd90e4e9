//! The Nodes that the scheduler sees: registered once, alive for as long as the testbed runs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

/// A Node to pretend: what the scheduler may place there. Nothing is really there but this machine.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The Node's name.
    pub name: String,
    /// Amounts by resource name, as in `cpu: 8`, `memory: 32Gi`, `nvidia.com/gpu: 4`.
    pub allocatable: BTreeMap<String, String>,
    /// Labels beside those that every Node has.
    pub labels: BTreeMap<String, String>,
    /// What keeps Pods away that do not tolerate it.
    pub taints: Vec<Taint>,
}

impl NodeSpec {
    /// A Node with room for CPUs and memory, and for 110 Pods, as a kubelet allows.
    pub fn new(name: &str, cpu: &str, memory: &str) -> NodeSpec {
        let amounts = [
            ("cpu", cpu),
            ("memory", memory),
            ("pods", "110"),
            ("ephemeral-storage", "100Gi"),
        ];
        let allocatable = amounts
            .map(|(resource, amount)| (resource.to_owned(), amount.to_owned()))
            .into_iter()
            .collect();
        NodeSpec {
            name: name.to_owned(),
            allocatable,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }

    /// The Node with some of a resource more, as in `nvidia.com/gpu`.
    #[must_use]
    pub fn with(mut self, resource: &str, amount: &str) -> NodeSpec {
        self.allocatable.insert(resource.to_owned(), amount.to_owned());
        self
    }

    /// The Node with a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> NodeSpec {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The Node with a taint that keeps Pods from being scheduled there.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str) -> NodeSpec {
        let (key, value, effect) = (key.to_owned(), Some(value.to_owned()), "NoSchedule".to_owned());
        self.taints.push(Taint {
            key,
            value,
            effect,
            time_added: None,
        });
        self
    }
}

const MANAGER: &str = "podlet";
/// A kubelet's: a Lease is good for 40 s and renewed four times as often.
const LEASE_SECONDS: i32 = 40;

/// Makes the Node appear, ready and schedulable.
pub(super) async fn register(client: &Client, spec: &NodeSpec, address: Ipv4Addr, port: u16) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = &spec.name;
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), architecture().to_owned()),
    ]);
    labels.extend(spec.labels.clone());
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        outcome => drop(outcome.with_context(|| format!("register node {name}"))?),
    }
    let status = json!({ "status": {
        "capacity": spec.allocatable,
        "allocatable": spec.allocatable,
        "conditions": conditions(),
        "addresses": [
            { "type": "InternalIP", "address": address },
            { "type": "Hostname", "address": name },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
    } });
    let parameters = PatchParams::default();
    nodes
        .patch_status(name, &parameters, &Patch::Merge(&status))
        .await
        .with_context(|| format!("report node {name} ready"))?;
    // The API server taints every new Node as not ready; a controller that does not run here would take it off.
    let taints = json!({ "spec": { "taints": spec.taints } });
    nodes
        .patch(name, &parameters, &Patch::Merge(&taints))
        .await
        .with_context(|| format!("open node {name} to the scheduler"))?;
    Ok(())
}

/// Those of a Node that is well.
fn conditions() -> Vec<Value> {
    let now = Timestamp::now();
    [
        ("Ready", "True", "KubeletReady"),
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ]
    .map(|(kind, status, reason)| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "pretended by the testbed",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    })
    .into()
}

/// Renews the Node's Lease for ever, and says that it is well when somebody came to believe otherwise, as after an outage of the API server.
pub(super) async fn keep_alive(client: Client, name: String) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let nodes: Api<Node> = Api::all(client);
    let mut ticks = interval(Duration::from_secs(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name },
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": format!("{:.6}", Timestamp::now()),
            },
        });
        let parameters = PatchParams::apply(MANAGER).force();
        if let Err(error) = leases.patch(&name, &parameters, &Patch::Apply(&lease)).await {
            tracing::warn!(%error, node = name, "renew a node's lease");
        }
        if let Err(error) = stay_ready(&nodes, &name).await {
            tracing::warn!(%error, node = name, "look how a node stands");
        }
    }
}

async fn stay_ready(nodes: &Api<Node>, name: &str) -> kube::Result<()> {
    let node = nodes.get_status(name).await?;
    let stated = node.status.and_then(|status| status.conditions);
    let mut stated = stated.into_iter().flatten();
    if stated.any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return Ok(());
    }
    let status = json!({ "status": { "conditions": conditions() } });
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .map(drop)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
