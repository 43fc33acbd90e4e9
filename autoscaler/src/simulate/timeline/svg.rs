//! The chart: what waits and runs, the nodes of each group on top of each other, and what they have cost, if their prices are known.

use super::super::chart::{COLOURS, Layer, Panel, double, draw};
use super::{SECONDS_PER_HOUR, Timeline};

pub(super) fn chart(timeline: &Timeline) -> String {
    let mut panels = vec![demand(timeline), nodes(timeline)];
    if timeline.groups.iter().any(|group| group.price_per_hour.is_some()) {
        panels.push(cost(timeline));
    }
    draw(&panels, timeline.samples.len() as u64)
}

fn demand(timeline: &Timeline) -> Panel {
    let layer = |name: &str, colour, value: fn(&super::Sample) -> u64| Layer {
        name: name.to_owned(),
        colour,
        values: timeline
            .samples
            .iter()
            .map(|sample| double(value(sample)))
            .collect(),
    };
    Panel {
        title: "tasks and bundles".to_owned(),
        layers: vec![
            layer("running", COLOURS[2], |sample| sample.running),
            layer("waiting", COLOURS[5], |sample| sample.waiting),
        ],
        decimals: 0,
    }
}

fn nodes(timeline: &Timeline) -> Panel {
    let layer = |index: usize| {
        timeline
            .samples
            .iter()
            .map(move |sample| double(sample.nodes[index]))
    };
    Panel {
        title: "nodes".to_owned(),
        layers: layers(timeline, |index| layer(index).collect()),
        decimals: 0,
    }
}

/// From the beginning on.
fn cost(timeline: &Timeline) -> Panel {
    let layer = |index: usize| {
        let price = timeline.groups[index].price_per_hour.unwrap_or(0.0) / SECONDS_PER_HOUR;
        let samples = timeline.samples.iter();
        let summed = samples.scan(0.0, |sum, sample| {
            *sum += price * double(sample.nodes[index]);
            Some(*sum)
        });
        summed.collect()
    };
    Panel {
        title: "cost".to_owned(),
        layers: layers(timeline, layer),
        decimals: 2,
    }
}

fn layers(timeline: &Timeline, values: impl Fn(usize) -> Vec<f64>) -> Vec<Layer> {
    let groups = timeline
        .groups
        .iter()
        .enumerate()
        .zip(COLOURS.into_iter().cycle());
    groups
        .map(|((index, group), colour)| Layer {
            name: group.name.clone(),
            colour,
            values: values(index),
        })
        .collect()
}
