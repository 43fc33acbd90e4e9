//! From values to a number of replicas.

/// An amount in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milli(pub i64);

impl Milli {
    /// What a query answered. Less than a thousandth is dropped, and below zero counts as zero, as KEDA has it; not a number, or one beyond all
    /// measure, is no answer.
    pub fn of(value: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation)] // It saturates.
        value.is_finite().then(|| Self((value.max(0.0) * 1000.0) as i64))
    }

    /// In whole units, rounded up.
    pub(super) fn ceil(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).div_ceil(1000)
    }

    /// In whole units, rounded down.
    pub(super) fn floor(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0) / 1000
    }

    #[allow(clippy::cast_precision_loss)] // As Kubernetes does.
    fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

/// What a value is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value should be this, however many replicas there are.
    Value(Milli),
    /// The value, divided among the replicas, should be this.
    AverageValue(Milli),
}

/// How many replicas a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// Asked for.
    pub wanted: u64,
    /// With Pods.
    pub there: u64,
    /// Whose nodes Ray has registered.
    pub ready: u64,
}

/// How far a ratio of value to target may be from one before anything changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above one.
    pub up: f64,
    /// Below one.
    pub down: f64,
}

impl Default for Tolerance {
    /// That of Kubernetes.
    fn default() -> Self {
        Self { up: 0.1, down: 0.1 }
    }
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// How many replicas one value asks for.
///
/// A target of zero or less cannot be reached by any number of replicas, so it asks for those there are.
pub fn propose(replicas: Replicas, value: Milli, target: Target, tolerance: Tolerance) -> u64 {
    let value = value.as_f64();
    match target {
        Target::Value(Milli(..=0)) | Target::AverageValue(Milli(..=0)) => replicas.wanted,
        Target::Value(target) => {
            let ratio = value / target.as_f64();
            if replicas.wanted == 0 {
                ceil(ratio)
            } else if tolerance.covers(ratio) {
                replicas.wanted
            } else {
                ceil(ratio * count(replicas.ready))
            }
        }
        Target::AverageValue(target) => {
            // Without replicas the ratio is infinite, or not a number: never within a tolerance.
            let ratio = value / (target.as_f64() * count(replicas.there));
            if tolerance.covers(ratio) {
                replicas.there
            } else {
                ceil(value / target.as_f64())
            }
        }
    }
}

/// What all values together ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    highest: Option<u64>,
    unknown: usize,
}

/// Why proposals come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// No value is known.
    NoneKnown,
    /// Those that are known ask for fewer replicas, and one that is not might ask for more.
    ShrinksOnPartialKnowledge,
}

impl FromIterator<Option<u64>> for Proposals {
    /// Of one value each; `None` where it is not known.
    fn from_iter<I: IntoIterator<Item = Option<u64>>>(proposals: I) -> Self {
        let mut all = Self::default();
        for proposal in proposals {
            match proposal {
                Some(_) => all.highest = all.highest.max(proposal),
                None => all.unknown += 1,
            }
        }
        all
    }
}

impl Proposals {
    /// The highest proposal. What is not known never shrinks a group.
    pub fn decide(&self, wanted: u64) -> Result<u64, Undecided> {
        match self.highest {
            None => Err(Undecided::NoneKnown),
            Some(highest) if highest < wanted && self.unknown > 0 => {
                Err(Undecided::ShrinksOnPartialKnowledge)
            }
            Some(highest) => Ok(highest),
        }
    }
}

/// Replicas are `int32` in Kubernetes, so this loses nothing.
fn count(replicas: u64) -> f64 {
    f64::from(u32::try_from(replicas).unwrap_or(u32::MAX))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates, and nothing is below zero.
fn ceil(replicas: f64) -> u64 {
    (replicas.ceil() as u64).min(i32::MAX.unsigned_abs().into())
}
