//! What is wrong with a `RayScalingPolicy`. What it may say stands in the crate `ray`, for the autoscaler that follows it.

use ray::object::Metadata;
use ray::path::Pointer;
use ray::scaling_policy::{self, Override, ScalingPolicySpec};
use ray::schema::meant;
use ray::strict::Problem;
use serde_json::Value;

use crate::finding::Finding;
use crate::rule::Action;

/// The code of what is wrong with such a policy by itself.
pub const CODE: &str = "RW-A002";
/// Another policy is about the same group.
pub const OVERLAP: &str = "RW-A003";
/// There is no such group.
pub const NO_SUCH_GROUP: &str = "RW-A004";

/// What there is in the namespace of a policy, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The other policies, by name.
    pub policies: Vec<(String, ScalingPolicySpec)>,
    /// The clusters.
    pub clusters: Vec<Metadata>,
    /// The worker groups of what the policy is for; none, where that is not there.
    pub groups: Vec<String>,
}

/// Everything that is wrong with a policy, an object with a `spec`. That it is about the same as another only warns, if the `old` one was so, too; and
/// what has not changed is as good as it was.
pub fn check(policy: &Value, old: Option<&Value>, around: &Around) -> Vec<Finding> {
    let mut findings = for_now(policy);
    if let Some(old) = old {
        findings.retain(|finding| finding.path.resolve(policy) != finding.path.resolve(old));
    }
    if old.is_none_or(|old| old["spec"] != policy["spec"]) {
        findings.extend(of_spec(policy, old, around));
    }
    findings
}

/// What is wrong with the annotations that give it another mode.
fn for_now(policy: &Value) -> Vec<Finding> {
    let annotations = &policy["metadata"]["annotations"];
    let problem = Override::read(|key| annotations[key].as_str()).err();
    problem
        .into_iter()
        .map(|problem| Finding::of(problem, CODE))
        .collect()
}

fn of_spec(policy: &Value, old: Option<&Value>, around: &Around) -> Vec<Finding> {
    let spec = match scaling_policy::read(&policy["spec"]) {
        Ok(spec) => spec,
        Err(problems) => {
            let findings = problems.into_iter().map(|problem| Finding::of(problem, CODE));
            return findings.collect();
        }
    };
    let old = old.and_then(|old| scaling_policy::read(&old["spec"]).ok());
    let mut findings = overlaps(&spec, old.as_ref(), around);
    findings.extend(groups_that_are_not_there(&spec, &around.groups));
    findings
}

fn overlaps(spec: &ScalingPolicySpec, old: Option<&ScalingPolicySpec>, around: &Around) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, other) in &around.policies {
        let known = old.is_some_and(|old| !old.shared_with(other, &around.clusters).is_empty());
        for index in spec.shared_with(other, &around.clusters) {
            let problem = match &spec.groups[index].name {
                Some(group) => format!("the policy `{name}` is about `{group}`, too"),
                None => format!("the policy `{name}` is about one of these groups, too"),
            };
            let hint =
                "put all signals for a group into one policy: the older one is followed, the other is not";
            let problem = Problem::new(group_at(index).key("name"), problem, hint);
            let mut finding = Finding::of(problem, OVERLAP);
            if known {
                finding.action = Action::Warn;
            }
            findings.push(finding);
        }
    }
    findings
}

fn groups_that_are_not_there(spec: &ScalingPolicySpec, groups: &[String]) -> Vec<Finding> {
    let named = spec.groups.iter().enumerate();
    let named = named.filter_map(|(index, group)| Some((index, group.name.as_ref()?)));
    let missing = named.filter(|(_, name)| !groups.is_empty() && !groups.contains(name));
    let findings = missing.map(|(index, name)| {
        let hint = match meant(name, groups.iter().map(String::as_str)) {
            Some(meant) => format!("perhaps `{meant}` is meant"),
            None => format!("there are {}", groups.join(", ")),
        };
        let problem = Problem::new(
            group_at(index).key("name"),
            format!("{} has no group `{name}`", spec.target),
            hint,
        );
        Finding {
            action: Action::Warn,
            ..Finding::of(problem, NO_SUCH_GROUP)
        }
    });
    findings.collect()
}

fn group_at(index: usize) -> Pointer {
    Pointer::root().key("spec").key("groups").index(index)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(groups: &[&str]) -> Value {
        let groups: Vec<_> = groups.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"target": {"name": "demo"}, "groups": groups}})
    }

    fn told(policy: &Value, old: Option<&Value>, around: &Around) -> String {
        let findings = check(policy, old, around);
        let lines = findings
            .iter()
            .map(|finding| format!("{} {finding}", finding.action));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn another_mode_is_looked_at_when_it_changes() {
        let with = |mode: &str| {
            let mut policy = policy(&["cpu"]);
            policy["metadata"] = json!({"annotations": {"rayward.dev/mode": mode}});
            policy
        };
        let told = |mode, old: Option<&Value>| told(&with(mode), old, &Around::default());
        assert_eq!(told("Paused", None), "");
        insta::assert_snapshot!(told("off", Some(&with("Paused"))), @"Deny RW-A002 metadata.annotations[rayward.dev/mode]: `off` is no mode (write Active, Recommend or Paused)");
        assert_eq!(told("off", Some(&with("off"))), "");
    }

    #[test]
    fn what_is_around_matters() {
        let night = scaling_policy::read(&policy(&["gpu"])["spec"]).expect("a policy");
        let around = Around {
            policies: vec![("night".to_owned(), night)],
            groups: vec!["cpu".to_owned(), "gpu".to_owned()],
            ..Around::default()
        };
        insta::assert_snapshot!(told(&policy(&["cpu", "gpu", "gpus"]), None, &around), @"
        Deny RW-A003 spec.groups[1].name: the policy `night` is about `gpu`, too (put all signals for a group into one policy: the older one is followed, the other is not)
        Warn RW-A004 spec.groups[2].name: RayCluster demo has no group `gpus` (perhaps `gpu` is meant)
        ");
        let old = policy(&["gpu"]);
        let told_again = told(&policy(&["cpu", "gpu"]), Some(&old), &around);
        assert!(told_again.starts_with("Warn RW-A003"), "{told_again}");
        assert_eq!(told(&policy(&["tpu"]), None, &Around::default()), "");
    }
}
