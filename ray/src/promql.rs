//! `PromQL`, as far as it takes to say where a query is none: its grammar and its types, as of Prometheus 3. Whether there are such series, and what
//! they come to, only a server can say; and a function that we do not know may be one that it knows.

mod functions;
mod lexer;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;

use crate::schema::meant;
use functions::{aggregation, function, is_scalar, names};
use lexer::{Token, Word, words};
use types::{RANGE, Type, combined, described, hint, is};

/// Deeper than anybody writes, and shallow enough for every stack.
const DEPTH_MAX: usize = 64;
/// Binds as strongly as an operand of a sign.
const POWER: u8 = 6;

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    at: usize,
    problem: String,
    /// How to put it right.
    pub hint: String,
}

/// A mistake with its place in the text of the query.
#[derive(Clone, Copy, Debug)]
pub struct Located<'m> {
    mistake: &'m Mistake,
    query: &'m str,
}

/// An expression, and what may follow it.
#[derive(Clone, Copy)]
struct Operand {
    of: Type,
    /// A metric with its labels, which can have a range.
    selector: bool,
    /// It has a time, which can be moved.
    movable: bool,
}

struct Parser<'q> {
    words: Vec<Word<'q>>,
    next: usize,
    depth: usize,
}

/// Says what is wrong with an instant query whose answer is to be numbers. `$` may begin a name, as for what is to be put there.
pub fn check(query: &str) -> Result<(), Mistake> {
    // As long as it was, so that places stay what they are.
    let query = query.replace('$', "_");
    let mut parser = Parser {
        words: words(&query)?,
        next: 0,
        depth: 0,
    };
    let of = parser.expression(0)?;
    match (parser.peek(), of) {
        (Token::End, Type::Number | Type::Vector | Type::Any) => Ok(()),
        (Token::End, Type::Text) => Err(Mistake::new(0, "it yields a text", "ask for a number")),
        (Token::End, Type::Range) => Err(Mistake::new(0, "it yields a range of values", RANGE)),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

impl<'q> Parser<'q> {
    /// Operators that bind at least so strongly, and what is between them.
    fn expression(&mut self, least: u8) -> Result<Type, Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.mistake("it is nested too deeply", "write it in a simpler way"));
        }
        let mut left = self.operand()?;
        while let Some((operator, strength)) = self.operator().filter(|(_, strength)| *strength >= least) {
            let at = self.at();
            self.next += 1;
            let boolean = self.takes_name("bool");
            let matched = self.matching()?;
            let right = self.expression(if operator == "^" { strength } else { strength + 1 })?;
            left = combined(left, right, operator, boolean, matched)
                .map_err(|(problem, hint)| Mistake::new(at, problem, hint))?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(&'q str, u8)> {
        let operator = match self.peek() {
            Token::Symbol(symbol) => symbol,
            Token::Name(name) => name,
            _ => return None,
        };
        let strength = match operator.to_ascii_lowercase().as_str() {
            "or" => 1,
            "and" | "unless" => 2,
            "==" | "!=" | "<" | "<=" | ">" | ">=" => 3,
            "+" | "-" => 4,
            "*" | "/" | "%" | "atan2" => 5,
            "^" => POWER,
            _ => return None,
        };
        Some((operator, strength))
    }

    /// `on` or `ignoring`, `group_left` or `group_right`, with their labels.
    fn matching(&mut self) -> Result<bool, Mistake> {
        if !(self.takes_name("on") || self.takes_name("ignoring")) {
            return Ok(false);
        }
        self.labels()?;
        if (self.takes_name("group_left") || self.takes_name("group_right"))
            && self.peek() == Token::Symbol("(")
        {
            self.labels()?;
        }
        Ok(true)
    }

    fn labels(&mut self) -> Result<(), Mistake> {
        self.expect("(")?;
        while !self.takes(")") {
            match self.peek() {
                Token::Name(_) | Token::Text(_) => self.next += 1,
                _ => return Err(self.unexpected("a label")),
            }
            if !self.takes(",") && self.peek() != Token::Symbol(")") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<Type, Mistake> {
        if self.takes("+") || self.takes("-") {
            let at = self.at();
            return match self.expression(POWER)? {
                Type::Range | Type::Text => Err(Mistake::new(at, "only numbers have a sign", RANGE)),
                of => Ok(of),
            };
        }
        let mut operand = self.primary()?;
        loop {
            if self.takes("[") {
                operand = self.range(operand)?;
            } else if self.takes_name("offset") {
                self.movable(operand)?;
                let _ = self.takes("-") || self.takes("+");
                self.duration()?;
            } else if self.takes("@") {
                self.movable(operand)?;
                self.moment()?;
            } else {
                return Ok(operand.of);
            }
        }
    }

    fn movable(&self, operand: Operand) -> Result<(), Mistake> {
        if operand.movable {
            return Ok(());
        }
        let hint = "put it behind the metric, within the function";
        Err(self.mistake(
            "only a metric, with or without a range, can be moved in time",
            hint,
        ))
    }

    /// What follows `[`.
    fn range(&mut self, operand: Operand) -> Result<Operand, Mistake> {
        if !matches!(operand.of, Type::Vector | Type::Any) {
            return Err(self.mistake("only the values of a moment can have a range", "leave it out"));
        }
        self.duration()?;
        let subquery = self.takes(":");
        if subquery && self.peek() != Token::Symbol("]") {
            self.duration()?;
        }
        if !subquery && !operand.selector {
            let hint = "write [5m:15s], with how often it is to be computed";
            return Err(self.mistake("this is no metric, so its range needs a colon", hint));
        }
        self.expect("]")?;
        Ok(Operand {
            of: Type::Range,
            selector: false,
            movable: true,
        })
    }

    fn duration(&mut self) -> Result<(), Mistake> {
        match self.peek() {
            Token::Duration(_) | Token::Number(_) => {
                self.next += 1;
                Ok(())
            }
            _ => Err(self.unexpected("a duration such as 5m")),
        }
    }

    /// What follows `@`.
    fn moment(&mut self) -> Result<(), Mistake> {
        if self.takes_name("start") || self.takes_name("end") {
            self.expect("(")?;
            return self.expect(")");
        }
        let _ = self.takes("-") || self.takes("+");
        match self.peek() {
            Token::Number(_) => {
                self.next += 1;
                Ok(())
            }
            _ => Err(self.unexpected("a time")),
        }
    }

    fn primary(&mut self) -> Result<Operand, Mistake> {
        let plain = |of| Operand {
            of,
            selector: false,
            movable: false,
        };
        let begun = self.words[self.next];
        match begun.token {
            Token::Number(_) | Token::Duration(_) => {
                self.next += 1;
                Ok(plain(Type::Number))
            }
            Token::Text(_) => {
                self.next += 1;
                Ok(plain(Type::Text))
            }
            Token::Symbol("(") => {
                self.next += 1;
                let of = self.expression(0)?;
                self.expect(")")?;
                Ok(plain(of))
            }
            Token::Symbol("{") => self.selector(false, begun.at),
            Token::Name(name) => {
                self.next += 1;
                let follows = self.peek();
                let grouped = matches!(follows, Token::Name(name) if is_grouping(name));
                match aggregation(name) {
                    Some(takes) if grouped || follows == Token::Symbol("(") => {
                        self.aggregate(name, takes, begun.at).map(plain)
                    }
                    _ if follows == Token::Symbol("(") => self.call(name, begun.at).map(plain),
                    _ if matches!(name.to_ascii_lowercase().as_str(), "inf" | "nan") => {
                        Ok(plain(Type::Number))
                    }
                    _ if matches!(name, "and" | "or" | "unless") => {
                        self.next -= 1;
                        Err(self.unexpected("a metric or a number"))
                    }
                    _ => self.selector(true, begun.at),
                }
            }
            _ => Err(self.unexpected("a metric or a number")),
        }
    }

    /// Labels in braces, if there are any; or else a name has been there.
    fn selector(&mut self, named: bool, at: usize) -> Result<Operand, Mistake> {
        let mut selects = named;
        if self.takes("{") {
            while !self.takes("}") {
                selects |= self.matcher(named)?;
                if !self.takes(",") && self.peek() != Token::Symbol("}") {
                    return Err(self.unexpected("`,` or `}`"));
                }
            }
        }
        if !selects {
            return Err(Mistake::new(
                at,
                "this selects everything",
                "name a metric, or a label with its value",
            ));
        }
        Ok(Operand {
            of: Type::Vector,
            selector: true,
            movable: true,
        })
    }

    /// One condition; whether it leaves anything out.
    fn matcher(&mut self, named: bool) -> Result<bool, Mistake> {
        let label = self.peek();
        if !matches!(label, Token::Name(name) if !name.contains(':')) && !matches!(label, Token::Text(_)) {
            return Err(self.unexpected("a label"));
        }
        self.next += 1;
        let operator = match (label, self.peek()) {
            (_, Token::Symbol(symbol @ ("=" | "!=" | "=~" | "!~"))) => symbol,
            // A metric between quotes.
            (Token::Text(_), Token::Symbol("," | "}")) if !named => return Ok(true),
            _ => return Err(self.unexpected("`=`, `!=`, `=~` or `!~`")),
        };
        self.next += 1;
        let Token::Text(value) = self.peek() else {
            return Err(self.unexpected("a value between quotes"));
        };
        self.next += 1;
        let everything = value.is_empty() || (operator.ends_with('~') && value == ".*");
        Ok(everything == operator.starts_with('!'))
    }

    fn aggregate(&mut self, name: &str, takes: &str, at: usize) -> Result<Type, Mistake> {
        let grouped = self.grouping()?;
        self.arguments(name, takes, at)?;
        if !grouped {
            self.grouping()?;
        }
        Ok(Type::Vector)
    }

    fn grouping(&mut self) -> Result<bool, Mistake> {
        let grouped = self.takes_name("by") || self.takes_name("without");
        if grouped {
            self.labels()?;
        }
        Ok(grouped)
    }

    fn call(&mut self, name: &str, at: usize) -> Result<Type, Mistake> {
        let Some(takes) = function(name) else {
            if let Some(meant) = meant(name, names()) {
                let hint = format!("perhaps `{meant}` is meant");
                return Err(Mistake::new(at, format!("there is no function `{name}`"), hint));
            }
            self.arguments(name, "a*", at)?;
            return Ok(Type::Any);
        };
        self.arguments(name, takes, at)?;
        Ok(if is_scalar(name) {
            Type::Number
        } else {
            Type::Vector
        })
    }

    /// What stands between parentheses, held against what the function takes.
    fn arguments(&mut self, name: &str, takes: &str, at: usize) -> Result<(), Mistake> {
        self.expect("(")?;
        let mut wanted = takes;
        while !self.takes(")") {
            let place = self.at();
            let of = self.expression(0)?;
            let Some(want) = wanted.chars().next() else {
                return Err(Mistake::new(
                    place,
                    format!("`{name}` takes no more"),
                    "leave it out",
                ));
            };
            if !is(of, want) {
                let problem = format!("`{name}` takes {} here, not {}", described(want), of.name());
                return Err(Mistake::new(place, problem, hint(want, of)));
            }
            wanted = match wanted[1..].chars().next() {
                Some('*') => wanted,
                Some('?') => &wanted[2..],
                _ => &wanted[1..],
            };
            match self.peek() {
                Token::Symbol(")") => {}
                // What follows has to be one.
                Token::Symbol(",") => {
                    self.next += 1;
                    if self.peek() == Token::Symbol(")") {
                        return Err(self.unexpected("an expression"));
                    }
                }
                _ => return Err(self.unexpected("`,` or `)`")),
            }
        }
        match wanted.chars().next() {
            Some(want) if !wanted[1..].starts_with(['?', '*']) => {
                let problem = format!("`{name}` takes {}, too", described(want));
                Err(Mistake::new(at, problem, "say what it is to be computed of"))
            }
            _ => Ok(()),
        }
    }

    fn peek(&self) -> Token<'q> {
        self.words[self.next].token
    }

    fn at(&self) -> usize {
        self.words[self.next].at
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Token::Symbol(there) if there == symbol);
        self.next += usize::from(is);
        is
    }

    fn takes_name(&mut self, keyword: &str) -> bool {
        let is = matches!(self.peek(), Token::Name(name) if name.eq_ignore_ascii_case(keyword));
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Mistake> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let there = match self.peek() {
            Token::Name(text) | Token::Number(text) | Token::Duration(text) => format!("there is `{text}`"),
            Token::Text(text) => format!("there is \"{text}\""),
            Token::Symbol(symbol) => format!("there is `{symbol}`"),
            Token::End => "the query ends".to_owned(),
        };
        self.mistake(
            &format!("{there}, where {expected} is expected"),
            "write an instant query in PromQL",
        )
    }

    fn mistake(&self, problem: &str, hint: &str) -> Mistake {
        Mistake::new(self.at(), problem, hint)
    }
}

fn is_grouping(name: &str) -> bool {
    name.eq_ignore_ascii_case("by") || name.eq_ignore_ascii_case("without")
}

impl Mistake {
    fn new(at: usize, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            at,
            problem: problem.into(),
            hint: hint.into(),
        }
    }

    /// The mistake with its place in the query.
    pub fn located<'m>(&'m self, query: &'m str) -> Located<'m> {
        Located { mistake: self, query }
    }
}

/// `line 1, column 4: the query ends, where a metric or a number is expected`
impl fmt::Display for Located<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.query.get(..self.mistake.at).unwrap_or(self.query);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        write!(
            formatter,
            "line {line}, column {column}: {}",
            self.mistake.problem
        )
    }
}
