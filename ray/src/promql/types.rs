//! What expressions yield, and what may be done with that.

/// What can be done with a range.
pub(super) const RANGE: &str = "put it into a function such as rate() or max_over_time()";

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Number,
    Text,
    /// The values of a moment.
    Vector,
    /// Values of a time.
    Range,
    /// Nobody knows: it is that of a function that we do not know.
    Any,
}

/// What an operator makes of two sides.
pub(super) fn combined(
    left: Type,
    right: Type,
    operator: &str,
    boolean: bool,
    matched: bool,
) -> Result<Type, (&'static str, &'static str)> {
    let operator = operator.to_ascii_lowercase();
    let compares = matches!(operator.as_str(), "==" | "!=" | "<" | "<=" | ">" | ">=");
    let sides = [left, right];
    let with = |of| sides.contains(&of);
    if with(Type::Range) || with(Type::Text) {
        return Err(("only numbers can be reckoned with", RANGE));
    }
    if boolean && !compares {
        return Err(("only comparisons take `bool`", "leave it out"));
    }
    if with(Type::Number) && matches!(operator.as_str(), "and" | "or" | "unless") {
        return Err((
            "only series can be put together so",
            "put the number into vector()",
        ));
    }
    if with(Type::Number) && matched {
        return Err(("a number has no labels", "leave `on` or `ignoring` out"));
    }
    Ok(match sides {
        [Type::Number, Type::Number] if compares && !boolean => {
            return Err((
                "two numbers are compared with `bool`",
                "write it behind the operator",
            ));
        }
        [Type::Number, Type::Number] => Type::Number,
        _ if with(Type::Any) => Type::Any,
        _ => Type::Vector,
    })
}

pub(super) fn is(of: Type, wanted: char) -> bool {
    match wanted {
        'v' => matches!(of, Type::Vector | Type::Any),
        'r' => matches!(of, Type::Range | Type::Any),
        's' => matches!(of, Type::Number | Type::Any),
        't' => matches!(of, Type::Text | Type::Any),
        _ => true,
    }
}

pub(super) fn described(wanted: char) -> &'static str {
    match wanted {
        'v' => Type::Vector.name(),
        'r' => Type::Range.name(),
        's' => Type::Number.name(),
        _ => Type::Text.name(),
    }
}

pub(super) fn hint(wanted: char, of: Type) -> &'static str {
    match (wanted, of) {
        ('r', Type::Vector) => "write a range behind the metric, as in [5m]",
        ('v', Type::Range) => RANGE,
        ('v', Type::Number) => "put the number into vector()",
        _ => "write one",
    }
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Vector => "the values of a moment",
            Self::Range => "a range of values",
            Self::Any => "something",
        }
    }
}
