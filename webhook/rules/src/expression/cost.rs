//! What it costs to evaluate an expression, and out of which allowance it is paid.
//!
//! CEL ends always, but not always soon, and the crate that evaluates it sets no limit. So before anything is done that takes time or memory, an
//! expression pays: for every item that it is about to visit, for every byte that it is about to copy, compare or search, and for every
//! pattern that it compiles.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cel::common::ast::{CallExpr, Expr};
use cel::common::value::{BuiltinRef, CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext, IdedExpr};

/// Large clusters have a few thousand values in all. Even without optimizations, so many steps take 20 to 400 milliseconds, by what is done with
/// each item.
pub(super) const STEPS_MAX: i64 = 20_000;
/// Five rules that take all that one may. The API server waits for ten seconds, and others ask meanwhile.
pub(super) const STEPS_TOGETHER_MAX: i64 = 5 * STEPS_MAX;
/// To copy or to compare so many bytes is no more work than to visit an item.
const OF_A_STEP: i64 = 1024;
/// What a value costs besides its bytes: it has a place in memory, whatever it is.
const OF_A_VALUE: i64 = 16;
/// To compile a pattern takes as long as to visit so many items.
const STEPS_OF_A_PATTERN: i64 = 50;

/// What is left for all the rules that look at an object, in parts of a step.
#[derive(Debug)]
pub(crate) struct Budget(Cell<i64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(STEPS_TOGETHER_MAX * OF_A_STEP))
    }
}

/// What one expression may take out of a budget.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Arc<AtomicI64>,
    granted: i64,
}

/// What an expression pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toll {
    /// To visit every item, each of which is copied.
    Visits,
    /// To read all of it.
    Reading,
    /// To look for something among the items.
    Search,
    /// To measure it, which is work for texts only.
    Size,
    /// To compile a pattern, and to read the text that it is for.
    Pattern,
}

impl Budget {
    /// As much of it as one expression may take; nothing if nothing is left.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        let granted = self.0.get().min(STEPS_MAX * OF_A_STEP);
        (granted > 0).then(|| Allowance {
            left: Arc::new(AtomicI64::new(granted)),
            granted,
        })
    }

    /// Takes what was paid. Whether that was more than there was, and if so, whether one expression alone may not take as much.
    pub(super) fn settle(&self, allowance: &Allowance) -> Option<Overdrawn> {
        let left = allowance.left.load(Ordering::Relaxed);
        self.0.set(self.0.get() - (allowance.granted - left.max(0)));
        let alone = allowance.granted == STEPS_MAX * OF_A_STEP;
        (left < 0).then_some(if alone {
            Overdrawn::Alone
        } else {
            Overdrawn::Together
        })
    }
}

/// Whose steps were not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdrawn {
    Alone,
    Together,
}

impl Allowance {
    /// Lets expressions pay out of it.
    pub(super) fn install(&self, context: &mut Context<'_, '_>) {
        for toll in Toll::ALL {
            context
                .add_function(toll.function(), pay_from(self.left.clone(), toll))
                .expect("there is no function of such a name");
        }
    }
}

impl Toll {
    const ALL: [Self; 5] = [
        Self::Visits,
        Self::Reading,
        Self::Search,
        Self::Size,
        Self::Pattern,
    ];

    /// Pays, and hands on its argument. Nobody can write a function of such a name.
    fn function(self) -> &'static str {
        match self {
            Self::Visits => "@visits",
            Self::Reading => "@reading",
            Self::Search => "@search",
            Self::Size => "@size",
            Self::Pattern => "@pattern",
        }
    }

    /// Has what an expression makes of itself be paid for. What stands there as it is was paid for by the length of the expression.
    pub(super) fn raise(self, expression: &mut IdedExpr) {
        if matches!(expression.expr, Expr::Literal(_)) && self != Self::Pattern {
            return;
        }
        let paying = IdedExpr {
            id: expression.id,
            expr: Expr::Unspecified,
        };
        let argument = std::mem::replace(expression, paying);
        expression.expr = Expr::Call(CallExpr {
            func_name: self.function().to_owned(),
            target: None,
            args: vec![argument],
        });
    }

    /// More than is `left` need not be counted.
    fn price(self, value: &dyn Val, left: i64) -> i64 {
        let is_text = matches!(value.as_builtin(), BuiltinRef::String(_) | BuiltinRef::Bytes(_));
        match self {
            Self::Visits => {
                let items = value.as_sizer().filter(|_| value.as_iterable().is_some());
                let items = items.map_or(1, |items| *items.size().inner());
                let visits = items.saturating_mul(OF_A_STEP);
                visits.saturating_add(weight(value, Bytes::Copied, left))
            }
            // A map finds a key without looking at the others. Of all that has items, only lists can be added to.
            Self::Search if value.as_iterable().is_some() && value.as_adder().is_none() => OF_A_VALUE,
            Self::Reading | Self::Search => weight(value, Bytes::All, left),
            Self::Size if is_text => weight(value, Bytes::All, left),
            Self::Size => OF_A_VALUE,
            Self::Pattern => STEPS_OF_A_PATTERN * OF_A_STEP + weight(value, Bytes::All, left),
        }
    }
}

type Function = Box<
    dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> + Send + Sync,
>;

fn pay_from(allowance: Arc<AtomicI64>, toll: Toll) -> Function {
    Box::new(move |call| {
        let argument = call
            .args
            .pop()
            .ok_or_else(ExecutionError::missing_argument_or_target)?;
        let left = allowance.load(Ordering::Relaxed);
        let price = toll.price(argument.as_ref(), left);
        if allowance.fetch_sub(price, Ordering::Relaxed) < price {
            return Err(call.error("nothing is left"));
        }
        Ok(argument)
    })
}

/// Which bytes of a value count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    All,
    /// Those that are not the object's own, of which there are no copies.
    Copied,
}

/// How much there is of a value, with all that is in it, as far as more than `most` has been found.
fn weight(value: &dyn Val, bytes: Bytes, most: i64) -> i64 {
    // Values that JSON stands behind are the only lists and maps that do not know an empty one of their kind.
    if bytes == Bytes::Copied && value.as_iterable().is_some() && value.as_zeroer().is_none() {
        return OF_A_VALUE;
    }
    let of_length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let of_all = |parts: &mut dyn Iterator<Item = &dyn Val>| {
        parts.fold(OF_A_VALUE, |sum, part| match most.saturating_sub(sum) {
            left if left >= 0 => sum.saturating_add(weight(part, bytes, left)),
            _ => sum,
        })
    };
    match value.as_builtin() {
        BuiltinRef::String(text) if bytes == Bytes::Copied && text.as_borrowed().is_some() => OF_A_VALUE,
        BuiltinRef::String(text) => OF_A_VALUE.saturating_add(of_length(text.inner().len())),
        BuiltinRef::Bytes(text) => OF_A_VALUE.saturating_add(of_length(text.inner().len())),
        BuiltinRef::List(list) => of_all(&mut list.inner().iter().map(|item| item.as_ref() as _)),
        BuiltinRef::Map(map) => {
            let entries = map.inner().iter();
            of_all(&mut entries.flat_map(|(key, value)| [key.inner() as &dyn Val, value.as_ref()]))
        }
        BuiltinRef::Optional(optional) => optional
            .inner()
            .map_or(OF_A_VALUE, |value| weight(value, bytes, most)),
        _ => OF_A_VALUE,
    }
}
