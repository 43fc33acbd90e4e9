//! Amounts of Ray resources, and maps of them.
//!
//! An [`Amount`] is fixed point at one ten-thousandth, the grain at which Ray's core itself counts (Ray `src/ray/common/scheduling/fixed_point.h`),
//! so `0.3 + 0.3 + 0.3 + 0.1` is exactly one CPU. What a node of a group will offer to Ray is in [`node`]; Kubernetes quantities are
//! in [`crate::quantity`].

mod node;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

pub use node::{NodeResourcesError, node_resources};

/// Names with this prefix exist once on every node without being listed.
const IMPLICIT_PREFIX: &str = "node:__internal_implicit_resource_";

/// How much of one resource, exact to one ten-thousandth.
///
/// Memory is counted in bytes, so the integer is wide: an `i64` would end at 800 TiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One unit.
    pub const ONE: Self = Self(Self::GRAINS_PER_UNIT);

    const GRAINS_PER_UNIT: i128 = 10_000;
    const DECIMALS: usize = 4;

    /// A whole number of units.
    pub fn units(units: impl Into<i128>) -> Self {
        Self(units.into().saturating_mul(Self::GRAINS_PER_UNIT))
    }

    /// The nearest amount to a double as Ray sends it; `None` when it is not a finite number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a float cast saturates, and ten thousand is exact"
    )]
    pub fn from_f64(units: f64) -> Option<Self> {
        units
            .is_finite()
            .then(|| Self((units * Self::GRAINS_PER_UNIT as f64).round() as i128))
    }

    /// The nearest amount to a number of billionths.
    pub fn from_nanos(nanos: i128) -> Self {
        const NANOS_PER_GRAIN: i128 = 1_000_000_000 / Amount::GRAINS_PER_UNIT;
        Self(nanos / NANOS_PER_GRAIN)
    }

    /// As a double, for Ray's protocol and for scores.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Ray's own type for amounts on the wire"
    )]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::GRAINS_PER_UNIT as f64
    }

    /// How often `part` goes into this amount; `None` for a part of nothing, which goes in for ever.
    pub fn times(self, part: Self) -> Option<u64> {
        (part.0 > 0).then(|| u64::try_from((self.0.max(0)) / part.0).unwrap_or(u64::MAX))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grains = self.0.unsigned_abs();
        let per_unit = Self::GRAINS_PER_UNIT.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(formatter, "{sign}{}", grains / per_unit)?;
        match grains % per_unit {
            0 => Ok(()),
            rest => write!(formatter, ".{}", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

/// Text that is not a decimal number with at most four decimals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount: write a decimal number with at most four decimals")]
pub struct ParseAmountError(String);

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
            let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
            let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty() || decimals.len() > Self::DECIMALS || !numeric(whole) || !numeric(decimals) {
                return None;
            }
            let grains: i128 = format!("{whole}{decimals:0<4}").parse().ok()?;
            Some(Self(sign * grains))
        };
        parse().ok_or_else(|| ParseAmountError(text.to_owned()))
    }
}

/// Amounts by resource name, in the order of the names.
///
/// A name with amount zero is different from a missing name: Ray leaves used-up resources out, and its placement score skips what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources(BTreeMap<String, Amount>);

impl Resources {
    /// No resources at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The amount listed under a name.
    pub fn get(&self, name: &str) -> Option<Amount> {
        self.0.get(name).copied()
    }

    /// The amount that can be had of a name: what is listed, one of the implicit resources of every node, or nothing.
    pub fn held(&self, name: &str) -> Amount {
        let unlisted = || {
            if name.starts_with(IMPLICIT_PREFIX) {
                Amount::ONE
            } else {
                Amount::ZERO
            }
        };
        self.get(name).unwrap_or_else(unlisted)
    }

    /// Lists an amount under a name, in place of what was there.
    pub fn set(&mut self, name: impl Into<String>, amount: Amount) {
        self.0.insert(name.into(), amount);
    }

    /// Names and amounts in the order of the names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Amount> {
        self.0.iter()
    }

    /// How many names are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No name is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of `shape` can be had from here at once.
    pub fn fits(&self, shape: &Self) -> bool {
        shape.iter().all(|(name, amount)| *amount <= self.held(name))
    }

    /// How often `shape` can be had from here; `None` when it asks for nothing, so that there is no end to it.
    pub fn times(&self, shape: &Self) -> Option<u64> {
        shape
            .iter()
            .filter_map(|(name, amount)| self.held(name).times(*amount))
            .min()
    }

    /// Takes `shape` away `times` times. Names that come down to zero stay listed.
    pub fn take(&mut self, shape: &Self, times: u64) {
        for (name, amount) in shape.iter().filter(|(_, amount)| **amount != Amount::ZERO) {
            let taken = Amount(amount.0.saturating_mul(i128::from(times)));
            let left = self.held(name) - taken;
            self.set(name.as_str(), left);
        }
    }

    /// Adds every amount of `other`.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other {
            *self.0.entry(name.clone()).or_default() += *amount;
        }
    }
}

impl<N: Into<String>> FromIterator<(N, Amount)> for Resources {
    fn from_iter<I: IntoIterator<Item = (N, Amount)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .map(|(name, amount)| (name.into(), amount))
                .collect(),
        )
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = (&'a String, &'a Amount);
    type IntoIter = btree_map::Iter<'a, String, Amount>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self
            .iter()
            .map(|(name, amount)| format!("{name}: {amount}"))
            .collect();
        write!(formatter, "{{{}}}", entries.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Resources};

    fn amount(text: &str) -> Amount {
        text.parse().expect("a decimal number")
    }

    fn resources(entries: &[(&str, &str)]) -> Resources {
        entries.iter().map(|(name, text)| (*name, amount(text))).collect()
    }

    #[test]
    fn tenths_add_up() {
        let thirds = [0.3, 0.3, 0.3, 0.1].map(|units| Amount::from_f64(units).expect("finite"));
        assert_eq!(thirds.into_iter().sum::<Amount>(), Amount::ONE);
    }

    #[test]
    fn text_is_read_back() {
        for text in ["0", "1", "0.5", "0.0001", "-2.25", "8796093022208000"] {
            assert_eq!(amount(text).to_string(), text);
        }
        for text in ["", "-", ".5", "1e3", "0.00001", "1.2.3", "+1", "NaN"] {
            assert!(text.parse::<Amount>().is_err(), "{text} was read as an amount");
        }
        assert_eq!(Amount::from_f64(f64::NAN), None);
    }

    #[test]
    fn a_shape_fits_as_often_as_its_scarcest_resource() {
        let node = resources(&[("CPU", "4"), ("memory", "1000")]);
        assert_eq!(
            node.times(&resources(&[("CPU", "0.5"), ("memory", "300")])),
            Some(3)
        );
        assert_eq!(node.times(&resources(&[("GPU", "1")])), Some(0));
        assert_eq!(node.times(&resources(&[("GPU", "0")])), None);
        assert_eq!(
            node.times(&resources(&[("node:__internal_implicit_resource_x", "0.5")])),
            Some(2)
        );
    }

    #[test]
    fn what_is_used_up_stays_listed() {
        let mut node = resources(&[("CPU", "4")]);
        node.take(&resources(&[("CPU", "2"), ("GPU", "0")]), 2);
        assert_eq!(node.to_string(), "{CPU: 0}");
    }
}
