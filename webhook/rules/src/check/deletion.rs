//! What goes when a job ends, in one of two ways: by `onSuccess` and `onFailure`, or by rules. KubeRay 1.4 has neither but one policy
//! for both ends, `deletionPolicy`. The oldest way, `shutdownAfterJobFinishes`, stands in `job`.

use std::collections::BTreeMap;

use ray::cluster::ClusterSpec;
use ray::job::{DeletionPolicy, DeletionRule, DeletionStrategy, JobSpec};
use ray::path::Pointer;

use super::job::{JOBS, WHY_REFUSED};
use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const CLUSTER: &str = "DeleteCluster";
const WORKERS: &str = "DeleteWorkers";
const ITSELF: &str = "DeleteSelf";
const NOTHING: &str = "DeleteNone";
/// A job has a cluster, which has workers. None may outlive what it is in.
const FROM_THE_INSIDE_OUT: [&str; 3] = [WORKERS, CLUSTER, ITSELF];

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-J004",
        summary: "a deletionStrategy is set, but its gate is off",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionConfiguration"),
        operators: Operators::ALL,
        gate: Some(Gate::DeletionPolicy.off()),
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}]}",
            passes: "/spec/shutdownAfterJobFinishes: true",
        },
        check: Check::Job(no_strategy),
    },
    Rule {
        code: "RW-J005",
        summary: "deletionRules are set together with shutdownAfterJobFinishes",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionConfiguration"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/shutdownAfterJobFinishes: true, /spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}]}}",
            passes: "{/spec/shutdownAfterJobFinishes: false, /spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}]}}",
        },
        check: Check::Job(rules_or_shutdown),
    },
    Rule {
        code: "RW-J006",
        summary: "deletionRules are set together with onSuccess or onFailure",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionConfiguration"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}, deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}]}",
            passes: "/spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}",
        },
        check: Check::Job(told_in_one_way),
    },
    Rule {
        code: "RW-J007",
        summary: "a deletionStrategy is empty",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionConfiguration"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteNone, condition: {jobStatus: FAILED}}]}",
        },
        check: Check::Job(says_something),
    },
    Rule {
        code: "RW-J008",
        summary: "only one of onSuccess and onFailure is set",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}}",
            passes: "/spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}",
        },
        check: Check::Job(both_ends_are_told),
    },
    Rule {
        code: "RW-J009",
        summary: "onSuccess has no policy",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {onSuccess: {}, onFailure: {policy: DeleteNone}}",
            passes: "/spec/deletionStrategy: {onSuccess: {policy: DeleteNone}, onFailure: {policy: DeleteNone}}",
        },
        check: Check::Job(|job, _, findings| names_a_policy(End::Success, job, findings)),
    },
    Rule {
        code: "RW-J010",
        summary: "onFailure has no policy",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {onSuccess: {policy: DeleteNone}, onFailure: {}}",
            passes: "/spec/deletionStrategy: {onSuccess: {policy: DeleteNone}, onFailure: {policy: DeleteNone}}",
        },
        check: Check::Job(|job, _, findings| names_a_policy(End::Failure, job, findings)),
    },
    Rule {
        code: "RW-J011",
        summary: "onSuccess deletes from the cluster of a clusterSelector",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteNone}}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}}",
        },
        check: Check::Job(|job, subject, findings| {
            leaves_selected_clusters(End::Success, job, subject, findings);
        }),
    },
    Rule {
        code: "RW-J012",
        summary: "onFailure deletes from the cluster of a clusterSelector",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {onSuccess: {policy: DeleteNone}, onFailure: {policy: DeleteWorkers}}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}}",
        },
        check: Check::Job(|job, subject, findings| {
            leaves_selected_clusters(End::Failure, job, subject, findings);
        }),
    },
    Rule {
        code: "RW-J013",
        summary: "DeleteWorkers is set for a cluster with enableInTreeAutoscaling",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec/enableInTreeAutoscaling: true, /spec/deletionStrategy: {onSuccess: {policy: DeleteWorkers}, onFailure: {policy: DeleteNone}}}",
            passes: "{/spec/rayClusterSpec/enableInTreeAutoscaling: true, /spec/deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteNone}}}",
        },
        check: Check::Job(scaled_workers_stay),
    },
    Rule {
        code: "RW-J014",
        summary: "DeleteNone is set together with shutdownAfterJobFinishes",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateLegacyDeletionPolicies"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/shutdownAfterJobFinishes: true, /spec/deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteNone}}}",
            passes: "{/spec/shutdownAfterJobFinishes: true, /spec/deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteSelf}}}",
        },
        check: Check::Job(nothing_or_shutdown),
    },
    Rule {
        code: "RW-J015",
        summary: "a deletion rule has no condition, or two",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionCondition"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {ttlSeconds: 60}}]}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {ttlSeconds: 60, jobDeploymentStatus: Failed}}]}",
        },
        check: Check::Job(rules_have_a_condition),
    },
    Rule {
        code: "RW-J016",
        summary: "the ttlSeconds of a deletion rule are negative",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionCondition"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED, ttlSeconds: -1}}]}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED, ttlSeconds: 0}}]}",
        },
        check: Check::Job(rules_wait_forwards),
    },
    Rule {
        code: "RW-J017",
        summary: "a deletion rule deletes from the cluster of a clusterSelector",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionRules"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {deletionRules: [{policy: DeleteCluster, condition: {jobStatus: FAILED}}]}}",
            passes: "{/spec/rayClusterSpec: null, /spec/clusterSelector: {ray.io/cluster: shared}, /spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}]}}",
        },
        check: Check::Job(rules_leave_selected_clusters),
    },
    Rule {
        code: "RW-J018",
        summary: "a deletion rule is DeleteWorkers for a cluster with enableInTreeAutoscaling",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionRules"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "{/spec/rayClusterSpec/enableInTreeAutoscaling: true, /spec/deletionStrategy: {deletionRules: [{policy: DeleteWorkers, condition: {jobStatus: FAILED}}]}}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteWorkers, condition: {jobStatus: FAILED}}]}",
        },
        check: Check::Job(rules_leave_scaled_workers),
    },
    Rule {
        code: "RW-J019",
        summary: "two deletion rules have the same condition and policy",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateDeletionRules"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}, {policy: DeleteSelf, condition: {jobStatus: FAILED, ttlSeconds: 60}}]}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteSelf, condition: {jobStatus: FAILED}}, {policy: DeleteSelf, condition: {jobStatus: SUCCEEDED, ttlSeconds: 60}}]}",
        },
        check: Check::Job(rules_are_unique),
    },
    Rule {
        code: "RW-J020",
        summary: "a deletion rule deletes a cluster before its workers, or a job before its cluster",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("validateTTLConsistency"),
        operators: Operators::since(Operator::V1_5),
        gate: None,
        example: Example {
            fires: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteCluster, condition: {jobStatus: FAILED, ttlSeconds: 60}}, {policy: DeleteWorkers, condition: {jobStatus: FAILED, ttlSeconds: 61}}]}",
            passes: "/spec/deletionStrategy: {deletionRules: [{policy: DeleteCluster, condition: {jobStatus: FAILED, ttlSeconds: 60}}, {policy: DeleteWorkers, condition: {jobStatus: FAILED, ttlSeconds: 60}}]}",
        },
        check: Check::Job(rules_go_from_the_inside_out),
    },
];

#[derive(Clone, Copy)]
enum End {
    Success,
    Failure,
}

impl End {
    fn field(self) -> &'static str {
        match self {
            End::Success => "onSuccess",
            End::Failure => "onFailure",
        }
    }

    fn policy(self, strategy: &DeletionStrategy) -> Option<&DeletionPolicy> {
        match self {
            End::Success => strategy.on_success.as_ref(),
            End::Failure => strategy.on_failure.as_ref(),
        }
    }
}

fn no_strategy(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let (field, is_set) = if is_1_4(subject) {
        ("deletionPolicy", job.deletion_policy.is_some())
    } else {
        ("deletionStrategy", job.deletion_strategy.is_some())
    };
    if is_set {
        findings
            .at(job.path.key(field))
            .problem("the operator has this switched off")
            .hint("switch on its gate RayJobDeletionPolicy, or use shutdownAfterJobFinishes");
    }
}

fn rules_or_shutdown(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if job.shuts_down() && rules(job).next().is_some() {
        findings
            .at(job.path.key("shutdownAfterJobFinishes"))
            .problem("the deletionRules already say when the cluster goes")
            .hint("take this field out");
    }
}

fn told_in_one_way(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(strategy) = &job.deletion_strategy
        && is_by_ends(strategy)
        && !strategy.rules.is_empty()
    {
        findings
            .at(strategy.path.clone())
            .problem("onSuccess and onFailure do not go together with deletionRules")
            .hint("turn the former into rules");
    }
}

fn says_something(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(strategy) = &job.deletion_strategy
        && !is_by_ends(strategy)
        && strategy.rules.is_empty()
    {
        findings
            .at(strategy.path.clone())
            .problem("it does not say what goes when")
            .hint("add deletionRules, or take it out");
    }
}

fn both_ends_are_told(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(strategy) = job
        .deletion_strategy
        .as_ref()
        .filter(|strategy| is_by_ends(strategy))
    else {
        return;
    };
    for end in [End::Success, End::Failure] {
        if end.policy(strategy).is_none() {
            findings
                .at(strategy.path.key(end.field()))
                .problem("onSuccess and onFailure are only taken together")
                .hint("add this one; DeleteNone leaves everything");
        }
    }
}

fn names_a_policy(end: End, job: &JobSpec, findings: &mut Findings) {
    let told = job
        .deletion_strategy
        .as_ref()
        .and_then(|strategy| end.policy(strategy));
    if let Some(told) = told.filter(|told| told.policy.is_none()) {
        findings
            .at(told.path.key("policy"))
            .problem("it does not say what goes")
            .hint(format!("use one of {CLUSTER}, {WORKERS}, {ITSELF} and {NOTHING}"));
    }
}

fn leaves_selected_clusters(end: End, job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for (place, policy) in policies(job, subject, &[end]) {
        if takes_from_a_selected_cluster(job, policy) {
            findings
                .at(place)
                .problem(format!("{policy} is not for the cluster of a clusterSelector"))
                .hint(format!("use {ITSELF} or {NOTHING}"));
        }
    }
}

fn scaled_workers_stay(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for (place, policy) in policies(job, subject, &[End::Success, End::Failure]) {
        if policy == WORKERS && is_autoscaled(job) {
            findings
                .at(place)
                .problem("the workers of a cluster that scales cannot go without it")
                .hint(format!("use {CLUSTER}, or set enableInTreeAutoscaling to false"));
        }
    }
}

fn nothing_or_shutdown(job: &JobSpec, subject: &Subject<'_>, findings: &mut Findings) {
    for (place, policy) in policies(job, subject, &[End::Success, End::Failure]) {
        if policy == NOTHING && job.shuts_down() {
            findings
                .at(place)
                .problem(format!("{NOTHING} contradicts shutdownAfterJobFinishes"))
                .hint("take shutdownAfterJobFinishes out, or say here what goes");
        }
    }
}

fn rules_have_a_condition(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    for rule in rules(job).filter(|rule| condition(rule).is_none()) {
        findings
            .at(rule.path.key("condition"))
            .problem("a rule needs one of jobStatus and jobDeploymentStatus, and not both")
            .hint("use jobStatus, SUCCEEDED or FAILED, in most cases");
    }
}

fn rules_wait_forwards(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    for rule in rules(job).filter(|rule| ttl(rule) < 0) {
        findings
            .at(rule.path.key("condition").key("ttlSeconds"))
            .problem(format!("nothing can go after {} seconds", ttl(rule)))
            .hint("use 0 or more");
    }
}

fn rules_leave_selected_clusters(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    for rule in rules(job).filter(|rule| takes_from_a_selected_cluster(job, policy(rule))) {
        findings
            .at(rule.path.key("policy"))
            .problem(format!(
                "{} is not for the cluster of a clusterSelector",
                policy(rule)
            ))
            .hint(format!("use {ITSELF} or {NOTHING}"));
    }
}

fn rules_leave_scaled_workers(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    for rule in rules(job).filter(|rule| policy(rule) == WORKERS && is_autoscaled(job)) {
        findings
            .at(rule.path.key("policy"))
            .problem("the workers of a cluster that scales cannot go without it")
            .hint(format!("use {CLUSTER}, or set enableInTreeAutoscaling to false"));
    }
}

fn rules_are_unique(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let mut first = BTreeMap::new();
    for (index, rule) in rules(job).enumerate() {
        let Some(condition) = condition(rule) else {
            continue;
        };
        let twin = *first.entry((condition, policy(rule))).or_insert(index);
        if twin != index {
            findings
                .at(rule.path.clone())
                .problem(format!(
                    "rule {twin} already says when to do {} on {}",
                    policy(rule),
                    condition.1
                ))
                .hint("take one of the two out");
        }
    }
}

fn rules_go_from_the_inside_out(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let mut stages: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for rule in rules(job) {
        if let Some(condition) = condition(rule) {
            stages
                .entry(condition)
                .or_default()
                .entry(policy(rule))
                .or_insert(rule);
        }
    }
    for rules in stages.values() {
        let in_order: Vec<_> = FROM_THE_INSIDE_OUT
            .iter()
            .filter_map(|policy| rules.get(policy))
            .collect();
        for pair in in_order.windows(2) {
            let (inner, outer) = (pair[0], pair[1]);
            if ttl(outer) < ttl(inner) {
                findings
                    .at(outer.path.key("condition").key("ttlSeconds"))
                    .problem(format!(
                        "after {} seconds, {} would come before {} after {}",
                        ttl(outer),
                        policy(outer),
                        policy(inner),
                        ttl(inner)
                    ))
                    .hint(format!("use {} or more", ttl(inner)));
            }
        }
    }
}

/// Whether it is told by `onSuccess` and `onFailure`.
fn is_by_ends(strategy: &DeletionStrategy) -> bool {
    strategy.on_success.is_some() || strategy.on_failure.is_some()
}

/// What is told to go at these ends, and where.
fn policies<'j>(job: &'j JobSpec, subject: &Subject<'_>, ends: &[End]) -> Vec<(Pointer, &'j str)> {
    if is_1_4(subject) {
        let policy = job.deletion_policy.as_deref();
        return policy
            .map(|policy| (job.path.key("deletionPolicy"), policy))
            .into_iter()
            .collect();
    }
    let Some(strategy) = &job.deletion_strategy else {
        return Vec::new();
    };
    let told = ends.iter().filter_map(|end| end.policy(strategy));
    told.filter_map(|told| Some((told.path.key("policy"), told.policy.as_deref()?)))
        .collect()
}

fn is_1_4(subject: &Subject<'_>) -> bool {
    subject.facts.operator == Some(Operator::V1_4)
}

fn rules(job: &JobSpec) -> impl Iterator<Item = &DeletionRule> {
    job.deletion_strategy.iter().flat_map(|strategy| &strategy.rules)
}

/// The one condition that a rule has: of which kind, and what it waits for.
fn condition(rule: &DeletionRule) -> Option<(&'static str, &str)> {
    match (&rule.job_status, &rule.job_deployment_status) {
        (Some(status), None) => Some(("jobStatus", status)),
        (None, Some(status)) => Some(("jobDeploymentStatus", status)),
        _ => None,
    }
}

fn policy(rule: &DeletionRule) -> &str {
    rule.policy.as_deref().unwrap_or("")
}

fn ttl(rule: &DeletionRule) -> i32 {
    rule.ttl_seconds.unwrap_or(0)
}

fn takes_from_a_selected_cluster(job: &JobSpec, policy: &str) -> bool {
    job.selects_a_cluster() && matches!(policy, CLUSTER | WORKERS)
}

fn is_autoscaled(job: &JobSpec) -> bool {
    job.cluster.as_ref().is_some_and(ClusterSpec::is_autoscaled)
}

#[cfg(test)]
mod tests {
    use ray::fixture::job;
    use ray::object::Kind;
    use serde_json::json;

    use crate::{Facts, Gates, Operation, Operator, Request, check};

    #[test]
    fn the_one_policy_of_1_4() {
        let object = job("demo")
            .autoscaled()
            .set("/spec/deletionPolicy", json!("DeleteWorkers"))
            .set("/spec/deletionStrategy", json!({}))
            .build();
        let request = Request {
            user: "somebody",
            ..Request::new(Operation::Create, Kind::Job, &object, None)
        };
        let facts = Facts {
            operator: Some(Operator::V1_4),
            gates: Gates {
                others_are_default: true,
                ..Gates::default()
            },
            pruned: true,
            ..Facts::default()
        };
        let findings = check(&request, &facts);
        let told: Vec<_> = findings
            .iter()
            .filter(|finding| finding.code.starts_with("RW-J"))
            .map(|finding| format!("{} {}\n", finding.code, finding.path))
            .collect();
        insta::assert_snapshot!(told.concat(), @r"
        RW-J004 /spec/deletionPolicy
        RW-J013 /spec/deletionPolicy
        ");
    }
}
