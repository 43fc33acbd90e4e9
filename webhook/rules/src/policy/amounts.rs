//! Amounts of resources, as everywhere in Kubernetes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ray::path::Pointer;
use ray::quantity::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::read::Problem;
use crate::defaults::resources::quantity;

/// What a container asks for and what it gets at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// The most that it gets, by the names of the resources.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Amount>,
    /// What it is sure to have, by the names of the resources.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
}

/// An amount as it was written, such as `2`, `500m` or `4Gi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub(crate) Value);

impl Amount {
    fn quantity(&self) -> Option<Quantity> {
        quantity(&self.0)
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}

impl Resources {
    /// Both lists, by their names in Kubernetes.
    pub(crate) fn lists(&self) -> [(&'static str, &BTreeMap<String, Amount>); 2] {
        [("limits", &self.limits), ("requests", &self.requests)]
    }

    pub(super) fn problems(&self, at: &Pointer) -> Vec<Problem> {
        let amounts = self.lists().into_iter().flat_map(|(list, amounts)| {
            let at = at.key(list);
            amounts
                .iter()
                .map(move |(name, amount)| (at.key(name.clone()), amount))
        });
        let unreadable = amounts.filter(|(_, amount)| amount.quantity().is_none());
        let mut problems: Vec<_> = unreadable
            .map(|(at, amount)| {
                let hint = "write a number such as 2 or 500m, or 4Gi";
                Problem::new(at, format!("{} is no amount", amount.0), hint)
            })
            .collect();
        let limit = |name| self.limits.get(name).and_then(Amount::quantity);
        let above = self.requests.iter().filter(|(name, request)| {
            limit(*name)
                .zip(request.quantity())
                .is_some_and(|(limit, request)| request > limit)
        });
        problems.extend(above.map(|(name, request)| {
            let problem = format!("{} is above the limit", request.0);
            Problem::new(
                at.key("requests").key(name.clone()),
                problem,
                "raise the limit or ask for less",
            )
        }));
        problems
    }
}
