//! What the CRDs say of fields by themselves: names, words to choose from, least values. An API server enforces them;
//! offline nobody else does.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
