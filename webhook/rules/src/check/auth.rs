//! How callers of Ray prove who they are.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
