//! One node, filled greedily with what waits: the innermost step of placement.

use std::rc::Rc;

use ray::resources::Resources;

use crate::demand::{Label, Request};
use crate::score::Score;
use crate::world::{Ledger, Seat, World};

/// Requests that look for a place, the hardest first, with how many of each are left.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) entries: Vec<(Rc<Request>, u64)>,
}

/// What one node would take of what waits, and how good an idea that is.
pub(crate) struct Trial {
    /// Entry of the waiting list, and how many of it.
    taken: Vec<(usize, u64)>,
    free: Resources,
    labels: Vec<Label>,
    pub(crate) score: Score,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.iter().all(|(_, left)| *left == 0)
    }

    /// What a trial would take is still there to be taken, so the trial still stands.
    ///
    /// Filling is greedy: with fewer requests waiting but enough for what was taken, each step would take the same again.
    pub(crate) fn affords(&self, trial: &Trial) -> bool {
        trial
            .taken
            .iter()
            .all(|&(entry, count)| count <= self.entries[entry].1)
    }

    /// Gives a node what its trial took.
    pub(crate) fn settle(&mut self, trial: Trial, seat: &mut Seat<'_>, ledger: Ledger) {
        for &(entry, count) in &trial.taken {
            let (request, left) = &mut self.entries[entry];
            *left -= count;
            seat.placed[ledger as usize].push(Rc::clone(request));
        }
        seat.free[ledger as usize] = trial.free;
        seat.labels
            .extend(trial.labels.into_iter().map(|label| (label.name, label.value)));
    }

    /// Whether a node has room for a single one of the shapes, labels aside.
    pub(crate) fn any_fits(&self, free: &Resources) -> bool {
        self.entries
            .iter()
            .any(|(request, _)| free.fits(&request.resources))
    }
}

/// Fills a node with all that fits of what waits, in order; `None` when nothing does.
pub(crate) fn fill(world: &World<'_>, seat: &Seat<'_>, waiting: &Waiting, ledger: Ledger) -> Option<Trial> {
    let mut free = seat.free[ledger as usize].clone();
    let mut labels: Vec<Label> = Vec::new();
    let mut taken = Vec::new();
    for (entry, (request, left)) in waiting
        .entries
        .iter()
        .enumerate()
        .filter(|(_, (_, left))| *left > 0)
    {
        let label = |name: &str| label_of(seat, &labels, name);
        if !request.selectors.is_empty() && request.preference(label) == 0 {
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
    let before = seat.placed[ledger as usize].iter();
    let placed: Vec<&Request> = before
        .chain(taken.iter().map(|(entry, _)| &waiting.entries[*entry].0))
        .map(Rc::as_ref)
        .collect();
    let priority = seat.group.map_or(0, |group| world.groups[group].priority);
    let score = Score::new(
        &seat.total,
        &free,
        &placed,
        |name| label_of(seat, &labels, name),
        priority,
        world.policy,
    );
    Some(Trial {
        taken,
        free,
        labels,
        score,
    })
}

fn label_of<'a>(seat: &'a Seat<'_>, added: &'a [Label], name: &str) -> Option<&'a str> {
    let added = added
        .iter()
        .find(|label| label.name == name)
        .map(|label| &label.value);
    added.or_else(|| seat.labels.get(name)).map(String::as_str)
}
