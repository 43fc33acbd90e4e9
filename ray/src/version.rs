//! Versions of Ray, read as KubeRay reads `rayVersion`: `k8s.io/apimachinery/pkg/util/version`, generic.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A version of Ray. What follows the numbers, such as `rc0`, does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RayVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 where there is none.
    pub patch: u32,
}

/// Text that does not begin with two numbers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a version: write it as 2.60.0")]
pub struct ParseVersionError(String);

impl RayVersion {
    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl FromStr for RayVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.trim();
        let numbers = numbers.strip_prefix('v').unwrap_or(numbers);
        parse(numbers).ok_or_else(|| ParseVersionError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<RayVersion> {
    let (major, rest) = number(text)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let patch = rest
        .strip_prefix('.')
        .and_then(number)
        .map_or(0, |(patch, _)| patch);
    Some(RayVersion { major, minor, patch })
}

fn number(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

impl fmt::Display for RayVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::RayVersion;

    #[test]
    fn as_the_operator_reads_them() {
        for (text, shown) in [
            ("2.60.0", "2.60.0"),
            ("v2.9", "2.9.0"),
            (" 2.052.0 ", "2.52.0"),
            ("2.52.0rc0", "2.52.0"),
            ("3.0.0.dev0", "3.0.0"),
        ] {
            assert_eq!(text.parse::<RayVersion>().expect(text).to_string(), shown);
        }
        for text in ["", "2", "2.", "nightly", "latest", ".2.3", "2-60"] {
            assert!(text.parse::<RayVersion>().is_err(), "{text}");
        }
        assert!(RayVersion::new(2, 9, 3) < RayVersion::new(2, 10, 0));
    }
}
