//! What keeps a group from taking a request, in the order in which one would have to mend it. For people: planning asks nothing of this.

use std::fmt;

use ray::resources::Resources;

use crate::demand::{Operator, Request, Selector, Term};
use crate::snapshot::{Group, Snapshot};

/// What keeps a new node of a group from taking a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody knows what its nodes offer.
    Unknown,
    /// Its nodes are too small.
    Resources {
        /// What a node has of what is missing.
        has: Resources,
        /// What is asked for of that.
        asked: Resources,
    },
    /// Its nodes do not carry the labels.
    Labels(Vec<Selector>),
    /// It is suspended.
    Suspended,
    /// It has as many nodes as it may.
    Maximum(u64),
    /// It is passed over.
    PassedOver,
}

impl Snapshot {
    /// The first obstacle; none where a new node of the group could take the request as far as the group is concerned.
    pub fn obstacle(&self, request: &Request, group: &Group) -> Option<Obstacle> {
        let Some(resources) = &group.resources else {
            return Some(Obstacle::Unknown);
        };
        let missing: Vec<_> = request
            .resources
            .iter()
            .filter(|(name, amount)| resources.held(name) < **amount)
            .collect();
        let label = |name: &str| group.labels.get(name).map(String::as_str);
        let there = self.nodes.iter().filter(|node| node.group == group.name).count() as u64;
        if !missing.is_empty() {
            Some(Obstacle::Resources {
                has: missing
                    .iter()
                    .map(|(name, _)| (name.as_str(), resources.held(name)))
                    .collect(),
                asked: missing
                    .iter()
                    .map(|(name, amount)| (name.as_str(), **amount))
                    .collect(),
            })
        } else if !request.selectors.is_empty() && request.preference(label) == 0 {
            Some(Obstacle::Labels(request.selectors.clone()))
        } else if group.suspended {
            Some(Obstacle::Suspended)
        } else if there + group.hosts.max(1) > group.max {
            Some(Obstacle::Maximum(group.max))
        } else if group.passed_over {
            Some(Obstacle::PassedOver)
        } else {
            None
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("its template does not say what its nodes offer"),
            Self::Resources { has, asked } => {
                write!(formatter, "its nodes have {has}, and {asked} is asked for")
            }
            Self::Labels(selectors) => {
                let selectors: Vec<String> = selectors.iter().map(|terms| conjunction(terms)).collect();
                write!(formatter, "its labels do not satisfy {}", selectors.join(", or "))
            }
            Self::Suspended => formatter.write_str("it is suspended"),
            Self::Maximum(max) => write!(formatter, "it has reached its maximum of {max} nodes"),
            Self::PassedOver => formatter.write_str("it is passed over, since its Pods wait in vain"),
        }
    }
}

fn conjunction(terms: &[Term]) -> String {
    let terms = terms.iter().map(|term| {
        let operator = match term.operator {
            Operator::In => "in",
            Operator::NotIn => "not in",
            Operator::Unknown => "in an unknown relation to",
        };
        let values: Vec<&str> = term.values.iter().map(String::as_str).collect();
        format!("{} {operator} ({})", term.key, values.join(", "))
    });
    terms.collect::<Vec<_>>().join(" and ")
}
