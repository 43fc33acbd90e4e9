//! Memory and CPU: what Ray is told against what the container has, and shared memory.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
