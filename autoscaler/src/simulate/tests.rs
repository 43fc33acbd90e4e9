//! Small problems and what is decided about them, stage by stage.

use insta::assert_snapshot;

use super::{Format, decide};

/// The decision for people, or what is wrong with the problem.
fn text(problem: &str) -> String {
    told(problem, Format::Text)
}

/// The decision for programs.
fn json(problem: &str) -> String {
    told(problem, Format::Json)
}

fn told(problem: &str, format: Format) -> String {
    decide(problem, format).unwrap_or_else(|misfit| format!("error: {misfit}"))
}

#[test]
fn nothing_there_and_nothing_wanted() {
    assert_snapshot!(json(r#"{ "version": 1, "nodeTypes": {} }"#), @r#"
    {
      "decisions": [],
      "infeasible": {
        "constraint": false,
        "gangs": [],
        "requests": []
      },
      "launch": {},
      "terminate": [],
      "version": 1
    }
    "#);
    assert_snapshot!(text(r#"{ "version": 1, "nodeTypes": {} }"#), @"nothing to do");
}

#[test]
fn a_group_is_raised_to_its_minimum() {
    assert_snapshot!(json(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "min": 3, "max": 9 } },
        "nodes": [{ "id": "a", "type": "small", "status": "pending" }] }"#), @r#"
    {
      "decisions": [
        {
          "from": 1,
          "reason": "2 nodes for the minimum",
          "to": 3,
          "type": "small"
        }
      ],
      "infeasible": {
        "constraint": false,
        "gangs": [],
        "requests": []
      },
      "launch": {
        "small": 2
      },
      "terminate": [],
      "version": 1
    }
    "#);
}

#[test]
fn above_the_maximum_of_the_type_the_least_needed_go() {
    assert_snapshot!(json(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 1 } },
        "nodes": [
            { "id": "busy", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 0} },
            { "id": "idle", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 5000 },
            { "id": "pending", "type": "small", "status": "pending" }] }"#), @r#"
    {
      "decisions": [
        {
          "from": 3,
          "reason": "2 nodes gone: above the maximum of the group",
          "to": 1,
          "type": "small"
        }
      ],
      "infeasible": {
        "constraint": false,
        "gangs": [],
        "requests": []
      },
      "launch": {},
      "terminate": [
        {
          "cause": "maxPerType",
          "id": "pending"
        },
        {
          "cause": "maxPerType",
          "id": "idle"
        }
      ],
      "version": 1
    }
    "#);
}

#[test]
fn the_maximum_of_the_cluster_counts_the_head() {
    assert_snapshot!(text(r#"{ "version": 1, "maxNodes": 2,
        "nodeTypes": { "head": { "resources": {"CPU": 4}, "max": 0, "kind": "head" }, "small": { "resources": {"CPU": 4}, "max": 9 } },
        "nodes": [
            { "id": "h", "type": "head", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 900000 },
            { "id": "a", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 5000 },
            { "id": "b", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 2} }] }"#), @r#"
    small: 2 -> 1 nodes, 1 node gone: above the maximum of the cluster
    remove a of small: above the maximum of the cluster, idle for 5 s
    "#);
}

#[test]
fn a_minimum_above_the_maximum_of_the_cluster_is_raised_as_far_as_that() {
    assert_snapshot!(text(r#"{ "version": 1, "maxNodes": 2,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "min": 5, "max": 9 } } }"#), @"small: 0 -> 2 nodes, 2 nodes for the minimum");
}

#[test]
fn the_constraint_asks_for_totals_all_or_nothing() {
    let problem = |count: u32| {
        format!(
            r#"{{ "version": 1,
            "nodeTypes": {{ "small": {{ "resources": {{"CPU": 4}}, "max": 2 }} }},
            "nodes": [{{ "id": "a", "type": "small", "status": "running", "total": {{"CPU": 4}}, "available": {{}} }}],
            "constraint": [{{ "resources": {{"CPU": 1}}, "count": {count} }}] }}"#
        )
    };
    assert_snapshot!(text(&problem(8)), @"small: 1 -> 2 nodes, 1 node for request_resources");
    assert_snapshot!(text(&problem(9)), @"no place for what request_resources asked");
}

#[test]
fn gangs_stay_together_or_apart() {
    assert_snapshot!(json(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 3 } },
        "gangs": [
            { "details": "apart", "bundles": [
                { "resources": {"CPU": 1}, "antiAffinity": {"label": "apart"} },
                { "resources": {"CPU": 1}, "antiAffinity": {"label": "apart"} }] },
            { "details": "too large", "bundles": [
                { "resources": {"CPU": 2.5}, "affinity": {"label": "together", "value": "1"} },
                { "resources": {"CPU": 2.5}, "affinity": {"label": "together", "value": "1"} }] },
            { "details": "together", "bundles": [
                { "resources": {"CPU": 2}, "affinity": {"label": "together", "value": "2"} },
                { "resources": {"CPU": 2}, "affinity": {"label": "together", "value": "2"} }] }] }"#), @r#"
    {
      "decisions": [
        {
          "from": 0,
          "reason": "3 nodes for placement groups",
          "to": 3,
          "type": "small"
        }
      ],
      "infeasible": {
        "constraint": false,
        "gangs": [
          {
            "bundles": [
              {
                "affinity": {
                  "label": "together",
                  "value": "1"
                },
                "resources": {
                  "CPU": 2.5
                }
              },
              {
                "affinity": {
                  "label": "together",
                  "value": "1"
                },
                "resources": {
                  "CPU": 2.5
                }
              }
            ],
            "details": "too large"
          }
        ],
        "requests": []
      },
      "launch": {
        "small": 3
      },
      "terminate": [],
      "version": 1
    }
    "#);
}

#[test]
fn two_values_of_one_label_do_not_share_a_node() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 9 } },
        "requests": [
            { "resources": {"CPU": 1}, "antiAffinity": {"label": "apart", "value": "a"} },
            { "resources": {"CPU": 1}, "antiAffinity": {"label": "apart", "value": "b"} }] }"#), @"small: 0 -> 2 nodes, 2 nodes for tasks and actors");
}

#[test]
fn selectors_choose_types_in_the_order_of_preference() {
    let types = r#""far": { "resources": {"CPU": 4}, "max": 9, "labels": {"zone": "b"} },
                   "near": { "resources": {"CPU": 4}, "max": 1, "labels": {"zone": "a"} }"#;
    let problem =
        |requests: &str| format!(r#"{{ "version": 1, "nodeTypes": {{ {types} }}, "requests": {requests} }}"#);
    assert_snapshot!(text(&problem(r#"[{ "resources": {"CPU": 4}, "count": 3,
        "labelSelectors": [[{"key": "zone", "operator": "in", "values": ["a"]}], [{"key": "zone", "operator": "in", "values": ["b"]}]] }]"#)), @r#"
    far: 0 -> 2 nodes, 2 nodes for tasks and actors
    near: 0 -> 1 nodes, 1 node for tasks and actors
    "#);
    assert_snapshot!(text(&problem(r#"[{ "resources": {"CPU": 4}, "labelSelectors": [[{"key": "zone", "operator": "notIn", "values": ["b"]}]] }]"#)), @"near: 0 -> 1 nodes, 1 node for tasks and actors");
    assert_snapshot!(json(&problem(r#"[{ "resources": {"memory": 8e9, "CPU": 0.5}, "count": 2,
        "labelSelectors": [[{"key": "zone", "operator": "in", "values": ["d", "c"]}]] }]"#)), @r#"
    {
      "decisions": [],
      "infeasible": {
        "constraint": false,
        "gangs": [],
        "requests": [
          {
            "count": 2,
            "labelSelectors": [
              [
                {
                  "key": "zone",
                  "operator": "in",
                  "values": [
                    "c",
                    "d"
                  ]
                }
              ]
            ],
            "resources": {
              "CPU": 0.5,
              "memory": 8000000000
            }
          }
        ]
      },
      "launch": {},
      "terminate": [],
      "version": 1
    }
    "#);
}

#[test]
fn idle_nodes_go_after_their_time_down_to_the_minimum() {
    assert_snapshot!(text(r#"{ "version": 1, "idleTimeoutSeconds": 30,
        "nodeTypes": {
            "small": { "resources": {"CPU": 4}, "min": 1, "max": 9 },
            "patient": { "resources": {"CPU": 4}, "max": 9, "idleTimeoutSeconds": 300 } },
        "nodes": [
            { "id": "a", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 40000 },
            { "id": "b", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 50000 },
            { "id": "c", "type": "patient", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 60000 }] }"#), @r#"
    small: 2 -> 1 nodes, 1 node gone: idle for longer than allowed
    remove b of small: idle for longer than allowed, idle for 50 s
    "#);
}

#[test]
fn priority_decides_between_types_that_suit_equally() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": {
            "first": { "resources": {"CPU": 4}, "max": 9 },
            "preferred": { "resources": {"CPU": 4}, "max": 9, "priority": 1 } },
        "requests": [{ "resources": {"CPU": 1} }] }"#), @"preferred: 0 -> 1 nodes, 1 node for tasks and actors");
}

#[test]
fn gpu_nodes_are_spared_and_tenths_add_up() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": {
            "gpu": { "resources": {"CPU": 1, "GPU": 1}, "max": 9 },
            "cpu": { "resources": {"CPU": 1}, "max": 9 } },
        "requests": [{ "resources": {"CPU": 0.3}, "count": 3 }, { "resources": {"CPU": 0.1} }] }"#), @"cpu: 0 -> 1 nodes, 1 node for tasks and actors");
}

/// Also what only a maximum is in the way of.
#[test]
fn what_found_no_place_is_told() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 1 } },
        "requests": [{ "resources": {"CPU": 4}, "count": 3 }, { "resources": {"GPU": 1} }, { "resources": {"CPU": 9}, "count": 0 }] }"#), @r#"
    small: 0 -> 1 nodes, 1 node for tasks and actors
    no place for 2 x {CPU: 4}
    no place for 1 x {GPU: 1}
    "#);
}

#[test]
fn a_leaving_node_counts_for_nothing() {
    assert_snapshot!(text(r#"{ "version": 1, "maxNodes": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 1 } },
        "nodes": [
            { "id": "a", "type": "small", "status": "leaving" },
            { "id": "b", "type": "gone", "status": "leaving" }],
        "requests": [{ "resources": {"CPU": 4} }] }"#), @"small: 0 -> 1 nodes, 1 node for tasks and actors");
}

#[test]
fn a_running_node_of_a_type_that_is_no_more_is_used_and_left_alone() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 9 } },
        "nodes": [{ "id": "a", "type": "gone", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4}, "idleMilliseconds": 900000 }],
        "requests": [{ "resources": {"CPU": 4}, "count": 2 }] }"#), @"small: 0 -> 1 nodes, 1 node for tasks and actors");
}

#[test]
fn dynamic_labels_count_like_the_others() {
    assert_snapshot!(text(r#"{ "version": 1,
        "nodeTypes": { "small": { "resources": {"CPU": 4}, "max": 9 } },
        "nodes": [{ "id": "a", "type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4},
                    "labels": {"zone": "a"}, "dynamicLabels": {"apart": ""} }],
        "requests": [{ "resources": {"CPU": 1}, "antiAffinity": {"label": "apart"} }] }"#), @"small: 1 -> 2 nodes, 1 node for tasks and actors");
}

/// A problem around the one part that is wrong.
fn refused(part: &str) -> String {
    text(&format!(
        r#"{{ "version": 1, "nodeTypes": {{ "small": {{ "resources": {{"CPU": 4}}, "max": 9 }} }}, {part} }}"#
    ))
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let node = |fields: &str| refused(&format!(r#""nodes": [{{ "id": "a", {fields} }}]"#));
    let bundle = |fields: &str| {
        refused(&format!(
            r#""gangs": [{{ "bundles": [{{ "resources": {{}}, {fields} }}] }}]"#
        ))
    };
    let request = |fields: &str| refused(&format!(r#""requests": [{{ {fields} }}]"#));
    assert_snapshot!(
        [
            text("{"),
            text("{} {}"),
            text(r#"{ "nodeTypes": {} }"#),
            text(r#"{ "version": 2, "nodeTypes": {} }"#),
            text(r#"{ "version": 1 }"#),
            text(r#"{ "version": 1, "rayCluster": {}, "clusterResourceState": {} }"#),
            text(r#"{ "version": 1, "nodeTypes": { "a/b": { "resources": {} } } }"#),
            text(r#"{ "version": 1, "nodeTypes": { "a": { "resources": {"CPU": 1, "CPU": 2}, "max": 1 } } }"#),
            text(r#"{ "version": 1, "nodeTypes": { "a": { "resources": {}, "max": -1 } } }"#),
            text(r#"{ "version": 1, "nodeTypes": {
                "a": { "resources": {}, "max": 1, "kind": "head" }, "b": { "resources": {}, "max": 1, "kind": "head" } } }"#),
            text(r#"{ "version": 1, "nodeTypes": { "a": { "resources": {}, "min": 2, "max": 1 } } }"#),
            refused(r#""maxNodes": 0"#),
            refused(r#""demand": []"#),
            node(r#""type": "other", "status": "pending""#),
            node(r#""type": "small", "status": "gone""#),
            node(r#""type": "small", "status": "running", "available": {}"#),
            node(r#""type": "small", "status": "running", "total": {"CPU": 4}, "available": {"CPU": 4.5}"#),
            node(r#""type": "small", "status": "running", "total": {"CPU": 4}, "available": {"GPU": 1}"#),
            refused(r#""nodes": [{ "id": "a", "type": "small", "status": "pending" }, { "id": "a", "type": "small", "status": "pending" }]"#),
            request(r#""count": 1"#),
            request(r#""resources": {"CPU": -0.00001}"#),
            request(r#""resources": {}, "count": 1.5"#),
            request(r#""resources": {}, "labelSelectors": [[{"key": "zone", "operator": "exists", "values": []}]]"#),
            bundle(r#""count": 2"#),
            bundle(r#""affinity": {"label": "a"}, "antiAffinity": {"label": "b"}"#),
            refused(r#""constraint": [{ "resources": {"memory": "8Gi"} }]"#),
        ]
        .join("\n"),
        @r#"
    error: EOF while parsing an object at line 1 column 1
    error: missing field `version` at line 1 column 2
    error: missing field `version` at line 1 column 19
    error: /version: 2 is not known: write 1 at line 1 column 14
    error: missing field `nodeTypes`
    error: /clusterResourceState: missing field `cluster_resource_state` at line 1 column 62
    error: /nodeTypes/a~1b: missing field `max` at line 1 column 57
    error: /nodeTypes/a/resources: `CPU` is there twice at line 1 column 71
    error: /nodeTypes/a/max: invalid value: integer `-1`, expected u32 at line 1 column 64
    error: /nodeTypes/b/kind: `a` is the head already: there is one
    error: /nodeTypes/a/min: 2 is above max, which is 1
    error: /maxNodes: 0 leaves no room for the head: write 1 or more, or null
    error: /demand: unknown field `demand`, expected one of `version`, `rayCluster`, `clusterResourceState`, `nodeTypes`, `nodes`, `requests`, `gangs`, `constraint`, `maxNodes`, `idleTimeoutSeconds` at line 1 column 89
    error: /nodes/0/type: there is no node type `other`, so nobody knows what the node will offer
    error: /nodes/0/status: unknown variant `gone`, expected one of `running`, `pending`, `leaving` at line 1 column 137
    error: /nodes/0/total: a running node has to say it
    error: /nodes/0/available/CPU: 4.5 is above the total, which is 4
    error: /nodes/0/available/GPU: 1 is above the total, which is 0
    error: /nodes/1/id: `a` is also the id of node 0
    error: /requests/0: missing field `resources` at line 1 column 108
    error: /requests/0/resources/CPU: -0.00001 is no amount: write a number, 0 or more at line 1 column 126
    error: /requests/0/count: invalid type: floating point `1.5`, expected u32 at line 1 column 125
    error: /requests/0/labelSelectors/0/0/operator: unknown variant `exists`, expected `in` or `notIn` at line 1 column 169
    error: /gangs/0/bundles/0/count: a bundle has no count: list it as often as it is needed
    error: /gangs/0/bundles/0/affinity: a bundle has affinity or antiAffinity, not both
    error: /constraint/0/resources/memory: "8Gi" is no amount: write a number, 0 or more at line 1 column 128
    "#
    );
}

#[test]
fn the_guide_is_right() {
    let guide = include_str!("../../../docs/guides/simulate.md");
    let blocks: Vec<&str> = guide
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'))
        .map(|(_, block)| block)
        .collect();
    let [problem, console, decision, scenario, course, _recording, ..] = blocks[..] else {
        panic!(
            "a problem and its decision, told twice, a scenario with its course, and how to record one: {blocks:?}"
        )
    };
    for (asked, console) in [(problem, console), (scenario, course)] {
        let (_, told) = console.split_once('\n').expect("a command, and what it prints");
        assert_eq!(text(asked), told);
    }
    let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
    assert_eq!(value(&json(problem)), value(decision));
}
