//! The wire format, by example.

use ray::path::Pointer;
use serde_json::json;

use super::*;

#[test]
fn a_review_is_read_and_a_patch_is_base64() {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"group": "ray.io", "version": "v1", "kind": "RayCluster"},
            "resource": {"group": "ray.io", "version": "v1", "resource": "rayclusters"},
            "name": "demo",
            "namespace": "team",
            "operation": "CREATE",
            "userInfo": {"username": "ann", "groups": ["system:authenticated"]},
            "object": {"spec": {}},
            "oldObject": null,
            "dryRun": true,
            "options": {"fieldManager": "kubectl"},
        },
    });
    let review = Review::decode(review.to_string().as_bytes()).expect("read");
    assert_eq!(review.operation, Operation::Create);
    assert_eq!(review.user_info.username, "ann");
    assert_eq!(review.old(), None);
    assert!(review.dry_run);

    let patch = json!([{"op": "add", "path": "/spec/rayVersion", "value": "2.60.0"}]);
    let answer = Answer {
        patch: serde_json::from_value(patch).expect("a patch"),
        ..Answer::allowed()
    };
    let written: Value = serde_json::from_slice(&answer.encode(&review.uid)).expect("JSON");
    insta::assert_json_snapshot!(written, @r#"
    {
      "apiVersion": "admission.k8s.io/v1",
      "kind": "AdmissionReview",
      "response": {
        "allowed": true,
        "patch": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL3NwZWMvcmF5VmVyc2lvbiIsInZhbHVlIjoiMi42MC4wIn1d",
        "patchType": "JSONPatch",
        "uid": "705ab4f5"
      }
    }
    "#);
}

#[test]
fn who_wrote_which_field_is_passed_over() {
    let object = json!({
        "metadata": {"name": "demo", "managedFields": [{"fieldsV1": {"f:spec": {}}}], "labels": {"managedFields": "no"}},
        "managedFields": 1,
        "spec": null,
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"kind": "RayCluster"},
            "operation": "UPDATE",
            "object": object,
            "oldObject": {"metadata": null},
        },
    });
    let review = Review::decode(review.to_string().as_bytes()).expect("read");
    let mut seen = object;
    seen["metadata"]
        .as_object_mut()
        .expect("an object")
        .remove("managedFields");
    assert_eq!(review.object, seen);
    assert_eq!(review.old(), Some(&json!({ "metadata": null })));
}

#[test]
fn a_refusal_tells_people_and_programs() {
    let finding = |code: &'static str, action, field: &'static str| Finding {
        code: code.into(),
        path: Pointer::root().key("spec").key(field),
        problem: "it is wrong".to_owned(),
        hint: "put it right".to_owned(),
        action,
        excused: false,
        policy: None,
    };
    let answer = Answer {
        allowed: false,
        message: Some("it is wrong".to_owned()),
        findings: vec![
            finding("RW-C001", Action::Deny, "one"),
            finding("RW-C002", Action::Warn, "two"),
        ],
        warnings: vec!["two\nlines".to_owned()],
        audit: BTreeMap::from([("findings".to_owned(), "RW-C001".to_owned())]),
        ..Answer::allowed()
    };
    let written: Value = serde_json::from_slice(&answer.encode("705ab4f5")).expect("JSON");
    insta::assert_json_snapshot!(written["response"], @r#"
    {
      "allowed": false,
      "auditAnnotations": {
        "findings": "RW-C001"
      },
      "status": {
        "code": 403,
        "details": {
          "causes": [
            {
              "field": "spec.one",
              "message": "it is wrong (put it right)",
              "reason": "RW-C001"
            }
          ]
        },
        "message": "it is wrong",
        "reason": "Forbidden"
      },
      "uid": "705ab4f5",
      "warnings": [
        "two lines"
      ]
    }
    "#);
}

#[test]
fn warnings_stay_within_what_the_api_server_passes_on() {
    let warnings: Vec<String> = (0..40)
        .map(|number| format!("{number} {}", "x".repeat(200)))
        .collect();
    let told = header_safe(&warnings);
    assert!(told.iter().map(String::len).sum::<usize>() <= WARNING_BYTES_MAX);
    assert_eq!(
        told.last().expect("one"),
        &format!("and {} more", 40 - (told.len() - 1))
    );
}

#[test]
fn what_is_no_review_is_told_so() {
    let problem = |body: &str| Review::decode(body.as_bytes()).expect_err("refused").to_string();
    insta::assert_snapshot!(
        [
            problem("{"),
            problem("{}"),
            problem(r#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#),
            problem(r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#),
            problem(r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1"}}"#),
        ]
        .join("\n"),
        @r#"
        read the AdmissionReview: EOF while parsing an object at line 1 column 1
        read the AdmissionReview: expected AdmissionReview of admission.k8s.io/v1, found "" of ""
        read the AdmissionReview: expected AdmissionReview of admission.k8s.io/v1, found "AdmissionReview" of "admission.k8s.io/v1beta1"
        read the AdmissionReview: it has no request
        read the AdmissionReview: missing field `kind` at line 1 column 88
        "#
    );
}
