//! What becomes of pods, as patches for people to read, and what holds of all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use ray::fixture::{set, tpu_worker};
use ray::image::Image;
use ray::object::Kind;
use serde_json::{Value, json};

use super::{AutoscalerMode, Request, check, defaults};
use crate::edit::apply;
use crate::policy::{NamedPolicy, Policies, Policy};
use crate::request::Operation;
use crate::tests::{patch, request, yaml};

/// A worker with some fields changed, by JSON pointers.
fn worker(changes: &[(&str, Value)]) -> Value {
    changes
        .iter()
        .fold(tpu_worker("demo", "tpu"), |mut pod, (pointer, value)| {
            set(&mut pod, pointer, value.clone());
            pod
        })
}

fn completed(pod: &Value) -> Value {
    apply(&defaults(&Request::new(pod, &Policy::default())), pod)
}

fn patched(pod: &Value) -> String {
    patch(pod, &defaults(&Request::new(pod, &Policy::default())))
}

/// The variables of a container, by their names.
fn environment(pod: &Value, container: usize) -> String {
    let variables = pod["spec"]["containers"][container]["env"].as_array();
    let shown = variables.into_iter().flatten().map(|variable| {
        let value = variable["value"].as_str().unwrap_or("(from elsewhere)");
        format!("{}={value}\n", variable["name"].as_str().unwrap_or_default())
    });
    shown.collect()
}

fn found(pod: &Value) -> Vec<String> {
    let findings = check(&Request::new(pod, &Policy::default()));
    findings
        .iter()
        .map(|finding| format!("{}: {finding}", finding.action))
        .collect()
}

#[test]
fn the_head_does_without_its_autoscaler_in_central_mode() {
    let pod = |node_type: &str, names: &[&str]| {
        let containers: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"metadata": {"labels": {"ray.io/node-type": node_type, "ray.io/cluster": "demo"}}, "spec": {"containers": containers}})
    };
    let policy = Policy::default();
    let scaled_by = |mode, pod: &Value| {
        let request = Request {
            mode,
            ..Request::new(pod, &policy)
        };
        patch(pod, &defaults(&request))
    };
    let head = pod("head", &["ray-head", "log-shipper", "autoscaler"]);
    insta::assert_snapshot!(scaled_by(AutoscalerMode::Central, &head), @r#"
    {"op":"test","path":"/spec/containers/2/name","value":"autoscaler"}
    {"op":"remove","path":"/spec/containers/2"}
    "#);
    assert_eq!(scaled_by(AutoscalerMode::Ray, &head), "");
    assert_eq!(scaled_by(AutoscalerMode::Shadow, &head), "");
    insta::assert_snapshot!(scaled_by(AutoscalerMode::Sidecar, &head), @r#"
    {"op":"add","path":"/spec/containers/2/image","value":"rayward/autoscaler:0.1.0"}
    {"op":"add","path":"/spec/containers/2/command","value":["/usr/local/bin/rayward-autoscaler"]}
    {"op":"add","path":"/spec/containers/2/args","value":["run","--cluster-name=$(RAY_CLUSTER_NAME)","--cluster-namespace=$(RAY_CLUSTER_NAMESPACE)"]}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"by\":{\"rayward\":[\"spec.containers[2].image\",\"spec.containers[2].command\",\"spec.containers[2].args\"]},\"version\":\"0.1.0\"}"}}
    "#);
    for other in [
        pod("worker", &["ray-worker", "autoscaler"]),
        pod("head", &["autoscaler"]),
        json!({}),
    ] {
        assert_eq!(scaled_by(AutoscalerMode::Central, &other), "");
        assert_eq!(scaled_by(AutoscalerMode::Sidecar, &other), "");
    }
}

// === TPUs. The numbers are those of the defects of GKE's webhook, as far as they can be had here at all. ===

/// T1, T2, T3, T4: nothing but the pod's own labels decides. T5: a container without any variables gets all of them, not the last one.
#[test]
fn a_host_of_a_slice_knows_itself_and_the_others() {
    insta::assert_snapshot!(patched(&tpu_worker("demo", "tpu")), @r#"
    {"op":"add","path":"/spec/hostname","value":"tpu-0-1"}
    {"op":"add","path":"/spec/subdomain","value":"demo-headless"}
    {"op":"add","path":"/spec/affinity","value":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchExpressions":[{"key":"ray.io/worker-group-replica-name","operator":"In","values":["tpu-x7k2p"]}]},"topologyKey":"cloud.google.com/gke-nodepool"}]}}}
    {"op":"add","path":"/spec/affinity/podAntiAffinity","value":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchExpressions":[{"key":"ray.io/worker-group-replica-name","operator":"Exists"},{"key":"ray.io/worker-group-replica-name","operator":"NotIn","values":["tpu-x7k2p"]}]},"namespaceSelector":{},"topologyKey":"cloud.google.com/gke-nodepool"}]}}
    {"op":"add","path":"/spec/containers/0/env","value":[{"name":"TPU_WORKER_ID","value":"1"}]}
    {"op":"add","path":"/spec/containers/0/env/1","value":{"name":"TPU_WORKER_HOSTNAMES","value":"tpu-0-0.demo-headless,tpu-0-1.demo-headless"}}
    {"op":"add","path":"/spec/containers/0/env/2","value":{"name":"TPU_NAME","value":"tpu-0"}}
    {"op":"add","path":"/spec/containers/0/env/3","value":{"name":"TPU_DEVICE_PLUGIN_HOST_IP","valueFrom":{"fieldRef":{"fieldPath":"status.hostIP"}}}}
    {"op":"add","path":"/spec/containers/0/env/4","value":{"name":"TPU_DEVICE_PLUGIN_ADDR","value":"$(TPU_DEVICE_PLUGIN_HOST_IP):2112"}}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"by\":{\"rayward\":[\"spec.hostname\",\"spec.subdomain\",\"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution\",\"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution\",\"spec.containers[0].env.TPU_WORKER_ID\",\"spec.containers[0].env.TPU_WORKER_HOSTNAMES\",\"spec.containers[0].env.TPU_NAME\",\"spec.containers[0].env.TPU_DEVICE_PLUGIN_HOST_IP\",\"spec.containers[0].env.TPU_DEVICE_PLUGIN_ADDR\"]},\"version\":\"0.1.0\"}"}}
    "#);
}

#[test]
fn both_hosts_have_the_same_names_for_each_other() {
    let hosts = ["0", "1"].map(|host| {
        completed(&worker(&[(
            "/metadata/labels/ray.io~1replica-host-index",
            json!(host),
        )]))
    });
    let said = |variable: &str| {
        let lines = hosts.each_ref().map(|pod| environment(pod, 0));
        lines.map(|lines| {
            lines
                .lines()
                .find(|line| line.starts_with(variable))
                .map(str::to_owned)
        })
    };
    let names = said("TPU_WORKER_HOSTNAMES=");
    assert_eq!(names[0], names[1]);
    for (host, pod) in hosts.iter().enumerate() {
        let own =
            [&pod["spec"]["hostname"], &pod["spec"]["subdomain"]].map(|name| name.as_str().expect("a name"));
        let listed = names[0]
            .as_deref()
            .and_then(|names| names.split(['=', ',']).nth(host + 1));
        assert_eq!(listed, Some(&*own.join(".")));
        assert_eq!(
            said("TPU_WORKER_ID=")[host],
            Some(format!("TPU_WORKER_ID={host}"))
        );
    }
}

#[test]
fn a_slice_of_one_host_needs_no_names() {
    let alone = worker(&[
        (
            "/spec/nodeSelector/cloud.google.com~1gke-tpu-topology",
            json!("2x2x1"),
        ),
        ("/metadata/labels/ray.io~1replica-host-index", Value::Null),
        ("/metadata/labels/ray.io~1worker-group-replica-name", Value::Null),
    ]);
    insta::assert_snapshot!(patched(&alone), @r#"
    {"op":"add","path":"/spec/containers/0/env","value":[{"name":"TPU_WORKER_ID","value":"0"}]}
    {"op":"add","path":"/spec/containers/0/env/1","value":{"name":"TPU_NAME","value":"tpu-0"}}
    {"op":"add","path":"/spec/containers/0/env/2","value":{"name":"TPU_DEVICE_PLUGIN_HOST_IP","valueFrom":{"fieldRef":{"fieldPath":"status.hostIP"}}}}
    {"op":"add","path":"/spec/containers/0/env/3","value":{"name":"TPU_DEVICE_PLUGIN_ADDR","value":"$(TPU_DEVICE_PLUGIN_HOST_IP):2112"}}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"by\":{\"rayward\":[\"spec.containers[0].env.TPU_WORKER_ID\",\"spec.containers[0].env.TPU_NAME\",\"spec.containers[0].env.TPU_DEVICE_PLUGIN_HOST_IP\",\"spec.containers[0].env.TPU_DEVICE_PLUGIN_ADDR\"]},\"version\":\"0.1.0\"}"}}
    "#);
    let older = worker(&[
        ("/spec/nodeSelector", Value::Null),
        (
            "/metadata/labels",
            json!({
                "ray.io/cluster": "demo", "ray.io/group": "tpu", "ray.io/node-type": "worker",
            }),
        ),
    ]);
    insta::assert_snapshot!(environment(&completed(&older), 0), @r#"
    TPU_WORKER_ID=0
    TPU_DEVICE_PLUGIN_HOST_IP=(from elsewhere)
    TPU_DEVICE_PLUGIN_ADDR=$(TPU_DEVICE_PLUGIN_HOST_IP):2112
    "#);
}

/// T6: what others say about affinity stays.
#[test]
fn what_was_said_stands() {
    let own = worker(&[
        (
            "/spec/affinity",
            json!({
                "nodeAffinity": {"x": 1},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]},
            }),
        ),
        (
            "/spec/containers/0/env",
            json!([
                {"name": "TPU_WORKER_ID", "value": "7"},
                {"name": "TPU_NAME", "valueFrom": {"configMapKeyRef": {"name": "names", "key": "tpu"}}},
            ]),
        ),
    ]);
    let completed = completed(&own);
    insta::assert_snapshot!(environment(&completed, 0), @r#"
    TPU_WORKER_ID=7
    TPU_NAME=(from elsewhere)
    TPU_WORKER_HOSTNAMES=tpu-0-0.demo-headless,tpu-0-1.demo-headless
    TPU_DEVICE_PLUGIN_HOST_IP=(from elsewhere)
    TPU_DEVICE_PLUGIN_ADDR=$(TPU_DEVICE_PLUGIN_HOST_IP):2112
    "#);
    insta::assert_json_snapshot!(completed["spec"]["affinity"], @r#"
    {
      "nodeAffinity": {
        "x": 1
      },
      "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
          {
            "labelSelector": {
              "matchExpressions": [
                {
                  "key": "ray.io/worker-group-replica-name",
                  "operator": "In",
                  "values": [
                    "tpu-x7k2p"
                  ]
                }
              ]
            },
            "topologyKey": "cloud.google.com/gke-nodepool"
          }
        ]
      },
      "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
          {
            "topologyKey": "rack"
          },
          {
            "labelSelector": {
              "matchExpressions": [
                {
                  "key": "ray.io/worker-group-replica-name",
                  "operator": "Exists"
                },
                {
                  "key": "ray.io/worker-group-replica-name",
                  "operator": "NotIn",
                  "values": [
                    "tpu-x7k2p"
                  ]
                }
              ]
            },
            "namespaceSelector": {},
            "topologyKey": "cloud.google.com/gke-nodepool"
          }
        ]
      }
    }
    "#);
}

/// T7: patches are strict RFC 6902, which `apply` is. T9: a limit counts where nothing is requested, and a request where there is no limit.
#[test]
fn chips_are_counted_as_kubernetes_does() {
    let ids = |resources: Value| {
        let pod = completed(&worker(&[("/spec/containers/0/resources", resources)]));
        environment(&pod, 0).lines().next().map(str::to_owned)
    };
    for resources in [
        json!({"limits": {"google.com/tpu": "4"}, "requests": {"cpu": "1"}}),
        json!({"requests": {"google.com/tpu": 4}}),
    ] {
        assert_eq!(
            ids(resources.clone()).as_deref(),
            Some("TPU_WORKER_ID=1"),
            "{resources}"
        );
    }
    for resources in [
        json!({"limits": {"google.com/tpu": "0"}}),
        json!({"limits": {"google.com/tpu": {}}}),
        Value::Null,
    ] {
        assert_eq!(ids(resources.clone()), None, "{resources}");
    }
}

#[test]
fn only_containers_with_tpus_are_told() {
    let pod = completed(&worker(&[
        ("/spec/containers/1", json!({"name": "logs"})),
        (
            "/spec/containers/2",
            json!({"name": "second", "resources": {"limits": {"google.com/tpu": "4"}}}),
        ),
        // The two together have all the chips of the slice.
        (
            "/spec/nodeSelector/cloud.google.com~1gke-tpu-topology",
            json!("2x2x2"),
        ),
        ("/metadata/labels/ray.io~1replica-host-index", Value::Null),
    ]));
    assert_eq!(environment(&pod, 1), "");
    assert!(environment(&pod, 0).starts_with("TPU_WORKER_ID=0\n"));
    assert_eq!(environment(&pod, 0), environment(&pod, 2));
}

#[test]
fn slices_that_work_together_meet_at_the_first() {
    let several = |replica: &str| {
        completed(&worker(&[
            (
                "/metadata/labels/ray.io~1worker-group-replica-index",
                json!(replica),
            ),
            (
                "/spec/containers/0/env",
                json!([{"name": "MEGASCALE_NUM_SLICES", "value": "2"}]),
            ),
        ]))
    };
    insta::assert_snapshot!(environment(&several("1"), 0), @r#"
    MEGASCALE_NUM_SLICES=2
    TPU_WORKER_ID=1
    TPU_WORKER_HOSTNAMES=tpu-1-0.demo-headless,tpu-1-1.demo-headless
    TPU_NAME=tpu-1
    MEGASCALE_SLICE_ID=1
    MEGASCALE_PORT=8081
    MEGASCALE_COORDINATOR_ADDRESS=tpu-0-0.demo-headless
    TPU_DEVICE_PLUGIN_HOST_IP=(from elsewhere)
    TPU_DEVICE_PLUGIN_ADDR=$(TPU_DEVICE_PLUGIN_HOST_IP):2112
    "#);
    assert_eq!(found(&several("1")), [] as [String; 0]);
    insta::assert_snapshot!(found(&several("2")).join("\n"), @"Warn: RW-P503 spec.containers[0].env: there are to be 2 slices, and this is number 2, counted from 0 (let the group have as many replicas as MEGASCALE_NUM_SLICES says)");
}

/// The service is never shortened, so what refers to it must not be either; and a name of a host has to be one for DNS.
#[test]
fn names_that_are_long_or_none_for_dns() {
    let named = |cluster: &str, group: &str| {
        let pod = completed(&tpu_worker(cluster, group));
        let own = [&pod["spec"]["hostname"], &pod["spec"]["subdomain"]]
            .map(|name| name.as_str().expect("a name").to_owned());
        assert!(
            own.iter()
                .all(|name| ray::label::is_label_value(name) && !name.contains(['.', '_'])),
            "{own:?}"
        );
        assert!(environment(&pod, 0).contains(&own.join(".")), "{own:?}");
        own.join(".")
    };
    let long = "a-name-that-goes-on-and-on-for-as-long-as-it-is-let-to-go";
    insta::assert_snapshot!(named(&long[..53], "tpu"), @"tpu-0-1.a-name-that-goes-on-and-on-for-as-long-as-it-is-let-t-headless");
    insta::assert_snapshot!(named("demo", long), @"a0d27f7e-a-name-that-goes-on-and-on-for-0-1.demo-headless");
    insta::assert_snapshot!(named("demo", "TPU_v4.big"), @"cc98fa6f-tpu-v4-big-0-1.demo-headless");
    assert_ne!(named("demo", "TPU_v4.big"), named("demo", "TPU-v4.big"));
}

#[test]
fn a_slice_that_nobody_numbers_is_refused() {
    let unnumbered = |changes: &[(&str, Value)]| {
        let mut labels = vec![
            ("/metadata/labels/ray.io~1replica-host-index", Value::Null),
            ("/metadata/labels/ray.io~1worker-group-replica-name", Value::Null),
            ("/metadata/labels/ray.io~1worker-group-replica-index", Value::Null),
        ];
        labels.extend_from_slice(changes);
        let pod = completed(&worker(&labels));
        assert!(!environment(&pod, 0).contains("TPU_WORKER_ID="), "{pod:#}");
        found(&pod).join("\n")
    };
    let topology = "/spec/nodeSelector/cloud.google.com~1gke-tpu-topology";
    let accelerator = "/spec/nodeSelector/cloud.google.com~1gke-tpu-accelerator";
    insta::assert_snapshot!(unnumbered(&[]), @"Deny: RW-P501 metadata.labels[ray.io/replica-host-index]: the slice has 2 hosts, and nothing says which one this is (KubeRay 1.6 does, or 1.5 with the feature gate RayMultiHostIndexing; or set TPU_WORKER_ID and TPU_WORKER_HOSTNAMES)");
    // Two pods may share a machine with eight chips.
    insta::assert_snapshot!(unnumbered(&[(topology, json!("2x4")), (accelerator, json!("tpu-v5-lite-podslice"))]), @"Warn: RW-P501 metadata.labels[ray.io/replica-host-index]: the slice has 2 hosts, and nothing says which one this is (KubeRay 1.6 does, or 1.5 with the feature gate RayMultiHostIndexing; or set TPU_WORKER_ID and TPU_WORKER_HOSTNAMES)");
    // KubeRay numbers its replicas, so it would number their hosts.
    insta::assert_snapshot!(unnumbered(&[("/metadata/labels/ray.io~1worker-group-replica-index", json!("0"))]), @"Deny: RW-P501 metadata.labels[ray.io/replica-host-index]: the slice has 2 hosts, but KubeRay makes one pod of each replica (set numOfHosts of the group to 2)");
    // Nobody can be told so many names.
    insta::assert_snapshot!(unnumbered(&[(topology, json!("4294967295x4294967295x4294967295"))]), @"Deny: RW-P501 metadata.labels[ray.io/replica-host-index]: the slice has 4611686018427387903 hosts, and nothing says which one this is (KubeRay 1.6 does, or 1.5 with the feature gate RayMultiHostIndexing; or set TPU_WORKER_ID and TPU_WORKER_HOSTNAMES)");
    let by_others =
        json!([{"name": "TPU_WORKER_ID", "value": "1"}, {"name": "TPU_WORKER_HOSTNAMES", "value": "a,b"}]);
    let known = worker(&[
        ("/metadata/labels/ray.io~1replica-host-index", Value::Null),
        ("/spec/containers/0/env", by_others),
    ]);
    assert_eq!(found(&completed(&known)), [] as [String; 0]);
}

#[test]
fn a_host_without_topology_is_told_of() {
    let pod = completed(&worker(&[("/spec/nodeSelector", Value::Null)]));
    insta::assert_snapshot!(found(&pod).join("\n"), @"Warn: RW-P501 spec.nodeSelector[cloud.google.com/gke-tpu-topology]: it is one host of a slice, and nothing says of how many (select the topology, or set TPU_WORKER_HOSTNAMES)");
}

// === what policy wants ===

/// What a policy called `house` says of Pods.
fn policy(spec: &str) -> Arc<Policy> {
    let house = NamedPolicy::read("house", &yaml(spec)).expect("a policy");
    let cluster = json!({});
    Policies::new([house]).of(&request(Operation::Create, Kind::Cluster, &cluster, None))
}

/// A worker of the group `cpu`, as KubeRay makes it where its author says no more than he must.
fn plain() -> Value {
    yaml(
        "metadata: {generateName: demo-cpu-worker-, labels: {ray.io/cluster: demo, ray.io/group: cpu, ray.io/node-type: worker}}
spec:
  initContainers: [{name: wait-gcs-ready}]
  containers:
  - name: ray-worker
    resources: {limits: {cpu: '1', memory: 8Gi}}
    volumeMounts: [{name: shared-mem, mountPath: /dev/shm}]
  volumes: [{name: shared-mem, emptyDir: {medium: Memory, sizeLimit: 8Gi}}]",
    )
}

/// What a policy that says this of the pods of workers changes in one, but for the note about it.
fn injected(defaults_of_pods: &str, changes: &[(&str, Value)]) -> String {
    let policy = policy(&format!("workers: {{pod: {defaults_of_pods}}}"));
    let pod = changes.iter().fold(plain(), |mut pod, (pointer, value)| {
        set(&mut pod, pointer, value.clone());
        pod
    });
    let patch = patch(&pod, &defaults(&Request::new(&pod, &policy)));
    let lines = patch.lines().filter(|line| !line.contains("rayward.dev"));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn labels_and_annotations() {
    let wanted = "{labels: {team: a, tier: x}, annotations: {note: b}}";
    insta::assert_snapshot!(injected(wanted, &[("/metadata/labels/tier", json!("own"))]), @r#"
    {"op":"add","path":"/metadata/labels/team","value":"a"}
    {"op":"add","path":"/metadata/annotations","value":{"note":"b"}}
    "#);
}

#[test]
fn node_selectors_and_tolerations() {
    let wanted = "{nodeSelector: {pool: ray, disk: ssd}, tolerations: [{key: ray, operator: Exists, effect: NoSchedule}, {key: gpu, operator: Exists}]}";
    insta::assert_snapshot!(injected(wanted, &[]), @r#"
    {"op":"add","path":"/spec/nodeSelector","value":{"disk":"ssd"}}
    {"op":"add","path":"/spec/nodeSelector/pool","value":"ray"}
    {"op":"add","path":"/spec/tolerations","value":[{"effect":"NoSchedule","key":"ray","operator":"Exists"}]}
    {"op":"add","path":"/spec/tolerations/1","value":{"key":"gpu","operator":"Exists"}}
    "#);
    let own = [
        ("/spec/nodeSelector", json!({"disk": "any"})),
        (
            "/spec/tolerations",
            json!([{"key": "ray", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]),
        ),
    ];
    insta::assert_snapshot!(injected(wanted, &own), @r#"
    {"op":"add","path":"/spec/nodeSelector/pool","value":"ray"}
    {"op":"add","path":"/spec/tolerations/1","value":{"key":"gpu","operator":"Exists"}}
    "#);
}

/// Terms are added to the author's, but never an alternative to what the author requires of nodes.
#[test]
fn affinity() {
    let wanted = "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}, \
        podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: host}}]}}}";
    insta::assert_snapshot!(injected(wanted, &[]), @r#"
    {"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}]}}}}
    {"op":"add","path":"/spec/affinity/podAntiAffinity","value":{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"topologyKey":"host"},"weight":1}]}}
    "#);
    let own = json!({
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 2, "podAffinityTerm": {"topologyKey": "rack"}}]},
    });
    insta::assert_snapshot!(injected(wanted, &[("/spec/affinity", own)]), @r#"{"op":"add","path":"/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/1","value":{"podAffinityTerm":{"topologyKey":"host"},"weight":1}}"#);
}

#[test]
fn capacity() {
    insta::assert_snapshot!(injected("{capacity: OnDemand}", &[]), @r#"{"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"cloud.google.com/gke-spot","operator":"NotIn","values":["true"]},{"key":"karpenter.sh/capacity-type","operator":"NotIn","values":["spot"]},{"key":"eks.amazonaws.com/capacityType","operator":"NotIn","values":["SPOT"]},{"key":"kubernetes.azure.com/scalesetpriority","operator":"NotIn","values":["spot"]}]}]}}}}"#);
    insta::assert_snapshot!(injected("{capacity: Spot}", &[]), @r#"
    {"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"cloud.google.com/gke-spot","operator":"In","values":["true"]}]},{"matchExpressions":[{"key":"karpenter.sh/capacity-type","operator":"In","values":["spot"]}]},{"matchExpressions":[{"key":"eks.amazonaws.com/capacityType","operator":"In","values":["SPOT"]}]},{"matchExpressions":[{"key":"kubernetes.azure.com/scalesetpriority","operator":"In","values":["spot"]}]}]}}}}
    {"op":"add","path":"/spec/tolerations","value":[{"effect":"NoSchedule","key":"cloud.google.com/gke-spot","operator":"Equal","value":"true"}]}
    {"op":"add","path":"/spec/tolerations/1","value":{"effect":"NoSchedule","key":"karpenter.sh/capacity-type","operator":"Equal","value":"spot"}}
    {"op":"add","path":"/spec/tolerations/2","value":{"effect":"NoSchedule","key":"eks.amazonaws.com/capacityType","operator":"Equal","value":"SPOT"}}
    {"op":"add","path":"/spec/tolerations/3","value":{"effect":"NoSchedule","key":"kubernetes.azure.com/scalesetpriority","operator":"Equal","value":"spot"}}
    "#);
    let chosen = [(
        "/spec/nodeSelector",
        json!({"karpenter.sh/capacity-type": "on-demand"}),
    )];
    assert_eq!(injected("{capacity: Spot}", &chosen), "");
}

#[test]
fn spread() {
    let wanted =
        "{topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}";
    insta::assert_snapshot!(injected(wanted, &[]), @r#"{"op":"add","path":"/spec/topologySpreadConstraints","value":[{"labelSelector":{"matchLabels":{"ray.io/cluster":"demo","ray.io/group":"cpu"}},"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway"}]}"#);
    let own = json!([{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]);
    assert_eq!(injected(wanted, &[("/spec/topologySpreadConstraints", own)]), "");
}

#[test]
fn runtime_class_and_pull_secrets() {
    let wanted = "{runtimeClassName: nvidia, imagePullSecrets: [{name: registry}]}";
    insta::assert_snapshot!(injected(wanted, &[("/spec/imagePullSecrets", json!([{"name": "own"}]))]), @r#"
    {"op":"add","path":"/spec/runtimeClassName","value":"nvidia"}
    {"op":"add","path":"/spec/imagePullSecrets/1","value":{"name":"registry"}}
    "#);
    insta::assert_snapshot!(injected(wanted, &[("/spec/runtimeClassName", json!("kata"))]), @r#"{"op":"add","path":"/spec/imagePullSecrets","value":[{"name":"registry"}]}"#);
}

/// Pod security standards ask every container.
#[test]
fn security_contexts() {
    let wanted = "{securityContext: {runAsNonRoot: true, fsGroup: 100}, containerSecurityContext: {allowPrivilegeEscalation: false}}";
    let own = [
        ("/spec/securityContext", json!({"fsGroup": 7})),
        ("/spec/containers/1", json!({"name": "logs"})),
    ];
    insta::assert_snapshot!(injected(wanted, &own), @r#"
    {"op":"add","path":"/spec/securityContext/runAsNonRoot","value":true}
    {"op":"add","path":"/spec/initContainers/0/securityContext","value":{"allowPrivilegeEscalation":false}}
    {"op":"add","path":"/spec/containers/0/securityContext","value":{"allowPrivilegeEscalation":false}}
    {"op":"add","path":"/spec/containers/1/securityContext","value":{"allowPrivilegeEscalation":false}}
    "#);
}

/// The Ray container only, and never before what is there.
#[test]
fn environment_and_volumes() {
    let wanted = "{env: [{name: NCCL_DEBUG, value: INFO}, {name: OWN, value: theirs}], \
        volumes: [{name: cache, source: {emptyDir: {}}, mountPath: /cache}, {name: models, source: {configMap: {name: m}}, mountPath: /models, readOnly: true}]}";
    let own = [
        ("/spec/containers/1", json!({"name": "logs"})),
        (
            "/spec/containers/0/env",
            json!([{"name": "OWN", "value": "mine"}]),
        ),
        (
            "/spec/containers/0/volumeMounts/1",
            json!({"name": "nfs", "mountPath": "/models/"}),
        ),
    ];
    insta::assert_snapshot!(injected(wanted, &own), @r#"
    {"op":"add","path":"/spec/containers/0/env/1","value":{"name":"NCCL_DEBUG","value":"INFO"}}
    {"op":"add","path":"/spec/volumes/1","value":{"emptyDir":{},"name":"cache"}}
    {"op":"add","path":"/spec/containers/0/volumeMounts/2","value":{"mountPath":"/cache","name":"cache"}}
    "#);
}

/// The size that KubeRay gives it is nobody's wish.
#[test]
fn shared_memory() {
    let wanted = "{sharedMemory: 4Gi}";
    insta::assert_snapshot!(injected(wanted, &[]), @r#"
    {"op":"test","path":"/spec/volumes/0/emptyDir/sizeLimit","value":"8Gi"}
    {"op":"replace","path":"/spec/volumes/0/emptyDir/sizeLimit","value":"4Gi"}
    "#);
    assert_eq!(
        injected(wanted, &[("/spec/volumes/0/emptyDir/sizeLimit", json!("2Gi"))]),
        ""
    );
    insta::assert_snapshot!(injected(wanted, &[("/spec/volumes", Value::Null), ("/spec/containers/0/volumeMounts", Value::Null)]), @r#"
    {"op":"add","path":"/spec/volumes","value":[{"emptyDir":{"medium":"Memory","sizeLimit":"4Gi"},"name":"rayward-shared-memory"}]}
    {"op":"add","path":"/spec/containers/0/volumeMounts","value":[{"mountPath":"/dev/shm","name":"rayward-shared-memory"}]}
    "#);
}

#[test]
fn startup_probe() {
    let wanted = "{startupProbe: {tcpSocket: {port: 52365}}}";
    insta::assert_snapshot!(injected(wanted, &[]), @r#"{"op":"add","path":"/spec/containers/0/startupProbe","value":{"tcpSocket":{"port":52365}}}"#);
}

/// Of two policies and two topics that say something, the more important and the more special is right.
#[test]
fn accelerators_come_first_and_the_note_says_who_said_what() {
    let gpus = "{priority: 1, accelerators: [{kind: NVIDIA, pod: {env: [{name: NCCL_DEBUG, value: WARN}], tolerations: [{key: nvidia.com/gpu, operator: Exists}]}}]}";
    let house = "{workers: {pod: {env: [{name: NCCL_DEBUG, value: INFO}, {name: TEAM, value: a}]}}, head: {pod: {labels: {a: b}}}}";
    let policies = [("gpus", gpus), ("house", house)]
        .map(|(name, spec)| NamedPolicy::read(name, &yaml(spec)).expect("a policy"));
    let cluster = json!({});
    let policy = Policies::new(policies).of(&request(Operation::Create, Kind::Cluster, &cluster, None));
    let complete = |resource: &str| {
        let mut pod = plain();
        pod["spec"]["containers"][0]["resources"]["limits"][resource] = json!("1");
        let pod = apply(&defaults(&Request::new(&pod, &policy)), &pod);
        let note = pod["metadata"]["annotations"]["rayward.dev/injected"]
            .as_str()
            .expect("a note")
            .replace(env!("CARGO_PKG_VERSION"), "0");
        format!("{}{note}", environment(&pod, 0))
    };
    insta::assert_snapshot!(complete("nvidia.com/mig-1g.5gb"), @r#"
    NCCL_DEBUG=WARN
    TEAM=a
    {"by":{"gpus":["spec.tolerations","spec.containers[0].env.NCCL_DEBUG"],"house":["spec.containers[0].env.TEAM"]},"version":"0"}
    "#);
    insta::assert_snapshot!(complete("amd.com/gpu"), @r#"
    NCCL_DEBUG=INFO
    TEAM=a
    {"by":{"house":["spec.containers[0].env.NCCL_DEBUG","spec.containers[0].env.TEAM"]},"version":"0"}
    "#);
}

const IMAGES: &str = "{images: {
  mirrors: {docker.io: m.example/hub, docker.io/rayproject: m.example/ray, quay.io/team: m.example/hub/team},
  digests: {
    'docker.io/rayproject/ray:2.60.0': 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
    'm.example/hub/library/busybox:latest': 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'}}}";

/// A head with all containers that there may be, each with an image.
fn with_images(images: [&str; 3]) -> Value {
    let [first, ray, autoscaler] = images;
    json!({
        "metadata": {"labels": {"ray.io/node-type": "head", "ray.io/cluster": "demo", "ray.io/group": "headgroup"}},
        "spec": {
            "initContainers": [{"name": "first", "image": first}],
            "containers": [{"name": "ray-head", "image": ray}, {"name": "autoscaler", "image": autoscaler}, {"name": "none"}],
        },
    })
}

fn images_of(pod: &Value) -> String {
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let images = lists
        .into_iter()
        .flatten()
        .flatten()
        .map(|container| &container["image"]);
    images.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn images_come_from_mirrors_and_by_their_digests() {
    let policy = policy(IMAGES);
    let replaced = |images| {
        let pod = with_images(images);
        images_of(&apply(&defaults(&Request::new(&pod, &policy)), &pod))
    };
    insta::assert_snapshot!(replaced(["busybox", "rayproject/ray:2.60.0", "docker.io/rayproject/ray:2.59.0"]), @r#"
    m.example/hub/library/busybox@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    m.example/ray/ray:2.60.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    m.example/ray/ray:2.59.0
    "#);
    // Whole parts of names only, a mirror's image, and one with a digest of its author's own.
    insta::assert_snapshot!(replaced(["quay.io/teams/a:1", "m.example/ray/ray:2.60.0", "rayproject/ray:2.60.0@sha256:0a"]), @r#"
    quay.io/teams/a:1
    m.example/ray/ray:2.60.0
    m.example/ray/ray:2.60.0@sha256:0a
    "#);
}

#[test]
fn who_took_an_image_from_where_is_noted_and_what_became_of_it_is_checked() {
    let policies = [
        ("house", "{images: {mirrors: {docker.io: m.example/hub}}}"),
        (
            "pins",
            "{images: {digests: {'docker.io/rayproject/ray:2.60.0': 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}}}",
        ),
    ];
    let policies = policies.map(|(name, spec)| NamedPolicy::read(name, &yaml(spec)).expect("a policy"));
    let cluster = json!({});
    let policy = Policies::new(policies).of(&request(Operation::Create, Kind::Cluster, &cluster, None));
    let written = with_images(["quay.io/a", "rayproject/ray:2.60.0", "quay.io/b"]);
    let mut pod = apply(&defaults(&Request::new(&written, &policy)), &written);
    insta::assert_snapshot!(patch(&written, &defaults(&Request::new(&written, &policy))), @r#"
    {"op":"test","path":"/spec/containers/0/image","value":"rayproject/ray:2.60.0"}
    {"op":"replace","path":"/spec/containers/0/image","value":"rayproject/ray:2.60.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
    {"op":"test","path":"/spec/containers/0/image","value":"rayproject/ray:2.60.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
    {"op":"replace","path":"/spec/containers/0/image","value":"m.example/hub/rayproject/ray:2.60.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"by\":{\"house\":[\"spec.containers[0].image\"],\"pins\":[\"spec.containers[0].image\"]},\"version\":\"0.1.0\"}"}}
    "#);
    assert_eq!(check(&Request::new(&pod, &policy)), []);
    set(
        &mut pod,
        "/spec/containers/0/image",
        json!("rayproject/ray:2.60.0"),
    );
    let findings = check(&Request::new(&pod, &policy));
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    RW-P504 spec.containers[0].image: the policy house puts this in, and it is not there (see whether Rayward was asked when the Pod was made, and which webhook came after it)
    RW-P504 spec.containers[0].image: the policy pins puts this in, and it is not there (see whether Rayward was asked when the Pod was made, and which webhook came after it)
    "#);
    // The pod that cleans up Redis is none of ours.
    let mut other = written;
    set(&mut other, "/metadata/labels/ray.io~1node-type", Value::Null);
    assert_eq!(defaults(&Request::new(&other, &policy)), []);
}

#[test]
fn what_somebody_took_out_again_is_told() {
    let policy = policy("workers: {pod: {runtimeClassName: nvidia, env: [{name: A, value: b}]}}");
    let pod = plain();
    let mut stripped = apply(&defaults(&Request::new(&pod, &policy)), &pod);
    assert_eq!(check(&Request::new(&stripped, &policy)), []);
    set(&mut stripped, "/spec/containers/0/env", Value::Null);
    let findings = check(&Request::new(&stripped, &policy));
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @"RW-P504 spec.containers[0].env.A: the policy house puts this in, and it is not there (see whether Rayward was asked when the Pod was made, and which webhook came after it)");
}

#[test]
fn everything_that_is_wrong_with_what_a_policy_puts_into_pods() {
    let spec = "accelerators: [{kind: Abacus, pod: {sharedMemory: much}}]
images:
  mirrors: {rayproject: m.example, quay.io: m.example/, 'docker.io/ray:2': m.example}
  digests: {'rayproject/ray': 'sha256:0a', 'quay.io/ray:1@sha256:0a': 'x', 'quay.io/ray:1': 'sha256:0a'}
head:
  pod:
    labels: {ray.io/cluster: x, '?': x, team: '??'}
    annotations: {'a b': c}
    tolerations: [{key: 1}, {kee: a}]
    capacity: Spot
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}
    volumes: [{name: a, source: {nfz: {}}, mountPath: a}]";
    let problems = NamedPolicy::read("house", &yaml(spec)).expect_err("wrong");
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    spec.accelerators[0].kind: `Abacus` is no kind of accelerator (write one of NVIDIA, AMD, Intel, Gaudi, Neuron, TPU, Ascend)
    spec.accelerators[0].pod.sharedMemory: `much` is no amount of memory (write it as in 16Gi)
    spec.head.pod.annotations[a b]: nothing can be called `a b` (write a name, or a domain and a name as in example.com/team)
    spec.head.pod.capacity: the node affinity requires something of nodes already (say there which capacity they have, and leave this out)
    spec.head.pod.labels[?]: nothing can be called `?` (write a name, or a domain and a name as in example.com/team)
    spec.head.pod.labels[ray.io/cluster]: KubeRay keeps this label for itself (choose a label of your own)
    spec.head.pod.labels.team: no label has the value `??` (write at most 63 letters, digits, hyphens, underscores and dots)
    spec.head.pod.tolerations[0]: key: invalid type: integer `1`, expected a string (write it as in a Pod; `kubectl explain pod.spec` shows every field)
    spec.head.pod.tolerations[1].kee: there is no such field (see how Kubernetes spells it)
    spec.head.pod.volumes[0].mountPath: `a` is no path from the root (begin it with a slash)
    spec.head.pod.volumes[0].source.nfz: there is no such field (see how Kubernetes spells it)
    spec.images.digests[quay.io/ray:1]: `sha256:0a` is no digest (write sha256: and 64 hexadecimal digits)
    spec.images.digests[quay.io/ray:1@sha256:0a]: `quay.io/ray:1@sha256:0a` has a digest already (write its tag only)
    spec.images.digests[rayproject/ray]: `rayproject/ray` is not all of the image's name (write docker.io/rayproject/ray:latest)
    spec.images.mirrors[docker.io/ray:2]: no repository's name begins with `docker.io/ray:2` (write a registry and parts of a name, without tag, and without a slash at the end)
    spec.images.mirrors[quay.io]: no repository's name begins with `m.example/` (write a registry and parts of a name, without tag, and without a slash at the end)
    spec.images.mirrors.rayproject: `rayproject` names no registry (if it is Docker's, write docker.io/rayproject)
    "#);
}

// === any pod ===

/// Workers with each field that a stage looks at absent, as KubeRay has it, of the author's own, or out of place.
fn pods() -> impl Strategy<Value = Value> {
    let changes: Vec<(&str, Value)> = vec![
        ("/metadata/labels/ray.io~1replica-host-index", Value::Null),
        ("/metadata/labels/ray.io~1replica-host-index", json!("x")),
        ("/metadata/labels/ray.io~1worker-group-replica-index", Value::Null),
        ("/metadata/labels/ray.io~1worker-group-replica-name", Value::Null),
        ("/metadata/labels/ray.io~1group", json!("A_b")),
        ("/metadata/labels/ray.io~1node-type", json!("head")),
        ("/metadata/annotations", json!({"a": "b"})),
        ("/metadata/annotations", Value::Null),
        ("/spec/nodeSelector", json!({"a": "b"})),
        ("/spec/nodeSelector", Value::Null),
        (
            "/spec/nodeSelector/cloud.google.com~1gke-tpu-topology",
            json!("2x2x1"),
        ),
        ("/spec/hostname", json!("me")),
        ("/spec/affinity", json!({})),
        (
            "/spec/affinity",
            json!({"podAffinity": null, "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
        ),
        ("/spec/affinity", json!("x")),
        ("/spec/containers/0/env", json!([])),
        ("/spec/containers/0/env", json!("x")),
        (
            "/spec/containers/0/env",
            json!([{"name": "TPU_WORKER_ID", "value": "7"}, {"name": "MEGASCALE_NUM_SLICES", "value": "2"}]),
        ),
        (
            "/spec/containers/0/resources/limits",
            json!({"google.com/tpu": "8", "nvidia.com/gpu": "1", "memory": "8Gi"}),
        ),
        ("/spec/containers/1", json!({"name": "autoscaler", "image": "x"})),
        ("/spec/tolerations", json!([{"key": "gpu", "operator": "Exists"}])),
        (
            "/spec/volumes",
            json!([{"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": "3Gi"}}]),
        ),
        (
            "/spec/containers/0/volumeMounts",
            json!([{"name": "shared-mem", "mountPath": "/dev/shm"}]),
        ),
        ("/spec/securityContext", json!({"runAsUser": 1000})),
    ];
    let changes = prop::collection::vec(prop::sample::select(changes), 0..8);
    changes.prop_map(|changes| {
        changes
            .into_iter()
            .fold(tpu_worker("demo", "tpu"), |mut pod, (pointer, value)| {
                let (parent, _) = pointer.rsplit_once('/').expect("a pointer");
                // Not every change leaves room for the next.
                if pod
                    .pointer(parent)
                    .is_some_and(|parent| parent.is_object() || parent.is_array())
                {
                    set(&mut pod, pointer, value);
                }
                pod
            })
    })
}

/// Everything that is said in `before` is said in `after`, but for the autoscaler's container; lists grow at their ends.
fn keeps(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .all(|(key, value)| value.is_null() || after.get(key).is_some_and(|after| keeps(value, after))),
        (Value::Array(before), Value::Array(after)) => {
            let mut before = before.iter().filter(|item| item["name"] != "autoscaler");
            before.clone().count() <= after.len()
                && before
                    .by_ref()
                    .zip(after)
                    .all(|(before, after)| keeps(before, after))
        }
        _ => before == after,
    }
}

const EVERYTHING: &str = "accelerators:
- kind: NVIDIA
  pod: {tolerations: [{key: gpu, operator: Exists}], env: [{name: TPU_WORKER_ID, value: '3'}], sharedMemory: 4Gi}
- {kind: TPU, pod: {nodeSelector: {cloud.google.com/gke-tpu-topology: 2x2x2}, runtimeClassName: tpu}}
head: {pod: {labels: {a: b}, capacity: OnDemand}}
workers:
  pod:
    annotations: {a: c}
    affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}
    capacity: Spot
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
    securityContext: {runAsUser: 7, runAsNonRoot: true}
    containerSecurityContext: {privileged: false}
    volumes: [{name: cache, source: {emptyDir: {}}, mountPath: /cache}]
    sharedMemory: 1Gi
    startupProbe: {tcpSocket: {port: 1}}";

proptest! {
    #[test]
    fn completed_once_is_completed_for_good(
        pod in pods(),
        mode in prop::sample::select(vec![AutoscalerMode::Central, AutoscalerMode::Sidecar, AutoscalerMode::Ray]),
        spec in prop::sample::select(vec!["{}", EVERYTHING]),
    ) {
        let policy = policy(spec);
        let complete = |pod: &Value| {
            let request = Request { mode, ..Request::new(pod, &policy) };
            apply(&defaults(&request), pod)
        };
        let once = complete(&pod);
        prop_assert!(keeps(&pod, &once), "{once:#}");
        prop_assert_eq!(&complete(&once), &once);
        let findings = check(&Request { mode, ..Request::new(&once, &policy) });
        prop_assert!(findings.iter().all(|finding| finding.code != "RW-P504"), "{findings:?}");
    }

    #[test]
    fn an_image_that_was_replaced_stays(
        names in prop::array::uniform3(image()),
        mirrors in prop::collection::btree_map(image_prefix(), image_prefix(), 0..4),
        digests in prop::collection::btree_map(image().prop_map(|image| Image::parse(&image).in_full().to_string()), Just(format!("sha256:{:064}", 1)), 0..4),
    ) {
        let digests: BTreeMap<_, _> = digests.into_iter().filter(|(image, _)| !image.contains('@')).collect();
        let spec = json!({"images": {"mirrors": mirrors, "digests": digests}});
        let policy = policy(&spec.to_string());
        let pod = with_images(names.each_ref().map(String::as_str));
        let once = apply(&defaults(&Request::new(&pod, &policy)), &pod);
        prop_assert_eq!(defaults(&Request::new(&once, &policy)), []);
        let tags = |pod: &Value| images_of(pod).lines().map(|image| Image::parse(image).tag).collect::<Vec<_>>();
        prop_assert_eq!(tags(&once), tags(&pod));
    }
}

/// Beginnings of names, so few of them that one mirror leads to another.
fn image_prefix() -> impl Strategy<Value = String> {
    "(docker[.]io|a[.]b|c:1)(/(library|x|y)){0,2}"
}

fn image() -> impl Strategy<Value = String> {
    "((docker[.]io|a[.]b|c:1)/)?((library|x|y)/){0,2}(x|y)(:(1|latest))?(@sha256:0a)?"
}
