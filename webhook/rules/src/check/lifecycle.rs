//! Who reconciles a cluster, and what becomes of it when its description changes.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
