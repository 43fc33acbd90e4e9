//! What was measured, as tables in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Cost, Report, Round, Wave};

impl Report {
    /// Two tables: what users feel, and what it costs.
    pub fn markdown(&self) -> String {
        let mut text = "Seconds from the demand to the patch of `replicas`, to when all of it runs, and from its end to `replicas` of none; medians:\n\n\
             | | patched: Ray | Rayward | times | runs: Ray | Rayward | emptied: Ray | Rayward | nodes: Ray | Rayward |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
        for Wave { name, ray, ours, .. } in &self.waves {
            let seconds = |rounds: &[Round], what: fn(&Round) -> Duration| {
                median(rounds.iter().map(what).collect()).as_secs_f64()
            };
            let patched = [ray, ours].map(|rounds| seconds(rounds, |round| round.patched));
            let ran = [ray, ours].map(|rounds| seconds(rounds, |round| round.ran));
            let emptied = [ray, ours].map(|rounds| seconds(rounds, |round| round.emptied));
            let nodes = [ray, ours].map(|rounds| median(rounds.iter().map(|round| round.nodes).collect()));
            line(
                &mut text,
                format_args!(
                    "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} |",
                    patched[0],
                    patched[1],
                    patched[0] / patched[1],
                    ran[0],
                    ran[1],
                    emptied[0],
                    emptied[1],
                    nodes[0],
                    nodes[1]
                ),
            );
        }
        text.push_str("\nWhat it costs:\n\n| | Ray | Rayward | times |\n|---|---:|---:|---:|\n");
        let costs = |side: fn(&Wave) -> &Vec<Round>| -> Vec<Cost> {
            let rounds = self.waves.iter().flat_map(side);
            rounds.map(|round| round.cost).collect()
        };
        let (ray, ours) = (costs(|wave| &wave.ray), costs(|wave| &wave.ours));
        let minutes = self.rest.as_secs_f64() / 60.0;
        let mean = |costs: &[Cost], what: fn(&Cost) -> f64| {
            costs.iter().map(what).sum::<f64>() / f64::from(u32::try_from(costs.len()).expect("few rounds"))
        };
        let rows: [(&str, [f64; 2]); 5] = [
            (
                "memory, MiB",
                [self.ray_at_rest, self.ours_at_rest].map(|cost| mebibytes(cost.resident)),
            ),
            (
                "processor time at rest, ms a minute",
                [self.ray_at_rest, self.ours_at_rest].map(|cost| cost.cpu.as_secs_f64() * 1e3 / minutes),
            ),
            (
                "requests to the API server at rest, a minute",
                [self.ray_at_rest, self.ours_at_rest].map(|cost| count(cost.requests) / minutes),
            ),
            (
                "processor time for one demand, up and down, ms",
                [&ray, &ours].map(|costs| mean(costs, |cost| cost.cpu.as_secs_f64() * 1e3)),
            ),
            (
                "requests for one demand, up and down",
                [&ray, &ours].map(|costs| mean(costs, |cost| count(cost.requests))),
            ),
        ];
        for (name, [ray, ours]) in rows {
            line(
                &mut text,
                format_args!("| {name} | {ray:.1} | {ours:.1} | {:.1} |", ray / ours),
            );
        }
        text
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).expect("it is less than four tebibytes")) / 1024.0
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("few requests"))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}
