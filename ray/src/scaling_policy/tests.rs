//! What a policy may say, and what is said of one that says something else.

use serde_json::json;

use super::{Measure, read};

#[test]
fn a_policy_that_can_be_followed() {
    let spec = read(&json!({
        "target": {"kind": "RayService", "name": "chat"},
        "groups": [{
            "name": "cpu",
            "maxReplicas": 8,
            "signals": [
                {"name": "queue", "role": "Target", "averageValue": "1500m",
                 "prometheus": {"server": "http://prometheus.monitoring:9090", "query": "sum(queue{cluster=\"$cluster\"})"}},
                {"name": "office", "role": "Floor", "schedule": {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "replicas": 2}},
                {"name": "pressure", "role": "Guard", "threshold": "0.7", "prometheus": {"query": "pressure"},
                 "fallback": {"behavior": "Ignore"}},
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        }],
    }))
    .expect("a good policy");
    assert_eq!(spec.groups[0].signals[0].average_value, Some(Measure(1500)));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let problems = read(&json!({
        "target": {"kind": "RayCronJob"},
        "groups": [
            {"name": "cpu", "minReplicas": 4, "maxReplicas": 2, "signals": [
                {"name": "a", "role": "Target", "prometheus": {"query": "up", "server": "prometheus"}},
                {"name": "a", "role": "Floor", "value": 3, "schedule": {"start": "8", "end": "0 18 * * *"}},
                {"name": "b", "role": "Guard", "vetos": "Grow"},
                {"name": "c", "role": "Target", "averageValue": 0, "prometheus": {"query": " "}},
                {"name": "d", "role": "Guard", "prometheus": {"query": "up"}, "fallback": {"behavior": "Static", "replicas": 1}},
            ]},
            {"name": "cpu", "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 3600}]}}},
        ],
    }))
    .expect_err("a bad policy");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    spec.groups: there are no groups (list at least one; without a name it stands for every group)
    spec.groups[0].signals[2].vetos: there is no such field (perhaps `vetoes` is meant)
    spec.target: it is missing (it has to be said)
    spec.target.kind: expected one of `RayCluster`, `RayJob`, `RayService`, found the string "RayCronJob" (`kubectl explain rayscalingpolicies --recursive` shows what every field takes)
    spec.target.name: it is missing (it has to be said)
    "#);
}
