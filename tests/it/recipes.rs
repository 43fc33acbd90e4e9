//! The policies in `manifests/recipes`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// What a recipe says.
pub(crate) fn recipe(name: &str) -> Result<Value> {
    let file = Path::new(FOLDER).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    Ok(testbed::documents(&text)?.remove(0)["spec"].take())
}

/// All their queries, each with its recipe and its signal: `serve-queue/queue`.
pub(crate) fn queries() -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let file = entry?.path();
        let name = file.file_stem().context("a file has a name")?.to_string_lossy();
        let spec = recipe(&name)?;
        let groups = spec["groups"].as_array().into_iter().flatten();
        let signals = groups.flat_map(|group| group["signals"].as_array().into_iter().flatten());
        queries.extend(signals.filter_map(|signal| {
            let query = signal["prometheus"]["query"].as_str()?;
            Some((format!("{name}/{}", signal["name"].as_str()?), query.to_owned()))
        }));
    }
    Ok(queries)
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/recipes");
