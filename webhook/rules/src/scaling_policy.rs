//! What is wrong with a `RayScalingPolicy`. What it may say stands in the crate `ray`, for the autoscaler that follows it.

use ray::scaling_policy;
use serde_json::Value;

use crate::finding::Finding;

/// The code of what is wrong with such a policy.
pub const CODE: &str = "RW-A002";

/// Everything that is wrong with a policy, an object with a `spec`.
pub fn check(policy: &Value) -> Vec<Finding> {
    let problems = scaling_policy::read(&policy["spec"]).err().unwrap_or_default();
    let findings = problems.into_iter().map(|problem| Finding::of(problem, CODE));
    findings.collect()
}
