//! What can go wrong, and how often.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Fault {
    /// The head does not answer.
    LostReport,
    /// Nodes have yet to report what they began to run.
    SkewedReport,
    /// What the watches show is what they showed before.
    StaleWatch,
    /// A drain does not arrive.
    LostDrain,
    /// A drain arrives, and its answer does not.
    LostDrainReply,
    /// Somebody else writes the RayCluster just before us.
    Conflict,
    /// A patch does not arrive.
    LostPatch,
    /// The autoscaler is stopped for up to half a minute between what it learns and what it does.
    Freeze,
    /// The autoscaler starts anew.
    Restart,
    /// The operator does nothing.
    OperatorStopped,
    /// For up to two minutes, Kubernetes has no room for a Pod.
    Unschedulable,
    /// The containers of a Pod end for good.
    PodFails,
    /// Ray ends in a Pod, and is started again.
    NodeDies,
    /// The head starts anew.
    HeadRestart,
    /// The clock on the wall is set.
    ClockJump,
    /// Somebody sets the replicas of a group, or its bounds.
    UserEdit,
}

/// The chance of each at every turn, from 0 to 1.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Faults(BTreeMap<Fault, f64>);

impl Faults {
    pub(super) fn chance(&self, fault: Fault) -> f64 {
        self.0.get(&fault).copied().unwrap_or(0.0)
    }
}
