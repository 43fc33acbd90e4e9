//! The sidecar that collects events for the history server.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
