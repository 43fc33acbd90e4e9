//! What a policy may say: whom it is for, and then a field for each topic.

use ray::object::Kind;
use ray::path::Pointer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::accelerators::{self, AcceleratorPolicy};
use super::autoscaler::AutoscalerDefaults;
use super::break_glass::BreakGlass;
use super::custom_rules::{self, CustomRule};
use super::exceptions::{self, Exception};
use super::images::Images;
use super::nodes::{NodeDefaults, Replicas};
use super::options::Options;
use super::read::Problem;
use super::rules::{self, RuleAction};
use super::selector::{Label, Selected, Selector};
use crate::request::Request;

/// What a platform team wants of the Ray objects that this policy selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicySpec {
    /// Where several policies say different things about one object, the one with the highest priority is right; of equals, the
    /// first by name.
    pub priority: i32,
    /// Which objects the policy is for; all, if nothing is said.
    pub select: Select,
    /// What happens to objects that a rule finds something wrong with, where that is not to be what the rule itself has in mind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 500),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["code"])
    )]
    pub rules: Vec<RuleAction>,
    /// What is let through although a rule would refuse it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 500),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub exceptions: Vec<Exception>,
    /// Who may have everything let through, by saying why in the annotation `rayward.dev/break-glass` of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// Rules of your own, in CEL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub custom_rules: Vec<CustomRule>,
    /// Where images may come from, and which ones are taken where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// How many accelerators a cluster may have, and who gets some without asking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind"])
    )]
    pub accelerators: Vec<AcceleratorPolicy>,
    /// What heads have where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<NodeDefaults>,
    /// What workers have where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NodeDefaults>,
    /// How many workers there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Who scales clusters that scale, and how, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<AutoscalerDefaults>,
    /// What a cluster has besides its nodes where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// Which objects a policy is for: those that are all that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Select {
    /// Objects in namespaces with these labels. `kubernetes.io/metadata.name` is the name of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Objects with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<Selector>,
    /// Objects of these kinds: `RayCluster`, `RayJob`, `RayService` or `RayCronJob`; all, if the list is empty. What the operator makes of a
    /// `RayJob` or a `RayService` counts as that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

impl PolicySpec {
    /// Everything that is wrong with the policy, though it could be read.
    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        [
            self.select.problems(&at.key("select")),
            rules::problems(&self.rules, &at.key("rules")),
            exceptions::problems(&self.exceptions, &at.key("exceptions")),
            of(self.break_glass.as_ref(), |glass| {
                glass.problems(&at.key("breakGlass"))
            }),
            custom_rules::problems(&self.custom_rules, &at.key("customRules")),
            of(self.images.as_ref(), |images| images.problems(&at.key("images"))),
            accelerators::problems(&self.accelerators, &at.key("accelerators")),
            of(self.head.as_ref(), |head| head.problems(&at.key("head"))),
            of(self.workers.as_ref(), |workers| {
                workers.problems(&at.key("workers"))
            }),
            of(self.autoscaler.as_ref(), |autoscaler| {
                autoscaler.problems(&at.key("autoscaler"))
            }),
            of(self.options.as_ref(), |options| {
                options.problems(&at.key("options"))
            }),
        ]
        .concat()
    }
}

fn of<T>(topic: Option<&T>, problems: impl Fn(&T) -> Vec<Problem>) -> Vec<Problem> {
    topic.into_iter().flat_map(problems).collect()
}

impl Select {
    pub(super) fn selects(&self, request: &Request<'_>) -> Selected<'_> {
        let kind = written_as(request);
        let of_kind = self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind.name());
        let labels = &request.object["metadata"]["labels"];
        Selected::from(of_kind)
            .and(selects(self.object_selector.as_ref(), |key| {
                labels.get(key).and_then(Value::as_str).into()
            }))
            .and(selects(self.namespace_selector.as_ref(), |key| {
                request.namespace_label(key)
            }))
    }

    fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let mut problems = unknown_kinds(&self.kinds, &at.key("kinds"));
        for (name, selector) in [
            ("namespaceSelector", &self.namespace_selector),
            ("objectSelector", &self.object_selector),
        ] {
            problems.extend(
                selector
                    .iter()
                    .flat_map(|selector| selector.problems(&at.key(name))),
            );
        }
        problems
    }
}

/// The kind of what somebody wrote, of which the operator may have made this cluster.
fn written_as(request: &Request<'_>) -> Kind {
    ray::part_of(request.kind, request.object).unwrap_or(request.kind)
}

pub(super) fn unknown_kinds(kinds: &[String], at: &Pointer) -> Vec<Problem> {
    let unknown = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| Kind::from_kind_name(kind).is_none());
    let problems = unknown.map(|(index, kind)| {
        let hint = format!("there are {}", Kind::ALL.map(Kind::name).join(", "));
        Problem::new(at.index(index), format!("`{kind}` is no kind of Ray's"), hint)
    });
    problems.collect()
}

fn selects<'s, 'l>(selector: Option<&'s Selector>, label: impl Fn(&str) -> Label<'l>) -> Selected<'s> {
    selector.map_or(Selected::Yes, |selector| selector.selects(label))
}
