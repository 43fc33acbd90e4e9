//! A scenario, and all three ways to tell what came of it.

use insta::assert_snapshot;

use crate::simulate::{Format, decide};

const SCENARIO: &str = r"
scenario: 1
seconds: 120
startSeconds: 10
pricePerHour: { small: 0.5 }
rayCluster:
  apiVersion: ray.io/v1
  kind: RayCluster
  metadata: { name: demo }
  spec:
    enableInTreeAutoscaling: true
    autoscalerOptions: { idleTimeoutSeconds: 15 }
    headGroupSpec: { rayStartParams: { num-cpus: '0' }, template: &pod { spec: { containers: [{ name: ray, resources: { limits: { cpu: 4 } } }] } } }
    workerGroupSpecs:
    - { groupName: small, replicas: 0, minReplicas: 0, maxReplicas: 3, rayStartParams: {}, template: *pod }
demand:
- { atSecond: 5, requests: [{ resources: { CPU: 1 }, count: 20 }], runSeconds: 20 }
";

fn told(scenario: &str, format: Format) -> String {
    decide(scenario, format).unwrap_or_else(|misfit| format!("error: {misfit}\n"))
}

#[test]
fn a_table_tells_when_something_happens() {
    assert_snapshot!(told(SCENARIO, Format::Text), @r"
         time  waiting  running small
         0:01        0        0     0
         0:05       20        0     0  small: 0 -> 3 replicas, 3 nodes for tasks and actors
         0:06       20        0     3
         0:17        8       12     3
         0:37        0        8     3
         0:53        0        8     3  small: 3 -> 2 replicas, 1 node gone: idle for longer than allowed
         0:54        0        8     2
         0:57        0        0     2
         1:13        0        0     2  small: 2 -> 0 replicas, 2 nodes gone: idle for longer than allowed
         1:14        0        0     0

    small: at most 3 nodes, 0.05 node hours, cost 0.03
    something waited in 32 of 120 seconds
    ");
}

#[test]
fn json_tells_every_second() {
    let json: serde_json::Value = serde_json::from_str(&told(SCENARIO, Format::Json)).expect("JSON");
    assert_eq!(json["samples"].as_array().map(Vec::len), Some(120));
    assert_snapshot!(json["samples"][6], @r#"{"ageMilliseconds":0,"decisions":[],"nodes":{"small":3},"refused":0,"removed":[],"running":0,"second":7,"waiting":20,"written":false}"#);
    assert_snapshot!(json["groups"], @r#"{"small":{"cost":0.025555555555555557,"nodeHours":0.051111111111111114}}"#);
}

#[test]
fn a_chart_has_a_panel_for_each_question() {
    let svg = told(SCENARIO, Format::Svg);
    assert!(is_balanced(&svg), "{svg}");
    let titles: Vec<&str> = svg
        .split("font-weight=\"bold\">")
        .skip(1)
        .filter_map(|rest| rest.split('<').next())
        .collect();
    assert_eq!(titles, ["tasks and bundles", "nodes", "cost"]);
    assert_eq!(svg.matches("<path fill=").count(), 2 + 1 + 1);
}

/// Every element that is opened is closed.
fn is_balanced(svg: &str) -> bool {
    svg.matches('<').count() == 2 * svg.matches("</").count() + svg.matches("/>").count()
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let changed = |from: &str, to: &str| {
        assert!(SCENARIO.contains(from), "{from}");
        told(&SCENARIO.replace(from, to), Format::Text)
    };
    assert_snapshot!([
        changed("scenario: 1", "scenario: 2"),
        changed("seconds: 120", "seconds: 0"),
        changed("small: 0.5", "large: 0.5"),
        changed("kind: RayCluster", "kind: RayJob"),
        changed("count: 20", "count: many"),
        changed("demand:", "demands:"),
        changed("demand:", "faults: { floods: 1 }\ndemand:"),
        changed("limits: { cpu: 4 }", "limits: {}"),
        told(r#"{ "version": 1, "nodeTypes": {} }"#, Format::Svg),
    ].concat(), @r#"
    error: /scenario: 2 is not known: write 1
    error: /seconds: 0 is too few or too many: write 1 to 1000000
    error: /pricePerHour/large: there is no group `large`
    error: /rayCluster/kind: "RayJob" is not RayCluster
    error: /demand/0/requests/0/count: invalid type: string "many", expected u32
    error: /demands: unknown field `demands`, expected one of `scenario`, `rayCluster`, `seconds`, `startSeconds`, `demand`, `pricePerHour`, `seed`, `faults`
    error: /faults: unknown variant `floods`, expected one of `lostReport`, `skewedReport`, `staleWatch`, `lostDrain`, `lostDrainReply`, `conflict`, `lostPatch`, `freeze`, `restart`, `operatorStopped`, `unschedulable`, `podFails`, `nodeDies`, `headRestart`, `clockJump`, `userEdit`
    error: /rayCluster/spec/workerGroupSpecs/0: the group does not say how many CPUs its nodes have: set a CPU limit or request on the first container, or `num-cpus` in rayStartParams
    error: one problem makes no chart: write a scenario, or choose text or json
    "#);
}
