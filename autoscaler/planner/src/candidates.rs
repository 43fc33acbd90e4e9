//! Nodes that may be chosen next: which of them is used best by what waits.
//!
//! Nodes of one load would take the same and score the same, so they are tried as one, and the first of them stands for all. A trial stands
//! while what it would take is still there: filling is greedy, so with less waiting, but enough for it, each step would take the same again.
//! What is taken by others therefore calls for new trials only where they wanted more of it than is left.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use crate::fit::{Trial, Waiting, fill};
use crate::load::{LoadId, Loads};
use crate::score::Score;
use crate::snapshot::Policy;
use crate::world::{Ledger, Seat};

/// Nodes that may still be chosen. Each has a number, by the order in which they came.
pub(crate) struct Candidates<'a> {
    ledger: Ledger,
    policy: &'a Policy,
    /// All that ever were candidates, by number.
    seats: Vec<Seat<'a>>,
    classes: Vec<Class>,
    /// The class of each load, where there is one.
    class_of: Vec<Option<u32>>,
    /// Classes by what is best, and among equals by whose first member came first.
    best: BTreeSet<(Score, Reverse<usize>, u32)>,
    /// For each entry of the waiting list the trials that want some of it, by how much.
    wanting: Vec<BTreeSet<(u64, u32)>>,
    /// Classes that have yet to be tried.
    untried: Vec<u32>,
    /// How much of what was taken is known here.
    seen: usize,
    /// How many nodes can be chosen at most, since each takes something.
    most: usize,
}

/// Candidates of one load.
struct Class {
    load: LoadId,
    /// By number, which is their order.
    members: VecDeque<usize>,
    trial: Option<Trial>,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(waiting: &Waiting, ledger: Ledger, policy: &'a Policy) -> Self {
        Self {
            ledger,
            policy,
            seats: Vec::new(),
            classes: Vec::new(),
            class_of: Vec::new(),
            best: BTreeSet::new(),
            wanting: vec![BTreeSet::new(); waiting.len()],
            untried: Vec::new(),
            seen: waiting.taken_from.len(),
            most: usize::try_from(waiting.count()).unwrap_or(usize::MAX),
        }
    }

    /// One more candidate; false if there are so many like it that it will not be chosen.
    pub(crate) fn push(&mut self, seat: Seat<'a>) -> bool {
        let load = seat.load.index();
        if self.class_of.len() <= load {
            self.class_of.resize(load + 1, None);
        }
        let class = *self.class_of[load].get_or_insert_with(|| {
            self.classes.push(Class {
                load: seat.load,
                members: VecDeque::new(),
                trial: None,
            });
            let class =
                u32::try_from(self.classes.len() - 1).expect("a class has a load, which has a number");
            self.untried.push(class);
            class
        });
        let members = &mut self.classes[class as usize].members;
        if members.len() >= self.most {
            return false;
        }
        members.push_back(self.seats.len());
        self.seats.push(seat);
        if members.len() == 1 {
            self.rank(class);
        }
        true
    }

    /// Takes out the candidate that is used best, among equals the first, and gives it what it would take.
    pub(crate) fn settle_best(
        &mut self,
        waiting: &mut Waiting,
        loads: &mut Loads<'_>,
    ) -> Option<(usize, Seat<'a>)> {
        self.retry(waiting, loads);
        let (_, _, class) = self.best.pop_last()?;
        let Class { members, trial, .. } = &mut self.classes[class as usize];
        let number = members.pop_front().expect("a class that is ranked has members");
        let trial = trial.as_mut().expect("a class that is ranked was tried");
        let mut seat = self.seats[number];
        waiting.settle(trial, &mut seat, self.ledger, loads);
        self.rank(class);
        Some((number, seat))
    }

    /// Drops those that will not do any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Seat<'a>) -> bool) {
        for class in 0..self.classes.len() {
            let Class { members, .. } = &self.classes[class];
            if members.iter().any(|number| !keep(&self.seats[*number])) {
                let class = u32::try_from(class).expect("a class has a number");
                self.unrank(class);
                let seats = &self.seats;
                self.classes[class as usize]
                    .members
                    .retain(|number| keep(&seats[*number]));
                self.rank(class);
            }
        }
    }

    /// Tries those that have not been tried, and again those that want more than is left.
    fn retry(&mut self, waiting: &Waiting, loads: &Loads<'_>) {
        for &entry in &waiting.taken_from[self.seen..] {
            while let Some(&(count, class)) = self.wanting[entry].last()
                && count > waiting.left(entry)
            {
                self.forget(class);
                self.untried.push(class);
            }
        }
        self.seen = waiting.taken_from.len();
        for class in std::mem::take(&mut self.untried) {
            let trial = fill(
                &loads[self.classes[class as usize].load],
                waiting,
                self.ledger,
                self.policy,
            );
            // What takes nothing now takes nothing later either, since ever less waits.
            let Some(trial) = trial else { continue };
            for &(entry, count) in &trial.taken {
                self.wanting[entry].insert((count, class));
            }
            self.classes[class as usize].trial = Some(trial);
            self.rank(class);
        }
    }

    /// Takes back the trial of a class.
    fn forget(&mut self, class: u32) {
        self.unrank(class);
        for (entry, count) in self.classes[class as usize]
            .trial
            .take()
            .into_iter()
            .flat_map(|trial| trial.taken)
        {
            self.wanting[entry].remove(&(count, class));
        }
    }

    fn rank(&mut self, class: u32) {
        self.best.extend(self.place(class));
    }

    fn unrank(&mut self, class: u32) {
        if let Some(place) = self.place(class) {
            self.best.remove(&place);
        }
    }

    /// Where a class stands among all, if it was tried and has members.
    fn place(&self, class: u32) -> Option<(Score, Reverse<usize>, u32)> {
        let Class { members, trial, .. } = &self.classes[class as usize];
        Some((trial.as_ref()?.score, Reverse(*members.front()?), class))
    }
}
