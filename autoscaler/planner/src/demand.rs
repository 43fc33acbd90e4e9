//! What a cluster waits for: single requests with their counts, gangs, and the shape asked for by `request_resources`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ray::resources::{Amount, Resources};

/// All that is waited for.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Tasks and actors.
    pub requests: Vec<Batch>,
    /// Placement groups.
    pub gangs: Vec<Gang>,
    /// What `request_resources` asked for last; `None` when it was never called.
    pub constraint: Option<Vec<Batch>>,
}

/// Equal requests, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One of them.
    pub request: Request,
    /// How many.
    pub count: u64,
}

/// What one task, actor or bundle needs of a single node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The amounts.
    pub resources: Resources,
    /// Label selectors, the preferred one first; a node has to satisfy any one. None at all: every node will do.
    pub selectors: Vec<Selector>,
    /// Bundles of a gang with equal affinity go onto one node.
    pub affinity: Option<Label>,
    /// Not onto a node that carries this label; the node it goes to carries it from then on.
    pub anti_affinity: Option<Label>,
}

/// Requests that are placed all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gang {
    /// What Ray calls it: identity, strategy and state of a placement group.
    pub details: String,
    /// Its parts.
    pub bundles: Vec<Request>,
}

/// Terms that a node's labels have to satisfy together.
pub type Selector = Vec<Term>;

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The label.
    pub key: String,
    /// How its value relates to the values.
    pub operator: Operator,
    /// The values.
    pub values: BTreeSet<String>,
}

/// How a label's value relates to the values of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// Is one of them; a missing label is not.
    In,
    /// Is none of them; a missing label is none.
    NotIn,
    /// Something that we do not know: satisfied by no node.
    Unknown,
}

/// A label with its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The key.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Demand {
    /// Nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.gangs.is_empty()
            && self.constraint.as_ref().is_none_or(Vec::is_empty)
    }
}

impl Request {
    /// The order in which requests look for a place: the hardest to place first (`_sort_resource_request`).
    pub(crate) fn difficulty(&self) -> impl Ord + use<> {
        (
            usize::from(self.affinity.is_some()) + usize::from(self.anti_affinity.is_some()),
            self.selectors.first().map_or(0, Vec::len),
            self.resources.len(),
            self.resources.iter().map(|(_, amount)| *amount).sum::<Amount>(),
            self.resources
                .iter()
                .map(|(name, amount)| (name.clone(), *amount))
                .collect::<Vec<_>>(),
        )
    }

    /// Whether labels suit at all.
    pub fn suits<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.selectors.is_empty() || self.preference(label) > 0
    }

    /// How well labels suit: three for the first of three selectors, one for the last, zero for none.
    pub(crate) fn preference<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> usize {
        let satisfied = self
            .selectors
            .iter()
            .position(|selector| selector.iter().all(|term| term.holds(&label)));
        satisfied.map_or(0, |index| self.selectors.len() - index)
    }
}

impl Term {
    fn holds<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        let listed = label(&self.key).is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Unknown => false,
        }
    }
}

impl Gang {
    /// The order in which gangs look for places: the most constrained first, then the largest.
    pub(crate) fn difficulty(&self) -> impl Ord + use<> {
        let constrained = self
            .bundles
            .iter()
            .map(|bundle| {
                usize::from(bundle.affinity.is_some()) + usize::from(bundle.anti_affinity.is_some())
            })
            .sum::<usize>();
        (constrained, self.bundles.len())
    }

    /// What has to be placed: bundles that must share a node become one request, after those that need not.
    pub fn requests(&self) -> Vec<Request> {
        let (together, mut requests): (Vec<_>, Vec<_>) = self
            .bundles
            .iter()
            .cloned()
            .partition(|bundle| bundle.affinity.is_some());
        let apart = requests.len();
        for bundle in together {
            let same = |other: &&mut Request| {
                other.affinity == bundle.affinity && other.selectors == bundle.selectors
            };
            match requests[apart..].iter_mut().find(same) {
                Some(sum) => sum.resources.add(&bundle.resources),
                None => requests.push(bundle),
            }
        }
        requests
    }
}

/// Sorts descending, equals keeping their order.
pub(crate) fn hardest_first<T, K: Ord>(items: &mut [T], difficulty: impl Fn(&T) -> K) {
    items.sort_by_cached_key(|item| Reverse(difficulty(item)));
}
