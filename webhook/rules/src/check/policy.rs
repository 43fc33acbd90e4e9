//! What a policy demands of objects. Each rule only looks where a policy says something, and says whose word it is.

pub(crate) mod accelerators;
pub(crate) mod images;
pub(crate) mod replicas;

use ray::path::Pointer;

use crate::rule::Subject;

/// The policy that has said so.
fn author<'p>(subject: &Subject<'p>, place: &[&'static str]) -> &'p str {
    let place = place.iter().fold(Pointer::root(), |way, key| way.key(*key));
    subject.policy.author(&place)
}
