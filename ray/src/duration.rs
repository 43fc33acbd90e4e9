//! Durations as Go writes them (`time.ParseDuration`): `1h30m`, `-1.5s`, `300ms`. Annotations of KubeRay's are read this way.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Direction, Spacing, SpanPrinter};
use thiserror::Error;

/// A Go duration is 64 bits of nanoseconds, some 292 years; this is the magnitude of the longest, which is negative.
const NANOS_MAX: u64 = 1 << 63;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A span of time as Go writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub SignedDuration);

/// Text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a duration: write it as 90s, 5m or 1h30m")]
pub struct ParseDurationError(String);

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = match text.strip_prefix('-') {
            Some(text) => magnitude(text).and_then(|nanos| 0_i64.checked_sub_unsigned(nanos)),
            None => magnitude(text.strip_prefix('+').unwrap_or(text)).and_then(|nanos| nanos.try_into().ok()),
        };
        nanos
            .map(|nanos| Self(SignedDuration::from_nanos(nanos)))
            .ok_or_else(|| ParseDurationError(text.to_owned()))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As Go reads it.
        const PRINTER: SpanPrinter = SpanPrinter::new()
            .spacing(Spacing::None)
            .direction(Direction::Sign);
        f.write_str(&PRINTER.duration_to_string(&self.0))
    }
}

fn magnitude(text: &str) -> Option<u64> {
    match text {
        "" => None,
        "0" => Some(0),
        mut terms => {
            let mut total = 0_u64;
            while !terms.is_empty() {
                let (nanos, rest) = term(terms)?;
                total = total.checked_add(nanos).filter(|total| *total <= NANOS_MAX)?;
                terms = rest;
            }
            Some(total)
        }
    }
}

/// The first `number unit`, and what follows it.
fn term(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = split(text, |c| !c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split(rest, |c| !c.is_ascii_digit()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (name, rest) = split(rest, |c| c == '.' || c.is_ascii_digit());
    let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == name)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole
        .checked_mul(unit)?
        .checked_add(fraction_of(unit, fraction))?;
    (nanos <= NANOS_MAX).then_some((nanos, rest))
}

/// Go rounds this part down.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    // No unit has more than 13 digits, so what comes after 18 decimals is less than a nanosecond.
    let digits: String = digits.chars().take(18).collect();
    let numerator: u128 = digits.parse().unwrap_or(0);
    let denominator = 10_u128.pow(u32::try_from(digits.len()).expect("at most 18"));
    u64::try_from(u128::from(unit) * numerator / denominator).expect("less than the unit")
}

fn split(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    fn nanos(text: &str) -> i128 {
        text.parse::<GoDuration>().expect(text).0.as_nanos()
    }

    #[test]
    fn as_go_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("+1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            (".5m", 30_000_000_000),
            ("1.s", 1_000_000_000),
            ("1s1ms1us1ns", 1_001_001_001),
            ("2\u{b5}s3\u{3bc}s", 5_000),
            ("0.9ns", 0),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX.into()),
            ("-9223372036854775808ns", i64::MIN.into()),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "-",
            "3",
            "s",
            ".s",
            "1.5",
            "1d",
            "1h ",
            " 1h",
            "1 h",
            "--1s",
            "1e3s",
            "9223372036854775808ns",
            "3000000h",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
