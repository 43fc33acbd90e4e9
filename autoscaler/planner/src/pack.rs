//! Demand onto nodes: first onto those that are there or on their way, then onto new ones, always the best node next (`_try_schedule`).

use std::rc::Rc;

use crate::demand::{Batch, Gang, Request, hardest_first};
use crate::fit::{Trial, Waiting, fill};
use crate::plan::Reason;
use crate::snapshot::Role;
use crate::world::{Ledger, Seat, World};

/// Makes sure that the cluster can become as large as `request_resources` asked; true when it cannot, and then nothing of it is kept.
pub(crate) fn constraint(world: &mut World<'_>, constraint: Option<&[Batch]>) -> bool {
    let Some(batches) = constraint else { return false };
    let pass = Pass::run(world, batches, Ledger::Constraint, Reason::Constraint);
    let infeasible = !pass.waiting.is_empty();
    if !infeasible {
        pass.commit(world);
    }
    infeasible
}

/// Places gangs, each all or none; returns those that found no place.
pub(crate) fn gangs(world: &mut World<'_>, gangs: &[Gang]) -> Vec<Gang> {
    let mut gangs: Vec<&Gang> = gangs.iter().collect();
    hardest_first(&mut gangs, |gang| gang.difficulty());
    let mut infeasible = Vec::new();
    for gang in gangs {
        let batches: Vec<Batch> = gang
            .requests()
            .into_iter()
            .map(|request| Batch { request, count: 1 })
            .collect();
        let pass = Pass::run(world, &batches, Ledger::Demand, Reason::Gang);
        if pass.waiting.is_empty() {
            pass.commit(world);
        } else {
            infeasible.push(gang.clone());
        }
    }
    infeasible
}

/// Places tasks and actors as far as they go; returns those that found no place, equal ones together.
pub(crate) fn requests(world: &mut World<'_>, batches: &[Batch]) -> Vec<Batch> {
    let pass = Pass::run(world, batches, Ledger::Demand, Reason::Demand);
    let mut infeasible: Vec<Batch> = Vec::new();
    for (request, count) in pass.waiting.entries.iter().filter(|(_, left)| *left > 0) {
        let same = |other: &&mut Batch| {
            other.request.resources == request.resources && other.request.selectors == request.selectors
        };
        match infeasible.iter_mut().find(same) {
            Some(batch) => batch.count += count,
            None => infeasible.push(Batch {
                request: Request::clone(request),
                count: *count,
            }),
        }
    }
    pass.commit(world);
    infeasible
}

/// One pass over the cluster, of which nothing shows until it is committed.
struct Pass<'a> {
    waiting: Waiting,
    ledger: Ledger,
    /// Seats that took something, in the order chosen.
    chosen: Vec<(usize, Seat<'a>)>,
    /// Running seats that could hold no shape at all, and so were never candidates.
    aside: Vec<usize>,
    launched: Vec<Seat<'a>>,
}

/// Which nodes are tried: those that are passed over only once all others could not take everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    First,
    Last,
}

impl Choice {
    fn is(self, passed_over: bool) -> bool {
        passed_over == (self == Self::Last)
    }
}

impl<'a> Pass<'a> {
    fn run(world: &World<'a>, batches: &[Batch], ledger: Ledger, reason: Reason) -> Self {
        let mut batches: Vec<&Batch> = batches.iter().collect();
        hardest_first(&mut batches, |batch| batch.request.difficulty());
        let entries = batches
            .into_iter()
            .map(|batch| (Rc::new(batch.request.clone()), batch.count))
            .collect();
        let mut pass = Self {
            waiting: Waiting { entries },
            ledger,
            chosen: Vec::new(),
            aside: Vec::new(),
            launched: Vec::new(),
        };
        for choice in [Choice::First, Choice::Last] {
            pass.onto_existing(world, choice);
            pass.onto_new(world, reason, choice);
        }
        pass
    }

    fn onto_existing(&mut self, world: &World<'a>, choice: Choice) {
        let seats = world
            .staying()
            .filter(|&index| choice.is(world.seats[index].stuck.is_some()));
        let (candidates, aside): (Vec<_>, Vec<_>) = seats.partition(|&index| {
            let seat = &world.seats[index];
            !seat.running || self.waiting.any_fits(&seat.free[self.ledger as usize])
        });
        if !self.waiting.entries.is_empty() {
            self.aside.extend(aside);
        }
        let mut candidates = Candidates::new(candidates);
        while let Some((index, trial)) =
            candidates.best(world, |&index| &world.seats[index], &self.waiting, self.ledger)
        {
            let mut seat = world.seats[index].clone();
            self.waiting.settle(trial, &mut seat, self.ledger);
            self.chosen.push((index, seat));
        }
    }

    fn onto_new(&mut self, world: &World<'a>, reason: Reason, choice: Choice) {
        let mut rooms: Vec<u64> = (0..world.groups.len())
            .map(|group| world.room_of(group))
            .collect();
        let mut room = world.room().saturating_sub(self.launched.len() as u64);
        let fresh = |group: usize| Seat::launched(group, world.groups, reason);
        let groups = (0..world.groups.len()).filter(|&group| {
            let group = &world.groups[group];
            group.role == Role::Worker && !group.suspended && group.resources.is_some()
        });
        let mut pool = Candidates::new(
            groups
                .filter(|&group| rooms[group] >= world.groups[group].hosts)
                .filter(|&group| choice.is(world.passes_over(group)))
                .map(fresh)
                .collect(),
        );
        while !self.waiting.is_empty() {
            pool.retain(|seat| seat.group.is_some_and(|group| world.groups[group].hosts <= room));
            let Some((mut seat, trial)) = pool.best(world, |seat| seat, &self.waiting, self.ledger) else {
                break;
            };
            let group = seat.group.expect("only fresh nodes of a group are in the pool");
            let hosts = world.groups[group].hosts;
            self.waiting.settle(trial, &mut seat, self.ledger);
            self.launched.push(seat);
            self.fill_siblings(world, (1..hosts).map(|_| fresh(group)).collect());
            rooms[group] -= hosts;
            room -= hosts;
            if rooms[group] >= hosts {
                pool.push(fresh(group));
            }
        }
    }

    /// The other hosts of a slice come with the first: they are used before anything else is launched.
    fn fill_siblings(&mut self, world: &World<'a>, siblings: Vec<Seat<'a>>) {
        let mut candidates = Candidates::new(siblings);
        while let Some((mut seat, trial)) = candidates.best(world, |seat| seat, &self.waiting, self.ledger) {
            self.waiting.settle(trial, &mut seat, self.ledger);
            self.launched.push(seat);
        }
        self.launched.extend(candidates.rest());
    }

    /// Makes it so. The order of seats from here on: chosen, untouched, set aside, launched.
    fn commit(self, world: &mut World<'a>) {
        let mut seats: Vec<Option<Seat<'a>>> =
            std::mem::take(&mut world.seats).into_iter().map(Some).collect();
        for (index, seat) in self.chosen {
            seats[index] = None;
            world.seats.push(seat);
        }
        let aside: Vec<Seat<'a>> = self
            .aside
            .into_iter()
            .filter_map(|index| seats[index].take())
            .collect();
        world.seats.extend(seats.into_iter().flatten());
        world.seats.extend(aside);
        world.seats.extend(self.launched);
    }
}

/// Nodes that may still be chosen, each with its trial as long as that stands.
struct Candidates<T> {
    open: Vec<(T, Option<Trial>)>,
    /// Those that take nothing of what waits, now or later in the pass, since ever less waits.
    idle: Vec<T>,
}

impl<T> Candidates<T> {
    fn new(candidates: Vec<T>) -> Self {
        Self {
            open: candidates
                .into_iter()
                .map(|candidate| (candidate, None))
                .collect(),
            idle: Vec::new(),
        }
    }

    fn push(&mut self, candidate: T) {
        self.open.push((candidate, None));
    }

    fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.open.retain(|(candidate, _)| keep(candidate));
    }

    fn rest(self) -> impl Iterator<Item = T> {
        self.idle
            .into_iter()
            .chain(self.open.into_iter().map(|(candidate, _)| candidate))
    }

    /// Takes out the candidate that is used best; among equals the first.
    fn best<'a, 'w: 'a>(
        &mut self,
        world: &World<'w>,
        seat: impl for<'t> Fn(&'t T) -> &'t Seat<'w>,
        waiting: &Waiting,
        ledger: Ledger,
    ) -> Option<(T, Trial)> {
        let mut best: Option<usize> = None;
        let mut index = 0;
        while index < self.open.len() {
            let (candidate, trial) = &mut self.open[index];
            if trial.as_ref().is_none_or(|trial| !waiting.affords(trial)) {
                *trial = fill(world, seat(candidate), waiting, ledger);
            }
            let Some(trial) = trial else {
                self.idle.push(self.open.remove(index).0);
                continue;
            };
            let score = trial.score;
            let leads = |best: usize| {
                self.open[best]
                    .1
                    .as_ref()
                    .is_none_or(|leader| score > leader.score)
            };
            if best.is_none_or(leads) {
                best = Some(index);
            }
            index += 1;
        }
        let (candidate, trial) = self.open.remove(best?);
        Some((candidate, trial?))
    }
}
