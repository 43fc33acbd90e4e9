//! Expressions in CEL, with which a policy says what no field of it says. Read once, together with the policy; what a rule makes of the
//! answer stands in `check/custom.rs`.
//!
//! What evaluating one may cost stands in `expression/cost.rs`.

mod cost;
mod json;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::common::types::{CelBool, CelString};
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError, IdedExpr, ParseErrors};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

pub(crate) use cost::Budget;
use cost::{Overdrawn, STEPS_MAX, STEPS_TOGETHER_MAX, Toll};

/// Nobody reads longer ones.
pub(crate) const LENGTH_MAX: usize = 2000;
/// How deep brackets may lie within each other, and the parts of what is read. The crate calls itself for each of them, and whoever runs out
/// of stack takes all others along.
const BRACKETS_MAX: u16 = 24;
const DEPTH_MAX: usize = 64;
/// Twice what it takes without optimizations to read so many brackets, a fifth of a MiB each, and to evaluate a part that pays.
const STACK_OF_A_READER: usize = 12 << 20;
const STACK_OF_A_PART: usize = 160 << 10;
/// An error of CEL may show a pattern or a text.
const FAILURE_CHARS_MAX: usize = 160;

/// What it is that expressions are about.
const VARIABLES: [&str; 4] = ["object", "oldObject", "request", "namespaceLabels"];
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];
const FUNCTIONS: [&str; 17] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "hasValue",
    "int",
    MATCHES,
    "or",
    "orValue",
    SIZE,
    "startsWith",
    "string",
    "type",
    "uint",
    "value",
];
const MATCHES: &str = "matches";
const SIZE: &str = "size";

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    /// With the places where it has to pay.
    tree: Arc<IdedExpr>,
    depth: usize,
}

/// What an expression may ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variables<'v> {
    pub(crate) object: &'v Value,
    /// `null`, if it is new.
    pub(crate) old: &'v Value,
    pub(crate) request: &'v Value,
    /// Nothing, if they are not known.
    pub(crate) namespace_labels: Option<&'v Value>,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unreadable {
    #[error("it has {0} characters, and {LENGTH_MAX} are the most")]
    Long(usize),
    #[error("more than {BRACKETS_MAX} brackets, or {DEPTH_MAX} parts, lie within each other")]
    Deep,
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        line: isize,
        column: isize,
        message: String,
    },
    #[error("nothing is called `{0}`; there are {names}", names = VARIABLES.join(", "))]
    Variable(String),
    #[error("no function is called `{0}`; there are {names}", names = FUNCTIONS.join(", "))]
    Function(String),
    #[error("there are no messages such as `{0}`")]
    Message(String),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    #[error("it takes more than {STEPS_MAX} steps")]
    Endless,
    #[error(
        "no steps are left for it: the policies' own rules have {STEPS_TOGETHER_MAX} together for an object"
    )]
    NoneLeft,
    #[error("it is of the type {found}, and not {wanted}")]
    Type { found: String, wanted: &'static str },
    #[error("the labels of the namespace are not known here")]
    UnknownLabels,
    #[error("{0}")]
    Failed(String),
}

impl Expression {
    pub(crate) fn read(source: &str) -> Result<Self, Unreadable> {
        let length = source.chars().count();
        if length > LENGTH_MAX {
            return Err(Unreadable::Long(length));
        }
        let parser = ENVIRONMENT.parser().max_recursion_depth(BRACKETS_MAX);
        let mut tree = on_a_stack_of(STACK_OF_A_READER, || parser.parse(source)).map_err(unreadable)?;
        let mut known = VARIABLES.iter().chain(&TYPES).map(ToString::to_string).collect();
        let depth = prepare(&mut tree, &mut known, 0)?;
        Ok(Self {
            source: source.to_owned(),
            tree: Arc::new(tree),
            depth,
        })
    }

    /// Whether it is true.
    pub(crate) fn is_true(&self, variables: Variables<'_>, budget: &Budget) -> Result<bool, Failure> {
        self.evaluate(variables, budget, "bool", |value| {
            value.downcast_ref::<CelBool>().map(|value| *value.inner())
        })
    }

    /// The text that it makes.
    pub(crate) fn text(&self, variables: Variables<'_>, budget: &Budget) -> Result<String, Failure> {
        self.evaluate(variables, budget, "string", |value| {
            value
                .downcast_ref::<CelString<'_>>()
                .map(|text| text.inner().to_owned())
        })
    }

    fn evaluate<T>(
        &self,
        variables: Variables<'_>,
        budget: &Budget,
        wanted: &'static str,
        read: impl FnOnce(&dyn Val) -> Option<T>,
    ) -> Result<T, Failure> {
        let allowance = budget.allowance().ok_or(Failure::NoneLeft)?;
        let mut context = Context::with_env(ENVIRONMENT.clone());
        let Variables {
            object,
            old,
            request,
            namespace_labels,
        } = variables;
        let values = [Some(object), Some(old), Some(request), namespace_labels];
        for (name, value) in VARIABLES.into_iter().zip(values) {
            if let Some(value) = value {
                context.add_variable_as_val(name, json::value(value));
            }
        }
        allowance.install(&mut context);
        let value = on_a_stack_of((1 + self.depth) * STACK_OF_A_PART, || {
            cel::Value::resolve_val(&self.tree, &context)
        });
        // `||` and `&&` may have passed over it.
        match budget.settle(&allowance) {
            None => {}
            Some(Overdrawn::Alone) => return Err(Failure::Endless),
            Some(Overdrawn::Together) => return Err(Failure::NoneLeft),
        }
        let value = value.map_err(|error| failure(&error))?;
        read(value.as_ref()).ok_or_else(|| Failure::Type {
            found: value.get_type().name().to_owned(),
            wanted,
        })
    }
}

/// As it was written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Two are equal if they were written in the same way.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        Self::read(&source).map_err(|unreadable| D::Error::custom(format!("{COMPLAINT}: {unreadable}")))
    }
}

/// How what is said of texts that are no expressions begins.
pub(crate) const COMPLAINT: &str = "no expression in CEL";

/// Runs this here, or on a stack of its own if there is not so much left of the one here.
fn on_a_stack_of<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(bytes, bytes, run)
}

/// The first of several is the one that counts. What could have stood there instead is mostly everything.
fn unreadable(errors: ParseErrors) -> Unreadable {
    let first = errors.errors.into_iter().next();
    let ((line, column), message) = first.map_or_else(Default::default, |error| (error.pos, error.msg));
    if message.contains("Recursion limit") {
        return Unreadable::Deep;
    }
    let message = message.trim_start_matches("Syntax error: ");
    let (message, _) = message.split_once(" expecting {").unwrap_or((message, ""));
    Unreadable::Syntax {
        line,
        column,
        message: on_a_line(message),
    }
}

/// Looks whether everything that an expression names is there, has it pay where it has to, and says how deep its parts lie within each other.
/// `known` are the variables, and `depth` is how deep it lies itself.
fn prepare(expression: &mut IdedExpr, known: &mut Vec<String>, depth: usize) -> Result<usize, Unreadable> {
    if depth > DEPTH_MAX {
        return Err(Unreadable::Deep);
    }
    let mut deepest = depth;
    let mut look = |part: &mut IdedExpr, known: &mut Vec<String>| {
        deepest = deepest.max(prepare(part, known, depth + 1)?);
        Ok(())
    };
    match &mut expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !known.contains(name) {
                return Err(Unreadable::Variable(name.clone()));
            }
        }
        Expr::Select(select) => look(&mut select.operand, known)?,
        Expr::List(list) => {
            for element in &mut list.elements {
                look(element, known)?;
                Toll::Reading.raise(element);
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    for part in [&mut entry.key, &mut entry.value] {
                        look(part, known)?;
                        Toll::Reading.raise(part);
                    }
                }
            }
        }
        Expr::Struct(message) => return Err(Unreadable::Message(message.type_name.clone())),
        Expr::Call(call) => {
            let is_operator = !call.func_name.starts_with(char::is_alphabetic);
            if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                return Err(Unreadable::Function(call.func_name.clone()));
            }
            for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                look(part, known)?;
            }
            raise_tolls(call);
        }
        Expr::Comprehension(comprehension) => {
            look(&mut comprehension.iter_range, known)?;
            look(&mut comprehension.accu_init, known)?;
            Toll::Visits.raise(&mut comprehension.iter_range);
            let outside = known.len();
            known.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
            known.extend(comprehension.iter_var2.clone());
            look(&mut comprehension.loop_cond, known)?;
            look(&mut comprehension.loop_step, known)?;
            look(&mut comprehension.result, known)?;
            known.truncate(outside);
        }
    }
    Ok(deepest)
}

/// Has a call pay for what it is about to do with its arguments. Those that only choose, count, or take a part do nothing with all of a value.
fn raise_tolls(call: &mut CallExpr) {
    let is_gathered =
        |argument: &IdedExpr| matches!(&argument.expr, Expr::Ident(name) if name.starts_with('@'));
    let gathers = call.args.first().is_some_and(is_gathered);
    let name = call.func_name.as_str();
    let arguments = call.target.as_deref_mut().into_iter().chain(&mut call.args);
    match name {
        // What `map` and `filter` gather paid when it was put into the list, and is not copied again.
        operators::ADD if gathers => {}
        MATCHES => arguments.take(1).for_each(|text| Toll::Pattern.raise(text)),
        SIZE => arguments.for_each(|argument| Toll::Size.raise(argument)),
        operators::IN => {
            let tolls = [Toll::Reading, Toll::Search];
            arguments
                .zip(tolls)
                .for_each(|(argument, toll)| toll.raise(argument));
        }
        operators::ADD
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => arguments.for_each(|argument| Toll::Reading.raise(argument)),
        _ if name.starts_with(char::is_alphabetic) => {
            arguments.for_each(|argument| Toll::Reading.raise(argument));
        }
        _ => {}
    }
}

fn failure(error: &ExecutionError) -> Failure {
    let told = match error {
        // Every other name that is there has a value, as was seen when the expression was read.
        ExecutionError::UndeclaredReference(_) => return Failure::UnknownLabels,
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!(
                "`{operator}` is not for {} and {}",
                left.type_of(),
                right.type_of()
            )
        }
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::FunctionError { .. }
        | ExecutionError::IndexOutOfBounds(_)
        | ExecutionError::DivisionByZero(_)
        | ExecutionError::RemainderByZero(_)
        | ExecutionError::Overflow(..) => error.to_string(),
        // They show whole values, and those with fields in another order each time.
        _ => "a value is not of the type that it has to be".to_owned(),
    };
    Failure::Failed(on_a_line(&told).chars().take(FAILURE_CHARS_MAX).collect())
}

fn on_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
