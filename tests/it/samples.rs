//! KubeRay's own sample manifests, unchanged but for what Pods cannot reach: a downloaded working directory becomes a local one, and a list of
//! packages to install goes away.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
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

/// Every object of `ray.io` among the samples, with the file that it stands in.
pub(crate) fn objects(testbed: &Testbed) -> Result<Vec<(String, Value)>> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(testbed.samples())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file = path.file_name().context("a file")?.to_string_lossy();
        let documents = sample(testbed, &file)?;
        let of_ray = |object: &Value| {
            let version = object["apiVersion"].as_str();
            version.is_some_and(|version| version.starts_with("ray.io/"))
        };
        for mut object in documents.into_iter().filter(of_ray) {
            give_name(&mut object);
            objects.push((file.clone().into_owned(), object));
        }
    }
    ensure!(
        objects.len() > 50,
        "KubeRay 1.6.2 ships 75 objects; only {} are here",
        objects.len()
    );
    Ok(objects)
}

/// Server-side apply has no generated names, so this makes one up as the API server does.
pub(crate) fn give_name(object: &mut Value) {
    if let Some(prefix) = object["metadata"]["generateName"].take().as_str() {
        object["metadata"]["name"] = format!("{prefix}xxxxx").into();
    }
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
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains("requests")).collect();
            lines.join("\n")
        });
    }
    Ok(documents)
}

/// Where Serve finds the applications that [`bring_applications`] puts there.
pub(crate) const APPLICATIONS: &str = "file:///home/ray/application/serve.zip";

/// `ray-service.sample.yaml` with its applications taken from `fixtures/serve`.
pub(crate) fn offline_service(testbed: &Testbed) -> Result<Vec<Value>> {
    let mut documents = sample(testbed, "ray-service.sample.yaml")?;
    for document in &mut documents {
        edit(document, "/spec/serveConfigV2", |text| {
            let quoted = text.split('"').map(|part| {
                if part.starts_with("https://") {
                    APPLICATIONS
                } else {
                    part
                }
            });
            quoted.collect::<Vec<_>>().join("\"")
        });
        if let Some(cluster) = document.pointer_mut("/spec/rayClusterConfig") {
            bring_applications(cluster);
        }
    }
    documents.insert(0, applications(&["fruit.py", "conditional_dag.py"])?);
    Ok(documents)
}

/// Puts the `ConfigMap` that [`applications`] makes into each Pod of a cluster.
pub(crate) fn bring_applications(cluster: &mut Value) {
    for group in ["/headGroupSpec", "/workerGroupSpecs/0"] {
        let pod = cluster.pointer_mut(&format!("{group}/template/spec"));
        let pod = pod.expect("a cluster has a head and a group");
        pod["volumes"] = json!([{"name": "application", "configMap": {"name": "application"}}]);
        pod["containers"][0]["volumeMounts"] =
            json!([{"name": "application", "mountPath": "/home/ray/application"}]);
    }
}

/// A `ConfigMap` with an archive of files of `fixtures/serve`.
pub(crate) fn applications(files: &[&str]) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "application"},
        "binaryData": {"serve.zip": archive(files)?},
    }))
}

/// Replaces the text at `pointer`, if there is one.
fn edit(document: &mut Value, pointer: &str, change: impl FnOnce(&str) -> String) {
    if let Some(place) = document.pointer_mut(pointer) {
        let text = place.as_str().expect("the sample has a text there");
        *place = Value::String(change(text));
    }
}

/// A zip archive, in base64, with files of `fixtures/serve` in the one folder at its top that Ray wants there.
fn archive(files: &[&str]) -> Result<String> {
    const PROGRAM: &str = "\
import base64, io, sys, zipfile
archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w') as files:
    for name in sys.argv[1:]:
        files.write(name, f'application/{name}')
print(base64.b64encode(archive.getvalue()).decode())
";
    let output = Command::new("python3")
        .args(["-c", PROGRAM])
        .args(files)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/serve"))
        .output()
        .context("run python3")?;
    ensure!(
        output.status.success(),
        "make an archive: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
