//! What the parts of an answer cost by themselves, beside the least that any webhook does: reading the object's JSON. The ratios hold
//! on other machines too.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ray::object::{Kind, Object};
use rayward_webhook::review::Review;
use rules::{Facts, Operation, Policy, Request};
use serde_json::Value;

/// A row for each part, in Markdown.
pub fn markdown(review: &[u8], batches: usize) -> Result<String> {
    let decoded = Review::decode(review)?;
    let object = &decoded.object;
    let json = serde_json::to_vec(object)?;
    let yaml = serde_saphyr::to_string(object).context("write YAML")?;
    let request = Request {
        user: "somebody",
        ..Request::new(Operation::Create, Kind::Cluster, object, None)
    };
    let (facts, policy) = (as_in_the_service(), Policy::default());
    let findings = rules::check(&request, &facts);

    let baseline = median(batches, || serde_json::from_slice::<Value>(black_box(&json)));
    let parts = [
        ("the object's JSON, as a value", json.len(), baseline),
        (
            "the whole review",
            review.len(),
            median(batches, || Review::decode(black_box(review))),
        ),
        (
            "the same object as YAML",
            yaml.len(),
            median(batches, || testbed::documents(black_box(&yaml))),
        ),
        (
            "its fields, into our types",
            json.len(),
            median(batches, || Object::read(Kind::Cluster, black_box(object))),
        ),
        (
            "all rules, reading included",
            json.len(),
            median(batches, || rules::check(black_box(&request), &facts)),
        ),
        (
            "defaults, reading included",
            json.len(),
            median(batches, || rules::defaults(black_box(&request), &facts)),
        ),
        (
            "the verdict",
            json.len(),
            median(batches, || {
                rules::judge(black_box(findings.clone()), &request, &policy)
            }),
        ),
    ];
    let mut text = format!(
        "One object of {} bytes; {} rules, {} findings.\n\n\
         | | microseconds | MB/s | times the JSON |\n|---|---:|---:|---:|\n",
        json.len(),
        rules::table().count(),
        findings.len(),
    );
    for (part, bytes, time) in parts {
        let bytes = f64::from(u32::try_from(bytes)?);
        writeln!(
            text,
            "| {part} | {:.1} | {:.0} | {:.2} |",
            time.as_secs_f64() * 1e6,
            bytes / time.as_secs_f64() / 1e6,
            time.as_secs_f64() / baseline.as_secs_f64(),
        )?;
    }
    Ok(text)
}

/// Behind an API server, which has seen to the schema.
fn as_in_the_service() -> Facts {
    Facts {
        pruned: true,
        ..Facts::default()
    }
}

/// How long one turn takes, by the middle one of the batches.
fn median<T>(batches: usize, turn: impl Fn() -> T) -> Duration {
    const TURNS: u32 = 100;
    let mut times: Vec<Duration> = (0..batches)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..TURNS {
                drop(black_box(turn()));
            }
            begin.elapsed() / TURNS
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
