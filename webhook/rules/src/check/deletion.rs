//! What goes when a job ends.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
