//! What heads of Ray 2.60.0 said, recorded, of a cluster with groups that could serve it; and what is wrong with such problems.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::simulate::{Format, decide};

/// Two groups: 2 CPUs in a region and a zone, and 4 with a GPU of a kind.
fn cluster() -> Value {
    let template = |limits: Value| json!({ "spec": { "containers": [{ "name": "ray", "resources": { "limits": limits } }] } });
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": { "name": "rc", "namespace": "default" },
        "spec": {
            "enableInTreeAutoscaling": true,
            "autoscalerOptions": { "idleTimeoutSeconds": 100 },
            "headGroupSpec": { "rayStartParams": {}, "template": template(json!({ "cpu": 1, "memory": "24Gi" })) },
            "workerGroupSpecs": [
                { "groupName": "cpu-group", "replicas": 0, "minReplicas": 0, "maxReplicas": 4, "rayStartParams": {},
                  "labels": { "region": "eu-west", "zone": "z1" }, "template": template(json!({ "cpu": 2, "memory": "24Gi" })) },
                { "groupName": "gpu-group", "replicas": 0, "minReplicas": 0, "maxReplicas": 4, "rayStartParams": {},
                  "labels": { "ray.io/accelerator-type": "A100" }, "template": template(json!({ "cpu": 4, "nvidia.com/gpu": 1 })) }
            ]
        }
    })
}

fn decided(cluster: &Value, reply: &str) -> String {
    let reply: Value = serde_json::from_str(reply).expect("a recorded reply");
    told(&json!({ "version": 1, "rayCluster": cluster, "clusterResourceState": reply }))
}

fn told(problem: &Value) -> String {
    decide(&problem.to_string(), Format::Text).unwrap_or_else(|misfit| format!("error: {misfit}"))
}

#[test]
fn recorded_replies_are_decided_about() {
    macro_rules! replies {
        ($($name:literal),+ $(,)?) => {
            [$(($name, include_str!(concat!("../../../fixtures/replies/", $name, ".json")))),+]
        };
    }
    let replies = replies![
        "tasks",
        "backlog",
        "actors",
        "label-selectors",
        "fallbacks",
        "strict-spread",
        "strict-pack",
        "topology",
        "queued-in-gang",
        "request-resources",
        "idle-workers",
        "draining",
        "drained",
    ];
    let decisions = replies.map(|(name, reply)| format!("{name}\n{}", decided(&cluster(), reply)));
    assert_snapshot!(decisions.join("\n"), @r"
    tasks
    cpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    gpu-group: 0 -> 1 nodes, 1 node for tasks and actors
    no place for 4 x {CPU: 1, GPU: 1, memory: 2147483648}
    no place for 2 x {CPU: 1, special: 1}
    no place for 1 x {CPU: 1, accelerator_type:A100: 0.001}

    backlog
    cpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    gpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    no place for 2975 x {CPU: 1}

    actors
    cpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    gpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    no place for 4 x {CPU: 1, GPU: 1, memory: 2147483648}
    no place for 1 x {CPU: 1, actor_res: 2}
    no place for 2 x {CPU: 1, special: 1}
    no place for 1 x {CPU: 1, accelerator_type:A100: 0.001}

    label-selectors
    cpu-group: 0 -> 1 nodes, 1 node for tasks and actors
    gpu-group: 0 -> 1 nodes, 1 node for tasks and actors

    fallbacks
    cpu-group: 0 -> 1 nodes, 1 node for tasks and actors
    gpu-group: 0 -> 1 nodes, 1 node for tasks and actors

    strict-spread
    cpu-group: 0 -> 2 nodes, 2 nodes for placement groups
    gpu-group: 0 -> 1 nodes, 1 node for placement groups

    strict-pack
    no place for c5bf23b20408f4ba8c5d707959b901000000:STRICT_PACK|PENDING [{CPU: 2}, {CPU: 2}, {CPU: 1, GPU: 1}]

    topology
    no place for 74c7e6176bbb87848ee637d3815401000000:PACK|PENDING [{CPU: 1}, {CPU: 1}]

    queued-in-gang
    nothing to do

    request-resources
    cpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    gpu-group: 0 -> 4 nodes, 4 nodes for tasks and actors
    no place for 4 x {CPU: 1, GPU: 1, memory: 2147483648}
    no place for 1 x {CPU: 1, actor_res: 2}
    no place for 2 x {CPU: 1, special: 1}
    no place for 1 x {CPU: 1, accelerator_type:A100: 0.001}

    idle-workers
    cpu-group: 2 -> 0 nodes, 2 nodes gone: idle for longer than allowed
    remove rc-cpu-group-worker-11111 of cpu-group: idle for longer than allowed, idle for 180 s
    remove rc-cpu-group-worker-22222 of cpu-group: idle for longer than allowed, idle for 172 s

    draining
    cpu-group: 1 -> 3 nodes, 2 nodes for tasks and actors
    gpu-group: 0 -> 1 nodes, 1 node for tasks and actors

    drained
    nothing to do
    ");
}

#[test]
fn a_replica_without_a_node_is_on_its_way() {
    let mut cluster = cluster();
    cluster["spec"]["workerGroupSpecs"][0]["replicas"] = 3.into();
    assert_snapshot!(decided(&cluster, include_str!("../../../fixtures/replies/idle-workers.json")), @r"
    cpu-group: 3 -> 1 nodes, 2 nodes gone: idle for longer than allowed
    remove rc-cpu-group-worker-11111 of cpu-group: idle for longer than allowed, idle for 180 s
    remove rc-cpu-group-worker-22222 of cpu-group: idle for longer than allowed, idle for 172 s
    ");
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let changed = |pointer: &str, value: Value| {
        let mut problem = json!({ "version": 1, "rayCluster": cluster(), "clusterResourceState": { "clusterResourceState": {} } });
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        problem.pointer_mut(parent).expect("it is there")[key] = value;
        told(&problem)
    };
    let group = "/rayCluster/spec/workerGroupSpecs/0";
    let lines = [
        changed("/nodes", json!([])),
        changed("/rayCluster", Value::Null),
        changed("/clusterResourceState", Value::Null),
        changed("/clusterResourceState", json!({ "clusterResourceStat": {} })),
        changed(
            "/clusterResourceState/clusterResourceState/nodeStates",
            json!([{ "nodeId": 5 }]),
        ),
        changed("/rayCluster/kind", json!("RayJob")),
        changed(&format!("{group}/maxReplicas"), json!("many")),
        changed(
            &format!("{group}/template"),
            json!({ "spec": { "containers": [{ "name": "ray" }] } }),
        ),
        changed("/idleTimeoutSeconds", json!(-0.5)),
        changed("/idleTimeoutSeconds", json!(0.5)),
    ];
    assert_snapshot!(lines.join("\n"), @r#"
    error: /nodes: rayCluster and clusterResourceState say it already: write one or the other
    error: missing field `rayCluster`
    error: missing field `clusterResourceState`
    error: /clusterResourceState: missing field `cluster_resource_state` at line 1 column 50
    error: /clusterResourceState/clusterResourceState/nodeStates/0/nodeId: invalid type: integer `5`, expected a base64-encoded string at line 1 column 74
    error: /rayCluster/kind: "RayJob" is not RayCluster
    error: /rayCluster/spec/workerGroupSpecs/0/maxReplicas: expected a whole number of 32 bits, found the string "many"
    error: /rayCluster/spec/workerGroupSpecs/0: the group does not say how many CPUs its nodes have: set a CPU limit or request on the first container, or `num-cpus` in rayStartParams
    error: /idleTimeoutSeconds: -0.5 is no time: write a number, 0 or more at line 1 column 77
    nothing to do
    "#);
}
