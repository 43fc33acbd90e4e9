//! What a policy may say, and what is said of one that says something else.

use serde_json::json;

use super::{Measure, Share, read};

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
            "disruption": {"maxRemoved": "10%", "windowSeconds": 3600, "minAgeSeconds": 900},
        }],
    }))
    .expect("a good policy");
    let disruption = spec.groups[0].disruption.expect("it has one");
    assert_eq!(disruption.max_removed, Some(Share::Percent(10)));
    assert_eq!(spec.groups[0].signals[0].average_value, Some(Measure(1500)));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let problems = read(&json!({
        "target": {"kind": "RayCronJob"},
        "replicas": 1,
        "groups": [
            {"name": "cpu", "minReplicas": 4, "maxReplicas": 2, "signals": [
                {"name": "a", "role": "Target", "prometheus": {"query": "up", "server": "prometheus", "headers": {"authorization": "t", "X Y": ""}}},
                {"name": "a", "role": "Floor", "value": 3, "schedule": {"start": "8", "end": "0 18 * * *"}},
                {"name": "b", "role": "Guard", "vetos": "Grow"},
                {"name": "c", "role": "Target", "averageValue": 0, "prometheus": {"query": " "}},
                {"name": "d", "role": "Guard", "prometheus": {"query": "up"}, "fallback": {"behavior": "Static", "replicas": 1}},
            ]},
            {"name": "tpu", "disruption": {}},
            {"name": "gpu", "disruption": {"windowSeconds": 0, "minAgeSeconds": 1}},
            {"name": "a10", "disruption": {"maxRemoved": "+5%"}},
            {"name": "cpu", "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 3600}]}}},
        ],
    }))
    .expect_err("a bad policy");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    spec.groups[0].minReplicas: 4 is above maxReplicas, which is 2 (lower it or raise maxReplicas)
    spec.groups[0].signals[0]: a Target has one goal (give `averageValue`, what each replica's share should be, or `value`, what the number should be)
    spec.groups[0].signals[0].prometheus.headers[X Y]: this is no header (write it as in `X-Scope-OrgID: vision`)
    spec.groups[0].signals[0].prometheus.headers.authorization: everybody could read this (put it into a Secret, and name that as `secret`)
    spec.groups[0].signals[0].prometheus.server: this is no address of a server (write it as http://prometheus.monitoring:9090)
    spec.groups[0].signals[1].name: `a` is no name of its own (give each signal a name of its own)
    spec.groups[0].signals[1].schedule.replicas: it is missing (say how many replicas)
    spec.groups[0].signals[1].schedule.start: it has 1 fields instead of minute, hour, day of month, month and day of week (write minute, hour, day of the month, month and day of the week, as in `0 8 * * mon-fri`, and a zone such as Europe/Berlin)
    spec.groups[0].signals[1].value: a Floor has no such field (leave it out, or choose another role)
    spec.groups[0].signals[2]: it takes its number from nowhere, or from two places (give either `prometheus` or `schedule`)
    spec.groups[0].signals[2].vetos: there is no such field (perhaps `vetoes` is meant)
    spec.groups[0].signals[3].averageValue: no number of replicas reaches this (give more than 0)
    spec.groups[0].signals[3].prometheus.query: there is no query (write an instant query in PromQL whose answer is one number)
    spec.groups[0].signals[4].fallback.replicas: a Guard has no replicas (choose Last or Ignore)
    spec.groups[1].disruption.maxRemoved: it is missing (say how many replicas may go within windowSeconds, or give only minAgeSeconds)
    spec.groups[2].disruption.maxRemoved: it is missing (say how many replicas may go within windowSeconds, or give only minAgeSeconds)
    spec.groups[2].disruption.windowSeconds: 0 is out of bounds (write 1 to 86400)
    spec.groups[3].disruption.maxRemoved: "+5%" is neither a number such as 2 nor a part such as "10%" (`kubectl explain rayscalingpolicies --recursive` shows what every field takes)
    spec.groups[4].behavior.scaleUp.policies[0].periodSeconds: 3600 is out of bounds (write 1 to 1800)
    spec.groups[4].behavior.scaleUp.policies[0].value: 0 is out of bounds (write 1 to 2147483647)
    spec.groups[4].name: `cpu` is listed above already (put its signals there)
    spec.replicas: one number cannot say how many replicas several groups have (leave it out, or write a policy for one group, with its name)
    spec.target: it has neither a name nor matchLabels, or both (say whose workers are scaled)
    spec.target.kind: expected one of `RayCluster`, `RayJob`, `RayService`, found the string "RayCronJob" (`kubectl explain rayscalingpolicies --recursive` shows what every field takes)
    "#);
}
