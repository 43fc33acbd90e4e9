//! What a change does to an object that lives: what has no effect, what has more than was meant, what cannot be.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
