//! What the CRDs say of fields by themselves: names, words to choose from, what cannot be left out. An API server sees to that before
//! it asks anybody, with the CRDs that are installed, which may be newer than what is known here: so nothing of this is looked at
//! once it has. Types are told by the reader; least values, and which fields exclude each other, KubeRay checks itself as well, and
//! rows for that stand with their topics.

mod tables;

use std::collections::BTreeSet;

use ray::cluster::ClusterSpec;
use ray::object::Kind;
use ray::path::Pointer;
use ray::schema::differences;
use serde_json::Value;

use self::tables::{AGES, Age, CHOICES, NEEDS, Part};
use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const V1: &str = "ray.io/v1";
const V1ALPHA1: &str = "ray.io/v1alpha1";

const ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "The API server refuses the object.",
    source: Source::Schema,
    operators: Operators::ALL,
    gate: None,
    example: Example {
        fires: "",
        passes: "",
    },
    check: Check::Reading,
};

const WHY_UNKNOWN: &str = "kubectl refuses such a field; others lose it without a word.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G037",
        summary: "a field that the schema does not have",
        why: WHY_UNKNOWN,
        example: Example {
            fires: "/spec/workerGroupSpecs/0/template/spec/containers/0/volumeMount: [{name: data, mountPath: /data}]",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/volumeMounts: [{name: data, mountPath: /data}], \
                /spec/workerGroupSpecs/0/template/spec/volumes: [{name: data, emptyDir: {}}]}",
        },
        check: Check::Object(fields_are_known),
        ..ROW
    },
    Rule {
        code: "RW-G038",
        summary: "a field that this version of KubeRay does not have",
        why: WHY_UNKNOWN,
        example: Example {
            fires: "{kind: RayJob, /spec/deletionPolicy: DeleteCluster}",
            passes: "{kind: RayJob, /spec/deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteNone}}}",
        },
        check: Check::Object(fields_are_of_this_version),
        ..ROW
    },
    Rule {
        code: "RW-G050",
        summary: "a word that the schema does not have",
        example: Example {
            fires: "/spec/autoscalerOptions: {upscalingMode: aggressive}",
            passes: "/spec/autoscalerOptions: {upscalingMode: Aggressive}",
        },
        check: Check::Object(words_are_known),
        ..ROW
    },
    Rule {
        code: "RW-G051",
        summary: "a list of deletion rules without any",
        kinds: &[Kind::Job, Kind::CronJob],
        operators: Operators::since(Operator::V1_5),
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [], onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}",
            passes: "/spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}",
        },
        check: Check::Object(there_are_deletion_rules),
        ..ROW
    },
    Rule {
        code: "RW-G052",
        summary: "a field that the schema cannot do without is missing",
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: metrics}]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/ports: [{name: metrics, containerPort: 8080}]",
        },
        check: Check::Object(nothing_is_missing),
        ..ROW
    },
    Rule {
        code: "RW-G053",
        summary: "networkPolicy speaks of a worker group twice",
        operators: Operators::since(Operator::V1_7),
        example: Example {
            fires: "/spec/networkPolicy: {mode: DenyAllIngress, workerGroups: [{groupName: cpu}, {groupName: cpu}]}",
            passes: "/spec/networkPolicy: {mode: DenyAllIngress, workerGroups: [{groupName: cpu}, {groupName: gpu}]}",
        },
        check: Check::Object(policies_are_of_different_groups),
        ..ROW
    },
    Rule {
        code: "RW-G054",
        summary: "there is no such kind in this apiVersion",
        example: Example {
            fires: "/apiVersion: ray.io/v1beta1",
            passes: "/apiVersion: ray.io/v1",
        },
        check: Check::Object(kind_is_there),
        ..ROW
    },
    Rule {
        code: "RW-G055",
        summary: "an apiVersion that is deprecated",
        action: Action::Warn,
        kinds: &[Kind::Cluster, Kind::Job, Kind::Service],
        why: "Objects are stored as ray.io/v1, and fields that came later are lost when they are written as ray.io/v1alpha1.",
        example: Example {
            fires: "/apiVersion: ray.io/v1alpha1",
            passes: "/apiVersion: ray.io/v1",
        },
        check: Check::Object(api_version_is_current),
        ..ROW
    },
    Rule {
        code: "RW-G056",
        summary: "a quantity in a pod is not one",
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/volumes: [{name: scratch, emptyDir: {sizeLimit: 4GB}}]",
            passes: "/spec/headGroupSpec/template/spec/volumes: [{name: scratch, emptyDir: {sizeLimit: 4G}}]",
        },
        check: Check::Object(quantities_are_readable),
        ..ROW
    },
];

fn fields_are_known(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    // What earlier versions had is another rule's affair.
    let gone: BTreeSet<Pointer> = AGES
        .iter()
        .filter(|age| age.operators.until < Operator::NEWEST)
        .flat_map(|age| age.part.all(age.place, subject))
        .collect();
    for field in differences(subject.object.kind(), subject.json).unknown {
        if gone.contains(&field.path) {
            continue;
        }
        let says_nothing = field.path.resolve(subject.json).is_some_and(Value::is_null);
        let hint = match field.meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => "look where it belongs, or leave it out".to_owned(),
        };
        findings
            .at(field.path)
            .problem("there is no such field")
            .only(if says_nothing { Action::Warn } else { Action::Deny })
            .hint(hint);
    }
}

fn fields_are_of_this_version(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    let in_v1alpha1 = subject.json["apiVersion"] == V1ALPHA1;
    for age in AGES {
        let Some((problem, hint, action)) = missed(age, in_v1alpha1, subject.facts.operator) else {
            continue;
        };
        for path in age.part.all(age.place, subject) {
            findings.at(path).problem(problem.clone()).only(action).hint(hint);
        }
    }
}

/// What to say of a field, should it be there.
fn missed(
    age: &Age,
    in_v1alpha1: bool,
    operator: Option<Operator>,
) -> Option<(String, &'static str, Action)> {
    let outlived = operator.is_some_and(|operator| operator > age.operators.until);
    let hint = match age.place {
        "deletionPolicy" => "use deletionStrategy",
        _ if in_v1alpha1 && !age.in_v1alpha1 => "write apiVersion: ray.io/v1",
        _ if outlived => "leave it out",
        _ => "leave it out, or upgrade KubeRay",
    };
    match operator {
        _ if in_v1alpha1 && !age.in_v1alpha1 => {
            Some((format!("{V1ALPHA1} does not have this field"), hint, Action::Deny))
        }
        Some(operator) if !age.operators.contain(operator) => Some((
            format!(
                "KubeRay {operator} does not have this field; it is in {}",
                age.operators
            ),
            hint,
            Action::Deny,
        )),
        None if age.operators != Operators::ALL => Some((
            format!(
                "this field is in KubeRay {}, and the version here is not known",
                age.operators
            ),
            hint,
            Action::Warn,
        )),
        _ => None,
    }
}

fn words_are_known(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    for field in CHOICES {
        for path in field.part.all(field.place, subject) {
            let word = path.resolve(subject.json).and_then(Value::as_str);
            let Some(word) = word.filter(|word| !field.words.contains(word)) else {
                continue;
            };
            findings
                .at(path)
                .problem(format!("it cannot be \"{word}\""))
                .hint(format!("use {}", field.words.join(" or ")));
        }
    }
}

fn there_are_deletion_rules(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    for path in Part::Job.all("deletionStrategy/deletionRules", subject) {
        if path.resolve(subject.json) == Some(&Value::Array(Vec::new())) {
            findings
                .at(path)
                .problem("there must be a rule in the list, if there is a list")
                .hint("write a rule, or leave the list out");
        }
    }
}

fn nothing_is_missing(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    let hint = "write it";
    for path in differences(subject.object.kind(), subject.json).missing {
        findings.at(path).problem("this field must be there").hint(hint);
    }
    let in_v1alpha1 = subject.json["apiVersion"] == V1ALPHA1;
    for need in NEEDS.iter().filter(|need| in_v1alpha1 || !need.in_v1alpha1) {
        let (problem, action) = match subject.facts.operator {
            Some(operator) if !need.operators.contain(operator) => continue,
            None if need.operators != Operators::ALL => (
                format!(
                    "this field must be there in KubeRay {}, and the version here is not known",
                    need.operators
                ),
                Action::Warn,
            ),
            _ => ("this field must be there".to_owned(), Action::Deny),
        };
        for path in need.part.all(need.place, subject) {
            let around = path.resolve(subject.json);
            if around.is_none_or(|around| around[need.field].is_null()) {
                findings
                    .at(path.key(need.field))
                    .problem(problem.clone())
                    .only(action)
                    .hint(hint);
            }
        }
    }
}

/// What the container that runs Ray asks for is another rule's affair, as long as it is text.
fn quantities_are_readable(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    let groups = || subject.object.clusters().flat_map(ClusterSpec::groups);
    let of_ray: BTreeSet<Pointer> = groups()
        .map(|group| group.ray_container_path().key("resources"))
        .flat_map(|resources| [resources.key("limits"), resources.key("requests")])
        .collect();
    for path in differences(subject.object.kind(), subject.json).malformed {
        let is_rays = path
            .split_last()
            .is_some_and(|(around, _)| of_ray.contains(around));
        match path.resolve(subject.json) {
            Some(Value::String(_)) if is_rays => {}
            Some(Value::String(text)) => findings
                .at(path)
                .problem(format!("\"{text}\" is no quantity"))
                .hint("write it as 500m, 2 or 4Gi"),
            _ => findings
                .at(path)
                .problem("a quantity is a text or a whole number")
                .hint("put it in quotes"),
        }
    }
}

fn policies_are_of_different_groups(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    let policies = subject
        .object
        .clusters()
        .filter_map(|cluster| cluster.network_policy.as_ref());
    for policy in policies {
        let mut seen = BTreeSet::new();
        for (name, rules) in &policy.worker_groups {
            if !seen.insert(name) {
                findings
                    .at(rules.path.key("groupName"))
                    .problem(format!("group \"{name}\" has rules already"))
                    .hint("put all rules of a group in one place");
            }
        }
    }
}

fn kind_is_there(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.facts.pruned {
        return;
    }
    let kind = subject.object.kind();
    let written = subject.json["apiVersion"].as_str();
    let newer = kind == Kind::CronJob;
    if written != Some(V1) && (written != Some(V1ALPHA1) || newer) {
        findings
            .at(Pointer::root().key("apiVersion"))
            .problem(format!(
                "there is no {kind} in {}",
                written.unwrap_or("no version")
            ))
            .hint(format!("write apiVersion: {V1}"));
    }
    let first = Operator::V1_6;
    let operator = subject.facts.operator;
    if newer && operator.is_none_or(|operator| operator < first) {
        let action = operator.map_or(Action::Warn, |_| Action::Deny);
        let here = operator.map_or("which version is here is not known".to_owned(), |operator| {
            format!("here is {operator}")
        });
        findings
            .at(Pointer::root().key("kind"))
            .problem(format!(
                "KubeRay {first} is the first that has {kind}, and {here}"
            ))
            .only(action)
            .hint("upgrade KubeRay, or make RayJobs by a CronJob");
    }
}

fn api_version_is_current(subject: &Subject<'_>, findings: &mut Findings) {
    if !subject.facts.pruned && subject.json["apiVersion"] == V1ALPHA1 {
        findings
            .at(Pointer::root().key("apiVersion"))
            .problem(format!("{V1ALPHA1} is deprecated"))
            .hint(format!("write apiVersion: {V1}"));
    }
}

#[cfg(test)]
mod tests {
    use ray::fixture::{Sample, job};
    use ray::object::Kind;
    use serde_json::json;

    use crate::{Facts, Operation, Operator, Request, check};

    fn told(sample: Sample, facts: &Facts) -> String {
        let object = sample.build();
        let request = Request {
            user: "somebody",
            ..Request::new(Operation::Create, Kind::Job, &object, None)
        };
        let of_schema = ["RW-G036", "RW-G037", "RW-G038", "RW-G050"];
        let found = check(&request, facts).into_iter();
        let lines: Vec<_> = found
            .filter(|finding| of_schema.contains(&&*finding.code))
            .map(|finding| format!("{} {finding}", finding.action))
            .collect();
        lines.join("\n")
    }

    fn knowing(operator: Option<Operator>) -> Facts {
        Facts {
            operator,
            ..Facts::default()
        }
    }

    fn mistaken() -> Sample {
        let ports = json!([{"containerPort": "8265", "protocoll": "TCP"}]);
        job("train")
            .group("cpu")
            .set_group("/minReplica", json!(2))
            .set_group("/maxReplicas", json!("10"))
            .set_cluster("/headGroupSpec/template/spec/containers/0/ports", ports)
            .set_cluster("/autoscalerOptions/upscalingMode", json!("aggressive"))
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        insta::assert_snapshot!(told(mistaken(), &Facts::default()), @r#"
        Deny RW-G050 spec.rayClusterSpec.autoscalerOptions.upscalingMode: it cannot be "aggressive" (use Default or Aggressive or Conservative)
        Deny RW-G036 spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].ports[0].containerPort: expected a whole number of 32 bits, found the string "8265" (write digits only, without quotes)
        Deny RW-G037 spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].ports[0].protocoll: there is no such field (did you mean protocol?)
        Deny RW-G036 spec.rayClusterSpec.workerGroupSpecs[0].maxReplicas: expected a whole number of 32 bits, found the string "10" (write digits only, without quotes)
        Deny RW-G037 spec.rayClusterSpec.workerGroupSpecs[0].minReplica: there is no such field (did you mean minReplicas?)
        "#);
        let installed = Facts {
            pruned: true,
            ..Facts::default()
        };
        assert!(!told(mistaken(), &installed).contains("RW-G037"));
    }

    #[test]
    fn each_version_has_its_own_fields() {
        let newer = || {
            job("train")
                .set_cluster("/tlsOptions", json!({"enabled": false}))
                .set("/spec/deletionPolicy", json!("DeleteSelf"))
        };
        let all = [
            Some(Operator::V1_4),
            Some(Operator::V1_6),
            Some(Operator::V1_7),
            None,
        ];
        let told: Vec<_> = all.map(|operator| told(newer(), &knowing(operator))).into();
        insta::assert_snapshot!(told.join("\n\n"), @r"
        Deny RW-G038 spec.rayClusterSpec.tlsOptions: KubeRay 1.4 does not have this field; it is in 1.7 and newer (leave it out, or upgrade KubeRay)

        Deny RW-G038 spec.deletionPolicy: KubeRay 1.6 does not have this field; it is in 1.4 and older (use deletionStrategy)
        Deny RW-G038 spec.rayClusterSpec.tlsOptions: KubeRay 1.6 does not have this field; it is in 1.7 and newer (leave it out, or upgrade KubeRay)

        Deny RW-G038 spec.deletionPolicy: KubeRay 1.7 does not have this field; it is in 1.4 and older (use deletionStrategy)

        Warn RW-G038 spec.deletionPolicy: this field is in KubeRay 1.4 and older, and the version here is not known (use deletionStrategy)
        Warn RW-G038 spec.rayClusterSpec.tlsOptions: this field is in KubeRay 1.7 and newer, and the version here is not known (leave it out, or upgrade KubeRay)
        ");
        let early = newer().set("/apiVersion", json!("ray.io/v1alpha1"));
        insta::assert_snapshot!(self::told(early, &Facts::default()), @r"
        Deny RW-G038 spec.deletionPolicy: ray.io/v1alpha1 does not have this field (use deletionStrategy)
        Deny RW-G038 spec.rayClusterSpec.tlsOptions: ray.io/v1alpha1 does not have this field (write apiVersion: ray.io/v1)
        ");
    }
}
