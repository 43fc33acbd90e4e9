//! Queues in front of the scheduler: what keeps them from scheduling a cluster.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
