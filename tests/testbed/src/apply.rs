//! What `kubectl apply --server-side --validate=strict` does, as calls: whatever the API server says comes back as data, warnings included.

use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, ValidationDirective,
};
use kube::client::Body;
use kube::core::{GroupVersionKind, Request, Status};
use kube::discovery::{ApiCapabilities, Discovery, Scope};
use kube::{Api, Client};
use serde_json::Value;

/// What was stored, and what the API server had to say about it.
#[derive(Debug, Clone)]
pub struct Applied {
    /// As it was stored (or would be, in a dry run).
    pub object: Value,
    /// Admission and deprecation warnings, in the order they came.
    pub warnings: Vec<String>,
}

/// Why an object was not stored; reads as `kubectl` would print it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The API server's message.
    pub message: String,
    /// HTTP status, 0 when the API server was not reached.
    pub code: u16,
    /// Warnings that came with the refusal.
    pub warnings: Vec<String>,
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self {
            message: format!("{error:#}"),
            code: 0,
            warnings: Vec::new(),
        }
    }
}

/// The documents of a YAML text, empty ones left out.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    // kubectl reads `0777` as the octal number that people mean by it.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).context("read YAML as kubectl does")?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// Talks to the API server about objects of any kind.
pub(crate) struct Applier {
    client: Client,
    kinds: Mutex<Option<Discovery>>,
}

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Mutex::default(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Server-side apply with strict field validation. `namespace` is for objects that name none.
    pub(crate) async fn apply(&self, object: &Value, namespace: Option<&str>) -> Result<Applied, Refusal> {
        self.send(object, namespace, false).await
    }

    /// The same, without storing anything.
    pub(crate) async fn dry_run(&self, object: &Value, namespace: Option<&str>) -> Result<Applied, Refusal> {
        self.send(object, namespace, true).await
    }

    async fn send(&self, object: &Value, namespace: Option<&str>, dry_run: bool) -> Result<Applied, Refusal> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (version, kind) = (
            text("/apiVersion").unwrap_or_default(),
            text("/kind").unwrap_or_default(),
        );
        let name = text("/metadata/name").context("the object has no metadata.name")?;
        let gvk = GroupVersionKind::try_from(kube::core::TypeMeta {
            api_version: version.to_owned(),
            kind: kind.to_owned(),
        })
        .map_err(anyhow::Error::from)?;
        let (resource, capabilities) = self
            .kind(|kinds| kinds.resolve_gvk(&gvk), &format!("{version} {kind}"))
            .await?;
        let namespace = match capabilities.scope {
            Scope::Cluster => None,
            Scope::Namespaced => text("/metadata/namespace").or(namespace).or(Some("default")),
        };
        let parameters = PatchParams {
            dry_run,
            force: true,
            field_manager: Some("kubectl".to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let request = Request::new(<DynamicObject as kube::Resource>::url_path(&resource, namespace))
            .patch(name, &parameters, &Patch::Apply(object))
            .map_err(anyhow::Error::from)?;
        let response = self
            .client
            .send(request.map(Body::from))
            .await
            .map_err(anyhow::Error::from)?;
        let code = response.status();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .filter_map(|value| warning_text(value.to_str().ok()?))
            .collect();
        let body = response
            .into_body()
            .collect_bytes()
            .await
            .map_err(anyhow::Error::from)?;
        if code.is_success() {
            let object = serde_json::from_slice(&body).context("read the API server's answer")?;
            return Ok(Applied { object, warnings });
        }
        let message = serde_json::from_slice::<Status>(&body).map_or_else(
            |_| String::from_utf8_lossy(&body).into_owned(),
            |status| status.message,
        );
        Err(Refusal {
            message,
            code: code.as_u16(),
            warnings,
        })
    }

    /// One object as it is stored.
    pub(crate) async fn object(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let object = self.api(kind, namespace).await?.get(name).await?;
        Ok(serde_json::to_value(object)?)
    }

    /// All objects of a kind in a namespace.
    pub(crate) async fn objects(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let list = self
            .api(kind, namespace)
            .await?
            .list(&ListParams::default())
            .await?;
        list.items
            .iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    /// Deletes in the background, as `kubectl delete --wait=false` does. What is gone already is no error.
    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        match self
            .api(kind, namespace)
            .await?
            .delete(name, &DeleteParams::background())
            .await
        {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result
                .map(drop)
                .with_context(|| format!("delete {kind} {namespace}/{name}")),
        }
    }

    async fn api(&self, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let by_name = |kinds: &Discovery| {
            kinds
                .groups()
                .flat_map(kube::discovery::ApiGroup::recommended_resources)
                .find(|(one, _)| one.kind == kind)
        };
        let (resource, capabilities) = self.kind(by_name, kind).await?;
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
        })
    }

    /// Looks a kind up in what the API server serves, and asks it again when the kind is not there: CRDs come and go.
    async fn kind(
        &self,
        look_up: impl Fn(&Discovery) -> Option<(ApiResource, ApiCapabilities)>,
        what: &str,
    ) -> Result<(ApiResource, ApiCapabilities)> {
        let known = self
            .kinds
            .lock()
            .expect("nobody panics with it")
            .as_ref()
            .and_then(&look_up);
        if let Some(kind) = known {
            return Ok(kind);
        }
        let fresh = Discovery::new(self.client.clone())
            .run_aggregated()
            .await
            .context("ask what kinds there are")?;
        let found = look_up(&fresh).ok_or_else(|| anyhow!("the API server knows no {what}"));
        *self.kinds.lock().expect("nobody panics with it") = Some(fresh);
        found
    }
}

/// The text of a `Warning` header: `299 - "text"`, with quotes and backslashes escaped.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1.rsplit_once('"')?.0;
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' {
            characters.next()?
        } else {
            character
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(
            warning_text(r#"299 - "say \"when\"""#).as_deref(),
            Some(r#"say "when""#)
        );
        assert_eq!(warning_text("299 -"), None);
    }

    #[test]
    fn empty_documents_are_none() -> Result<()> {
        assert_eq!(documents("---\na: 1\n---\n---\nb: 2\n")?.len(), 2);
        Ok(())
    }
}
