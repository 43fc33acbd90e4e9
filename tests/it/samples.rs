//! KubeRay's own sample manifests, unchanged but for what Pods cannot reach: a downloaded working directory becomes a local one, and a list of
//! packages to install goes away.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Testbed;

/// The documents of one sample file.
pub(crate) fn sample(testbed: &Testbed, file: &str) -> Result<Vec<Value>> {
    let path = testbed.samples().join(file);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read the sample {}", path.display()))?;
    let documents = testbed::documents(&text).with_context(|| format!("read {}", path.display()))?;
    ensure!(!documents.is_empty(), "{} holds no document", path.display());
    Ok(documents)
}

/// `ray-job.sample.yaml` without the packages that its runtime environment would install, and without the assertion about one of them.
pub(crate) fn offline_job(testbed: &Testbed) -> Result<Vec<Value>> {
    let mut documents = sample(testbed, "ray-job.sample.yaml")?;
    for document in &mut documents {
        edit(document, "/spec/runtimeEnvYAML", |text| {
            let variables = text
                .find("env_vars:")
                .expect("the sample sets environment variables");
            text[variables..].to_owned()
        });
        edit(document, "/data/sample_code.py", |text| {
            text.lines()
                .filter(|line| !line.contains("requests"))
                .map(|line| format!("{line}\n"))
                .collect()
        });
    }
    Ok(documents)
}

/// `ray-service.sample.yaml` with its application taken from a local archive of `fixtures/serve`.
pub(crate) fn offline_service(testbed: &Testbed) -> Result<Vec<Value>> {
    let archive = testbed.work().join("serve.zip");
    let application = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/serve");
    zip(&application, &archive)?;
    let mut documents = sample(testbed, "ray-service.sample.yaml")?;
    for document in &mut documents {
        edit(document, "/spec/serveConfigV2", |text| {
            text.lines()
                .map(|line| match line.split_once("working_dir:") {
                    Some((indent, _)) => format!("{indent}working_dir: \"file://{}\"\n", archive.display()),
                    None => format!("{line}\n"),
                })
                .collect()
        });
    }
    Ok(documents)
}

/// Replaces the text at `pointer`, if there is one.
fn edit(document: &mut Value, pointer: &str, change: impl FnOnce(&str) -> String) {
    if let Some(place) = document.pointer_mut(pointer) {
        let text = place.as_str().expect("the sample has a text there");
        *place = Value::String(change(text));
    }
}

/// An archive with the Python files of `folder` at its root.
fn zip(folder: &Path, archive: &Path) -> Result<()> {
    let output = Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(archive)
        .args(["fruit.py", "conditional_dag.py"])
        .current_dir(folder)
        .output()
        .context("run python3 -m zipfile")?;
    ensure!(
        output.status.success(),
        "make {}: {}",
        archive.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
