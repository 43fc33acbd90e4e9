//! What is written to the RayCluster: the patch that scales it, and its end.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::Status as KubernetesStatus;
use kube::{Api, Client};

use super::{Look, Loop, Outcome};
use crate::NAME;
use crate::cluster::Cluster;
use crate::record::Recorder;
use crate::vacancy::{self, Ending};
use crate::watch::ray_cluster;

/// Past the time that the API server gives its webhooks.
const PATCH_DEADLINE: Duration = Duration::from_secs(35);

impl Loop {
    pub(super) async fn patch(&self, patch: &json_patch::Patch) -> Outcome {
        let clusters: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ray_cluster());
        let patch = Patch::<()>::Json(patch.clone());
        let parameters = PatchParams {
            field_manager: Some(NAME.to_owned()),
            ..PatchParams::default()
        };
        match tokio::time::timeout(PATCH_DEADLINE, clusters.patch(&self.name, &parameters, &patch)).await {
            Ok(Ok(_)) => Outcome::Patched,
            Ok(Err(kube::Error::Api(status))) if is_conflict(&status) => Outcome::Conflict,
            Err(_) => {
                tracing::warn!(
                    namespace = self.namespace,
                    cluster = self.name,
                    "patch not answered in time"
                );
                Outcome::Failed
            }
            Ok(Err(error)) => {
                tracing::warn!(namespace = self.namespace, cluster = self.name, error = %error, "patch failed");
                Outcome::Failed
            }
        }
    }

    pub(super) async fn end(&self, look: &Look<'_>, ending: Ending) -> Outcome {
        if !self.may_write() {
            return Outcome::Unowned;
        }
        // In a task of its own: what is written takes the cluster from us, and may end this look before it has told of it.
        let ended = end(
            self.client.clone(),
            self.recorder.clone(),
            look.cluster.clone(),
            ending,
        );
        tokio::spawn(ended).await.unwrap_or(Outcome::Failed)
    }
}

/// Ends a cluster, and says so on it.
async fn end(client: Client, recorder: Recorder, cluster: Cluster, ending: Ending) -> Outcome {
    let ended = vacancy::end(client, &cluster, ending);
    let ended = tokio::time::timeout(PATCH_DEADLINE, ended).await;
    let (outcome, problem) = match ended {
        Ok(Ok(true)) => (Outcome::Ended, None),
        Ok(Ok(false)) => {
            let problem = "the definition of RayCluster has no `idleSuspend`";
            (Outcome::Failed, Some(problem.to_owned()))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => (Outcome::Ended, None),
        Ok(Err(kube::Error::Api(status))) if is_conflict(&status) => return Outcome::Conflict,
        Ok(Err(error)) => (Outcome::Failed, Some(error.to_string())),
        Err(_) => (Outcome::Failed, Some("no answer in time".to_owned())),
    };
    recorder.ended(&cluster, ending, problem.as_deref()).await;
    outcome
}

/// A write that came between is 409. A `test` that fails is a bare 422: one for an object that would be invalid says in what.
fn is_conflict(status: &KubernetesStatus) -> bool {
    let bare = || {
        status
            .details
            .as_ref()
            .is_none_or(|details| details.causes.is_empty())
    };
    status.code == 409 || (status.code == 422 && bare())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::is_conflict;

    #[test]
    fn a_failed_test_is_a_conflict_and_an_invalid_object_is_not() {
        let conflicts = |status: Value| is_conflict(&serde_json::from_value(status).expect("a status"));
        let message = "the server rejected our request due to an error in our request";
        assert!(conflicts(
            json!({ "code": 422, "reason": "Invalid", "message": message, "details": {} })
        ));
        assert!(conflicts(json!({ "code": 409, "reason": "Conflict" })));
        let causes = json!([{ "reason": "FieldValueInvalid", "message": "no", "field": "spec" }]);
        assert!(!conflicts(
            json!({ "code": 422, "reason": "Invalid", "details": { "causes": causes } })
        ));
        assert!(!conflicts(json!({ "code": 403, "reason": "Forbidden" })));
    }
}
