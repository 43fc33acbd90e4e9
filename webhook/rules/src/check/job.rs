//! A job: where it runs, how it is submitted, and how long it may take.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
