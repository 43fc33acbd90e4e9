//! Policies in files, for the offline commands.

use std::path::PathBuf;

use anyhow::bail;
use rules::Policies;
use rules::policy::NamedPolicy;

use crate::source::{self, Unreadable};

/// The policies in these files, or everything that is wrong with them. Other objects in there are passed over.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Policies> {
    let sources = source::read(files);
    let mut policies = Vec::new();
    let mut problems = Vec::new();
    for source in &sources {
        let documents = match source.documents() {
            Ok(documents) => documents,
            Err(unreadable) => {
                problems.push(unreadable.to_string());
                continue;
            }
        };
        let before = policies.len() + problems.len();
        for document in &documents {
            for found in document.objects().iter().filter(|found| found.is_policy()) {
                let name = found.value["metadata"]["name"].as_str().unwrap_or_default();
                match NamedPolicy::read(name, &found.value["spec"]) {
                    Ok(policy) => policies.push(policy),
                    Err(wrong) => problems.extend(wrong.into_iter().map(|problem| {
                        let place = document.place(&found.at.join(&problem.path));
                        let place = Some(place);
                        let message = problem.to_string();
                        Unreadable {
                            source,
                            place,
                            message,
                        }
                        .to_string()
                    })),
                }
            }
        }
        if before == policies.len() + problems.len() {
            problems.push(format!("{}: there is no RayAdmissionPolicy in it", source.name));
        }
    }
    if !problems.is_empty() {
        bail!("read the policies:\n  {}", problems.join("\n  "));
    }
    Ok(Policies::new(policies))
}
