//! What `kubectl apply -k manifests/base` installs is what the API server accepts, field by field.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use testbed::Testbed;

/// What may be added in single namespaces passes too.
pub(crate) async fn the_optional_ones_are_accepted_by_the_api_server(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("optional").await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/optional");
    let mut accepted = 0;
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let file = entry?.path();
        for document in testbed::documents(&std::fs::read_to_string(&file)?)? {
            namespace
                .dry_run(&document)
                .await
                .with_context(|| format!("{}", file.display()))?;
            accepted += 1;
        }
    }
    ensure!(accepted >= 7, "only {accepted} objects in {}", folder.display());
    Ok(())
}

/// Every manifest of the base passes a server-side dry run with strict field validation.
pub(crate) async fn the_base_is_accepted_by_the_api_server(testbed: &Testbed) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/base");
    let kustomization =
        testbed::documents(&std::fs::read_to_string(folder.join("kustomization.yaml"))?)?.remove(0);
    let mut accepted = 0;
    for file in kustomization["resources"].as_array().context("resources")? {
        let file = folder.join(file.as_str().context("a resource is a file name")?);
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for mut document in testbed::documents(&text)? {
            // Under a name of its own, since the testbed has installed the same with URLs in place of Services. Definitions are called after
            // what they define.
            if document["kind"] != "CustomResourceDefinition" {
                let name = document["metadata"]["name"].as_str().context("metadata.name")?;
                document["metadata"]["name"] = format!("{name}-dry-run").into();
            }
            testbed
                .dry_run(&document)
                .await
                .with_context(|| format!("{}", file.display()))?;
            accepted += 1;
        }
    }
    ensure!(accepted > 10, "only {accepted} objects in {}", folder.display());
    Ok(())
}
