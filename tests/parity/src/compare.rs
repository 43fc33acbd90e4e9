//! Who says what, and where it differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;
use rules::{
    Action, Facts, Finding, Gates, Operation, Operator, Policy, Request, Rule, Source, check, judge, table,
};
use serde_json::Value;
use workshop::{Cache, Making};

use crate::answers::{KEPT, Kept, answers, never_heard};
use crate::cases::Case;
use crate::oracle::{Answer, Oracle, Verdict};

/// How the feature gates are: as they come, all on, all off. The flag of the operator that says so.
const GATES: [&str; 3] = ["", "AllAlpha=true,AllBeta=true", "AllAlpha=false,AllBeta=false"];

/// The rules about fields that the CRD does not have, and those that only another version has.
const UNKNOWN_FIELD: [&str; 2] = ["RW-G037", "RW-G038"];

/// How we differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// KubeRay refuses, and the rule that stands for it says nothing.
    Missed,
    /// KubeRay refuses, and the rule that stands for it only warns.
    Milder,
    /// KubeRay refuses in words that no rule stands for.
    Unheard,
    /// A rule of ours says that KubeRay refuses, and it does not.
    Stricter,
}

/// One way in which we differ, with the smallest object that shows it.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// How.
    pub kind: Kind,
    /// The part of KubeRay's message that is known, all of it if none is, or our code.
    pub what: String,
    /// The rules that it is about.
    pub codes: Vec<&'static str>,
    /// The versions of KubeRay.
    pub operators: BTreeSet<Operator>,
    /// How many objects show it.
    pub objects: usize,
    /// How the smallest of them came about, and under which gates.
    pub example: String,
    /// What KubeRay says to it.
    pub theirs: String,
    /// What we say to it.
    pub ours: Vec<String>,
    size: usize,
}

/// All that was compared.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects, for each version.
    pub objects: BTreeMap<Operator, usize>,
    /// Pairs of verdicts: an object under one set of gates, as written or as the operator reads it.
    pub verdicts: usize,
    /// What KubeRay said: who refused -> how often.
    pub theirs: BTreeMap<String, usize>,
    /// Of the schema's refusals, those that are ours too.
    pub schema_ours_too: usize,
    /// Objects of ours, as they are without any change, that not even the newest KubeRay accepts: what is done to them would not show.
    pub unfit: Vec<String>,
    /// The parts of messages that were heard.
    pub heard: BTreeSet<&'static str>,
    /// Where we differ.
    pub disagreements: BTreeMap<(Kind, String), Disagreement>,
}

/// Asks both about the cases of each version, all versions at once.
pub fn compare_all(
    operators: &[Operator],
    cases: impl Fn(&Oracle) -> Result<Vec<Case>> + Sync,
) -> Result<Report> {
    let cache = Cache::open()?;
    let one = |operator: Operator| {
        let making = Making::new(move |line| eprintln!("oracle of KubeRay {operator}: {line}"));
        let oracle = Oracle::make(operator, &cache, &making)?;
        compare(&oracle, &cases(&oracle)?)
    };
    std::thread::scope(|scope| {
        let started: Vec<_> = operators
            .iter()
            .map(|operator| scope.spawn(|| one(*operator)))
            .collect();
        let mut all = Report::default();
        for thread in started {
            all.merge(thread.join().expect("it does not panic")?);
        }
        Ok(all)
    })
}

/// Asks both about every case.
fn compare(oracle: &Oracle, cases: &[Case]) -> Result<Report> {
    let gates: Vec<Gates> = GATES.iter().map(|flag| flag.parse().expect("gates")).collect();
    let flags: Vec<BTreeMap<&str, bool>> = GATES.iter().map(|flag| flag_map(flag)).collect();
    let rules: BTreeMap<&str, &Rule> = table().map(|rule| (rule.code, rule)).collect();
    let mut report = Report::default();
    report.objects.insert(oracle.operator, cases.len());
    let mut waiting = cases.iter();
    oracle.ask(cases.iter().map(|case| &case.object), &flags, |answer| {
        let case = waiting.next().expect("there is an answer for each question");
        if case.base && oracle.operator == Oracle::OPERATORS[0] && !answer.verdicts[1].is_accepted() {
            report
                .unfit
                .push(format!("{}: {}", case.label, answer.verdicts[1].message));
        }
        for (form, gates, flag, verdict) in views(case, &gates, &answer) {
            let object = answer
                .object
                .as_ref()
                .filter(|_| form == Form::Read)
                .unwrap_or(&case.object);
            let facts = Facts {
                operator: Some(oracle.operator),
                gates: gates.clone(),
                pruned: form == Form::Read,
                ..Facts::default()
            };
            let ours = ours(case, object, &facts);
            let at = Place {
                operator: oracle.operator,
                case,
                flag,
                verdict,
                ours: &ours,
            };
            report.verdicts += 1;
            let by = if verdict.panic { "panic" } else { &verdict.by };
            *report.theirs.entry(by.to_owned()).or_default() += 1;
            let refused = ours.iter().any(|finding| finding.action == Action::Deny);
            report.schema_ours_too += usize::from(verdict.is_of_schema() && refused);
            // Whoever sends the object decides whether the API server refuses unknown fields or drops them.
            let strict = form == Form::Written && !answer.unknown.is_empty();
            for (kind, what, codes) in differences(verdict, strict, &ours, &rules, &mut report.heard) {
                report.note(kind, what, codes, &at);
            }
        }
    })?;
    Ok(report)
}

/// How an object looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As its author wrote it, which is what we see offline.
    Written,
    /// As the operator reads it, which is what we see at admission.
    Read,
}

/// What is compared: the object as written under all gates, and as it is read under the default ones, since form and gates have nothing to
/// do with each other. The schema knows no gates.
fn views<'a>(
    case: &Case,
    gates: &'a [Gates],
    answer: &'a Answer,
) -> impl Iterator<Item = (Form, &'a Gates, &'static str, &'a Verdict)> {
    let under = |form, index: usize| (form, &gates[index], GATES[index], &answer.verdicts[index]);
    let states = if case.gated && answer.object.is_some() {
        GATES.len()
    } else {
        1
    };
    let written = (0..states).map(move |index| under(Form::Written, index));
    written.chain(answer.object.iter().map(move |_| under(Form::Read, 0)))
}

fn flag_map(flag: &'static str) -> BTreeMap<&'static str, bool> {
    let entries = flag.split(',').filter_map(|entry| entry.split_once('='));
    entries.map(|(name, value)| (name, value == "true")).collect()
}

fn ours(case: &Case, object: &Value, facts: &Facts) -> Vec<Finding> {
    let request = Request {
        user: "somebody",
        ..Request::new(Operation::Create, case.kind, object, None)
    };
    judge(check(&request, facts), &request, &Policy::default()).findings
}

type Difference = (Kind, String, Vec<&'static str>);

fn differences(
    verdict: &Verdict,
    strict: bool,
    ours: &[Finding],
    rules: &BTreeMap<&str, &Rule>,
    heard: &mut BTreeSet<&'static str>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    if !verdict.is_accepted() && !verdict.is_of_schema() {
        for answer in answers(&verdict.message) {
            let Some((what, codes)) = answer else {
                differences.push((Kind::Unheard, verdict.message.clone(), Vec::new()));
                continue;
            };
            heard.insert(what);
            let said = ours.iter().filter(|finding| codes.contains(&&*finding.code));
            match said.map(|finding| finding.action).max() {
                None => differences.push((Kind::Missed, what.to_owned(), codes.to_vec())),
                Some(Action::Deny) => {}
                Some(_) => differences.push((Kind::Milder, what.to_owned(), codes.to_vec())),
            }
        }
    }
    if strict && !ours.iter().any(|finding| UNKNOWN_FIELD.contains(&&*finding.code)) {
        differences.push((Kind::Missed, "unknown field".to_owned(), UNKNOWN_FIELD.to_vec()));
    }
    for finding in ours.iter().filter(|finding| finding.action == Action::Deny) {
        let contradicted = match rules[&*finding.code].source {
            Source::KubeRay(_) => verdict.is_accepted(),
            Source::Schema => !strict && !verdict.is_of_schema(),
            Source::Hole => false,
        };
        if contradicted {
            differences.push((
                Kind::Stricter,
                finding.code.to_string(),
                vec![rules::label(&finding.code)],
            ));
        }
    }
    differences
}

/// Where a difference shows.
struct Place<'a> {
    operator: Operator,
    case: &'a Case,
    flag: &'a str,
    verdict: &'a Verdict,
    ours: &'a [Finding],
}

impl Report {
    fn note(&mut self, kind: Kind, what: String, codes: Vec<&'static str>, at: &Place<'_>) {
        let size = at.case.label.len();
        let entry = self.disagreements.entry((kind, what.clone()));
        let disagreement = entry.or_insert_with(|| Disagreement {
            kind,
            what,
            codes,
            operators: BTreeSet::new(),
            objects: 0,
            example: String::new(),
            theirs: String::new(),
            ours: Vec::new(),
            size: usize::MAX,
        });
        disagreement.objects += 1;
        disagreement.operators.insert(at.operator);
        if size < disagreement.size {
            disagreement.size = size;
            disagreement.example = match at.flag {
                "" => at.case.label.clone(),
                flag => format!("{}, with {flag}", at.case.label),
            };
            disagreement.theirs = format!("{}: {}", at.verdict.by, at.verdict.message);
            let said = at
                .ours
                .iter()
                .map(|finding| format!("{} {finding}", finding.action));
            disagreement.ours = said.collect();
        }
    }

    /// Both together.
    pub fn merge(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.verdicts += other.verdicts;
        self.schema_ours_too += other.schema_ours_too;
        for (by, times) in other.theirs {
            *self.theirs.entry(by).or_default() += times;
        }
        self.unfit.extend(other.unfit);
        self.heard.extend(other.heard);
        for (key, theirs) in other.disagreements {
            let Some(ours) = self.disagreements.get_mut(&key) else {
                self.disagreements.insert(key, theirs);
                continue;
            };
            ours.objects += theirs.objects;
            ours.operators.extend(&theirs.operators);
            if theirs.size < ours.size {
                *ours = Disagreement {
                    objects: ours.objects,
                    operators: ours.operators.clone(),
                    ..theirs
                };
            }
        }
    }

    /// The disagreements that nobody decided to keep.
    pub fn open(&self) -> Vec<&Disagreement> {
        let kept = |found: &&Disagreement| !KEPT.iter().any(|kept| kept.is(found));
        self.disagreements.values().filter(kept).collect()
    }

    /// What KubeRay can say and no object made it say.
    pub fn never_heard(&self) -> Vec<&'static str> {
        never_heard(&self.heard)
    }

    /// What is kept and is no longer so.
    pub fn settled(&self) -> Vec<String> {
        let gone = |kept: &&Kept| !self.disagreements.values().any(|found| kept.is(found));
        let told = |kept: &Kept| format!("{:?} {} ({})", kept.kind, kept.what, kept.reason);
        KEPT.iter().filter(gone).map(told).collect()
    }
}

impl Kept {
    fn is(&self, found: &Disagreement) -> bool {
        self.kind == found.kind
            && found.what.contains(self.what)
            && found
                .operators
                .iter()
                .all(|operator| self.operators.contains(operator))
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operators: Vec<_> = self.operators.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "{:?} {}: {} ({} objects, KubeRay {})",
            self.kind,
            self.codes.join(" "),
            self.what,
            self.objects,
            operators.join(", ")
        )?;
        writeln!(f, "    object:  {}", self.example)?;
        writeln!(f, "    KubeRay: {}", self.theirs)?;
        write!(
            f,
            "    Rayward: {}",
            if self.ours.is_empty() {
                "nothing".to_owned()
            } else {
                self.ours.join("\n             ")
            }
        )
    }
}
