//! What the GCS keeps when its head dies: in Redis or on a volume, and declared once.

use crate::rule::Rule;

pub(crate) const RULES: &[Rule] = &[];
