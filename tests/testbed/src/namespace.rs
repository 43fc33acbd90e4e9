//! A Kubernetes namespace for one test: what is applied in it is seen by nobody else's conditions, and goes away with it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;

use crate::apply::{Applied, Applier, Refusal, documents};
use crate::eventually::eventually;
use crate::testbed::Testbed;

/// What a command in a container printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

/// A namespace that is deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    testbed: Testbed,
    name: String,
}

impl Namespace {
    pub(crate) fn new(testbed: Testbed, name: String) -> Self {
        Self { testbed, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The world it is in.
    pub fn testbed(&self) -> &Testbed {
        &self.testbed
    }

    /// A client that may do everything.
    pub fn client(&self) -> &Client {
        self.testbed.client()
    }

    /// `kubectl apply --server-side --validate=strict` of a YAML text with one document or more; the last one's result.
    pub async fn apply(&self, yaml: &str) -> Result<Applied, Refusal> {
        let mut last = None;
        for document in documents(yaml)? {
            last = Some(self.applier().apply(&document, Some(&self.name)).await?);
        }
        last.ok_or_else(|| anyhow::anyhow!("there is no document in {yaml:?}").into())
    }

    /// Applies several objects, in order, up to the first that is refused.
    pub async fn apply_all(&self, objects: &[Value]) -> Result<Vec<Applied>, Refusal> {
        let mut applied = Vec::new();
        for object in objects {
            applied.push(self.applier().apply(object, Some(&self.name)).await?);
        }
        Ok(applied)
    }

    /// What applying this would yield, without storing it.
    pub async fn dry_run(&self, object: &Value) -> Result<Applied, Refusal> {
        self.applier().dry_run(object, Some(&self.name)).await
    }

    /// One object as it is stored.
    pub async fn object(&self, kind: &str, name: &str) -> Result<Value> {
        self.applier().object(kind, &self.name, name).await
    }

    /// All objects of a kind.
    pub async fn objects(&self, kind: &str) -> Result<Vec<Value>> {
        self.applier().objects(kind, &self.name).await
    }

    /// Deletes an object without waiting for its end.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.applier().delete(kind, &self.name, name).await
    }

    /// The Pods that a label selector names.
    pub async fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client().clone(), &self.name);
        Ok(pods.list(&ListParams::default().labels(selector)).await?.items)
    }

    /// Runs a command in a container, as `kubectl exec` does.
    pub async fn exec(&self, pod: &str, container: &str, command: &[String]) -> Result<Output> {
        let output = self
            .testbed
            .podlet()
            .exec(&self.name, pod, container, command)
            .await?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The head Pod of a RayCluster, of a RayJob's or of a RayService's, once it is Ready and not on its way out.
    pub async fn ready_head(&self, cluster: &str, deadline: Duration) -> Result<Pod> {
        let what = format!("the head of {cluster} is ready");
        self.eventually(deadline, &what, async || {
            let selector = format!("ray.io/cluster={cluster},ray.io/node-type=head");
            let pods = self.pods(&selector).await.map_err(|error| error.to_string())?;
            let phases: Vec<_> = pods
                .iter()
                .map(|pod| pod.status.as_ref().and_then(|status| status.phase.clone()))
                .collect();
            pods.into_iter()
                .find(is_ready)
                .ok_or_else(|| format!("its phases are {phases:?}"))
        })
        .await
    }

    /// Asks again and again until `condition` holds. At the deadline the error tells its last answer and what is in this namespace.
    pub async fn eventually<T, E: Display>(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        eventually(&self.testbed, Some(&self.name), deadline, what, condition).await
    }

    fn applier(&self) -> &Arc<Applier> {
        self.testbed.applier()
    }
}

impl Drop for Namespace {
    /// In the background: the Pods' processes end while the next test runs already.
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (applier, name) = (Arc::clone(self.applier()), std::mem::take(&mut self.name));
            runtime.spawn(async move { applier.delete("Namespace", "", &name).await });
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
