//! What was found, with its places: all that the formats show.

use std::fmt;
use std::process::ExitCode;

use ray::path::Pointer;
use rules::{Action, Finding, Operator, Verdict};
use serde_json::Value;

use crate::args::World;
use crate::source::{Document, Found, Place, Source, Unreadable};

/// The outcome of a check.
#[derive(Debug)]
pub(super) struct Report<'s> {
    /// The objects of Ray, in the order of reading.
    pub(super) objects: Vec<Checked<'s>>,
    /// Inputs that could not be read.
    pub(super) unreadable: Vec<Unreadable<'s>>,
    /// How many objects were none of Ray's.
    pub(super) passed_over: usize,
    fail_on: Action,
    operator: Option<Operator>,
}

/// An object that was checked.
#[derive(Debug)]
pub(super) struct Checked<'s> {
    pub(super) source: &'s Source,
    /// Which of the documents in its source, from zero. Empty documents are none.
    pub(super) document: usize,
    /// Where it begins.
    pub(super) place: Place,
    pub(super) identity: Identity,
    pub(super) allowed: bool,
    pub(super) findings: Vec<Located>,
}

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: &'static str,
    pub(super) namespace: Option<String>,
    /// Its name, or the beginning of one that is to be made up.
    pub(super) name: String,
}

/// A finding and where it is: at its field, or at what of the way to it stands in the text.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) finding: Finding,
    pub(super) place: Place,
}

impl Report<'_> {
    pub(super) fn new(fail_on: Action, world: &World) -> Self {
        Self {
            objects: Vec::new(),
            unreadable: Vec::new(),
            passed_over: 0,
            fail_on,
            operator: world.kuberay_version,
        }
    }

    /// All findings with their objects.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&Checked<'_>, &Located)> {
        self.objects
            .iter()
            .flat_map(|object| object.findings.iter().map(move |located| (object, located)))
    }

    /// Whether the check fails because of a finding.
    pub(super) fn fails(&self, finding: &Finding) -> bool {
        finding.action >= self.fail_on
    }

    /// What the process ends with. That something was not checked outweighs what was found elsewhere.
    pub(super) fn exit_code(&self) -> ExitCode {
        let failed = self.findings().any(|(_, located)| self.fails(&located.finding));
        match (self.unreadable.is_empty(), failed) {
            (false, _) => ExitCode::from(2),
            (true, true) => ExitCode::FAILURE,
            (true, false) => ExitCode::SUCCESS,
        }
    }

    /// All of it in a line.
    pub(super) fn summary(&self) -> String {
        let with = |action| {
            self.findings()
                .filter(|(_, located)| located.finding.action == action)
                .count()
        };
        let mut parts = vec![
            counted(self.objects.len(), "object"),
            counted(with(Action::Deny), "problem"),
            counted(with(Action::Warn), "warning"),
        ];
        let notes = with(Action::Audit);
        if notes > 0 {
            parts.push(counted(notes, "note"));
        }
        let mut summary = vec![parts.join(", ")];
        if self.passed_over > 0 {
            let others = counted(self.passed_over, "object");
            summary.push(format!("{others} of other kinds passed over"));
        }
        if !self.unreadable.is_empty() {
            let inputs = counted(self.unreadable.len(), "input");
            summary.push(format!("{inputs} could not be read"));
        }
        let world = match self.operator {
            _ if self.objects.is_empty() => String::new(),
            Some(operator) => format!(" (for KubeRay {operator})"),
            None => format!(" (assuming KubeRay {})", Operator::NEWEST),
        };
        summary.join("; ") + &world
    }
}

impl<'s> Checked<'s> {
    pub(super) fn new(
        source: &'s Source,
        index: usize,
        document: &Document,
        object: &Found,
        kind: &'static str,
        verdict: Verdict,
    ) -> Self {
        let place = |within: &Pointer| document.place(&object.at.join(within));
        let located = |finding: Finding| Located {
            place: place(&finding.path),
            finding,
        };
        Self {
            source,
            document: index,
            place: place(&Pointer::root()),
            identity: Identity::of(kind, &object.value),
            allowed: verdict.allowed,
            findings: verdict.findings.into_iter().map(located).collect(),
        }
    }
}

impl Identity {
    pub(super) fn of(kind: &'static str, object: &Value) -> Self {
        let text = |field| object["metadata"][field].as_str().filter(|text| !text.is_empty());
        Self {
            kind,
            namespace: text("namespace").map(str::to_owned),
            name: text("name")
                .or(text("generateName"))
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// `RayCluster team/demo`
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(if self.name.is_empty() {
            "without a name"
        } else {
            &self.name
        })
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
