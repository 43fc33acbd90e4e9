//! The line is in the same order as a list of which every pass moves every seat.

use proptest::prelude::*;

use super::*;
use crate::demand::Demand;
use crate::load::{Asked, Load, Loads};
use crate::plan::Cause;
use crate::world::Fate;

/// What seats may offer, by how much is free of them: the first three run.
const LOADS: u8 = 5;
const RUNNING: usize = 3;

/// A pass, to which some loads are of use: how many are chosen, what they come to offer, and how many are launched.
#[derive(Clone, Debug)]
struct Pass {
    of_use: [bool; LOADS as usize],
    wants_stuck: bool,
    chosen: Vec<(usize, u8)>,
    launched: Vec<u8>,
    is_kept: bool,
}

/// Each seat is told from all others by how long it has idled.
fn seat(number: u64, load: LoadId, stuck: bool, goes: bool) -> Seat<'static> {
    Seat {
        group: None,
        fate: if goes {
            Fate::Terminate(Cause::Idle)
        } else {
            Fate::Keep
        },
        node: None,
        load,
        stuck: stuck.then_some(false),
        idle_milliseconds: number,
    }
}

fn pass() -> impl Strategy<Value = Pass> {
    let chosen = prop::collection::vec((0_usize..6, 0..LOADS), 0..4);
    let launched = prop::collection::vec(3..LOADS, 0..3);
    let of_use = prop::array::uniform5(prop::bool::weighted(0.6));
    (
        of_use,
        prop::bool::weighted(0.2),
        chosen,
        launched,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(mut of_use, wants_stuck, chosen, launched, is_kept)| {
            // What does not run yet may always be of use.
            of_use[RUNNING..].fill(true);
            Pass {
                of_use,
                wants_stuck,
                chosen,
                launched,
                is_kept,
            }
        })
}

proptest! {
    #[test]
    fn seats_stand_as_if_all_were_moved(
        seats in prop::collection::vec((0..LOADS, prop::bool::weighted(0.2), prop::bool::weighted(0.1)), 0..12),
        passes in prop::collection::vec(pass(), 0..12),
    ) {
        let demand = Demand::default();
        let mut loads = Loads::new(&Asked::of(&demand));
        let ids: Vec<LoadId> = (0..LOADS).map(|index| loads.id(Load { priority: index.into(), ..Load::default() })).collect();
        let mut made = 0;
        let mut make = |load: u8, stuck, goes| {
            made += 1;
            seat(made, ids[usize::from(load)], stuck && usize::from(load) >= RUNNING, goes)
        };
        let mut list: Vec<Seat<'static>> = seats.into_iter().map(|(load, stuck, goes)| make(load, stuck, goes)).collect();
        let mut line = Line::new(list.clone(), &[]);
        for pass in passes {
            let of_use = |load: LoadId| pass.of_use[load.index()];
            line.call_back(of_use);
            // Candidates, as both see them.
            let is_candidate = |seat: &Seat<'_>| !seat.terminated() && seat.stuck.is_some() == pass.wants_stuck && of_use(seat.load);
            let kinds: Vec<Kind> = line.kinds().collect();
            let first = line.first(2, kinds.iter().copied().filter(|kind| kind.is_stuck == pass.wants_stuck && of_use(kind.load)));
            let mut seen = vec![0; ids.len()];
            let listed: Vec<u64> = list.iter().filter(|seat| is_candidate(seat)).filter(|seat| {
                seen[seat.load.index()] += 1;
                seen[seat.load.index()] <= 2
            }).map(|seat| seat.idle_milliseconds).collect();
            let numbers: Vec<u64> = first.iter().map(|(_, seat)| seat.idle_milliseconds).collect();
            prop_assert_eq!(&numbers, &listed);
            if !pass.is_kept {
                continue;
            }
            // Of each kind the first that are left.
            let mut left = first;
            let mut chosen: Vec<(Kind, Seat<'static>)> = Vec::new();
            for (number, load) in &pass.chosen {
                let Some((kind, _)) = left.get(*number).copied() else { continue };
                let place = left.iter().position(|(other, _)| *other == kind).expect("it is there");
                let (kind, seat) = left.remove(place);
                let load = if usize::from(*load) < RUNNING || kind.load.index() >= RUNNING { ids[usize::from(*load)] } else { seat.load };
                chosen.push((kind, Seat { load, ..seat }));
            }
            let launched: Vec<Seat<'static>> = pass.launched.iter().map(|load| make(*load, false, false)).collect();
            let is_aside = |seat: &Seat<'_>| !seat.terminated() && seat.stuck.is_none() && !of_use(seat.load);
            let is_chosen = |seat: &Seat<'_>| chosen.iter().any(|(_, other)| other.idle_milliseconds == seat.idle_milliseconds);
            let (aside, untouched): (Vec<_>, Vec<_>) = list.iter().copied().filter(|seat| !is_chosen(seat)).partition(is_aside);
            list = chosen.iter().map(|(_, seat)| *seat).chain(untouched).chain(aside).chain(launched.iter().copied()).collect();
            let useless: Vec<Kind> = kinds.into_iter().filter(|kind| !kind.is_stuck && !of_use(kind.load)).collect();
            line.rearrange(chosen, useless, launched);
        }
        let numbers = |seats: &[Seat<'_>]| -> Vec<(u64, usize)> { seats.iter().map(|seat| (seat.idle_milliseconds, seat.load.index())).collect() };
        prop_assert_eq!(line.len(), list.len() as u64);
        prop_assert_eq!(numbers(&line.into_seats()), numbers(&list));
    }
}
