//! Seats in the order that decides ties, while demand is placed on them, pass by pass.
//!
//! A pass puts what it chose in front of all others, what is of no use to it behind them, and what it launched last. Who looked through all seats
//! for that would be slow where thousands of gangs come to thousands of nodes. So seats of one kind stand in a queue of their own, each with its
//! place in the line, and of each queue only the first are looked at; and what was of no use to the last pass stands aside, untouched for as
//! long as it is of none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::load::LoadId;
use crate::snapshot::Group;
use crate::world::Seat;

/// All seats.
pub(crate) struct Line<'a> {
    queues: BTreeMap<Kind, VecDeque<(i64, Seat<'a>)>>,
    /// Seats that go. They keep their places.
    going: Vec<(i64, Seat<'a>)>,
    /// Seats that were of no use to the last pass. All have the same place, one behind the other.
    aside: VecDeque<Seat<'a>>,
    aside_at: i64,
    aside_loads: BTreeSet<LoadId>,
    /// All places are between these.
    front: i64,
    back: i64,
    /// How many there are of each group.
    counts: Vec<u64>,
    len: u64,
}

/// Seats of one kind would take the same, so the first of them stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) is_stuck: bool,
    pub(crate) load: LoadId,
}

impl Kind {
    fn of(seat: &Seat<'_>) -> Self {
        Self {
            is_stuck: seat.stuck.is_some(),
            load: seat.load,
        }
    }
}

impl<'a> Line<'a> {
    pub(crate) fn new(seats: Vec<Seat<'a>>, groups: &[Group]) -> Self {
        let mut line = Self {
            queues: BTreeMap::new(),
            going: Vec::new(),
            aside: VecDeque::new(),
            aside_at: 0,
            aside_loads: BTreeSet::new(),
            front: 0,
            back: 0,
            counts: vec![0; groups.len()],
            len: 0,
        };
        for seat in seats {
            line.append(seat);
        }
        line
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// How many there are of a group.
    pub(crate) fn count(&self, group: usize) -> u64 {
        self.counts[group]
    }

    /// Before a pass: those that stand aside and are of use to it come back, to where they are.
    pub(crate) fn call_back(&mut self, is_of_use: impl Fn(LoadId) -> bool) {
        if self.aside_loads.iter().any(|load| is_of_use(*load)) {
            let groups = self.counts.len();
            let line = std::mem::replace(self, Self::new(Vec::new(), &[]));
            self.counts = vec![0; groups];
            for seat in line.into_seats() {
                self.append(seat);
            }
        }
    }

    /// The kinds of seats that stay and do not stand aside.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.queues.keys().copied()
    }

    /// The first of each of these kinds, at most so many of one, in their order.
    pub(crate) fn first(&self, most: usize, kinds: impl Iterator<Item = Kind>) -> Vec<(Kind, Seat<'a>)> {
        let queues = kinds.filter_map(|kind| Some((kind, self.queues.get(&kind)?)));
        let mut first: Vec<(i64, Kind, Seat<'a>)> = queues
            .flat_map(|(kind, queue)| {
                queue
                    .iter()
                    .take(most)
                    .map(move |(place, seat)| (*place, kind, *seat))
            })
            .collect();
        first.sort_by_key(|(place, ..)| *place);
        first.into_iter().map(|(_, kind, seat)| (kind, seat)).collect()
    }

    /// What a pass came to. Of each kind, the first were chosen; they are now as they are told here. Kinds that are of no use to it go aside.
    pub(crate) fn rearrange(
        &mut self,
        chosen: Vec<(Kind, Seat<'a>)>,
        useless: impl IntoIterator<Item = Kind>,
        launched: Vec<Seat<'a>>,
    ) {
        for (kind, _) in &chosen {
            let queue = self.queues.get_mut(kind).expect("what is chosen is there");
            queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(kind);
            }
        }
        self.set_aside(useless);
        for (_, seat) in chosen.into_iter().rev() {
            self.front -= 1;
            let queue = self.queues.entry(Kind::of(&seat)).or_default();
            queue.push_front((self.front, seat));
        }
        for seat in launched {
            self.append(seat);
        }
    }

    /// Whoever stands aside already stands behind all that run, and goes on doing so.
    fn set_aside(&mut self, useless: impl IntoIterator<Item = Kind>) {
        let mut seats = Vec::new();
        for kind in useless {
            self.aside_loads.insert(kind.load);
            seats.extend(self.queues.remove(&kind).into_iter().flatten());
        }
        seats.sort_by_key(|(place, _)| *place);
        for (_, seat) in seats.into_iter().rev() {
            self.aside.push_front(seat);
        }
        self.aside_at = self.back;
        self.back += 1;
    }

    fn append(&mut self, seat: Seat<'a>) {
        let place = self.back;
        self.back += 1;
        self.len += 1;
        if let Some(group) = seat.group {
            self.counts[group] += 1;
        }
        if seat.terminated() {
            self.going.push((place, seat));
        } else {
            let queue = self.queues.entry(Kind::of(&seat)).or_default();
            queue.push_back((place, seat));
        }
    }

    /// All, in their order.
    pub(crate) fn into_seats(self) -> Vec<Seat<'a>> {
        let queued = self.queues.into_values().flatten();
        let aside = self.aside.into_iter().map(|seat| (self.aside_at, seat));
        let mut seats: Vec<(i64, Seat<'a>)> = queued.chain(self.going).chain(aside).collect();
        seats.sort_by_key(|(place, _)| *place);
        seats.into_iter().map(|(_, seat)| seat).collect()
    }
}
