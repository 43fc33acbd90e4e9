//! What is to happen because of findings: each rule's own action unless the policy says otherwise, and the answer made of all.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::finding::Finding;
use crate::policy::Policy;
use crate::request::Request;
use crate::rule::Action;

/// The API server cuts longer warnings.
const WARNING_CHARS_MAX: usize = 256;
/// Nobody reads more reasons at once, and an answer has to stay small.
pub const TOLD_MAX: usize = 100;

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may happen.
    pub allowed: bool,
    /// Every reason why not, one on a line; of very many the first [`TOLD_MAX`].
    pub message: Option<String>,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// What goes into the API server's audit log.
    pub audit: BTreeMap<String, String>,
    /// All findings that mean anything, with the action that was taken.
    pub findings: Vec<Finding>,
}

/// Decides what the `findings` about a request mean under the `policy` that applies to it. What the object had wrong with it before never refuses a write: it warns.
pub fn judge(findings: Vec<Finding>, _request: &Request<'_>, policy: &Policy) -> Verdict {
    let findings: Vec<Finding> = findings
        .into_iter()
        .map(|finding| Finding {
            action: action(&finding, policy),
            ..finding
        })
        .filter(|finding| finding.action != Action::Off)
        .collect();
    let with = |action| findings.iter().filter(move |finding| finding.action == action);
    let denials: Vec<String> = with(Action::Deny).map(ToString::to_string).collect();
    let audit = findings
        .iter()
        .take(TOLD_MAX)
        .map(|finding| format!("{} {} {}", finding.action, finding.code, finding.path));
    Verdict {
        allowed: denials.is_empty(),
        message: refusal(&denials),
        warnings: with(Action::Warn).map(warning).collect(),
        audit: (!findings.is_empty())
            .then(|| ("findings".to_owned(), audit.collect::<Vec<_>>().join("; ")))
            .into_iter()
            .collect(),
        findings,
    }
}

fn action(finding: &Finding, policy: &Policy) -> Action {
    let action = policy.action(finding);
    if finding.excused {
        action.min(Action::Warn)
    } else {
        action
    }
}

/// What `kubectl apply` shows after "denied the request: ". Several reasons start on a line of their own, so that the codes stand
/// below each other.
fn refusal(denials: &[String]) -> Option<String> {
    match denials {
        [] => None,
        [only] => Some(only.clone()),
        several => {
            let mut told = several[..several.len().min(TOLD_MAX)].join("\n  ");
            if several.len() > TOLD_MAX {
                write!(told, "\n  and {} more", several.len() - TOLD_MAX).expect("strings take everything");
            }
            Some(format!("{} problems:\n  {told}", several.len()))
        }
    }
}

/// The hint is what can be spared first.
fn warning(finding: &Finding) -> String {
    let full = finding.to_string();
    if full.chars().count() <= WARNING_CHARS_MAX {
        return full;
    }
    let short = format!("{} {}: {}", finding.code, finding.path.field(), finding.problem);
    short.chars().take(WARNING_CHARS_MAX).collect()
}
