//! What one plan has to know of the one before. Losing it is safe.

use std::collections::BTreeMap;

use ray::resources::Resources;

use crate::plan::Reason;
use crate::signal::Past;
use crate::snapshot::{Running, Snapshot, State};
use crate::world::World;

/// What the last look at a cluster showed and led to.
///
/// Ray's nodes report once a second, one after the other. A task that leaves the queue of one for the CPUs of another just between their reports
/// is seen twice until they report again: as waiting, and as using its node. Whoever believes that launches a node for work that has one. So
/// when more of the running nodes is in use than at the last look, a group grows no further than both looks agree on; when nothing has
/// started since, it grows at once.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What was free on each running node.
    available: BTreeMap<String, Resources>,
    /// How many nodes each group should have had.
    wanted: BTreeMap<String, u64>,
    /// What policies asked for, and what was done.
    pub(crate) signals: BTreeMap<String, Past>,
}

impl Memory {
    /// Takes back what only this look calls for, if work has just started; returns what the next plan has to know.
    pub(crate) fn confirm(&self, world: &mut World<'_>, snapshot: &Snapshot) -> Self {
        let wanted = (0..world.groups.len())
            .map(|group| (world.groups[group].name.clone(), world.count(group)))
            .collect();
        if self.work_has_started(snapshot) {
            for group in 0..world.groups.len() {
                let agreed = self.wanted.get(&world.groups[group].name).copied().unwrap_or(0);
                world.postpone_above(group, agreed, &[Reason::Demand, Reason::Gang]);
            }
        }
        let available = running(snapshot)
            .map(|(id, running)| (id.to_owned(), running.available.clone()))
            .collect();
        Self {
            available,
            wanted,
            signals: BTreeMap::new(),
        }
    }

    /// Something that was free at the last look is used now, or a node has joined since and is used already.
    fn work_has_started(&self, snapshot: &Snapshot) -> bool {
        running(snapshot).any(|(id, now)| {
            let before = self.available.get(id).unwrap_or(&now.total);
            !self.available.is_empty()
                && before
                    .iter()
                    .any(|(name, amount)| now.available.get(name) < Some(*amount))
        })
    }
}

fn running(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Running)> {
    snapshot.nodes.iter().filter_map(|node| match &node.state {
        State::Running(running) => Some((node.id.as_str(), running)),
        State::Pending | State::Stuck { .. } | State::Leaving { .. } | State::Lost => None,
    })
}
