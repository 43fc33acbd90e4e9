//! Demand onto nodes: first onto those that are there or on their way, then onto new ones, always the best node next (`_try_schedule`).

use std::collections::BTreeMap;

use crate::candidates::Candidates;
use crate::demand::{Batch, Gang, hardest_first};
use crate::fit::Waiting;
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
    let mut places = BTreeMap::new();
    for (request, count) in pass.waiting.rest() {
        let place = *places
            .entry((&request.resources, &request.selectors))
            .or_insert(infeasible.len());
        match infeasible.get_mut(place) {
            Some(batch) => batch.count += count,
            None => infeasible.push(Batch {
                request: request.clone(),
                count,
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
    fn run(world: &mut World<'a>, batches: &[Batch], ledger: Ledger, reason: Reason) -> Self {
        let mut batches: Vec<&Batch> = batches.iter().collect();
        hardest_first(&mut batches, |batch| batch.request.difficulty());
        let batches = batches
            .into_iter()
            .map(|batch| (batch.request.clone(), batch.count));
        let mut pass = Self {
            waiting: Waiting::new(batches),
            ledger,
            chosen: Vec::new(),
            aside: Vec::new(),
            launched: Vec::new(),
        };
        for choice in [Choice::First, Choice::Last] {
            if !pass.waiting.is_empty() {
                pass.onto_existing(world, choice);
            }
            if !pass.waiting.is_empty() {
                pass.onto_new(world, reason, choice);
            }
        }
        pass
    }

    fn onto_existing(&mut self, world: &mut World<'a>, choice: Choice) {
        let mut candidates = Candidates::new(&self.waiting, self.ledger, world.policy);
        let mut indices = Vec::new();
        let mut of_use: Vec<Option<bool>> = Vec::new();
        let eligible = |seat: &Seat<'_>| !seat.terminated() && choice.is(seat.stuck.is_some());
        for (index, seat) in world.seats.iter().enumerate().filter(|(_, seat)| eligible(seat)) {
            let load = seat.load.index();
            if of_use.len() <= load {
                of_use.resize(load + 1, None);
            }
            let of_use = *of_use[load].get_or_insert_with(|| {
                let load = &world.loads[seat.load];
                !load.running || self.waiting.any_fits(&load.free[self.ledger as usize])
            });
            if of_use {
                if candidates.push(*seat) {
                    indices.push(index);
                }
            } else {
                self.aside.push(index);
            }
        }
        while let Some((number, seat)) = candidates.settle_best(&mut self.waiting, &mut world.loads) {
            self.chosen.push((indices[number], seat));
        }
    }

    fn onto_new(&mut self, world: &mut World<'a>, reason: Reason, choice: Choice) {
        let mut rooms = world.rooms();
        let mut room = world.room().saturating_sub(self.launched.len() as u64);
        let groups = world.groups;
        let mut pool = Candidates::new(&self.waiting, self.ledger, world.policy);
        for (index, group) in groups.iter().enumerate() {
            let may_grow = group.role == Role::Worker && !group.suspended && group.resources.is_some();
            if may_grow && choice.is(world.passes_over(index)) && group.hosts.max(1) <= rooms[index].min(room)
            {
                pool.push(world.fresh(index, reason));
            }
        }
        while !self.waiting.is_empty() {
            let Some((_, seat)) = pool.settle_best(&mut self.waiting, &mut world.loads) else {
                break;
            };
            let group = seat.group.expect("only fresh nodes of a group are in the pool");
            let hosts = groups[group].hosts.max(1);
            self.launched.push(seat);
            self.fill_siblings(world, world.fresh(group, reason), hosts - 1);
            rooms[group] -= hosts;
            room -= hosts;
            if rooms[group] >= hosts {
                pool.push(world.fresh(group, reason));
            }
            pool.retain(|seat| seat.group.is_some_and(|group| groups[group].hosts <= room));
        }
    }

    /// The other hosts of a slice come with the first: they are used before anything else is launched.
    fn fill_siblings(&mut self, world: &mut World<'a>, sibling: Seat<'a>, count: u64) {
        if count == 0 {
            return;
        }
        let mut candidates = Candidates::new(&self.waiting, self.ledger, world.policy);
        for _ in 0..count {
            candidates.push(sibling);
        }
        let mut rest = count;
        while let Some((_, seat)) = candidates.settle_best(&mut self.waiting, &mut world.loads) {
            self.launched.push(seat);
            rest -= 1;
        }
        self.launched.extend((0..rest).map(|_| sibling));
    }

    /// Makes it so. The order of seats from here on: chosen, untouched, set aside, launched.
    fn commit(self, world: &mut World<'a>) {
        let mut moved = vec![false; world.seats.len()];
        let elsewhere = self.chosen.iter().map(|(index, _)| index).chain(&self.aside);
        elsewhere.for_each(|&index| moved[index] = true);
        let untouched = world.seats.iter().zip(&moved).filter(|(_, moved)| !**moved);
        let untouched = untouched.map(|(seat, _)| *seat);
        let aside = self.aside.iter().map(|&index| world.seats[index]);
        let chosen = self.chosen.iter().map(|(_, seat)| *seat);
        world.seats = chosen
            .chain(untouched)
            .chain(aside)
            .chain(self.launched)
            .collect();
    }
}
