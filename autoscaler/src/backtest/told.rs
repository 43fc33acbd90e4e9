//! What came of playing policies: a table, JSON, and a chart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ray::resources::{Amount, Resources};
use serde_json::{Map, Value, json};

use crate::signals::replay::work::Asked;
use crate::signals::replay::{GroupMoment, Moment};
use crate::simulate::chart::{self, COLOURS, Layer, Panel, double};

const SECONDS_PER_HOUR: f64 = 3600.0;
/// A change that is taken back within so many seconds was not worth making.
const REGRET_SECONDS: i64 = 600;
/// People read no more.
const ROWS_MAX: usize = 60;

/// One policy, played.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) step_seconds: u32,
    pub(super) prices: BTreeMap<String, f64>,
    pub(super) groups: Vec<String>,
    pub(super) demand: Demand,
    pub(super) moments: Vec<Moment>,
}

/// What became of what Ray asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// It is not to be played, or there is no RayCluster to say what a worker offers.
    LeftOut,
    /// It is nowhere in the history.
    NotMeasured,
    /// It was played.
    Replayed,
}

/// What Ray asked for of one resource from the first to the last moment.
#[derive(Default)]
struct DemandSum {
    most: Amount,
    hours: f64,
    /// Of these, without a node.
    unmet_hours: f64,
}

/// What a group comes to from the first to the last moment.
struct Sum {
    least: u64,
    most: u64,
    replica_hours: f64,
    cost: Option<f64>,
    changes: usize,
    /// Those that were taken back soon.
    regretted: usize,
    short_hours: f64,
    unknown: usize,
}

impl Run {
    fn of(&self, group: usize) -> impl Iterator<Item = &GroupMoment> + Clone {
        self.moments.iter().map(move |moment| &moment.groups[group])
    }

    fn hours(&self, group: usize, of: impl Fn(&GroupMoment) -> u64) -> f64 {
        double(self.of(group).map(of).sum()) * f64::from(self.step_seconds) / SECONDS_PER_HOUR
    }

    fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.moments.iter().filter_map(|moment| moment.asked.as_ref())
    }

    fn unknown_demand(&self) -> usize {
        self.moments.len() - self.asked().count()
    }

    fn demand_sums(&self) -> BTreeMap<&str, DemandSum> {
        let mut sums: BTreeMap<&str, DemandSum> = BTreeMap::new();
        let hours = |amount: Amount| amount.to_f64() * f64::from(self.step_seconds) / SECONDS_PER_HOUR;
        for asked in self.asked() {
            for (name, amount) in &asked.all {
                let sum = sums.entry(name).or_default();
                sum.most = sum.most.max(*amount);
                sum.hours += hours(*amount);
                sum.unmet_hours += hours(asked.unmet.held(name));
            }
        }
        sums
    }

    fn sum(&self, group: usize) -> Sum {
        let replica_hours = self.hours(group, |moment| moment.replicas);
        let price = self.prices.get(&self.groups[group]);
        let replicas = self.of(group).map(|moment| moment.replicas);
        let mut changes = 0;
        let mut regretted = 0;
        // When it changed last, and whether it grew.
        let mut last: Option<(i64, bool)> = None;
        for (moments, at) in self.moments.windows(2).map(|pair| (pair, pair[1].at.as_second())) {
            let (before, now) = (
                moments[0].groups[group].replicas,
                moments[1].groups[group].replicas,
            );
            if before == now {
                continue;
            }
            changes += 1;
            let grew = now > before;
            if last.is_some_and(|(then, had_grown)| had_grown != grew && at - then < REGRET_SECONDS) {
                regretted += 1;
            }
            last = Some((at, grew));
        }
        Sum {
            least: replicas.clone().min().unwrap_or(0),
            most: replicas.max().unwrap_or(0),
            replica_hours,
            cost: price.map(|price| price * replica_hours),
            changes,
            regretted,
            short_hours: self.hours(group, |moment| moment.short),
            unknown: self.of(group).filter(|moment| moment.unknown).count(),
        }
    }
}

/// For each policy the moments at which something changes, and what it comes to.
pub(super) fn text(runs: &[Run]) -> String {
    let mut text = String::new();
    for run in runs {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", run.name);
        changes(run, &mut text);
        for (index, group) in run.groups.iter().enumerate() {
            let sum = run.sum(index);
            let _ = write!(
                text,
                "{group}: {} to {} replicas, {:.2} replica hours",
                sum.least, sum.most, sum.replica_hours
            );
            if let Some(cost) = sum.cost {
                let _ = write!(text, ", cost {cost:.2}");
            }
            let _ = write!(
                text,
                ", {} changes of which {} were taken back within {} minutes, short by {:.2} replica hours",
                sum.changes,
                sum.regretted,
                REGRET_SECONDS / 60,
                sum.short_hours
            );
            if sum.unknown > 0 {
                let _ = write!(
                    text,
                    ", a signal was not known in {} of {} steps",
                    sum.unknown,
                    run.moments.len()
                );
            }
            text.push('\n');
        }
        demand(run, &mut text);
    }
    text
}

fn demand(run: &Run, text: &mut String) {
    match run.demand {
        Demand::LeftOut => return,
        Demand::NotMeasured => {
            text.push_str("what Ray asked for was not measured: the policy alone decided\n");
            return;
        }
        Demand::Replayed => text.push_str("what Ray asked for, taken for pieces of one unit"),
    }
    for (index, (name, sum)) in run.demand_sums().into_iter().enumerate() {
        let _ = write!(
            text,
            "{} {name}: {} at most, {:.2} hours of which {:.2} without a node",
            if index == 0 { ':' } else { ';' },
            sum.most,
            sum.hours,
            sum.unmet_hours
        );
    }
    if run.unknown_demand() > 0 {
        let _ = write!(
            text,
            "; not known in {} of {} steps",
            run.unknown_demand(),
            run.moments.len()
        );
    }
    text.push('\n');
}

fn changes(run: &Run, text: &mut String) {
    let _ = write!(text, "{:<20}", "time");
    for group in &run.groups {
        let _ = write!(text, " {group:>8}");
    }
    text.push('\n');
    let mut before: Option<Vec<u64>> = None;
    let mut rows = 0;
    for moment in &run.moments {
        let replicas: Vec<u64> = moment.groups.iter().map(|group| group.replicas).collect();
        if before.as_ref() == Some(&replicas) {
            continue;
        }
        rows += 1;
        if rows <= ROWS_MAX {
            let _ = write!(text, "{:<20}", format!("{:.0}", moment.at));
            for replicas in &replicas {
                let _ = write!(text, " {replicas:>8}");
            }
            let changed = moment.groups.iter().enumerate().filter(|(index, group)| {
                before
                    .as_ref()
                    .is_none_or(|before| before[*index] != group.replicas)
            });
            let why: BTreeSet<&str> = changed.map(|(_, group)| group.by.as_str()).collect();
            let why: Vec<&str> = why.into_iter().collect();
            let _ = writeln!(text, "  {}", why.join("; "));
        }
        before = Some(replicas);
    }
    if rows > ROWS_MAX {
        let _ = writeln!(
            text,
            "and {} changes more (--format json tells all)",
            rows - ROWS_MAX
        );
    }
    text.push('\n');
}

/// For programs.
pub(super) fn json(runs: &[Run]) -> String {
    let run = |run: &Run| {
        let groups = run.groups.iter().enumerate().map(|(index, name)| {
            let sum = run.sum(index);
            let told = json!({
                "leastReplicas": sum.least, "mostReplicas": sum.most, "replicaHours": sum.replica_hours, "cost": sum.cost,
                "changes": sum.changes, "regrettedChanges": sum.regretted, "shortReplicaHours": sum.short_hours,
                "unknownSteps": sum.unknown,
            });
            (name.clone(), told)
        });
        let moments = run.moments.iter().map(|moment| {
            let groups = run.groups.iter().zip(&moment.groups).map(|(name, group)| {
                let told = json!({
                    "replicas": group.replicas, "running": group.running, "short": group.short, "limitedBy": group.by,
                    "unknown": group.unknown,
                });
                (name.clone(), told)
            });
            let groups: Map<String, Value> = groups.collect();
            let mut told = json!({"at": moment.at.to_string(), "groups": groups});
            if let Some(Asked { all, unmet }) = &moment.asked {
                told["demand"] = json!({"asked": amounts(all), "unmet": amounts(unmet)});
            }
            told
        });
        let mut told = json!({
            "policy": run.name, "stepSeconds": run.step_seconds, "groups": groups.collect::<Map<String, Value>>(),
            "moments": moments.collect::<Vec<_>>(),
        });
        if run.demand == Demand::Replayed {
            let sums = run.demand_sums().into_iter().map(|(name, sum)| {
                let told =
                    json!({"most": sum.most.to_f64(), "hours": sum.hours, "unmetHours": sum.unmet_hours});
                (name.to_owned(), told)
            });
            told["demand"] = sums.collect::<Map<String, Value>>().into();
            told["unknownDemandSteps"] = run.unknown_demand().into();
        }
        told
    };
    let told = json!({"version": 1, "policies": runs.iter().map(run).collect::<Vec<_>>()});
    format!("{told}\n")
}

fn amounts(resources: &Resources) -> Map<String, Value> {
    let amounts = resources.iter();
    amounts
        .map(|(name, amount)| (name.clone(), amount.to_f64().into()))
        .collect()
}

/// A chart: replicas, how many too few they are, what Ray asks for without a node to give, and what replicas have cost, policy by policy.
pub(super) fn svg(runs: &[Run]) -> String {
    let mut panels = Vec::new();
    for run in runs {
        let title = |what: &str| {
            if runs.len() > 1 {
                format!("{what}, {}", run.name)
            } else {
                what.to_owned()
            }
        };
        panels.push(panel(run, title("replicas"), 0, &|index| {
            run.of(index).map(|moment| double(moment.replicas)).collect()
        }));
        if run
            .groups
            .iter()
            .enumerate()
            .any(|(index, _)| run.of(index).any(|moment| moment.short > 0))
        {
            panels.push(panel(run, title("replicas short"), 0, &|index| {
                run.of(index).map(|moment| double(moment.short)).collect()
            }));
        }
        if run.asked().any(|asked| !asked.unmet.is_empty()) {
            panels.push(unmet(run, title("asked for by Ray, without a node")));
        }
        if !run.prices.is_empty() {
            panels.push(panel(run, title("cost"), 2, &|index| cost(run, index)));
        }
    }
    let longest = runs
        .iter()
        .map(|run| run.moments.len() as u64 * u64::from(run.step_seconds));
    chart::draw(&panels, longest.max().unwrap_or(1))
}

fn panel(run: &Run, title: String, decimals: usize, values: &dyn Fn(usize) -> Vec<f64>) -> Panel {
    let groups = run.groups.iter().enumerate().zip(COLOURS.into_iter().cycle());
    let layers = groups.map(|((index, name), colour)| Layer {
        name: name.clone(),
        colour,
        values: values(index),
    });
    Panel {
        title,
        layers: layers.collect(),
        decimals,
    }
}

fn unmet(run: &Run, title: String) -> Panel {
    let names: BTreeSet<&String> = run
        .asked()
        .flat_map(|asked| asked.unmet.iter().map(|(name, _)| name))
        .collect();
    let amounts = |name: &str| {
        let moments = run.moments.iter().map(|moment| moment.asked.as_ref());
        moments
            .map(|asked| asked.map_or(0.0, |asked| asked.unmet.held(name).to_f64()))
            .collect()
    };
    let layers = names.into_iter().zip(COLOURS.into_iter().cycle());
    Panel {
        title,
        layers: layers
            .map(|(name, colour)| Layer {
                name: name.clone(),
                colour,
                values: amounts(name),
            })
            .collect(),
        decimals: 0,
    }
}

/// From the beginning on.
fn cost(run: &Run, group: usize) -> Vec<f64> {
    let price = run.prices.get(&run.groups[group]).copied().unwrap_or(0.0);
    let step = price * f64::from(run.step_seconds) / SECONDS_PER_HOUR;
    let summed = run.of(group).scan(0.0, |sum, moment| {
        *sum += step * double(moment.replicas);
        Some(*sum)
    });
    summed.collect()
}
