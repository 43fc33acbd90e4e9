//! How a cluster scales: what goes with which version of the autoscaler, and what with none.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
