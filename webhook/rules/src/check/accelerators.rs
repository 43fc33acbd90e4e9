//! GPUs, TPUs and the like: one kind a group, counted alike everywhere, and slices that fit their topology.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
