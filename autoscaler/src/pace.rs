//! When to look at a cluster again, and when its head is taken for one that does not answer. Pure.

use std::time::{Duration, Instant};

use crate::tick::Outcome;

/// Ray's nodes report to the head once a second: to look more often shows nothing new.
const BUSY_PERIOD: Duration = Duration::from_secs(1);
/// How long new demand may wait for us in a cluster where nothing has happened for long.
const QUIET_PERIOD_MAX: Duration = Duration::from_secs(10);
/// The time between two looks is this part of how long nothing has happened: a cluster that was used a minute ago is looked at every second.
const QUIET_PART: u32 = 60;
/// How rarely a head that does not answer is asked.
const UNREACHABLE_PERIOD_MAX: Duration = Duration::from_secs(30);
/// A head may be slow once, and once more.
const FAILURES_MAX: u32 = 3;
/// One that has never answered may still be starting.
const START: Duration = Duration::from_mins(2);

/// A process that begins a look so late has no time to hear answers either: that nobody answered says nothing of the head then.
const LATE_MAX: Duration = Duration::from_secs(1);

/// When to look again.
#[derive(Debug)]
pub(crate) struct Pace {
    quiet: Duration,
    unreachable: Duration,
    /// How often in a row the head did not answer, and since when.
    failures: u32,
    silent_since: Option<Instant>,
    /// This head has answered.
    answered: bool,
    quarantined: bool,
    /// A little more for each cluster, by its name, so that a thousand heads that went together are not asked together.
    spread: f64,
}

/// How a head stands that answers, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has not answered several times in a row, and is asked less and less often from now on.
    Quarantined,
    /// It answers again.
    Back,
}

impl Pace {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        let hash = ray::hash::fnv1a(namespace.bytes().chain(*b"/").chain(name.bytes()));
        let spread = 1.0 + f64::from(u8::try_from(hash >> 56).unwrap_or(0)) / 1024.0;
        Self {
            quiet: Duration::ZERO,
            unreachable: BUSY_PERIOD,
            failures: 0,
            silent_since: None,
            answered: false,
            quarantined: false,
            spread,
        }
    }

    /// How long to wait after a look with this outcome, unless a Pod or the RayCluster changes.
    pub(crate) fn after(&mut self, outcome: Outcome) -> Duration {
        let quiet = std::mem::take(&mut self.quiet);
        let unreachable = std::mem::replace(&mut self.unreachable, BUSY_PERIOD);
        let wait = match outcome {
            Outcome::Waiting
            | Outcome::Patched
            | Outcome::Conflict
            | Outcome::Unowned
            | Outcome::Shadowed
            | Outcome::Ended => BUSY_PERIOD,
            Outcome::Quiet => {
                let wait = (quiet / QUIET_PART).clamp(BUSY_PERIOD, QUIET_PERIOD_MAX);
                self.quiet = quiet + wait;
                wait
            }
            Outcome::Held | Outcome::Failed | Outcome::Unreachable => {
                self.unreachable = (unreachable * 2).min(UNREACHABLE_PERIOD_MAX);
                unreachable
            }
        };
        wait.mul_f64(self.spread)
    }

    /// Whether its head is taken for one that does not answer.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// Whether the head has changed sides, after a look that began so late.
    pub(crate) fn turn(&mut self, outcome: Outcome, late: Duration, now: Instant) -> Option<Turn> {
        match outcome {
            Outcome::Unreachable if late > LATE_MAX => None,
            Outcome::Unreachable => {
                self.failures = self.failures.saturating_add(1);
                let since = *self.silent_since.get_or_insert(now);
                let starting = !self.answered && now.duration_since(since) < START;
                let begins = !self.quarantined && !starting && self.failures >= FAILURES_MAX;
                self.quarantined |= begins;
                begins.then_some(Turn::Quarantined)
            }
            // Without a head nobody knows, and the next one starts anew.
            Outcome::Held => {
                self.failures = 0;
                self.silent_since = None;
                self.answered = false;
                None
            }
            _ => {
                self.failures = 0;
                self.silent_since = None;
                self.answered = true;
                std::mem::take(&mut self.quarantined).then_some(Turn::Back)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Pace, Turn};
    use crate::tick::Outcome;

    /// A pace without anything added for the name.
    fn pace() -> Pace {
        Pace {
            spread: 1.0,
            ..Pace::new("default", "demo")
        }
    }

    #[test]
    fn a_quiet_cluster_is_looked_at_ever_more_seldom_and_at_once_again_when_something_happens() {
        let mut pace = pace();
        let (mut elapsed, mut looks) = (Duration::ZERO, 0);
        while elapsed < Duration::from_secs(60) {
            elapsed += pace.after(Outcome::Quiet);
            looks += 1;
        }
        assert_eq!(looks, 60);
        while elapsed < Duration::from_mins(20) {
            elapsed += pace.after(Outcome::Quiet);
        }
        assert_eq!(pace.after(Outcome::Quiet), Duration::from_secs(10));
        assert_eq!(pace.after(Outcome::Waiting), Duration::from_secs(1));
        assert_eq!(pace.after(Outcome::Quiet), Duration::from_secs(1));
    }

    #[test]
    fn a_head_that_does_not_answer_is_asked_ever_more_seldom() {
        let mut pace = pace();
        let waits: Vec<u64> = (0..7)
            .map(|_| pace.after(Outcome::Unreachable).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pace.after(Outcome::Quiet), Duration::from_secs(1));
    }

    /// A letter for each look, a second apart: `-` the head is silent, `~` likewise, but we were late, `+` it answers, `.` there is none. Told is `!` or `v`
    /// for each turn.
    fn turns(looks: &str) -> String {
        let (mut pace, start) = (pace(), Instant::now());
        let turn = |(second, look): (u64, char)| {
            let outcome = match look {
                '-' | '~' => Outcome::Unreachable,
                '+' => Outcome::Waiting,
                _ => Outcome::Held,
            };
            let late = Duration::from_secs(if look == '~' { 2 } else { 0 });
            match pace.turn(outcome, late, start + Duration::from_secs(second)) {
                Some(Turn::Quarantined) => '!',
                Some(Turn::Back) => 'v',
                None => look,
            }
        };
        (0..).zip(looks.chars()).map(turn).collect()
    }

    #[test]
    fn quarantine_begins_and_ends_once() {
        assert_eq!(turns("+--+-----.++"), "+--+--!--.v+");
        assert_eq!(turns("+-~~~~--+"), "+-~~~~-!v");
    }

    #[test]
    fn a_head_that_starts_may_take_its_time() {
        assert_eq!(turns("-----+---"), "-----+--!");
        assert_eq!(turns("+--.---+"), "+--.---+");
        let silent = "-".repeat(130);
        assert_eq!(turns(&silent).find('!'), Some(120));
    }
}
