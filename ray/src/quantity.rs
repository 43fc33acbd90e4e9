//! Kubernetes quantities, read as the API machinery reads them (`k8s.io/apimachinery/pkg/api/resource`): exact, down to a billionth,
//! to which anything finer is rounded away from zero.
//!
//! Two things differ on purpose. Decimal quantities end at about 1.7e29, where the API machinery goes on for ever; no machine has
//! as much of anything. And `1000E` is shown as that, where the API machinery runs out of suffixes and shows `1`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use thiserror::Error;

const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// Binary quantities end here: the API machinery caps them at what an `int64` holds.
const BINARY_NANOS_MAX: i128 = (i64::MAX as i128) * NANOS_PER_UNIT;

/// Digits kept after the point of a binary quantity, before one more that stands for all the rest. Its billionths are multiples
/// of 2^-60 / 10^9, which have 69 digits, so what is beyond cannot move a number past one.
const FRACTION_DIGITS_MAX: isize = 70;

/// Digits before the point from which every number is beyond the range.
const WHOLE_DIGITS_MAX: isize = 40;

/// An amount as Kubernetes writes it, such as `500m`, `1.5Gi` or `1e3`.
///
/// Two quantities are equal when they are the same amount, however written.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// How a quantity likes to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `2k`
    Decimal,
    /// `2Ki`
    Binary,
    /// `2e3`
    Exponent,
}

/// Text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a quantity: write a number such as 2, 1.5 or 500m, or 4Gi, or 1e3")]
pub struct ParseQuantityError(String);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::Decimal,
    };

    /// The amount in billionths, exactly.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The amount in whole units, rounded up as the operator does: half a CPU counts as one.
    pub fn ceil(self) -> i64 {
        let units =
            self.nanos.div_euclid(NANOS_PER_UNIT) + i128::from(self.nanos.rem_euclid(NANOS_PER_UNIT) > 0);
        i64::try_from(units).unwrap_or(if units < 0 { i64::MIN } else { i64::MAX })
    }

    /// The amount in thousandths, rounded up.
    pub fn ceil_millis(self) -> i128 {
        let nanos_per_milli = NANOS_PER_UNIT / 1000;
        self.nanos.div_euclid(nanos_per_milli) + i128::from(self.nanos.rem_euclid(nanos_per_milli) > 0)
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseQuantityError(text.to_owned());
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        // The API machinery takes a lone sign or point for zero. The schema of its objects does not, and neither do we.
        if whole.is_empty() && fraction.is_empty() {
            return Err(refuse());
        }
        let scale = Scale::parse(suffix).ok_or_else(refuse)?;
        let nanos = small_nanos(whole, fraction, scale).unwrap_or_else(|| nanos(whole, fraction, scale));
        let nanos = if scale.format == Format::Binary {
            nanos.min(BINARY_NANOS_MAX)
        } else {
            nanos
        };
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format: scale.format,
        })
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
struct Scale {
    twos: u32,
    tens: isize,
    format: Format,
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        let decimal = |tens| {
            Some(Self {
                twos: 0,
                tens,
                format: Format::Decimal,
            })
        };
        let binary = |twos| {
            Some(Self {
                twos,
                tens: 0,
                format: Format::Binary,
            })
        };
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(10),
            "Mi" => binary(20),
            "Gi" => binary(30),
            "Ti" => binary(40),
            "Pi" => binary(50),
            "Ei" => binary(60),
            _ => {
                let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
                // Far beyond where numbers end, and near enough to be added to.
                let tens = isize::try_from(exponent.clamp(-1_000_000_000, 1_000_000_000)).ok()?;
                Some(Self {
                    twos: 0,
                    tens,
                    format: Format::Exponent,
                })
            }
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The same as [`nanos`] for what nearly all quantities are: whole numbers, by machine arithmetic as far as that goes.
fn small_nanos(whole: &str, fraction: &str, scale: Scale) -> Option<i128> {
    let units = whole.parse::<i64>().ok().filter(|_| fraction.is_empty())?;
    let tens = u32::try_from(scale.tens + 9).ok()?;
    let factor = 10_i128.checked_pow(tens)?.checked_mul(1 << scale.twos)?;
    i128::from(units).checked_mul(factor)
}

/// The billionths in `whole.fraction` times `scale`, rounded up. Long multiplication on decimal digits, few enough of them that a
/// text of megabytes costs one pass.
fn nanos(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let all = || whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0');
    let Some(zeros) = all().position(|digit| digit != 0) else {
        return 0;
    };
    // Where the decimal point stands, counted from the first digit that is not zero.
    let point = whole.len().cast_signed() - zeros.cast_signed() + scale.tens;
    if point > WHOLE_DIGITS_MAX {
        return i128::MAX;
    }
    let kept = usize::try_from(point + FRACTION_DIGITS_MAX).unwrap_or(0);
    let mut digits: Vec<u8> = all().skip(zeros).take(kept).collect();
    if digits.is_empty() {
        return 1;
    }
    let beyond = all().skip(zeros + kept).any(|digit| digit != 0);
    digits.push(u8::from(beyond));
    let carried: usize = (0..scale.twos).map(|_| double(&mut digits)).sum();
    let point = point + carried.cast_signed() + 9;
    let (above, below) = digits.split_at(usize::try_from(point).unwrap_or(0).min(digits.len()));
    let zeros_to_point = usize::try_from(point).unwrap_or(0).saturating_sub(digits.len());
    let above = above.iter().chain(std::iter::repeat_n(&0, zeros_to_point));
    let floor = above.fold(0_i128, |number, digit| {
        number.saturating_mul(10).saturating_add(i128::from(*digit))
    });
    floor.saturating_add(i128::from(below.iter().any(|digit| *digit != 0)))
}

/// Doubles a number in decimal digits; tells how many digits were put in front.
fn double(digits: &mut Vec<u8>) -> usize {
    let mut carry = 0;
    for digit in digits.iter_mut().rev() {
        let twice = *digit * 2 + carry;
        *digit = twice % 10;
        carry = twice / 10;
    }
    if carry > 0 {
        digits.insert(0, carry);
    }
    usize::from(carry)
}

/// The canonical form: the largest suffix that leaves a whole number.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS_PER_UNIT;
        if self.format == Format::Binary && !small && self.nanos % NANOS_PER_UNIT == 0 {
            let (number, step) = factor_out(self.nanos / NANOS_PER_UNIT, 1024, 6);
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]);
        }
        let (number, step) = factor_out(
            self.nanos,
            1000,
            if self.format == Format::Exponent {
                usize::MAX
            } else {
                9
            },
        );
        match (self.format, 3 * step.cast_signed() - 9) {
            (_, 0) => write!(f, "{number}"),
            (Format::Exponent, tens) => write!(f, "{number}e{tens}"),
            _ => write!(
                f,
                "{number}{}",
                ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step]
            ),
        }
    }
}

fn factor_out(mut number: i128, factor: i128, times_max: usize) -> (i128, usize) {
    let mut times = 0;
    while times < times_max && number % factor == 0 {
        number /= factor;
        times += 1;
    }
    (number, times)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NANOS_PER_UNIT, Quantity};

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("a quantity")
    }

    #[test]
    fn every_suffix() {
        let nanos = |text: &str| quantity(text).nanos();
        for (text, expected) in [
            ("1n", 1),
            ("1u", 1_000),
            ("1m", 1_000_000),
            ("1", NANOS_PER_UNIT),
            ("0", 0),
            ("-0", 0),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
        for (tens, suffixes) in [
            (3, ["k", "e3"]),
            (6, ["M", "E6"]),
            (9, ["G", "e9"]),
            (12, ["T", "e+12"]),
            (15, ["P", "e15"]),
            (18, ["E", "E18"]),
        ] {
            for suffix in suffixes {
                assert_eq!(
                    nanos(&format!("-2.5{suffix}")),
                    -25 * 10_i128.pow(tens) * NANOS_PER_UNIT / 10,
                    "{suffix}"
                );
            }
        }
        for (twos, suffix) in [
            (10, "Ki"),
            (20, "Mi"),
            (30, "Gi"),
            (40, "Ti"),
            (50, "Pi"),
            (60, "Ei"),
        ] {
            assert_eq!(
                nanos(&format!("+.5{suffix}")),
                2_i128.pow(twos - 1) * NANOS_PER_UNIT,
                "{suffix}"
            );
        }
    }

    #[test]
    fn the_edges() {
        for (text, shown) in [
            ("5.", "5"),
            (".5", "500m"),
            ("0001.50", "1500m"),
            ("12000", "12k"),
            ("1e4", "10e3"),
            ("1024Ki", "1Mi"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("1.1Ki", "1126400m"),
            ("1e-10", "1e-9"),
            ("1.0000000001", "1000000001n"),
            ("-1.0000000001", "-1000000001n"),
            ("9Ei", "9223372036854775807"),
            ("-9Ei", "-9223372036854775807"),
            ("1e21", "1e21"),
            ("1000E", "1000E"),
        ] {
            assert_eq!(quantity(text).to_string(), shown, "{text}");
        }
        assert_eq!(quantity("1e1000000").nanos(), i128::MAX);
        assert_eq!(quantity("1e-1000000").nanos(), 1);
        assert_eq!(quantity(&format!("0.{}1Ei", "0".repeat(100))).nanos(), 1);
        assert_eq!(quantity(&format!("{}Ki", "9".repeat(1000))), quantity("9Ei"));
    }

    #[test]
    fn what_is_no_quantity() {
        for text in [
            "", "-", ".", "+-1", "1i", "1ki", "1K", "1mi", "1e", "1e3.5", "1Gi ", " 1", "1,5", "0x10", "Gi",
            "1e3k", "NaN", "1_000",
        ] {
            assert!(
                text.parse::<Quantity>().is_err(),
                "`{text}` was read as {}",
                quantity(text)
            );
        }
    }

    fn suffix() -> impl Strategy<Value = (&'static str, u32, i32)> {
        prop::sample::select(vec![
            ("n", 0, -9),
            ("u", 0, -6),
            ("m", 0, -3),
            ("", 0, 0),
            ("k", 0, 3),
            ("M", 0, 6),
            ("G", 0, 9),
            ("e-3", 0, -3),
            ("E5", 0, 5),
            ("Ki", 10, 0),
            ("Mi", 20, 0),
            ("Gi", 30, 0),
        ])
    }

    proptest! {
        #[test]
        fn shown_and_read_again_is_the_same(text in "[-+]?[0-9]{1,12}(\\.[0-9]{0,12})?", (suffix, _, _) in suffix()) {
            let parsed = quantity(&format!("{text}{suffix}"));
            prop_assert_eq!(parsed, quantity(&parsed.to_string()));
            prop_assert_eq!(parsed.to_string(), quantity(&parsed.to_string()).to_string());
        }

        /// Exact fractions in whole numbers: n / 10^d * 2^a * 10^b, in units of 10^-20.
        #[test]
        fn rounds_up_to_the_next_billionth_and_no_further(number in 0_i128..1_000_000, decimals in 0_u32..8, (suffix, twos, tens) in suffix()) {
            let text = format!("{:0width$}", number, width = decimals as usize + 1);
            let (whole, fraction) = text.split_at(text.len() - decimals as usize);
            let nanos = quantity(&format!("{whole}.{fraction}{suffix}")).nanos();
            let exact = number * 2_i128.pow(twos) * 10_i128.pow(u32::try_from(20 + tens - decimals.cast_signed()).expect("positive"));
            let grain = 10_i128.pow(11);
            prop_assert!(nanos * grain >= exact && (nanos - 1) * grain < exact, "{nanos} for {whole}.{fraction}{suffix}");
        }

        #[test]
        fn order_is_that_of_the_numbers(left in -10_000_000_i64..10_000_000, right in -10_000_000_i64..10_000_000) {
            let (left_text, right_text) = (format!("{left}u"), format!("{right}e-6"));
            prop_assert_eq!(quantity(&left_text).cmp(&quantity(&right_text)), left.cmp(&right));
        }

        #[test]
        fn ceil_is_the_least_whole_number_above(nanos in any::<i64>()) {
            let parsed = quantity(&format!("{nanos}n"));
            let ceil = i128::from(parsed.ceil()) * NANOS_PER_UNIT;
            prop_assert!(ceil >= parsed.nanos() && ceil - parsed.nanos() < NANOS_PER_UNIT);
        }
    }
}
