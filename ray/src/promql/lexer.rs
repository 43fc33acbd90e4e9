//! The words of a query.

use super::Mistake;

/// A word and where it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Word<'q> {
    pub(super) at: usize,
    pub(super) token: Token<'q>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'q> {
    /// A metric, a label, a function or a keyword.
    Name(&'q str),
    Number(&'q str),
    /// Such as `5m` or `1h30m`.
    Duration(&'q str),
    /// What stands between quotes.
    Text(&'q str),
    Symbol(&'static str),
    End,
}

/// The longer ones first.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "=~", "!~", "(", ")", "{", "}", "[", "]", ",", "+", "-", "*", "/", "%", "^", "<",
    ">", "=", "@", ":",
];
const UNITS: [&str; 7] = ["ms", "s", "m", "h", "d", "w", "y"];

/// The words of a query, the end as the last of them.
pub(super) fn words(query: &str) -> Result<Vec<Word<'_>>, Mistake> {
    let mut words = Vec::new();
    let (mut at, mut in_brackets) = (0, false);
    while let Some(first) = query[at..].chars().next() {
        let rest = &query[at..];
        let length = if first.is_ascii_whitespace() {
            first.len_utf8()
        } else if first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            let (token, length) = word(rest, at, in_brackets)?;
            match token {
                Token::Symbol("[") => in_brackets = true,
                Token::Symbol("]") => in_brackets = false,
                _ => {}
            }
            words.push(Word { at, token });
            length
        };
        at += length;
    }
    words.push(Word {
        at,
        token: Token::End,
    });
    Ok(words)
}

/// The first word and its length. The colon of a subquery is none of a name.
fn word(rest: &str, at: usize, in_brackets: bool) -> Result<(Token<'_>, usize), Mistake> {
    let begins = |of: fn(char) -> bool| rest.chars().next().is_some_and(of);
    if begins(|first| matches!(first, '"' | '\'' | '`')) {
        return text(rest, at);
    }
    let digits = rest.strip_prefix('.').unwrap_or(rest);
    if digits.starts_with(|first: char| first.is_ascii_digit()) {
        let length = number_length(rest);
        let number = &rest[..length];
        return if is_number(number) {
            Ok((Token::Number(number), length))
        } else if is_duration(number) {
            Ok((Token::Duration(number), length))
        } else {
            Err(Mistake::new(
                at,
                format!("`{number}` is neither a number nor a duration"),
                "write a duration as in 5m",
            ))
        };
    }
    if begins(|first| first.is_ascii_alphabetic() || first == '_') || (!in_brackets && rest.starts_with(':'))
    {
        let is_part =
            |char: char| char.is_ascii_alphanumeric() || char == '_' || (char == ':' && !in_brackets);
        let length = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        return Ok((Token::Name(&rest[..length]), length));
    }
    let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
    symbol
        .map(|symbol| (Token::Symbol(symbol), symbol.len()))
        .ok_or_else(|| {
            let first: String = rest.chars().take(1).collect();
            Mistake::new(
                at,
                format!("`{first}` means nothing here"),
                "names in it stand between quotes",
            )
        })
}

fn text(rest: &str, at: usize) -> Result<(Token<'_>, usize), Mistake> {
    let quote = &rest[..1];
    let mut escaped = false;
    for (index, char) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if rest[index..].starts_with(quote) {
            return Ok((Token::Text(&rest[1..index]), index + 1));
        } else if char == '\\' && quote != "`" {
            escaped = true;
        } else if char == '\n' && quote != "`" {
            break;
        }
    }
    Err(Mistake::new(at, "this text has no end", "close its quotes"))
}

fn number_length(rest: &str) -> usize {
    let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
    let mut before = ' ';
    let end = rest.find(|char: char| {
        let exponent = matches!(before, 'e' | 'E') && !hexadecimal && matches!(char, '+' | '-');
        before = char;
        !(char.is_ascii_alphanumeric() || matches!(char, '.' | '_') || exponent)
    });
    end.unwrap_or(rest.len())
}

fn is_number(text: &str) -> bool {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).is_ok(),
        None => text.parse::<f64>().is_ok(),
    }
}

/// Each unit once, the larger ones first.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut left = UNITS.len();
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = rest[digits..].find(|char: char| char.is_ascii_digit());
        let (unit, after) = rest[digits..].split_at(unit.unwrap_or(rest.len() - digits));
        let place = UNITS[..left].iter().position(|known| *known == unit);
        let Some(place) = place.filter(|_| digits > 0) else {
            return false;
        };
        (left, rest) = (place, after);
    }
    true
}
