//! Encryption between the nodes, whose certificates are the operator's own affair.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
