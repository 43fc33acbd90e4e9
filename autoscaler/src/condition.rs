//! The condition by which a RayCluster says that its head does not answer, and that nothing is scaled for that. One whose head has always answered has
//! none, so that nothing is written where all is well.

use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::watch::ray_cluster;

const TYPE: &str = "rayward.dev/HeadReachable";
const FIELD_MANAGER: &str = "rayward-autoscaler";
/// The schema allows no more.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// What it says, of a RayCluster as the API server serves it.
pub(crate) fn read(cluster: &Value) -> Option<bool> {
    let mut conditions = cluster["status"]["conditions"].as_array()?.iter();
    let condition = conditions.find(|condition| condition["type"] == TYPE)?;
    Some(condition["status"] == "True")
}

/// What it is to say from now on, if that is not what it says.
pub(crate) fn news(known: Option<bool>, quarantined: bool, answered: bool) -> Option<bool> {
    match known {
        None | Some(true) if quarantined => Some(false),
        // Also where somebody else began the quarantine: the replica before, or the process before.
        Some(false) if answered => Some(true),
        _ => None,
    }
}

/// Writes it. Only the one entry is ours: the operator keeps those that it does not know.
pub(crate) async fn write(client: Client, cluster: &Cluster, answers: bool, why: &str) -> kube::Result<()> {
    let metadata = &cluster.metadata;
    let (namespace, name) = (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ray_cluster());
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let entry = entry(answers, why, Timestamp::now());
    let status = json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": { "name": name },
        "status": { "conditions": [entry] },
    });
    clusters
        .patch_status(name, &parameters, &Patch::Apply(status))
        .await
        .map(drop)
}

fn entry(answers: bool, why: &str, now: Timestamp) -> Value {
    let (status, reason, message) = if answers {
        ("True", "HeadReachable", "the head answers again".to_owned())
    } else {
        let message = format!("nothing is scaled until the head answers: {why}");
        ("False", "HeadUnreachable", message)
    };
    // Of seconds, as the schema wants it.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    json!({
        "type": TYPE, "status": status, "reason": reason, "lastTransitionTime": now.to_string(),
        "message": &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{entry, news, read};
    use crate::tests::time;

    #[test]
    fn it_is_written_when_it_changes_and_only_where_there_is_something_to_say() {
        let (quarantined, answered) = (true, true);
        for (known, expected) in [
            (None, Some(false)),
            (Some(true), Some(false)),
            (Some(false), None),
        ] {
            assert_eq!(news(known, quarantined, !answered), expected, "{known:?}");
        }
        for (known, expected) in [(None, None), (Some(true), None), (Some(false), Some(true))] {
            assert_eq!(news(known, !quarantined, answered), expected, "{known:?}");
        }
        // Silent, but not for long enough: whoever was before us may have known more.
        assert_eq!(news(Some(false), !quarantined, !answered), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for answers in [true, false] {
            let entry = entry(answers, "no answer within 3 s", time(0));
            assert_eq!(
                read(&json!({ "status": { "conditions": [{ "type": "Other" }, entry] } })),
                Some(answers)
            );
        }
        assert_eq!(read(&json!({})), None);
    }
}
