//! What `rules` prints, and that the page made of it is current.

use super::*;

#[test]
fn the_page_in_the_documentation_is_current() {
    let rules: Vec<_> = rules::table().collect();
    let page = include_str!("../../../docs/rules.md");
    assert!(
        page == markdown::render(&rules),
        "the rules have changed; run: cargo run -p rayward-webhook -- rules --format markdown > docs/rules.md"
    );
}

#[test]
fn every_rule_has_a_line_and_a_place_on_the_page() {
    let rules: Vec<_> = rules::table().collect();
    let (text, page) = (text::render(&rules), markdown::render(&rules));
    assert_eq!(text.lines().count(), rules.len() + 1);
    for rule in rules {
        assert!(page.contains(&format!("\n| {} |", rule.code)), "{}", rule.code);
        assert!(explain::text(rule).contains(rule.why));
    }
}

#[test]
fn codes_are_found_however_they_are_written() {
    for code in ["RW-C009", "rw-c009", "c009"] {
        assert_eq!(find(code).expect(code).code, "RW-C009");
    }
    assert!(find("C9").is_none());
}

#[test]
fn a_rule_is_explained() {
    insta::assert_snapshot!(explain::text(find("RW-C009").expect("a rule")), @"
    RW-C009  minReplicas is above maxReplicas

    KubeRay records an event and from then on does nothing for the cluster: pods that die are not replaced, and it does not scale.

    Deny for RayCluster, RayJob, RayService, RayCronJob, with KubeRay 1.6 and newer. KubeRay refuses the same in ValidateRayClusterSpec, once the object is stored.

    This fails:

      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
          maxReplicas: 3
          minReplicas: 4

    Deny: RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 3 (lower minReplicas or raise maxReplicas)

    This passes:

      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
          maxReplicas: 3
          minReplicas: 3

    Nothing from RW-C009.
    ");
    insta::assert_snapshot!(explain::text(find("RW-T006").expect("a rule")), @r#"
    RW-T006  a worker group goes while it has workers

    KubeRay only looks at the groups that there are: the pods of one that is gone run on until somebody deletes them, and cost what they cost.

    Warn for RayCluster, with every KubeRay. Nobody else checks this.

    This fails:

      # before
      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
        - groupName: gpu
      ---
      # after
      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
        - groupName: tpu

    Warn: RW-T006 spec.workerGroupSpecs: group "gpu" goes while it has 1 worker: its pods stay (set its replicas to 0 first, or delete the pods yourself)

    This passes:

      # before
      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
        - groupName: gpu
          replicas: 0
      ---
      # after
      kind: RayCluster
      spec:
        workerGroupSpecs:
        - groupName: cpu
        - groupName: tpu
          replicas: 1

    Nothing from RW-T006.
    "#);
}

#[test]
fn machines_read_every_column() {
    insta::assert_snapshot!(json(&[find("RW-T011").expect("a rule")]), @r#"
    {
      "rules": [
        {
          "action": "Warn",
          "code": "RW-T011",
          "gate": {
            "name": "GCSFaultToleranceEmbeddedStorage",
            "on": true
          },
          "kinds": [
            "RayCluster"
          ],
          "operators": {
            "since": "1.7",
            "until": "1.7"
          },
          "source": "hole",
          "summary": "a change does not reach the volume of the GCS",
          "why": "KubeRay makes the claim once and never changes it; it records an event."
        }
      ],
      "version": 1
    }
    "#);
}
