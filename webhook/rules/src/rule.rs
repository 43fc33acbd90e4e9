//! What a rule is, and the table of all of them. The rows stand with their functions in the files of `check/`.

use std::fmt;
use std::str::FromStr;

use ray::cluster::{ClusterSpec, NodeGroup, WorkerGroup};
use ray::object::{Kind, Object};
use serde::Serialize;
use thiserror::Error;

use crate::check;
use crate::finding::Findings;
use crate::request::Facts;

/// A row in the table of rules.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Stable for ever: `RW-C009`.
    pub code: &'static str,
    /// What is wrong, in half a sentence.
    pub summary: &'static str,
    /// What happens, where the policy does not say otherwise.
    pub action: Action,
    /// The kinds it looks at.
    #[serde(serialize_with = "kind_names")]
    pub kinds: &'static [Kind],
    /// What goes wrong where nobody enforces it.
    pub why: &'static str,
    /// One manifest that it fires on, and one that it just does not.
    #[serde(skip)]
    pub example: Example,
    #[serde(skip)]
    pub(crate) check: Check,
}

/// What shows a rule at work: two specs of a `RayCluster`, unless they say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// Changes to a good manifest after which the rule fires, as YAML.
    pub fires: &'static str,
    /// Changes after which it just does not.
    pub passes: &'static str,
}

/// What happens to an object because of a finding, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    Object(fn(&Object, &mut Findings)),
    /// Each cluster it describes.
    Cluster(fn(&ClusterSpec, &Facts, &mut Findings)),
    /// The head and each worker group.
    Group(fn(&dyn NodeGroup, &mut Findings)),
    /// Each worker group.
    Workers(fn(&WorkerGroup, &mut Findings)),
    /// Nothing: the reader itself reports these.
    Reading,
}

/// Every rule, in the order of the topics.
pub fn table() -> impl Iterator<Item = &'static Rule> {
    check::TABLES.iter().copied().flatten()
}

impl Rule {
    pub(crate) fn run(&self, object: &Object, facts: &Facts, findings: &mut Findings) {
        match self.check {
            Check::Object(check) => check(object, findings),
            Check::Cluster(check) => object
                .clusters()
                .for_each(|cluster| check(cluster, facts, findings)),
            Check::Group(check) => {
                object
                    .clusters()
                    .flat_map(ClusterSpec::groups)
                    .for_each(|group| check(group, findings));
            }
            Check::Workers(check) => {
                let groups = object.clusters().flat_map(|cluster| &cluster.worker_groups);
                groups.for_each(|group| check(group, findings));
            }
            Check::Reading => {}
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
    serializer.collect_seq(kinds.iter().map(|kind| kind.name()))
}
