//! What a rule is, and the table of all of them. The rows stand with their functions in the files of `check/`.

use std::fmt;
use std::str::FromStr;

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::cron_job::CronJobSpec;
use ray::job::JobSpec;
use ray::object::{Kind, Object, Spec};
use ray::path::Pointer;
use ray::service::ServiceSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::check;
use crate::effective::EffectivePod;
pub(crate) use crate::example::Example;
use crate::facts::{Facts, GateState, Operators};
use crate::finding::Findings;
use crate::pod;
use crate::policy::Policy;
use crate::usage::Usage;

/// A row in the table of rules.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Stable for ever: `RW-C009`.
    pub code: &'static str,
    /// What is wrong, in half a sentence.
    pub summary: &'static str,
    /// What happens, where the policy does not say otherwise.
    pub action: Action,
    /// The kinds it looks at; none, if it looks at the pods that become of them.
    #[serde(serialize_with = "kind_names")]
    pub kinds: &'static [Kind],
    /// What goes wrong where nobody enforces it.
    pub why: &'static str,
    /// Who else enforces it.
    pub source: Source,
    /// The versions of KubeRay that it is true of.
    pub operators: Operators,
    /// The feature gate that it depends on, and in which state it is true.
    pub gate: Option<GateState>,
    /// One manifest that it fires on, and one that it just does not.
    #[serde(skip)]
    pub example: Example,
    #[serde(skip)]
    pub(crate) check: Check,
}

/// Who enforces a rule besides us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The operator, in this function, once the object is stored.
    KubeRay(&'static str),
    /// The CRD, when the object is written; so for us it is of use offline.
    Schema,
    /// Nobody.
    Hole,
}

/// What happens to an object because of a finding, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Nothing at all.
    Off,
    /// It is noted in the API server's audit log.
    Audit,
    /// Its author is warned.
    Warn,
    /// It is refused.
    Deny,
}

/// A word that is no action.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an action: write Deny, Warn, Audit or Off")]
pub struct UnknownAction(String);

/// The function of a rule, by what it looks at.
#[derive(Debug)]
pub(crate) enum Check {
    /// The object as a whole.
    Object(fn(&Subject<'_>, &mut Findings)),
    /// Each cluster it describes.
    Cluster(fn(&ClusterSpec, &Subject<'_>, &mut Findings)),
    /// The head and each worker group.
    Group(fn(&dyn NodeGroup, &mut Findings)),
    /// Each worker group.
    Workers(fn(&WorkerGroup, &mut Findings)),
    /// The pods that the operator makes of the cluster it describes, the head's first.
    EffectivePods(fn(&[EffectivePod<'_>], &mut Findings)),
    /// A `RayJob`, or the template of one.
    Job(fn(&JobSpec, &Subject<'_>, &mut Findings)),
    /// A `RayService`.
    Service(fn(&ServiceSpec, &Subject<'_>, &mut Findings)),
    /// A `RayCronJob`.
    CronJob(fn(&CronJobSpec, &Subject<'_>, &mut Findings)),
    /// What an update makes of an object: as it is to become, then as it was.
    Change(fn(&Subject<'_>, &Subject<'_>, &mut Findings)),
    /// An object next to the others of its namespace: as it is to become, then as it was, if it was there, then what the others have, if
    /// that is known.
    Beside(fn(&Subject<'_>, Option<&Subject<'_>>, Option<&Usage>, &mut Findings)),
    /// A head or worker pod that the operator makes, in the end. No kind of Ray's.
    Pod(fn(&pod::Request<'_>, &mut Findings)),
    /// Nothing: the reader itself reports these.
    Reading,
}

/// An object, for rules to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// As it was read.
    pub(crate) object: &'a Object,
    /// As it was written.
    pub(crate) json: &'a Value,
    /// What is known of the world around it.
    pub(crate) facts: &'a Facts,
    /// What platform teams want of it.
    pub(crate) policy: &'a Policy,
}

impl<'a> Subject<'a> {
    /// An annotation that says something, where KubeRay's validation looks for it: on the object, whose own words a `RayCronJob`
    /// does not hand on to its jobs.
    pub(crate) fn annotation(&self, key: &'static str) -> Option<(Pointer, &'a str)> {
        let text = self.object.metadata.annotations.get(key)?.as_str();
        let is_heard = self.object.kind() != Kind::CronJob && !text.is_empty();
        is_heard.then(|| (Pointer::root().key("metadata").key("annotations").key(key), text))
    }
}

/// Whether a rule is true of the world that is known.
#[derive(Clone, Copy)]
pub(crate) enum Holds {
    Yes,
    No,
    Perhaps(Unknown),
}

/// What we would have to know to say whether a rule is true.
#[derive(Clone, Copy)]
pub(crate) enum Unknown {
    /// Which version of KubeRay there is: the rule is true of these.
    Operator(Operators),
    /// Whether a gate is on: the rule is true where it is as it says here.
    Gate(GateState),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(versions) => {
                write!(f, "so in KubeRay {versions}, and the version here is not known")
            }
            Self::Gate(state) => write!(f, "so where the gate {state}, which is not known here"),
        }
    }
}

/// Every rule, in the order of the topics.
pub fn table() -> impl Iterator<Item = &'static Rule> {
    check::TABLES.iter().copied().flatten().chain(pod::RULES)
}

impl Rule {
    /// Whether KubeRay itself refuses what this rule finds, be it later.
    pub fn is_parity(&self) -> bool {
        self.source != Source::Hole
    }

    /// Whether the rule is true of the operator that is known.
    pub(crate) fn holds(&self, facts: &Facts) -> Holds {
        let operator = match facts.operator {
            Some(operator) if !self.operators.contain(operator) => return Holds::No,
            None if self.operators != Operators::ALL => Some(Unknown::Operator(self.operators)),
            _ => None,
        };
        let gate = match self.gate.map(|state| (state, facts.gate(state.gate))) {
            Some((state, Some(on))) if on != state.on => return Holds::No,
            Some((state, None)) => Some(Unknown::Gate(state)),
            _ => None,
        };
        operator.or(gate).map_or(Holds::Yes, Holds::Perhaps)
    }

    /// Looks at an object by itself, and at the `pods` that the operator would make of it.
    pub(crate) fn run(&self, subject: &Subject<'_>, pods: &[EffectivePod<'_>], findings: &mut Findings) {
        let object = subject.object;
        let groups = || object.clusters().flat_map(ClusterSpec::groups);
        let workers = || object.clusters().flat_map(|cluster| &cluster.worker_groups);
        match (&self.check, &object.spec) {
            (Check::Object(check), _) => check(subject, findings),
            (Check::Cluster(check), _) => object
                .clusters()
                .for_each(|cluster| check(cluster, subject, findings)),
            (Check::EffectivePods(check), _) => check(pods, findings),
            (Check::Group(check), _) => groups().for_each(|group| check(group, findings)),
            (Check::Workers(check), _) => workers().for_each(|group| check(group, findings)),
            (Check::Job(check), _) => object
                .job()
                .into_iter()
                .for_each(|job| check(job, subject, findings)),
            (Check::Service(check), Spec::Service(service)) => check(service, subject, findings),
            (Check::CronJob(check), Spec::CronJob(cron_job)) => check(cron_job, subject, findings),
            (
                Check::Service(_)
                | Check::CronJob(_)
                | Check::Change(_)
                | Check::Beside(_)
                | Check::Pod(_)
                | Check::Reading,
                _,
            ) => {}
        }
    }

    /// Whether it looks at writes rather than at objects by themselves.
    pub(crate) fn is_about_writes(&self) -> bool {
        matches!(self.check, Check::Change(_) | Check::Beside(_))
    }

    /// Looks at what a write makes of an object, and at the object next to the others of its namespace.
    pub(crate) fn run_on_write(
        &self,
        new: &Subject<'_>,
        old: Option<&Subject<'_>>,
        others: Option<&Usage>,
        findings: &mut Findings,
    ) {
        match (&self.check, old) {
            (Check::Change(check), Some(old)) => check(new, old, findings),
            (Check::Beside(check), old) => check(new, old, others, findings),
            _ => {}
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Off => "Off",
            Action::Audit => "Audit",
            Action::Warn => "Warn",
            Action::Deny => "Deny",
        })
    }
}

impl Action {
    /// As a label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Action::Off, Action::Audit, Action::Warn, Action::Deny];
        all.into_iter()
            .find(|action| action.to_string() == text)
            .ok_or_else(|| UnknownAction(text.to_owned()))
    }
}

fn kind_names<S: serde::Serializer>(kinds: &[Kind], serializer: S) -> Result<S::Ok, S::Error> {
    let pods = kinds.is_empty().then_some("Pod");
    serializer.collect_seq(kinds.iter().map(|kind| kind.name()).chain(pods))
}
