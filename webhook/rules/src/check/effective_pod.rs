//! The pod that KubeRay makes of a template: what it adds, and what then gets in its way.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
