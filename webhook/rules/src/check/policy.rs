//! What a policy demands of objects. Each rule only looks where a policy says something, and says whose word it is.

pub(crate) mod accelerators;
pub(crate) mod images;
pub(crate) mod replicas;
pub(crate) mod selection;

use ray::object::Kind;
use ray::path::Pointer;

use crate::facts::Operators;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// What the rows of these tables have in common.
const ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "",
    source: Source::Hole,
    operators: Operators::ALL,
    gate: None,
    example: Example {
        fires: "",
        passes: "",
    },
    check: Check::Reading,
};

/// The policy that has said so.
fn author<'p>(subject: &Subject<'p>, place: &[&'static str]) -> &'p str {
    let place = place.iter().fold(Pointer::root(), |way, key| way.key(*key));
    subject.policy.author(&place)
}
