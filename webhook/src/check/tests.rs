//! The formats, each on the same report: a mistake, a doubt, and an input that cannot be read.

use std::path::Path;
use std::process::Command;

use ray::path::Pointer;
use rules::{Action, Finding, Verdict};
use serde_json::Value;

use super::report::{Checked, Report};
use super::{github, json, junit, sarif, text};
use crate::args::World;
use crate::source::Source;

const DEMO: &str = include_str!("../../tests/demo.yaml");

fn check(render: impl Fn(&Report<'_>) -> String) -> String {
    let source = Source::new("demo, 100%.yaml", Ok(DEMO.to_owned()));
    let torn = Source::new("torn.yaml", Ok("a: [\u{7}".to_owned()));
    let documents = source.documents().expect("it can be read");
    let group = Pointer::root().key("spec").key("workerGroupSpecs").index(0);
    let finding = |code: &'static str, field, problem: &str, action| Finding {
        code: code.into(),
        path: group.key(field),
        problem: problem.to_owned(),
        hint: "use more of <these>".to_owned(),
        action,
        excused: false,
        policy: None,
    };
    let verdict = Verdict {
        allowed: false,
        message: None,
        warnings: Vec::new(),
        audit: [].into(),
        findings: vec![
            finding(
                "RW-C007",
                "minReplicas",
                "\"cpu\" cannot have -1 workers",
                Action::Deny,
            ),
            finding(
                "RW-G035",
                "suspend",
                "nobody\nexpects \u{1b}[31mthis",
                Action::Warn,
            ),
        ],
    };
    let world = World {
        kuberay_version: None,
        feature_gates: None,
        kubernetes_version: None,
    };
    let mut report = Report::new(Action::Deny, &world);
    let object = &documents[1].objects()[0];
    let checked = Checked::new(&source, 1, &documents[1], object, "RayCluster", verdict);
    report.objects.push(checked);
    report.unreadable.extend(torn.documents().err());
    report.passed_over = 1;
    render(&report)
}

#[test]
fn for_people() {
    insta::assert_snapshot!(anstream::adapter::strip_str(&check(text::render)).to_string(), @r#"
    error[RW-C007]: spec.workerGroupSpecs[0].minReplicas: "cpu" cannot have -1 workers
      --> demo, 100%.yaml:21:20
       |
    21 |       minReplicas: -1
       |                    ^^
       |
       = help: use more of <these>
       = note: in RayCluster team/demo

    warning[RW-G035]: spec.workerGroupSpecs[0].suspend: nobody
                      expects ␛[31mthis
      --> demo, 100%.yaml:19:7
       |
    19 |     - groupName: cpu
       |       ^
       |
       = help: use more of <these>
       = note: in RayCluster team/demo

    error: unexpected character: `\u{7}'
     --> torn.yaml:1:5
      |
    1 | a: [␇
      |     ^

    1 object, 1 problem, 1 warning; 1 object of other kinds passed over; 1 input could not be read (assuming KubeRay 1.7)
    "#);
}

#[test]
fn for_programs() {
    insta::assert_snapshot!(check(json::render), @r#"
    {
      "errors": [
        {
          "column": 5,
          "file": "torn.yaml",
          "line": 1,
          "message": "unexpected character: `\\u{7}'"
        }
      ],
      "objects": [
        {
          "allowed": false,
          "column": 1,
          "document": 1,
          "file": "demo, 100%.yaml",
          "findings": [
            {
              "action": "Deny",
              "code": "RW-C007",
              "column": 20,
              "hint": "use more of <these>",
              "line": 21,
              "message": "\"cpu\" cannot have -1 workers",
              "path": "/spec/workerGroupSpecs/0/minReplicas"
            },
            {
              "action": "Warn",
              "code": "RW-G035",
              "column": 7,
              "hint": "use more of <these>",
              "line": 19,
              "message": "nobody\nexpects \u001b[31mthis",
              "path": "/spec/workerGroupSpecs/0/suspend"
            }
          ],
          "kind": "RayCluster",
          "line": 6,
          "name": "demo",
          "namespace": "team"
        }
      ],
      "passedOver": 1,
      "version": 1
    }
    "#);
}

#[test]
fn for_github() {
    insta::assert_snapshot!(check(github::render), @r#"
    ::error file=demo%2C 100%25.yaml,line=21,col=20,title=RW-C007::spec.workerGroupSpecs[0].minReplicas: "cpu" cannot have -1 workers (use more of <these>)
    ::warning file=demo%2C 100%25.yaml,line=19,col=7,title=RW-G035::spec.workerGroupSpecs[0].suspend: nobody%0Aexpects [31mthis (use more of <these>)
    ::error file=torn.yaml,line=1,col=5,title=cannot be read::unexpected character: `\u{7}'
    1 object, 1 problem, 1 warning; 1 object of other kinds passed over; 1 input could not be read (assuming KubeRay 1.7)
    "#);
}

#[test]
fn for_junit() {
    insta::assert_snapshot!(check(junit::render), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="rayward-webhook check" tests="2" failures="1" errors="1">
        <testcase name="RayCluster team/demo" classname="demo, 100%.yaml">
          <failure message="RW-C007">demo, 100%.yaml:21:20: Deny RW-C007 spec.workerGroupSpecs[0].minReplicas: "cpu" cannot have -1 workers (use more of &lt;these&gt;)</failure>
          <system-out>demo, 100%.yaml:19:7: Warn RW-G035 spec.workerGroupSpecs[0].suspend: nobody
    expects  [31mthis (use more of &lt;these&gt;)</system-out>
        </testcase>
        <testcase name="can be read" classname="torn.yaml">
          <error message="unexpected character: `\u{7}'">torn.yaml:1:5: unexpected character: `\u{7}'</error>
        </testcase>
      </testsuite>
    </testsuites>
    "#);
}

#[test]
fn for_code_scanning() {
    let log: Value = serde_json::from_str(&check(sarif::render)).expect("it is JSON");
    if let Err(error) = jsonschema::validate(&sarif_schema(), &log) {
        panic!("{}: {error}", error.instance_path());
    }
    let run = &log["runs"][0];
    let mut result = run["results"][0].clone();
    let index = result["ruleIndex"].take().as_u64().expect("an index");
    let index = usize::try_from(index).expect("a small one");
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    insta::assert_snapshot!(format!("{result:#}\n{:#}", run["invocations"]), @r#"
    {
      "level": "error",
      "locations": [
        {
          "logicalLocations": [
            {
              "fullyQualifiedName": "RayCluster team/demo: spec.workerGroupSpecs[0].minReplicas",
              "kind": "member",
              "name": "spec.workerGroupSpecs[0].minReplicas"
            }
          ],
          "physicalLocation": {
            "artifactLocation": {
              "uri": "demo%2C%20100%25.yaml"
            },
            "region": {
              "endColumn": 22,
              "startColumn": 20,
              "startLine": 21
            }
          }
        }
      ],
      "message": {
        "text": "spec.workerGroupSpecs[0].minReplicas: \"cpu\" cannot have -1 workers (use more of <these>)"
      },
      "partialFingerprints": {
        "object/v1": "RayCluster team/demo /spec/workerGroupSpecs/0/minReplicas"
      },
      "ruleId": "RW-C007",
      "ruleIndex": null
    }
    [
      {
        "executionSuccessful": false,
        "toolExecutionNotifications": [
          {
            "level": "error",
            "locations": [
              {
                "physicalLocation": {
                  "artifactLocation": {
                    "uri": "torn.yaml"
                  },
                  "region": {
                    "endColumn": 6,
                    "startColumn": 5,
                    "startLine": 1
                  }
                }
              }
            ],
            "message": {
              "text": "unexpected character: `\\u{7}'"
            }
          }
        ]
      }
    ]
    "#);
}

/// The schema that the standard came with, from a package that holds it.
fn sarif_schema() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "serde-sarif");
    let manifest = package.expect("it is a dependency")["manifest_path"]
        .as_str()
        .expect("a path");
    let schema = Path::new(manifest).with_file_name("src").join("schema.json");
    let mut schema: Value =
        serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("it is JSON");
    // The brackets of these do not match, so that they are no regular expressions.
    for definition in ["run", "toolComponent"] {
        schema["definitions"][definition]["properties"]["language"]["pattern"] = "".into();
    }
    schema
}
