//! What a group declares of its resources and labels: in one place only, and in words that Kubernetes understands.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
