//! What is to happen because of findings: each rule's own action unless the policy says otherwise, and the answer made of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ray::path::Pointer;

use crate::finding::Finding;
use crate::policy::{Broken, Exception, Policy};
use crate::request::Request;
use crate::rule::Action;

/// The API server cuts longer warnings.
const WARNING_CHARS_MAX: usize = 256;
/// Nobody reads more reasons at once, and an answer has to stay small.
pub const TOLD_MAX: usize = 100;
/// Under which name the audit log keeps what was let through because somebody broke the glass.
pub const BREAK_GLASS: &str = "break-glass";

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

/// Decides what the `findings` about a request mean under the `policy` that applies to it. What the object had wrong with it before
/// never refuses a write: it warns; and so does everything else, when somebody breaks the glass who may.
pub fn judge(findings: Vec<Finding>, request: &Request<'_>, policy: &Policy) -> Verdict {
    let findings = findings
        .into_iter()
        .map(|finding| ruled(finding, request, policy));
    let findings: Vec<Finding> = findings.collect();
    if findings.iter().all(|finding| finding.action < Action::Deny) {
        return Verdict::of(findings);
    }
    match Broken::of(request, policy) {
        None => Verdict::of(findings),
        Some(Ok(broken)) => let_through(findings, &broken),
        Some(Err(why)) => {
            let mut verdict = Verdict::of(findings);
            verdict.warnings.insert(0, shortened(&why));
            verdict
        }
    }
}

impl Verdict {
    /// What these findings amount to, each with the action that is taken because of it.
    pub fn of(findings: impl IntoIterator<Item = Finding>) -> Self {
        let findings: Vec<Finding> = findings
            .into_iter()
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
}

/// A finding with what is to happen because of it, and who decided that; and with a word about it where that is not what its rule has in mind.
fn ruled(mut finding: Finding, request: &Request<'_>, policy: &Policy) -> Finding {
    let meant = finding.action;
    let decided = action(&finding, request, policy);
    if let Some((action, author)) = decided {
        finding.action = action;
        finding.policy = Some(author.to_owned());
    }
    if finding.action < Action::Deny || finding.excused {
        finding.action = finding.action.min(Action::Warn);
        return finding;
    }
    let tell = |finding: &mut Finding, told: String| finding.problem += &told;
    let exception = exception(&finding, request, policy);
    if let Some((Exception { name, expires, .. }, granted)) = exception
        && *expires > request.now
    {
        finding.action = Action::Warn;
        finding.policy = Some(granted.to_owned());
        tell(
            &mut finding,
            format!("; let through until {expires} by the exception {name} of the policy {granted}"),
        );
        return finding;
    }
    if let Some((_, author)) = decided.filter(|(action, _)| *action > meant) {
        tell(&mut finding, format!("; refused by the policy {author}"));
    }
    if let Some((Exception { name, expires, .. }, granted)) = exception {
        tell(
            &mut finding,
            format!("; the exception {name} of the policy {granted} has expired, {expires}"),
        );
    }
    finding
}

/// All that is refused warns instead, and the audit log says who is to thank for it.
fn let_through(mut findings: Vec<Finding>, broken: &Broken<'_>) -> Verdict {
    let mut codes = BTreeSet::new();
    for finding in findings
        .iter_mut()
        .filter(|finding| finding.action == Action::Deny)
    {
        codes.insert(finding.code.clone());
        finding.action = Action::Warn;
        finding.policy = Some(broken.policy.to_owned());
        write!(
            finding.problem,
            "; let through by the broken glass of the policy {}",
            broken.policy
        )
        .expect("strings take everything");
    }
    let codes: Vec<_> = codes.into_iter().collect();
    let mut verdict = Verdict::of(findings);
    verdict
        .audit
        .insert(BREAK_GLASS.to_owned(), broken.record(&codes.join(" ")));
    verdict
}

/// What the most important policy that has a word on the rule says about it, and which policy that is. The longest code is right.
fn action<'p>(finding: &Finding, request: &Request<'_>, policy: &'p Policy) -> Option<(Action, &'p str)> {
    let at = Pointer::root().key("rules");
    let rules = policy.spec.rules.iter().enumerate();
    let holding = rules
        .filter(|(_, rule)| rule.holds(&finding.code, request))
        .map(|(index, rule)| (policy.author(&at.index(index)), rule));
    let mut holding = holding.peekable();
    let (first, _) = *holding.peek()?;
    // The rules of a policy stand together, those of the most important one in front.
    let (author, rule) = holding
        .take_while(|(author, _)| *author == first)
        .max_by_key(|(_, rule)| rule.code.trim_end_matches('*').len())?;
    Some((rule.action, author))
}

/// The exception that a finding falls under, and the policy that grants it; of several the one that ends last.
fn exception<'p>(
    finding: &Finding,
    request: &Request<'_>,
    policy: &'p Policy,
) -> Option<(&'p Exception, &'p str)> {
    let at = Pointer::root().key("exceptions");
    let exceptions = policy.spec.exceptions.iter().enumerate();
    exceptions
        .filter(|(_, exception)| exception.covers(&finding.code, request))
        .map(|(index, exception)| (exception, policy.author(&at.index(index))))
        .max_by_key(|(exception, _)| exception.expires)
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
    shortened(&short)
}

fn shortened(warning: &str) -> String {
    warning.chars().take(WARNING_CHARS_MAX).collect()
}
