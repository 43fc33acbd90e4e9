//! What is done with what a policy comes to, as its spec has it, or for now as its annotations have it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::keys;
use crate::path::Pointer;
use crate::strict::Problem;

/// What is done with what a policy comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Mode {
    /// The cluster is scaled by it.
    #[default]
    Active,
    /// It is only shown.
    Recommend,
    /// The groups keep the workers they have.
    Paused,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Active, Self::Recommend, Self::Paused];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Recommend => "Recommend",
            Self::Paused => "Paused",
        }
    }
}

/// Another mode than that of the spec, for whoever does not want to change what stands in Git: the annotation `rayward.dev/mode`, and
/// `rayward.dev/mode-until` with the time at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    mode: Mode,
    until: Option<Timestamp>,
}

impl Override {
    /// Reads it, of annotations by name, if it is there.
    pub fn read<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>, Problem> {
        let problem = |key, problem: String, hint| {
            let place = Pointer::root().key("metadata").key("annotations").key(key);
            Err(Problem::new(place, problem, hint))
        };
        let named = |name: &str| Mode::ALL.into_iter().find(|mode| mode.name() == name);
        let mode = match annotation(keys::MODE).map(|name| (name, named(name))) {
            Some((_, Some(mode))) => mode,
            Some((name, None)) => {
                let hint = "write Active, Recommend or Paused";
                return problem(keys::MODE, format!("`{name}` is no mode"), hint);
            }
            None if annotation(keys::MODE_UNTIL).is_some() => {
                let hint = "say which, by the annotation rayward.dev/mode";
                return problem(keys::MODE_UNTIL, "no mode ends then".to_owned(), hint);
            }
            None => return Ok(None),
        };
        let until = annotation(keys::MODE_UNTIL).map(|time| (time, time.parse()));
        match until {
            None => Ok(Some(Self { mode, until: None })),
            Some((_, Ok(until))) => Ok(Some(Self {
                mode,
                until: Some(until),
            })),
            Some((time, Err(_))) => {
                let hint = "write it with its zone, such as 2026-12-24T18:00:00Z";
                problem(keys::MODE_UNTIL, format!("`{time}` is no time"), hint)
            }
        }
    }

    /// The mode, if it still holds.
    pub fn at(&self, now: Timestamp) -> Option<Mode> {
        self.until.is_none_or(|until| now < until).then_some(self.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(mode: Option<&str>, until: Option<&str>) -> String {
        let read = Override::read(|key| if key == keys::MODE { mode } else { until });
        let now: Timestamp = "2026-12-24T12:00:00Z".parse().expect("a time");
        match read {
            Ok(None) => "none".to_owned(),
            Ok(Some(read)) => format!("{:?}", read.at(now)),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn a_mode_holds_until_it_ends() {
        assert_eq!(told(None, None), "none");
        assert_eq!(told(Some("Paused"), None), "Some(Paused)");
        assert_eq!(
            told(Some("Recommend"), Some("2026-12-24T13:00:00+00:30")),
            "Some(Recommend)"
        );
        assert_eq!(told(Some("Active"), Some("2026-12-24T12:00:00Z")), "None");
    }

    #[test]
    fn what_is_no_mode_is_told() {
        insta::assert_snapshot!([
            told(Some("paused"), None),
            told(None, Some("2026-12-24T12:00:00Z")),
            told(Some("Paused"), Some("tomorrow")),
        ].join("\n"), @"
        metadata.annotations[rayward.dev/mode]: `paused` is no mode (write Active, Recommend or Paused)
        metadata.annotations[rayward.dev/mode-until]: no mode ends then (say which, by the annotation rayward.dev/mode)
        metadata.annotations[rayward.dev/mode-until]: `tomorrow` is no time (write it with its zone, such as 2026-12-24T18:00:00Z)
        ");
    }
}
