//! One node, filled greedily with what waits: the innermost step of placement.

use std::rc::Rc;

use ray::resources::Resources;

use crate::demand::{Label, Request};
use crate::load::{Load, LoadId, Loads};
use crate::score::Score;
use crate::snapshot::Policy;
use crate::world::{Ledger, Seat};

/// Requests that look for a place, the hardest first, with how many of each are left.
#[derive(Clone)]
pub(crate) struct Waiting {
    entries: Vec<(Rc<Request>, u64)>,
    /// The entries of which something was taken, in the order of that.
    pub(crate) taken_from: Vec<usize>,
}

/// What one node would take of what waits, and how good an idea that is.
pub(crate) struct Trial {
    /// Entry of the waiting list, and how many of it.
    pub(crate) taken: Vec<(usize, u64)>,
    pub(crate) score: Score,
    free: Resources,
    labels: Vec<Label>,
    /// What comes of it, once it is known.
    load: Option<LoadId>,
}

impl Waiting {
    /// Equal requests that follow each other are one.
    pub(crate) fn new(requests: impl Iterator<Item = (Request, u64)>) -> Self {
        let mut entries: Vec<(Rc<Request>, u64)> = Vec::new();
        for (request, count) in requests {
            match entries.last_mut() {
                Some((last, left)) if **last == request => *left += count,
                _ => entries.push((Rc::new(request), count)),
            }
        }
        Self {
            entries,
            taken_from: Vec::new(),
        }
    }

    /// How many entries there are, whether or not something is left of them.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.iter().all(|(_, left)| *left == 0)
    }

    /// How many requests are left.
    pub(crate) fn count(&self) -> u64 {
        self.entries
            .iter()
            .map(|(_, left)| left)
            .fold(0, |sum, left| sum.saturating_add(*left))
    }

    /// What is left of an entry.
    pub(crate) fn left(&self, entry: usize) -> u64 {
        self.entries[entry].1
    }

    /// What is left.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (&Request, u64)> {
        let rest = self.entries.iter().filter(|(_, left)| *left > 0);
        rest.map(|(request, left)| (&**request, *left))
    }

    /// Gives a node what its trial took.
    pub(crate) fn settle(
        &mut self,
        trial: &mut Trial,
        seat: &mut Seat<'_>,
        ledger: Ledger,
        loads: &mut Loads<'_>,
    ) {
        for &(entry, count) in &trial.taken {
            self.entries[entry].1 -= count;
            self.taken_from.push(entry);
        }
        seat.load = *trial.load.get_or_insert_with(|| {
            let mut load = loads[seat.load].clone();
            for &(entry, _) in &trial.taken {
                load.place(&self.entries[entry].0, ledger);
            }
            load.free[ledger as usize] = std::mem::take(&mut trial.free);
            let labels = std::mem::take(&mut trial.labels).into_iter();
            let labels = labels.filter(|label| loads.outlasts_its_pass(&label.name));
            load.labels.extend(labels.map(|label| (label.name, label.value)));
            loads.id(load)
        });
    }

    /// Whether a node has room for a single one of the shapes, labels aside.
    pub(crate) fn any_fits(&self, free: &Resources) -> bool {
        self.entries
            .iter()
            .any(|(request, _)| free.fits(&request.resources))
    }
}

/// Fills a node with all that fits of what waits, in order; `None` when nothing does.
pub(crate) fn fill(load: &Load, waiting: &Waiting, ledger: Ledger, policy: &Policy) -> Option<Trial> {
    let mut free = load.free[ledger as usize].clone();
    let mut labels: Vec<Label> = Vec::new();
    let mut taken = Vec::new();
    for (entry, (request, left)) in waiting
        .entries
        .iter()
        .enumerate()
        .filter(|(_, (_, left))| *left > 0)
    {
        let label = |name: &str| label_of(load, &labels, name);
        if !request.suits(label) {
            continue;
        }
        let count = match &request.anti_affinity {
            Some(apart) if label(&apart.name).is_some() => continue,
            Some(_) if !free.fits(&request.resources) => continue,
            Some(apart) => {
                labels.push(apart.clone());
                1
            }
            None => free
                .times(&request.resources)
                .map_or(*left, |times| times.min(*left)),
        };
        if count > 0 {
            free.take(&request.resources, count);
            taken.push((entry, count));
        }
    }
    if taken.is_empty() {
        return None;
    }
    let before = load.placed[ledger as usize].iter();
    let placed: Vec<&Request> = before
        .chain(taken.iter().map(|(entry, _)| &waiting.entries[*entry].0))
        .map(Rc::as_ref)
        .collect();
    let score = Score::new(
        &load.total,
        &free,
        &placed,
        |name| label_of(load, &labels, name),
        load.priority,
        policy,
    );
    Some(Trial {
        taken,
        score,
        free,
        labels,
        load: None,
    })
}

fn label_of<'a>(load: &'a Load, added: &'a [Label], name: &str) -> Option<&'a str> {
    let added = added
        .iter()
        .find(|label| label.name == name)
        .map(|label| &label.value);
    added.or_else(|| load.labels.get(name)).map(String::as_str)
}
