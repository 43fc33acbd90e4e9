//! A service: its Serve applications, and how a changed cluster takes over.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
