//! What policies in files make of manifests.

use super::{BROKEN, DEMO, findings, folder, json, program, ran, run};

/// What platform teams want, once for everybody and once for a team.
const POLICIES: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayAdmissionPolicy
metadata: {name: everybody}
spec:
  rules: [{code: RW-G*, action: Audit}, {code: RW-C009, action: Warn}]
---
apiVersion: rayward.dev/v1alpha1
kind: RayAdmissionPolicy
metadata: {name: vision}
spec:
  priority: 10
  select: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: vision}}}
  rules: [{code: RW-G023, action: Deny}]
";

#[test]
fn policies_in_files_do_what_they_do_in_a_cluster() {
    let ours = BROKEN.replace("name: broken", "name: broken\n  namespace: vision");
    let folder = folder(&[
        ("policies.yaml", POLICIES),
        ("theirs.yaml", BROKEN),
        ("ours.yaml", &ours),
    ]);
    let actions = |line: &str| {
        let report = json(&run(&folder, line).stdout);
        let findings = report["objects"][0]["findings"]
            .as_array()
            .expect("findings")
            .clone();
        let told = findings
            .iter()
            .filter(|finding| finding["code"] == "RW-C009" || finding["code"] == "RW-G023");
        let told = told.map(|finding| format!("{} {}", finding["code"], finding["action"]).replace('"', ""));
        told.collect::<Vec<_>>().join(", ")
    };
    insta::assert_snapshot!(actions("check theirs.yaml --format json"), @"RW-C009 Deny, RW-G023 Warn, RW-G023 Warn");
    insta::assert_snapshot!(actions("check theirs.yaml --policy policies.yaml --format json"), @"RW-C009 Warn, RW-G023 Audit, RW-G023 Audit");
    insta::assert_snapshot!(actions("check ours.yaml --policy policies.yaml --format json"), @"RW-C009 Warn, RW-G023 Deny, RW-G023 Deny");
    let explained = run(&folder, "explain-policy ours.yaml --policy policies.yaml");
    insta::assert_snapshot!(explained.stdout, @r#"
    RayCluster vision/broken
      falls under vision (priority 10), everybody (priority 0)
      rules[0].action  "Deny"     vision
      rules[0].code    "RW-G023"  vision
      rules[1].action  "Audit"    everybody
      rules[1].code    "RW-G*"    everybody
      rules[2].action  "Warn"     everybody
      rules[2].code    "RW-C009"  everybody
    "#);
    let none = run(&folder, "explain-policy theirs.yaml --policy ours.yaml");
    insta::assert_snapshot!(format!("{} {}", none.code, none.stderr), @r"
    2 error: read the policies:
      ours.yaml: there is no RayAdmissionPolicy in it
    ");
}

/// By manifests, by flags, or not at all, which is said.
#[test]
fn policies_select_by_what_is_known_of_a_namespace() {
    let policy = "
apiVersion: rayward.dev/v1alpha1
kind: RayAdmissionPolicy
metadata: {name: prod}
spec:
  select: {namespaceSelector: {matchLabels: {stage: prod}}}
  rules: [{code: RW-C007, action: Audit}]
  head: {serviceAccountName: ray-head}
";
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {stage: prod}}}";
    let folder = folder(&[
        ("policy.yaml", policy),
        ("demo.yaml", DEMO),
        ("anywhere.yaml", &DEMO.replace(", namespace: team", "")),
        ("namespace.yaml", namespace),
    ]);
    let told = |more: &str| {
        let with = |command: &str| run(&folder, &format!("{command} --policy policy.yaml {more}"));
        let found = json(&with("check --format json").stdout);
        let findings = found["objects"][0]["findings"]
            .as_array()
            .expect("findings")
            .iter();
        let findings =
            findings.filter(|finding| finding["code"] == "RW-C007" || finding["code"] == "RW-A110");
        let findings =
            findings.map(|finding| format!("{} {}", finding["action"], finding["code"]).replace('"', ""));
        let mutated = with("mutate");
        let filled_in = mutated.stdout.contains("serviceAccountName: ray-head");
        let told = findings.chain([format!("filled in: {filled_in} {}", mutated.stderr.trim())]);
        told.collect::<Vec<_>>().join(", ").trim().to_owned()
    };
    insta::assert_snapshot!(
        [
            "demo.yaml namespace.yaml",
            "demo.yaml --namespace-labels team:stage=prod,zone=b",
            "demo.yaml --namespace-labels team:stage=test",
            "demo.yaml namespace.yaml --namespace-labels team:",
            "demo.yaml",
            "anywhere.yaml namespace.yaml",
            "anywhere.yaml namespace.yaml -n team",
        ]
        .map(|line| format!("{line}: {}", told(line)))
        .join("\n"),
        @"
    demo.yaml namespace.yaml: Audit RW-C007, filled in: true
    demo.yaml --namespace-labels team:stage=prod,zone=b: Audit RW-C007, filled in: true
    demo.yaml --namespace-labels team:stage=test: Deny RW-C007, filled in: false
    demo.yaml namespace.yaml --namespace-labels team:: Deny RW-C007, filled in: false
    demo.yaml: Warn RW-A110, Deny RW-C007, filled in: false warning: RayCluster demo: whether the policy prod is for it depends on the label stage of its namespace, which is not known here
    anywhere.yaml namespace.yaml: Warn RW-A110, Deny RW-C007, filled in: false warning: RayCluster demo: whether the policy prod is for it depends on the label stage of its namespace, which is not known here
    anywhere.yaml namespace.yaml -n team: Audit RW-C007, filled in: true
    "
    );
    let explained = run(&folder, "explain-policy demo.yaml --policy policy.yaml");
    insta::assert_snapshot!(explained.stdout, @"
    RayCluster team/demo
      falls under no policy
      whether the policy prod is for it depends on the label stage of its namespace, which is not known here
    ");
    for wrong in ["team", ":stage=prod", "team:stage", "team:stage=a b"] {
        let mut command = program(folder.path(), "check demo.yaml --policy policy.yaml");
        assert_eq!(
            ran(command.args(["--namespace-labels", wrong]), "").code,
            2,
            "{wrong}"
        );
    }
    assert_eq!(
        run(&folder, "check demo.yaml --namespace-labels team:a=b").code,
        2,
        "of no use without a policy"
    );
}

#[test]
fn rules_that_policies_bring_along_hold_in_files() {
    let policy = "
apiVersion: rayward.dev/v1alpha1
kind: RayAdmissionPolicy
metadata: {name: house}
spec:
  customRules:
    - name: owned
      expression: has(object.metadata.labels) && 'team' in object.metadata.labels
      message: nobody would know whose it is
      path: metadata.labels.team
      hint: give it the label team
";
    let folder = folder(&[("policy.yaml", policy), ("demo.yaml", DEMO)]);
    let ran = run(&folder, "check demo.yaml --policy policy.yaml --format github");
    insta::assert_snapshot!(ran.stdout, @r#"
    ::error file=demo.yaml,line=8,col=11,title=RW-X/owned::metadata.labels.team: nobody would know whose it is; so says the policy house (give it the label team)
    ::error file=demo.yaml,line=21,col=20,title=RW-C007::spec.workerGroupSpecs[0].minReplicas: group "cpu" cannot have -1 workers (use 0 or more)
    ::warning file=demo.yaml,line=20,col=17,title=RW-G005::spec.workerGroupSpecs[0].replicas: 11 is not within -1 and 10; there will be 10 (choose a number within minReplicas and maxReplicas, or change those)
    1 object, 2 problems, 1 warning; 1 object of other kinds passed over (assuming KubeRay 1.7)
    "#);
    let log = json(&run(&folder, "check demo.yaml --policy policy.yaml --format sarif").stdout);
    let results = log["runs"][0]["results"].as_array().expect("results");
    let ours = results.iter().find(|result| result["ruleId"] == "RW-X/owned");
    assert_eq!(ours.map(|result| result["ruleIndex"].is_null()), Some(true));
    let wrong = policy.replace("has(object", "has(objekt");
    let folder = super::folder(&[("policy.yaml", &wrong)]);
    let ran = run(&folder, "check policy.yaml --format github");
    insta::assert_snapshot!(ran.stdout, @r"
    ::error file=policy.yaml,line=8,col=19,title=RW-A001::spec.customRules[0].expression: no expression in CEL: nothing is called `objekt`; there are object, oldObject, request, namespaceLabels (write it as in object.spec.rayVersion != '2.9.0', and a message as in 'this is Ray ' + object.spec.rayVersion)
    1 object, 1 problem, no warnings (assuming KubeRay 1.7)
    ");
}

#[test]
fn policies_are_checked_like_what_they_are_for() {
    let broken = POLICIES
        .replace("RW-C009", "RW-C0099")
        .replace("priority: 10", "priority: high");
    let folder = folder(&[("policies.yaml", &broken)]);
    let ran = run(&folder, "check policies.yaml --format json");
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(findings(&ran, &broken).join("\n"), @r"
    RW-A001 rules: [{code: RW-G*, action: Audit}, {code: RW-C0099, action: Warn}]
    RW-A001 priority: high
    ");
    let used = run(&folder, "mutate policies.yaml --policy policies.yaml");
    insta::assert_snapshot!(format!("{} {}", used.code, used.stderr), @r#"
    2 error: read the policies:
      policies.yaml:6:48: spec.rules[1].code: no rule has the code `RW-C0099` (perhaps RW-C009 is meant; `rayward-webhook rules` lists all)
      policies.yaml:12:13: spec.priority: expected a whole number of 32 bits, found the string "high" (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)
    "#);
    assert_eq!(run(&folder, "check policies.yaml --format sarif").code, 1);
}

/// Where no policy bounds a namespace, or nobody knows whether one does, there is nothing to apply.
#[test]
fn bounds_become_quotas() {
    let policy = "
apiVersion: rayward.dev/v1alpha1
kind: RayAdmissionPolicy
metadata: {name: prod}
spec:
  select: {namespaceSelector: {matchLabels: {stage: prod}}}
  accelerators: [{kind: TPU, maxPerNamespace: 64}]
";
    let namespaces = "
{apiVersion: v1, kind: Namespace, metadata: {name: speech, labels: {stage: prod}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: vision, labels: {stage: prod}}}
";
    let folder = folder(&[("policy.yaml", policy), ("namespaces.yaml", namespaces)]);
    let quota = |more: &str| {
        let ran = run(&folder, &format!("quota --policy policy.yaml {more}"));
        format!("{} {}{}", ran.code, ran.stdout, ran.stderr)
    };
    insta::assert_snapshot!(quota("namespaces.yaml"), @r#"
    0 # Each name is counted by itself; Pods that are not Ray's count, too.
    apiVersion: v1
    kind: ResourceQuota
    metadata:
      name: rayward-accelerators
      namespace: speech
    spec:
      hard:
        requests.google.com/tpu: "64"
    ---
    # Each name is counted by itself; Pods that are not Ray's count, too.
    apiVersion: v1
    kind: ResourceQuota
    metadata:
      name: rayward-accelerators
      namespace: vision
    spec:
      hard:
        requests.google.com/tpu: "64"
    "#);
    assert_eq!(
        quota("-n team --namespace-labels team:stage=prod"),
        quota("--namespace-labels team:stage=prod")
    );
    insta::assert_snapshot!(
        ["", "-n team", "-n team --namespace-labels team:stage=test"].map(quota).join(""),
        @"
    2 error: no namespace is named: say --namespace, or name manifests of namespaces
    2 error: namespace team: whether the policy prod is for it depends on the label stage of its namespace, which is not known here: say --namespace-labels
    2 error: namespace team: no policy that is for every RayCluster there has maxPerNamespace
    "
    );
}

#[test]
fn recipes_have_nothing_wrong_with_them() {
    let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/recipes");
    let ran = run(&folder(&[]), &format!("check --fail-on warn {recipes}"));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stdout.starts_with("7 objects, no problems"), "{}", ran.stdout);
}
