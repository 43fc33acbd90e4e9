//! Heads that are set for the first version of Ray's autoscaler, as those of older Rays are: what `request_resources` asks for is not in their reports, but in their
//! store, as JSON.

use std::collections::BTreeMap;

use planner::{Batch, Request};
use tonic::Code;

use super::report::resources;
use super::{Gcs, GcsError, answer, rpc};

/// Where a head says which version of the autoscaler it is set for.
const FLAG_NAMESPACE: &str = "__autoscaler";
const FLAG_KEY: &str = "__autoscaler_v2_enabled";
const REQUEST_KEY: &str = "autoscaler_resource_request";

impl Gcs {
    /// What `request_resources` asks for, if this head keeps it in its store.
    pub(super) async fn stored_constraint(&mut self) -> Result<Option<Vec<Batch>>, GcsError> {
        let kept_here = if let Some(known) = self.stores_requests.get() {
            *known
        } else {
            let asked = self.is_set_for_the_first_version().await?;
            *self.stores_requests.get_or_init(|| asked)
        };
        if !kept_here {
            return Ok(None);
        }
        let stored = self.stored(REQUEST_KEY, "").await?;
        requested(&stored).map_err(|source| GcsError::Unreadable {
            what: REQUEST_KEY,
            address: self.address,
            source,
        })
    }

    async fn is_set_for_the_first_version(&mut self) -> Result<bool, GcsError> {
        match self.stored(FLAG_KEY, FLAG_NAMESPACE).await {
            Ok(flag) => Ok(flag != b"1"),
            // No head is without a store; what only replays reports may be.
            Err(GcsError::Status { source, .. }) if source.code() == Code::Unimplemented => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Empty if there is no such key.
    async fn stored(&mut self, key: &str, namespace: &str) -> Result<Vec<u8>, GcsError> {
        let request = rpc::InternalKvGetRequest {
            key: key.into(),
            namespace: namespace.into(),
        };
        let reply = self.store.internal_kv_get(request);
        Ok(answer("a key", self.address, reply).await?.value)
    }
}

/// A list of bundles, each by the names of its resources.
fn requested(stored: &[u8]) -> Result<Option<Vec<Batch>>, serde_json::Error> {
    if stored.is_empty() {
        return Ok(None);
    }
    let bundles: Vec<BTreeMap<String, f64>> = serde_json::from_slice(stored)?;
    let mut counts: BTreeMap<Request, _> = BTreeMap::new();
    for bundle in &bundles {
        let request = Request {
            resources: resources(bundle),
            ..Request::default()
        };
        *counts.entry(request).or_default() += 1;
    }
    let batches = counts.into_iter();
    let batches = batches.map(|(request, count)| Batch { request, count }).collect();
    Ok(Some(batches))
}

#[cfg(test)]
mod tests {
    use super::requested;

    #[test]
    fn like_bundles_are_counted() {
        let check = |stored: &str| match requested(stored.as_bytes()) {
            Ok(Some(batches)) => {
                let batches: Vec<String> = batches.iter().map(ToString::to_string).collect();
                format!("[{}]", batches.join(", "))
            }
            Ok(None) => "nothing was ever asked for".to_owned(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(check(""), "nothing was ever asked for");
        assert_eq!(check("[]"), "[]");
        assert_eq!(
            check(r#"[{"CPU": 1}, {"CPU": 1}, {"GPU": 0.5, "CPU": 2}]"#),
            "[2 x {CPU: 1}, 1 x {CPU: 2, GPU: 0.5}]"
        );
        assert!(check("{}").starts_with("error: "));
    }
}
