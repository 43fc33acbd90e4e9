//! A job by the clock.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
