//! What rules report: what is wrong, where, and how to fix it. What happens then is the policy's affair.

use std::borrow::Cow;
use std::fmt;

use ray::path::Pointer;
use ray::strict::Problem;

use crate::rule::{Action, Rule};

/// What a rule is known by: that of a rule of ours stands in its table, and that of a policy's own begins with [`CUSTOM`].
pub type Code = Cow<'static, str>;

/// How the codes of rules begin that policies bring along: `RW-X/no-old-ray`.
pub const CUSTOM: &str = "RW-X/";

/// Something wrong with an object. Shown in one line:
/// `RW-C009 spec.workerGroupSpecs[0].minReplicas: 4 is above maxReplicas, which is 2 (lower one or raise the other)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code.
    pub code: Code,
    /// The field.
    pub path: Pointer,
    /// What is wrong with it.
    pub problem: String,
    /// How to fix it.
    pub hint: String,
    /// What the rule itself would have happen; the policy may say otherwise.
    pub action: Action,
    /// This write is not to blame, and so is not refused for it: the object had it before, or a controller only carries on what a
    /// user wrote.
    pub excused: bool,
    /// The policy that decided it: whose bound or rule it is, or who has said what happens; nothing where no policy had a word.
    pub policy: Option<String>,
}

impl Finding {
    /// Something wrong with an object of our own.
    pub(crate) fn of(problem: Problem, code: &'static str) -> Self {
        Self {
            code: code.into(),
            path: problem.path,
            problem: problem.problem,
            hint: problem.hint,
            action: Action::Deny,
            excused: false,
            policy: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {} ({})",
            self.code,
            self.path.field(),
            self.problem,
            self.hint
        )
    }
}

/// The code of a rule as one of a closed set, as metrics want it: all rules that policies bring along are one.
pub fn label(code: &Code) -> &'static str {
    match code {
        Cow::Borrowed(code) => code,
        // Only these are made up while we run.
        Cow::Owned(_) => CUSTOM.trim_end_matches('/'),
    }
}

/// Where rules report.
#[derive(Debug)]
pub(crate) struct Findings {
    rule: &'static Rule,
    found: Vec<Finding>,
}

/// A finding in the making.
pub(crate) struct Draft<'f>(&'f mut Finding);

impl Findings {
    /// What `report` has to say for `rule`.
    pub(crate) fn of(rule: &'static Rule, report: impl FnOnce(&mut Self)) -> Vec<Finding> {
        Self::after(Vec::new(), rule, report)
    }

    /// What was `found` already, and after it what `report` has to say for `rule`.
    pub(crate) fn after(
        found: Vec<Finding>,
        rule: &'static Rule,
        report: impl FnOnce(&mut Self),
    ) -> Vec<Finding> {
        let mut findings = Self { rule, found };
        report(&mut findings);
        findings.found
    }

    /// Something is wrong at `path`; say what, and how to fix it.
    pub(crate) fn at(&mut self, path: Pointer) -> Draft<'_> {
        self.found.push(Finding {
            code: self.rule.code.into(),
            path,
            problem: String::new(),
            hint: String::new(),
            action: self.rule.action,
            excused: false,
            policy: None,
        });
        Draft(self.found.last_mut().expect("one was pushed"))
    }
}

impl Draft<'_> {
    pub(crate) fn problem(self, problem: impl Into<String>) -> Self {
        self.0.problem = problem.into();
        self
    }

    /// Less than what its rule would have happen.
    pub(crate) fn only(self, action: Action) -> Self {
        self.0.action = self.0.action.min(action);
        self
    }

    /// It is what this policy wants.
    pub(crate) fn by(self, policy: &str) -> Self {
        self.0.policy = Some(policy.to_owned());
        self
    }

    pub(crate) fn hint(self, hint: impl Into<String>) {
        self.0.hint = hint.into();
    }
}
