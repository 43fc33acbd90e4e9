//! What a policy wants filled in.

use super::Fill;

/// One after the other: each sees what the steps before it have filled in, and within a step nothing depends on anything else.
pub(super) const STEPS: &[&[&[Fill]]] = &[];
