//! What is wrong with the objects that are there already, counted: for each policy, and for each rule. Nothing comes of it but numbers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ray::object::Kind;

use crate::finding::{Code, Finding};
use crate::rule::Action;
use crate::verdict::Verdict;

/// As many of the worst objects are named.
pub const WORST_MAX: usize = 10;

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Where it lives.
    pub namespace: String,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// Which one of that name.
    pub uid: String,
}

/// The results of one pass over all objects.
#[derive(Debug, Default)]
pub struct Census {
    /// How many objects there are, by kind.
    pub objects: BTreeMap<Kind, u64>,
    /// How many findings there are of each rule, by what a write would come to because of them.
    pub findings: BTreeMap<(Code, Action), u64>,
    /// For each policy, what it selects.
    policies: BTreeMap<String, Tally>,
}

/// What a policy selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many objects.
    pub objects: u64,
    /// How many of them would be refused if they were written anew.
    pub refused: u64,
    /// How many findings there are in all of them, by what would come of it.
    pub findings: BTreeMap<Action, u64>,
    /// Those with the most findings, the worst first.
    worst: BTreeMap<Badness, Offender>,
}

/// An object with findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// Which one.
    pub who: Who,
    /// How many findings there are, by what would come of them.
    pub findings: BTreeMap<Action, u64>,
    /// Of which rules.
    pub codes: BTreeSet<Code>,
}

/// Refusals, warnings, and the rest, the most first; then the name, so that equals stand in a fixed order.
type Badness = (Reverse<[u64; 3]>, Who);

impl Census {
    /// Counts an object: what is said about it, and the names of the policies that select it.
    pub fn count<'p>(&mut self, who: &Who, verdict: &Verdict, policies: impl IntoIterator<Item = &'p str>) {
        *self.objects.entry(who.kind).or_default() += 1;
        for finding in &verdict.findings {
            let key = (finding.code.clone(), finding.action);
            *self.findings.entry(key).or_default() += 1;
        }
        let by_action = by_action(&verdict.findings);
        for policy in policies {
            let tally = self.policies.entry(policy.to_owned()).or_default();
            tally.objects += 1;
            tally.refused += u64::from(!verdict.allowed);
            for (action, count) in &by_action {
                *tally.findings.entry(*action).or_default() += count;
            }
            tally.rank(who, &by_action, &verdict.findings);
        }
    }

    /// What a policy selects: nothing, if it was never named.
    pub fn of_policy(&self, name: &str) -> Tally {
        self.policies.get(name).cloned().unwrap_or_default()
    }
}

impl Tally {
    /// Those with the most findings, the worst first.
    pub fn worst(&self) -> impl Iterator<Item = &Offender> {
        self.worst.values()
    }

    fn rank(&mut self, who: &Who, by_action: &BTreeMap<Action, u64>, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        let count = |action| by_action.get(&action).copied().unwrap_or_default();
        let badness = [Action::Deny, Action::Warn, Action::Audit].map(count);
        let offender = Offender {
            who: who.clone(),
            findings: by_action.clone(),
            codes: findings.iter().map(|finding| finding.code.clone()).collect(),
        };
        self.worst.insert((Reverse(badness), who.clone()), offender);
        if self.worst.len() > WORST_MAX {
            self.worst.pop_last();
        }
    }
}

fn by_action(findings: &[Finding]) -> BTreeMap<Action, u64> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.action).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use ray::path::Pointer;

    use super::*;

    fn verdict(actions: &[Action]) -> Verdict {
        let finding = |(index, action): (usize, &Action)| Finding {
            code: ["RW-C001", "RW-G005"][index % 2].into(),
            path: Pointer::root(),
            problem: String::new(),
            hint: String::new(),
            action: *action,
            excused: false,
            policy: None,
        };
        Verdict::of(actions.iter().enumerate().map(finding))
    }

    fn who(name: &str) -> Who {
        Who {
            namespace: "team".to_owned(),
            kind: Kind::Cluster,
            name: name.to_owned(),
            uid: String::new(),
        }
    }

    #[test]
    fn counts_by_policy_and_by_rule_and_names_the_worst_first() {
        use Action::{Audit, Deny, Warn};
        let mut census = Census::default();
        let mut count = |name: &str, actions: &[Action], policies: &[&str]| {
            census.count(&who(name), &verdict(actions), policies.iter().copied());
        };
        count("clean", &[], &["a", "b"]);
        count("warned", &[Warn, Warn, Warn], &["a"]);
        count("refused", &[Deny, Warn], &["a"]);
        count("elsewhere", &[Deny, Deny, Audit], &["b"]);
        count("nobodys", &[Deny], &[]);

        let shown = |tally: Tally| {
            let worst: Vec<_> = tally
                .worst()
                .map(|offender| {
                    format!(
                        "{} {:?} {:?}",
                        offender.who.name, offender.findings, offender.codes
                    )
                })
                .collect();
            let Tally {
                objects,
                refused,
                findings,
                ..
            } = &tally;
            format!(
                "{objects} objects, {refused} refused, {findings:?}\n{}",
                worst.join("\n")
            )
        };
        insta::assert_snapshot!(shown(census.of_policy("a")), @r#"
        3 objects, 1 refused, {Warn: 4, Deny: 1}
        refused {Warn: 1, Deny: 1} {"RW-C001", "RW-G005"}
        warned {Warn: 3} {"RW-C001", "RW-G005"}
        "#);
        insta::assert_snapshot!(shown(census.of_policy("b")), @r#"
        2 objects, 1 refused, {Audit: 1, Deny: 2}
        elsewhere {Audit: 1, Deny: 2} {"RW-C001", "RW-G005"}
        "#);
        assert_eq!(census.of_policy("unknown"), Tally::default());
        assert_eq!(census.objects, BTreeMap::from([(Kind::Cluster, 5)]));
        let denied = census.findings.iter().filter(|((_, action), _)| *action == Deny);
        assert_eq!(denied.map(|(_, count)| count).sum::<u64>(), 4);
    }

    #[test]
    fn only_so_many_are_named_and_those_are_the_worst() {
        let mut census = Census::default();
        for number in 0..30 {
            let findings = vec![Action::Warn; number];
            census.count(&who(&format!("c{number:02}")), &verdict(&findings), ["a"]);
        }
        let tally = census.of_policy("a");
        let named: Vec<_> = tally.worst().map(|offender| offender.who.name.as_str()).collect();
        assert_eq!(named.len(), WORST_MAX);
        assert_eq!((named[0], named[9]), ("c29", "c20"));
        assert_eq!(tally.findings[&Action::Warn], (0..30).sum::<u64>());
    }
}
