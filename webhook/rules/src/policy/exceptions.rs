//! `exceptions`: what is let through although a rule would refuse it, by whom it is granted, why, and until when.

use jiff::Timestamp;
use ray::object::Kind;
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::read::Problem;
use super::rules::{matches, unknown};
use super::spec;
use crate::request::Request;

/// Lets through what a rule would refuse: its author is warned instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exception {
    /// What it is called in the warnings.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The codes of the rules, such as `RW-C009`, or the beginnings of several, such as `RW-C*`.
    #[schemars(length(min = 1, max = 100))]
    pub codes: Vec<String>,
    /// The objects it is for; all, if nothing is said.
    #[serde(default)]
    pub objects: Objects,
    /// The users whose writes it is for. If neither users nor groups are listed it is for everybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub users: Vec<String>,
    /// Groups of users whose writes it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub groups: Vec<String>,
    /// Why it was granted; for those who look at it later.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// When it ends, such as `2027-01-31T00:00:00Z`.
    #[serde(deserialize_with = "time")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires: Timestamp,
}

/// Some objects: those that are all that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Objects {
    /// Namespaces; `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub namespaces: Vec<String>,
    /// `RayCluster`, `RayJob`, `RayService` or `RayCronJob`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub kinds: Vec<String>,
    /// Names; `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub names: Vec<String>,
}

impl Exception {
    /// Whether it is for what the rule with that code found about the request. That it may have expired is another matter.
    pub(crate) fn covers(&self, code: &str, request: &Request<'_>) -> bool {
        let everybody = self.users.is_empty() && self.groups.is_empty();
        let user = || self.users.iter().any(|user| user == request.user);
        let group = || self.groups.iter().any(|group| request.groups.contains(group));
        self.codes.iter().any(|wanted| matches(wanted, code))
            && self.objects.include(request)
            && (everybody || user() || group())
    }

    fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let codes = self.codes.iter().enumerate();
        let mut problems: Vec<_> = codes
            .filter_map(|(index, code)| unknown(code, at.key("codes").index(index)))
            .collect();
        if self.codes.is_empty() {
            problems.push(Problem::new(
                at.key("codes"),
                "it is for no rule",
                "list at least one code, such as RW-C009",
            ));
        }
        if self.reason.trim().is_empty() {
            problems.push(Problem::new(
                at.key("reason"),
                "nothing is said",
                "say why, for those who look at it later",
            ));
        }
        problems.extend(spec::unknown_kinds(
            &self.objects.kinds,
            &at.key("objects").key("kinds"),
        ));
        problems
    }
}

impl Objects {
    fn include(&self, request: &Request<'_>) -> bool {
        let name = request.object["metadata"]["name"].as_str().unwrap_or_default();
        let one_of =
            |globs: &[String], text| globs.is_empty() || globs.iter().any(|glob| is_like(text, glob));
        let of_kind = |kind: &String| Kind::from_kind_name(kind) == Some(request.kind);
        one_of(&self.namespaces, request.namespace)
            && one_of(&self.names, name)
            && (self.kinds.is_empty() || self.kinds.iter().any(of_kind))
    }
}

pub(super) fn problems(exceptions: &[Exception], at: &Pointer) -> Vec<Problem> {
    let all = exceptions.iter().enumerate();
    all.flat_map(|(index, exception)| exception.problems(&at.index(index)))
        .collect()
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| D::Error::custom(format!("{text} is no time; write it as 2027-01-31T00:00:00Z"));
    text.parse().map_err(wrong)
}

/// Whether `text` is `glob` with something in the place of each star.
pub(crate) fn is_like(text: &str, glob: &str) -> bool {
    let Some((beginning, rest)) = glob.split_once('*') else {
        return text == glob;
    };
    let Some(text) = text.strip_prefix(beginning) else {
        return false;
    };
    match rest.split_once('*') {
        None => text.ends_with(rest),
        // The first place where it fits does: what is left is longest then.
        Some((next, _)) => text.find(next).is_some_and(|at| is_like(&text[at..], rest)),
    }
}
