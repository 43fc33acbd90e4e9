//! A job by the clock: when it comes round. The rules for its template are those of any job and any cluster, at the template's place;
//! how long its name may be stands in `metadata`.

use ray::cron_job::CronJobSpec;
use ray::object::Kind;
use ray::schedule::{ParseScheduleError, Schedule, is_time_zone};

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const WHY_REFUSED: &str = "KubeRay records an event and makes no jobs.";
const SECONDS_MIN: i64 = 60;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-K002",
        summary: "a schedule has a time zone in it",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayCronJobSpec"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/schedule: TZ=Asia/Tokyo 0 3 * * *",
            passes: "{/spec/schedule: 0 3 * * *, /spec/timeZone: Asia/Tokyo}",
        },
        check: Check::CronJob(schedule_has_no_zone),
    },
    Rule {
        code: "RW-K003",
        summary: "a schedule cannot be read",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayCronJobSpec"),
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/schedule: 0 24 * * *",
            passes: "/spec/schedule: 0 23 * * *",
        },
        check: Check::CronJob(schedule_can_be_read),
    },
    Rule {
        code: "RW-K004",
        summary: "timeZone is empty",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayCronJobSpec"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/timeZone: ''",
            passes: "/spec/timeZone: UTC",
        },
        check: Check::CronJob(time_zone_is_not_empty),
    },
    Rule {
        code: "RW-K005",
        summary: "timeZone is none of the tz database",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayCronJobSpec"),
        operators: Operators::since(Operator::V1_7),
        gate: None,
        example: Example {
            fires: "/spec/timeZone: Europe/Bonn",
            passes: "/spec/timeZone: Europe/Berlin",
        },
        check: Check::CronJob(time_zone_is_known),
    },
    Rule {
        code: "RW-G063",
        summary: "a schedule is a time zone and nothing else",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: "KubeRay's parser of schedules panics on it, each time that the operator looks at the object: there is not even an event.",
        source: Source::Hole,
        operators: Operators {
            since: Operator::V1_6,
            until: Operator::V1_6,
        },
        gate: None,
        example: Example {
            fires: "/spec/schedule: TZ=Asia/Tokyo",
            passes: "/spec/schedule: TZ=Asia/Tokyo 0 3 * * *",
        },
        check: Check::CronJob(zone_is_followed_by_a_schedule),
    },
    Rule {
        code: "RW-G064",
        summary: "a schedule makes more than one job a minute",
        action: Action::Warn,
        kinds: &[Kind::CronJob],
        why: "No cluster starts within that time, so they pile up; what is less than a second, or negative, counts as a second.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/schedule: '@every 59s'",
            passes: "/spec/schedule: '@every 1m'",
        },
        check: Check::CronJob(jobs_do_not_pile_up),
    },
    Rule {
        code: "RW-G065",
        summary: "a schedule names a time that never comes",
        action: Action::Deny,
        kinds: &[Kind::CronJob],
        why: "KubeRay takes a time that never comes for one that has passed: it makes a job at once, and one more whenever one of \
            its jobs changes.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_6),
        gate: None,
        example: Example {
            fires: "/spec/schedule: 0 3 30 2 *",
            passes: "/spec/schedule: 0 3 29 2 *",
        },
        check: Check::CronJob(schedule_comes_round),
    },
];

fn schedule_has_no_zone(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if schedule(cron_job).contains("TZ") {
        findings
            .at(cron_job.path.key("schedule"))
            .problem("a schedule says nothing of its time zone")
            .hint("put the time zone into timeZone");
    }
}

fn schedule_can_be_read(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    let place = || cron_job.path.key("schedule");
    match read(cron_job) {
        Read::NoSuchZone(zone) => findings
            .at(place())
            .problem(format!("\"{zone}\" is not a time zone"))
            .hint("name one of the tz database, such as Europe/Berlin"),
        Read::Schedule(Err(error)) => findings
            .at(place())
            .problem(format!("this is no schedule: {error}"))
            .hint("write it as 30 3 * * 1-5 or @daily"),
        Read::OnlyZone | Read::Schedule(Ok(_)) => {}
    }
}

fn time_zone_is_not_empty(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if cron_job.time_zone.as_deref() == Some("") {
        findings
            .at(cron_job.path.key("timeZone"))
            .problem("it names no time zone")
            .hint("name one, such as Europe/Berlin, or take the field out");
    }
}

fn time_zone_is_known(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(zone) = cron_job.time_zone.as_deref().filter(|zone| !is_time_zone(zone)) {
        findings
            .at(cron_job.path.key("timeZone"))
            .problem(format!("\"{zone}\" is not a time zone"))
            .hint("name one of the tz database, such as Europe/Berlin; upper and lower case count");
    }
}

fn zone_is_followed_by_a_schedule(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if matches!(read(cron_job), Read::OnlyZone) {
        findings
            .at(cron_job.path.key("schedule"))
            .problem("there is no schedule after the time zone")
            .hint("write it as TZ=Asia/Tokyo 0 3 * * *");
    }
}

fn jobs_do_not_pile_up(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Read::Schedule(Ok(Schedule::Every(time))) = read(cron_job)
        && time.as_secs() < SECONDS_MIN
    {
        findings
            .at(cron_job.path.key("schedule"))
            .problem(format!(
                "there is a new job, with a cluster, every {} seconds",
                time.as_secs().max(1)
            ))
            .hint("leave a minute or more between jobs");
    }
}

fn schedule_comes_round(cron_job: &CronJobSpec, _: &Subject<'_>, findings: &mut Findings) {
    if matches!(read(cron_job), Read::Schedule(Ok(schedule)) if !schedule.ever_comes()) {
        findings
            .at(cron_job.path.key("schedule"))
            .problem("there is no such time in any year")
            .hint("choose days that the months have, and leave no field empty");
    }
}

/// What a schedule says.
enum Read<'s> {
    Schedule(Result<Schedule, ParseScheduleError>),
    /// A time zone stands in front that nobody knows,
    NoSuchZone(&'s str),
    /// or that nothing follows.
    OnlyZone,
}

fn schedule(cron_job: &CronJobSpec) -> &str {
    cron_job.schedule.as_deref().unwrap_or("")
}

/// A time zone may stand in front of a schedule for the parser; whether it may for KubeRay is another question.
fn read(cron_job: &CronJobSpec) -> Read<'_> {
    let text = schedule(cron_job);
    let Some(zoned) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) else {
        return Read::Schedule(text.parse());
    };
    match zoned.split_once(' ') {
        None => Read::OnlyZone,
        Some((zone, _)) if !is_time_zone(zone) => Read::NoSuchZone(zone),
        Some((_, rest)) => Read::Schedule(rest.trim().parse()),
    }
}
