//! What placement sees of a node. Of thousands of nodes few differ in it, so equal ones share it, and what is found out of one holds for all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;
use std::rc::Rc;

use ray::resources::{Amount, Resources};

use crate::demand::{Batch, Demand, Request};
use crate::world::Ledger;

/// The amounts and labels of a node, and what was placed on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// What is free, one for each ledger.
    pub(crate) free: [Resources; 2],
    /// What was placed here, one for each ledger, equal requests once.
    pub(crate) placed: [Vec<Rc<Request>>; 2],
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) total: Resources,
    /// The priority of its group.
    pub(crate) priority: i32,
    pub(crate) running: bool,
}

impl Load {
    /// Whether anything was placed here, of either ledger.
    pub(crate) fn needed(&self) -> bool {
        self.placed.iter().any(|requests| !requests.is_empty())
    }

    /// Whom it does not go with was looked at when it was placed; the score looks at the rest.
    pub(crate) fn place(&mut self, request: &Rc<Request>, ledger: Ledger) {
        let placed = &mut self.placed[ledger as usize];
        let same = |known: &Rc<Request>| {
            known.resources == request.resources && known.selectors == request.selectors
        };
        if !placed.iter().any(same) {
            placed.push(Rc::new(Request {
                resources: request.resources.clone(),
                selectors: request.selectors.clone(),
                ..Request::default()
            }));
        }
    }
}

/// Stands for a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LoadId(u32);

impl LoadId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// All loads that have come up in a plan, each once.
pub(crate) struct Loads<'a> {
    known: Vec<Rc<Load>>,
    ids: BTreeMap<Rc<Load>, LoadId>,
    lasting: BTreeSet<&'a str>,
}

impl<'a> Loads<'a> {
    pub(crate) fn new(asked: &Asked<'a>) -> Self {
        Self {
            known: Vec::new(),
            ids: BTreeMap::new(),
            lasting: asked.lasting.clone(),
        }
    }

    /// Whether anybody who comes later may look at a label that a node got from what was placed on it. A gang's own is mostly looked at by that gang
    /// alone, and nodes that differ in nothing else are alike again once it has its places.
    pub(crate) fn outlasts_its_pass(&self, label: &str) -> bool {
        self.lasting.contains(label)
    }

    pub(crate) fn id(&mut self, load: Load) -> LoadId {
        if let Some(id) = self.ids.get(&load) {
            return *id;
        }
        let id =
            LoadId(u32::try_from(self.known.len()).expect("a plan has fewer loads than memory has room for"));
        let load = Rc::new(load);
        self.known.push(Rc::clone(&load));
        self.ids.insert(load, id);
        id
    }
}

impl Index<LoadId> for Loads<'_> {
    type Output = Load;

    fn index(&self, id: LoadId) -> &Load {
        &self.known[id.index()]
    }
}

/// What the demand could ever look at. Nodes differ by their addresses and ids, and by some bytes of a memory that nobody asks for; where that
/// cannot matter, it is left out.
pub(crate) struct Asked<'a> {
    resources: BTreeSet<&'a str>,
    labels: BTreeSet<&'a str>,
    /// Labels that more than one pass of placement looks at.
    lasting: BTreeSet<&'a str>,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(demand: &'a Demand) -> Self {
        let mut asked = Self {
            resources: BTreeSet::new(),
            labels: BTreeSet::new(),
            lasting: BTreeSet::new(),
        };
        let request = |batch: &'a Batch| &batch.request;
        asked.pass(demand.constraint.iter().flatten().map(request));
        for gang in &demand.gangs {
            asked.pass(gang.bundles.iter());
        }
        asked.pass(demand.requests.iter().map(request));
        asked
    }

    /// What is placed together.
    fn pass(&mut self, requests: impl Iterator<Item = &'a Request>) {
        let mut labels = BTreeSet::new();
        for request in requests {
            self.resources
                .extend(request.resources.iter().map(|(name, _)| name.as_str()));
            let terms = request.selectors.iter().flatten();
            labels.extend(terms.map(|term| term.key.as_str()));
            labels.extend(request.anti_affinity.iter().map(|label| label.name.as_str()));
        }
        for label in labels {
            if !self.labels.insert(label) {
                self.lasting.insert(label);
            }
        }
    }

    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let kept = labels
            .iter()
            .filter(|(name, _)| self.labels.contains(name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What a node has and what is free of it, as far as placement can tell nodes apart by it.
    ///
    /// A resource that nobody asks for and nobody uses is unused to the score, however much there is of it. Its place among the names is kept,
    /// since doubles are added in their order; there, the name of one address is as good as another.
    pub(crate) fn amounts(&self, total: &Resources, free: &Resources) -> (Resources, Resources) {
        let is_address = |name: &str| name.starts_with("node:") && !self.resources.contains(name);
        let addresses = total.iter().filter(|(name, _)| is_address(name)).count();
        let unused = |name: &str, amount: Amount| {
            !self.resources.contains(name)
                && amount > Amount::ZERO
                && total.get(name) == Some(amount)
                && free.get(name) == Some(amount)
        };
        let told = |(name, amount): (&String, &Amount)| {
            let unused = unused(name, *amount);
            let name = if unused && is_address(name) && addresses == 1 {
                "node:"
            } else {
                name
            };
            (name.to_owned(), if unused { Amount::ONE } else { *amount })
        };
        (total.iter().map(told).collect(), free.iter().map(told).collect())
    }
}
