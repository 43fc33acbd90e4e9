//! Exceptions from a network policy go with what it denies.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
