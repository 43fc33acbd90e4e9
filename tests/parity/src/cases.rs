//! The objects that are compared: KubeRay's samples, our own that set every field of interest, each with one thing wrong, and with several
//! settings that may contradict each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ray::object::Kind;
use serde_json::Value;

use crate::mutate::{Change, everywhere, setting};
use crate::oracle::documents;

const BASES: &str = include_str!("../objects/bases.yaml");
const SETTINGS: &str = include_str!("../objects/settings.yaml");

/// How many objects with several settings there are of each base. All pairs would be ten times as many, and take minutes.
const CROWDED: usize = 400;

/// An object, and how it came about.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is.
    pub kind: Kind,
    /// Which object, and what was done to it.
    pub label: String,
    /// The object.
    pub object: Value,
    /// Whether feature gates may matter; they do not where only the form of one value is wrong.
    pub gated: bool,
    /// Nothing was done to it.
    pub base: bool,
}

type Settings = BTreeMap<String, BTreeMap<String, Vec<Value>>>;

/// All of them, always the same and in the same order.
pub fn cases(samples: Vec<(String, Value)>) -> Result<Vec<Case>> {
    let settings: Settings = serde_saphyr::from_str(SETTINGS).context("read settings.yaml")?;
    let bases: Vec<Value> = serde_saphyr::from_str(BASES).context("read bases.yaml")?;
    let bases: Vec<Case> = bases
        .into_iter()
        .map(|object| case("bases.yaml", object))
        .collect::<Result<_>>()?;
    let samples: Vec<Case> = samples
        .into_iter()
        .map(|(file, object)| case(&file, object))
        .collect::<Result<_>>()?;

    let mut all: Vec<Case> = Vec::new();
    for base in &bases {
        let settings = settings_of(base.kind, &settings);
        all.extend(settings.iter().filter_map(|change| base.with(&[change])));
        all.extend(crowded(base, &settings));
    }
    let mut tried = BTreeSet::new();
    for base in bases.iter().chain(&samples) {
        let places = everywhere(&base.object);
        let new = places
            .iter()
            .filter(|change| tried.insert((base.kind, wherever(&change.pointer), change.value.to_string())));
        let cases = new.filter_map(|change| base.with(&[change]));
        all.extend(cases.map(|case| Case { gated: false, ..case }));
    }
    all.extend(bases);
    all.extend(samples);
    Ok(all)
}

/// The objects of files of yours.
pub fn cases_of(files: &[PathBuf]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        for object in documents(&text).with_context(|| format!("read {}", file.display()))? {
            cases.push(case(&file.display().to_string(), object)?);
        }
    }
    Ok(cases)
}

fn case(name: &str, object: Value) -> Result<Case> {
    let kind = object["kind"].as_str().and_then(Kind::from_kind_name);
    Ok(Case {
        kind: kind.with_context(|| format!("{name}: no kind of ray.io"))?,
        label: format!(
            "{name} {}",
            object["metadata"]["name"].as_str().unwrap_or_default()
        ),
        object,
        gated: true,
        base: true,
    })
}

impl Case {
    fn with(&self, changes: &[&Change]) -> Option<Self> {
        let mut object = self.object.clone();
        let mut label = self.label.clone();
        for change in changes {
            object = change.apply(&object)?;
            label = format!("{label}, {}", change.label());
        }
        Some(Self {
            label,
            object,
            base: false,
            ..*self
        })
    }
}

fn settings_of(kind: Kind, settings: &Settings) -> Vec<Change> {
    let topic = match kind {
        Kind::Cluster => "cluster",
        Kind::Job => "job",
        Kind::Service => "service",
        Kind::CronJob => "cron",
    };
    ["names", topic]
        .iter()
        .flat_map(|topic| &settings[*topic])
        .flat_map(|(field, values)| values.iter().map(|value| setting(kind, field, value.clone())))
        .collect()
}

/// Two to five settings at a time.
fn crowded<'a>(base: &'a Case, settings: &'a [Change]) -> impl Iterator<Item = Case> + 'a {
    let mut random = fastrand::Rng::with_seed(1);
    (0..CROWDED).filter_map(move |_| {
        let several: Vec<_> = (0..random.usize(2..=5))
            .filter_map(|_| random.choice(settings))
            .collect();
        base.with(&several)
    })
}

/// The same place in whichever item of a list.
fn wherever(pointer: &str) -> String {
    let steps = pointer
        .split('/')
        .map(|step| if step.parse::<usize>().is_ok() { "*" } else { step });
    steps.collect::<Vec<_>>().join("/")
}
