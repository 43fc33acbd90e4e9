//! A scenario from beginning to end, as a table, as JSON and as a chart.

mod svg;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use ray::path::Pointer;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::Misfit;
use super::chart::time;
use crate::simulation::{Sample, Scenario, Simulation};

/// A week has fewer, and each second takes a moment.
const SECONDS_MAX: u64 = 1_000_000;
const SECONDS_PER_HOUR: f64 = 3600.0;

/// What came of a scenario.
pub(super) struct Timeline {
    groups: Vec<Group>,
    /// One for each second.
    samples: Vec<Sample>,
}

struct Group {
    name: String,
    price_per_hour: Option<f64>,
}

/// The scenario that a text holds, if it is one.
pub(super) fn scenario(text: &str) -> Result<Option<Scenario>, Misfit> {
    #[derive(Deserialize)]
    struct Form {
        scenario: Option<IgnoredAny>,
    }
    let document: Value = match serde_json::from_str::<Form>(text) {
        Ok(Form { scenario: None }) => return Ok(None),
        Ok(_) => {
            serde_json::from_str(text).map_err(|error| Misfit::new(&Pointer::root(), error.to_string()))?
        }
        Err(_) => match serde_saphyr::from_str(text) {
            Ok(document) => document,
            // What is wrong with it is said by whoever reads problems.
            Err(_) => return Ok(None),
        },
    };
    if document.get("scenario").is_none() {
        return Ok(None);
    }
    let scenario: Scenario = serde_path_to_error::deserialize(document)
        .map_err(|error| Misfit::new(&ray::pointer_of(error.path()), error.inner().to_string()))?;
    Ok(Some(scenario))
}

impl Timeline {
    pub(super) fn of(scenario: &Scenario) -> Result<Self, Misfit> {
        let root = Pointer::root();
        if !(1..=SECONDS_MAX).contains(&scenario.seconds) {
            return Err(Misfit::new(
                &root.key("seconds"),
                format!(
                    "{} is too few or too many: write 1 to {SECONDS_MAX}",
                    scenario.seconds
                ),
            ));
        }
        let mut simulation = Simulation::new(scenario)?;
        let groups: Vec<Group> = simulation
            .groups()
            .map(|name| Group {
                name: name.to_owned(),
                price_per_hour: scenario.price_per_hour.get(name).copied(),
            })
            .collect();
        let priced = scenario.price_per_hour.keys();
        if let Some(unknown) = priced
            .into_iter()
            .find(|name| groups.iter().all(|group| group.name != **name))
        {
            return Err(Misfit::new(
                &root.key("pricePerHour").key(unknown.clone()),
                format!("there is no group `{unknown}`"),
            ));
        }
        Ok(Self {
            groups,
            samples: (0..scenario.seconds).map(|_| simulation.tick()).collect(),
        })
    }

    /// The seconds at which something happens, and the sum of it.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{:>9} {:>8} {:>8}", "time", "waiting", "running");
        let width = |group: &Group| group.name.len().max(5);
        for group in &self.groups {
            let _ = write!(text, " {:>1$}", group.name, width(group));
        }
        text.push('\n');
        let mut before: Option<&Sample> = None;
        for sample in &self.samples {
            let is_news = before.is_none_or(|before| {
                (before.waiting == 0) != (sample.waiting == 0)
                    || (before.running == 0) != (sample.running == 0)
                    || before.nodes != sample.nodes
                    || !sample.tick.decisions.is_empty()
            });
            before = Some(sample);
            if !is_news {
                continue;
            }
            let _ = write!(
                text,
                "{:>9} {:>8} {:>8}",
                time(sample.seconds),
                sample.waiting,
                sample.running
            );
            for (group, nodes) in self.groups.iter().zip(&sample.nodes) {
                let _ = write!(text, " {nodes:>0$}", width(group));
            }
            if !sample.tick.decisions.is_empty() {
                let _ = write!(text, "  {}", sample.tick.decisions.join("; "));
            }
            text.push('\n');
        }
        text.push('\n');
        for (index, group) in self.groups.iter().enumerate() {
            let most = self
                .samples
                .iter()
                .map(|sample| sample.nodes[index])
                .max()
                .unwrap_or(0);
            let hours = self.node_seconds(index) / SECONDS_PER_HOUR;
            let _ = write!(
                text,
                "{}: at most {most} nodes, {hours:.2} node hours",
                group.name
            );
            if let Some(cost) = self.cost(index) {
                let _ = write!(text, ", cost {cost:.2}");
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "something waited in {} of {} seconds",
            self.waited_seconds(),
            self.samples.len()
        );
        if let Some(last) = self.samples.last().filter(|last| last.waiting > 0) {
            let _ = writeln!(text, "{} still wait at the end", last.waiting);
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let nodes = |sample: &Sample| -> Map<String, Value> {
            let nodes = self.groups.iter().zip(&sample.nodes);
            nodes
                .map(|(group, nodes)| (group.name.clone(), (*nodes).into()))
                .collect()
        };
        let samples = self.samples.iter().map(|sample| {
            let tick = &sample.tick;
            json!({
                "second": sample.seconds, "waiting": sample.waiting, "running": sample.running, "nodes": nodes(sample),
                "decisions": tick.decisions, "written": tick.written, "removed": tick.removed, "refused": tick.rejected,
                "ageMilliseconds": tick.age_milliseconds,
            })
        });
        let groups = self.groups.iter().enumerate().map(|(index, group)| {
            let hours = self.node_seconds(index) / SECONDS_PER_HOUR;
            (
                group.name.clone(),
                json!({ "nodeHours": hours, "cost": self.cost(index) }),
            )
        });
        let timeline = json!({
            "version": 1,
            "groups": groups.collect::<Map<_, _>>(),
            "waitedSeconds": self.waited_seconds(),
            "samples": samples.collect::<Vec<_>>(),
        });
        format!("{timeline}\n")
    }

    /// A chart.
    pub(super) fn svg(&self) -> String {
        svg::chart(self)
    }

    fn waited_seconds(&self) -> usize {
        self.samples.iter().filter(|sample| sample.waiting > 0).count()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "more nodes than a double can count cost more than anybody has"
    )]
    fn node_seconds(&self, group: usize) -> f64 {
        self.samples.iter().map(|sample| sample.nodes[group]).sum::<u64>() as f64
    }

    fn cost(&self, group: usize) -> Option<f64> {
        let price = self.groups[group].price_per_hour?;
        Some(price * self.node_seconds(group) / SECONDS_PER_HOUR)
    }
}
