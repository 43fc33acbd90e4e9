//! How fast the number of replicas may follow what is asked for: `behavior` of `autoscaling/v2`.

/// In both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Towards more replicas.
    pub up: Scaling,
    /// Towards fewer.
    pub down: Scaling,
}

/// In one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// For how long what was asked for before still counts.
    pub stabilization_milliseconds: u64,
    /// How much may change, and in which time.
    pub policies: Vec<Policy>,
    /// Which of the policies decides.
    pub select: Select,
}

/// So much in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much.
    pub change: Change,
    /// In which time.
    pub period_milliseconds: u64,
}

/// A number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// So many.
    Pods(u32),
    /// Of a hundred that there were when the period began.
    Percent(u32),
}

/// Which of several policies decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The one that allows the most change.
    Max,
    /// The one that allows the least.
    Min,
    /// None: nothing changes in this direction.
    Disabled,
}

impl Default for Behavior {
    /// That of Kubernetes.
    fn default() -> Self {
        let policy = |change| Policy {
            change,
            period_milliseconds: 15_000,
        };
        Self {
            up: Scaling {
                stabilization_milliseconds: 0,
                policies: vec![policy(Change::Pods(4)), policy(Change::Percent(100))],
                select: Select::Max,
            },
            down: Scaling {
                stabilization_milliseconds: 300_000,
                policies: vec![policy(Change::Percent(100))],
                select: Select::Max,
            },
        }
    }
}

/// What was asked for and what was done, as far back as a behavior looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    asked: Vec<(u64, u64)>,
    /// Replicas added, or taken away below zero.
    changed: Vec<(u64, i64)>,
}

/// A number of replicas that a behavior allows, and what it was that kept it from being another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaped {
    /// How many.
    pub replicas: u64,
    /// The first thing that changed what was asked for.
    pub held_by: Option<HeldBy>,
}

/// What keeps a number of replicas from being what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// Fewer were asked for a moment ago.
    UpStabilized,
    /// More were asked for a moment ago.
    DownStabilized,
    /// Enough were added for now.
    UpLimit,
    /// Enough were taken away for now.
    DownLimit,
}

impl Behavior {
    /// How many replicas there may be, when there are `current` and `asked` are asked for. Remembers what was asked for; what is done in the end is
    /// to be told to [`History::done`].
    pub fn shape(&self, history: &mut History, now: u64, current: u64, asked: u64) -> Shaped {
        let stabilized = self.stabilize(history, now, current, asked);
        let held = (stabilized != asked).then_some(if stabilized < asked {
            HeldBy::UpStabilized
        } else {
            HeldBy::DownStabilized
        });
        let allowed = if stabilized > current {
            stabilized.min(self.up.most(history, now, current))
        } else {
            stabilized.max(self.down.least(history, now, current))
        };
        let limited = (allowed != stabilized).then_some(if stabilized > current {
            HeldBy::UpLimit
        } else {
            HeldBy::DownLimit
        });
        Shaped {
            replicas: allowed,
            held_by: limited.or(held),
        }
    }

    fn stabilize(&self, history: &mut History, now: u64, current: u64, asked: u64) -> u64 {
        history.begin(now, current);
        let within = |window: u64| {
            let asked = history.asked.iter();
            asked
                .filter(move |(at, _)| now.saturating_sub(*at) < window)
                .map(|(_, asked)| *asked)
        };
        let (up, down) = (
            self.up.stabilization_milliseconds,
            self.down.stabilization_milliseconds,
        );
        let lowest = within(up).fold(asked, u64::min);
        let highest = within(down).fold(asked, u64::max);
        let longest = up.max(down);
        history.asked.retain(|(at, _)| now.saturating_sub(*at) < longest);
        history.asked.push((now, asked));
        current.max(lowest).min(highest)
    }

    /// The longest time that anything is remembered.
    fn longest_period(&self) -> u64 {
        let policies = self.up.policies.iter().chain(&self.down.policies);
        policies
            .map(|policy| policy.period_milliseconds)
            .max()
            .unwrap_or(0)
    }
}

impl Scaling {
    /// The most replicas that may be asked for now; never fewer than there are.
    fn most(&self, history: &History, now: u64, current: u64) -> u64 {
        let allowed = self.policies.iter().map(|policy| {
            let start = history.start_of(policy, now, current);
            match policy.change {
                Change::Pods(pods) => start.saturating_add(pods.into()),
                Change::Percent(percent) => count((times(start, 1.0 + f64::from(percent) / 100.0)).ceil()),
            }
        });
        self.select(current, allowed, false).max(current)
    }

    /// The fewest replicas that may be asked for now; never more than there are.
    fn least(&self, history: &History, now: u64, current: u64) -> u64 {
        let allowed = self.policies.iter().map(|policy| {
            let start = history.start_of(policy, now, current);
            match policy.change {
                Change::Pods(pods) => start.saturating_sub(pods.into()),
                Change::Percent(percent) => count(times(start, 1.0 - f64::from(percent) / 100.0)),
            }
        });
        self.select(current, allowed, true).min(current)
    }

    fn select(&self, current: u64, allowed: impl Iterator<Item = u64>, down: bool) -> u64 {
        let selected = match (self.select, down) {
            (Select::Disabled, _) => None,
            (Select::Max, false) | (Select::Min, true) => allowed.max(),
            (Select::Min, false) | (Select::Max, true) => allowed.min(),
        };
        selected.unwrap_or(current)
    }
}

impl History {
    /// Whoever is looked at for the first time has asked for what there is.
    pub fn begin(&mut self, now: u64, current: u64) {
        if self.asked.is_empty() {
            self.asked.push((now, current));
        }
    }

    /// The number of replicas went from one to another. Those of a write that failed are not told.
    pub fn done(&mut self, behavior: &Behavior, now: u64, from: u64, to: u64) {
        let longest = behavior.longest_period();
        self.changed.retain(|(at, _)| now.saturating_sub(*at) < longest);
        if from != to {
            self.changed.push((now, to.cast_signed() - from.cast_signed()));
        }
    }

    /// Nothing was later than now.
    pub(super) fn put_back(&mut self, now: u64) {
        self.asked.iter_mut().for_each(|(at, _)| *at = now.min(*at));
        self.changed.iter_mut().for_each(|(at, _)| *at = now.min(*at));
    }

    /// How many replicas there were when the period of a policy began.
    fn start_of(&self, policy: &Policy, now: u64, current: u64) -> u64 {
        let changed = self.changed.iter();
        let within = changed.filter(|(at, _)| now.saturating_sub(*at) < policy.period_milliseconds);
        let change: i64 = within.map(|(_, change)| change).sum();
        current.saturating_add_signed(-change)
    }
}

/// In floating point, as Kubernetes computes it: a tenth more than 110 is 122 there.
fn times(replicas: u64, factor: f64) -> f64 {
    f64::from(u32::try_from(replicas).unwrap_or(u32::MAX)) * factor
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
fn count(replicas: f64) -> u64 {
    replicas as u64
}
