//! A `RayCronJob`: a template of `RayJob`s and when to make them.

use crate::job::JobSpec;
use crate::path::Pointer;
use crate::read::Place;

/// What a `RayCronJob` asks for.
#[derive(Clone, Debug)]
pub struct CronJobSpec {
    /// Where it stands in its object.
    pub path: Pointer,
    /// When, in the five fields of cron.
    pub schedule: Option<String>,
    /// Where that time is told.
    pub time_zone: Option<String>,
    /// Whether it should make none for now.
    pub suspend: Option<bool>,
    /// The jobs it makes.
    pub job: JobSpec,
}

impl CronJobSpec {
    pub(crate) fn read(place: &Place<'_>) -> Self {
        let cron_job = Self {
            path: place.path.clone(),
            schedule: place.text("schedule"),
            time_zone: place.text("timeZone"),
            suspend: place.flag("suspend"),
            job: JobSpec::read(&place.object("jobTemplate")),
        };
        place.no_other_fields();
        cron_job
    }
}
