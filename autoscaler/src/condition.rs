//! The conditions by which a RayCluster says why we do not scale it: its head does not answer, or has an autoscaler of its own. Where nothing was ever amiss
//! there is none, so that nothing is written where all is well.

use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::NAME;
use crate::cluster::Cluster;
use crate::watch::ray_cluster;

const HEAD_REACHABLE: &str = "rayward.dev/HeadReachable";
const ADOPTED: &str = "rayward.dev/Adopted";
/// Whoever applies a status without an entry gives it up, so each condition has an owner of its own.
const ADOPTED_MANAGER: &str = "rayward-autoscaler-adoption";
/// The schema allows no more.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Whether the head answers, as a RayCluster says that the API server serves.
pub(crate) fn head_answers(cluster: &Value) -> Option<bool> {
    Some(find(cluster, HEAD_REACHABLE)?["status"] == "True")
}

/// Why it is only shadowed, as it says.
pub(crate) fn only_shadowed(cluster: &Value) -> Option<String> {
    let message = find(cluster, ADOPTED)?["message"].as_str();
    Some(message.unwrap_or_default().to_owned())
}

fn find<'a>(cluster: &'a Value, type_: &str) -> Option<&'a Value> {
    let mut conditions = cluster["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == type_)
}

/// What it is to say of its head from now on, if that is not what it says.
pub(crate) fn news(known: Option<bool>, quarantined: bool, answered: bool) -> Option<bool> {
    match known {
        None | Some(true) if quarantined => Some(false),
        // Also where somebody else began the quarantine: the replica before, or the process before.
        Some(false) if answered => Some(true),
        _ => None,
    }
}

/// Says whether the head answers.
pub(crate) async fn write_head_answers(
    client: Client,
    cluster: &Cluster,
    answers: bool,
    why: &str,
) -> kube::Result<()> {
    let (status, reason, message) = if answers {
        ("True", "HeadReachable", "the head answers again".to_owned())
    } else {
        let message = format!("nothing is scaled until the head answers: {why}");
        ("False", "HeadUnreachable", message)
    };
    let entry = entry(HEAD_REACHABLE, status, reason, &message, Timestamp::now());
    write(client, cluster, NAME, Some(entry)).await
}

/// Says why a cluster is only shadowed; nothing once it no longer is.
pub(crate) async fn write_only_shadowed(
    client: Client,
    cluster: &Cluster,
    why: Option<&str>,
) -> kube::Result<()> {
    let entry = why.map(|why| entry(ADOPTED, "False", "OnlyShadowed", why, Timestamp::now()));
    write(client, cluster, ADOPTED_MANAGER, entry).await
}

/// Takes back whatever it says: others scale it now, and nobody would keep that true.
pub(crate) async fn take_back(client: Client, cluster: &Cluster) -> kube::Result<()> {
    if cluster.head_answers.is_some() {
        write(client.clone(), cluster, NAME, None).await?;
    }
    if cluster.only_shadowed.is_some() {
        write_only_shadowed(client, cluster, None).await?;
    }
    Ok(())
}

/// Only the one entry is ours: the operator keeps those that it does not know.
async fn write(client: Client, cluster: &Cluster, manager: &str, entry: Option<Value>) -> kube::Result<()> {
    let metadata = &cluster.metadata;
    let (namespace, name) = (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ray_cluster());
    let parameters = PatchParams::apply(manager).force();
    let status = json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": { "name": name },
        "status": { "conditions": entry.into_iter().collect::<Vec<_>>() },
    });
    clusters
        .patch_status(name, &parameters, &Patch::Apply(status))
        .await
        .map(drop)
}

fn entry(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    // Of seconds, as the schema wants it.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    json!({
        "type": type_, "status": status, "reason": reason, "lastTransitionTime": now.to_string(),
        "message": &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ADOPTED, HEAD_REACHABLE, entry, head_answers, news, only_shadowed};
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
        let other = json!({ "type": "Other", "status": "False", "message": "of somebody else" });
        let with = |entry| json!({ "status": { "conditions": [other, entry] } });
        for (status, answers) in [("True", true), ("False", false)] {
            let cluster = with(entry(HEAD_REACHABLE, status, "Why", "so", time(0)));
            assert_eq!(head_answers(&cluster), Some(answers));
            assert_eq!(only_shadowed(&cluster), None);
        }
        let cluster = with(entry(ADOPTED, "False", "Why", "so", time(0)));
        assert_eq!(only_shadowed(&cluster).as_deref(), Some("so"));
        assert_eq!(head_answers(&cluster), None);
        assert_eq!(head_answers(&json!({})), None);
    }
}
