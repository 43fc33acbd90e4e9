//! `breakGlass`: who may have let through what rules refuse, by saying why.

use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Policy;
use super::read::Problem;
use crate::request::Request;

/// On an object: why it is to be let through.
const ANNOTATION: &str = "rayward.dev/break-glass";
/// Of a longer reason this much is kept: an annotation may have a quarter of a megabyte, and an audit log is not made for that.
const REASON_CHARS_MAX: usize = 1024;

/// Lets through what rules refuse, for those who say why in the annotation `rayward.dev/break-glass` of the object. They are warned
/// instead, and the API server's audit log has who it was, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlass {
    /// Groups of users who may do so.
    #[schemars(length(min = 1, max = 100))]
    pub groups: Vec<String>,
}

impl BreakGlass {
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let nobody = self.groups.is_empty();
        let problem = || Problem::new(at.key("groups"), "it is for nobody", "list at least one group");
        nobody.then(problem).into_iter().collect()
    }
}

/// Somebody who may says why an object is to be let through.
#[derive(Debug)]
pub(crate) struct Broken<'a> {
    user: &'a str,
    group: &'a str,
    /// The policy that allows it.
    pub(crate) policy: &'a str,
    reason: &'a str,
}

impl<'a> Broken<'a> {
    /// Nothing, if nobody asks for it; otherwise who does, or why that is not enough.
    pub(crate) fn of(request: &Request<'a>, policy: &'a Policy) -> Option<Result<Self, String>> {
        let reason = request.object["metadata"]["annotations"][ANNOTATION].as_str()?;
        Some(Self::because(reason.trim(), request, policy).map_err(|why| format!("{ANNOTATION}: {why}")))
    }

    fn because(reason: &'a str, request: &Request<'a>, policy: &'a Policy) -> Result<Self, String> {
        let Some(BreakGlass { groups }) = &policy.spec.break_glass else {
            return Err("no policy says who may break the glass here".to_owned());
        };
        let Some(group) = groups.iter().find(|group| request.groups.contains(group)) else {
            return Err(format!(
                "only members of {} may break the glass here, and {} is not one",
                groups.join(", "),
                request.user
            ));
        };
        if reason.is_empty() {
            return Err("say why, and it is let through".to_owned());
        }
        Ok(Self {
            user: request.user,
            group,
            policy: policy.author(&Pointer::root().key("breakGlass")),
            reason,
        })
    }

    /// What the audit log keeps of it: what was let through, for whom, and why.
    pub(crate) fn record(&self, codes: &str) -> String {
        let Self {
            user,
            group,
            policy,
            reason,
        } = self;
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        format!("{codes} let through for {user} of the group {group} under the policy {policy}: {reason}")
    }
}
