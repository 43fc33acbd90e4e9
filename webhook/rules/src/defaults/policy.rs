//! What a policy wants filled in, in the object itself, since people should see it and quotas have to count it.

mod accelerators;
mod autoscaler;
mod images;
mod nodes;
mod options;

use ray::path::Pointer;

use super::Fill;
use crate::rule::Subject;

/// One after the other: each sees what the steps before it have filled in, and within a step nothing depends on anything else.
pub(super) const STEPS: &[&[&[Fill]]] = &[
    &[images::VERSION, accelerators::GIVEN],
    &[accelerators::BESIDES],
    &[nodes::FILLS, images::FILLS],
    // These may depend on the version of Ray, of which the head's image tells.
    &[images::AUTOSCALER, autoscaler::FILLS, options::FILLS],
];

/// The policy that says so in this field.
fn author<'p>(subject: &Subject<'p>, field: &[&str]) -> &'p str {
    let way = field.iter();
    let said = way.fold(Pointer::root(), |way, key| way.key((*key).to_owned()));
    subject.policy.author(&said)
}

#[cfg(test)]
mod tests;
