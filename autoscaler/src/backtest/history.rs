//! What was measured, as a file says it: CSV, or `OpenMetrics` with a time at each sample (`promtool tsdb dump-openmetrics`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

use crate::signals::replay::{Point, Series};

/// As long as Prometheus takes a sample for the present one.
const LOOKBACK_MILLISECONDS: i64 = 300_000;

/// What was measured, by name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Columns(BTreeMap<String, BTreeMap<i64, Point>>);

impl Columns {
    /// Reads either of the two.
    pub(super) fn read(text: &str) -> Result<Self> {
        let first = text.lines().next().unwrap_or_default();
        if first.split(',').next().is_some_and(|name| name.trim() == "time") {
            csv(text)
        } else {
            openmetrics(text)
        }
    }

    /// From the first to the last time that is written down.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.0.values().flat_map(BTreeMap::keys);
        let at = |milliseconds: &i64| Timestamp::from_millisecond(*milliseconds).ok();
        Some((at(times().min()?)?, at(times().max()?)?))
    }

    /// What was measured under a name. Names of `OpenMetrics` have no hyphens and no slashes.
    pub(super) fn series(&self, name: &str) -> Option<Series> {
        let points = self.0.get(name).or_else(|| self.0.get(&plain(name)))?;
        Some(Series {
            points: points.clone(),
            lookback_milliseconds: LOOKBACK_MILLISECONDS,
        })
    }

    fn put(&mut self, name: &str, at: i64, value: f64) {
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(at, Point::Value(value));
    }
}

fn plain(name: &str) -> String {
    name.replace(|character: char| !character.is_ascii_alphanumeric(), "_")
}

/// The first line names the columns, the first of which is `time`. An empty cell is a number that was not known.
fn csv(text: &str) -> Result<Columns> {
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let names: Vec<&str> = lines
        .next()
        .map(|(_, line)| cells(line).skip(1).collect())
        .unwrap_or_default();
    ensure!(!names.is_empty(), "it has no column but `time`");
    let mut columns = Columns::default();
    for name in &names {
        columns.0.entry((*name).to_owned()).or_default();
    }
    for (index, line) in lines {
        let place = || format!("line {}", index + 1);
        let mut cells = cells(line);
        let at = time(cells.next().unwrap_or_default()).with_context(place)?;
        let values: Vec<&str> = cells.collect();
        ensure!(
            values.len() == names.len(),
            "line {}: it has {} numbers for {} columns",
            index + 1,
            values.len(),
            names.len()
        );
        for (name, value) in names.iter().zip(values) {
            let value = match value {
                "" => f64::NAN,
                value => number(value).with_context(place)?,
            };
            columns.put(name, at, value);
        }
    }
    Ok(columns)
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"'))
}

/// `name{labels} value time`; what begins with `#` is passed over. A label `group` tells groups apart.
fn openmetrics(text: &str) -> Result<Columns> {
    let mut columns = Columns::default();
    let samples = text.lines().enumerate();
    for (index, line) in samples.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let place = || format!("line {}", index + 1);
        let (name, group, rest) = if let Some((name, rest)) = line.split_once('{') {
            let (labels, rest) = rest.rsplit_once('}').with_context(place)?;
            (name, label(labels, "group"), rest)
        } else {
            let (name, rest) = line.split_once(' ').with_context(place)?;
            (name, None, rest)
        };
        let mut words = rest.split_whitespace();
        let (Some(value), Some(at)) = (words.next(), words.next()) else {
            bail!("line {}: it is no sample with a time", index + 1);
        };
        let name = match group {
            Some(group) => plain(&format!("{group}/{name}")),
            None => name.trim().to_owned(),
        };
        columns.put(
            &name,
            time(at).with_context(place)?,
            number(value).with_context(place)?,
        );
    }
    Ok(columns)
}

/// The value of a label. No name of a group needs a backslash.
fn label<'l>(labels: &'l str, name: &str) -> Option<&'l str> {
    let mut labels = labels.split(',').filter_map(|label| label.split_once('='));
    let (_, value) = labels.find(|(label, _)| label.trim() == name)?;
    Some(value.trim().trim_matches('"'))
}

fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("{text} is no number"))
}

/// Seconds since 1970, or a date with a time.
fn time(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        ensure!(seconds.is_finite(), "{text} is no time");
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        return Ok((seconds * 1000.0).round() as i64);
    }
    let at: Timestamp = text.parse().with_context(|| {
        format!("{text} is neither seconds since 1970 nor a time such as 2026-11-01T08:00:00Z")
    })?;
    Ok(at.as_millisecond())
}
