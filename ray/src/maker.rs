//! What the operator has made of something else.

use serde_json::Value;

use crate::keys;
use crate::object::Kind;

/// The kind of what the operator has made an object of: its controller, as its owner references have it. On a cluster KubeRay says so in a
/// label besides. Either alone is easily written by somebody who wants to be taken for less than he is, or left behind by a copy.
pub fn maker(kind: Kind, object: &Value) -> Option<Kind> {
    let metadata = &object["metadata"];
    let mut owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let controller = owners.find(|owner| owner["controller"] == true)?;
    let group = controller["apiVersion"].as_str()?.split_once('/')?.0;
    let maker = controller["kind"].as_str().and_then(Kind::from_kind_name)?;
    let makes_it = match kind {
        Kind::Cluster => {
            matches!(maker, Kind::Job | Kind::Service)
                && metadata["labels"][keys::ORIGINATED_FROM_KIND] == maker.name()
        }
        Kind::Job => maker == Kind::CronJob,
        Kind::Service | Kind::CronJob => false,
    };
    (group == "ray.io" && makes_it).then_some(maker)
}

/// The kind of the job or the service whose cluster this is.
pub fn part_of(kind: Kind, object: &Value) -> Option<Kind> {
    maker(kind, object).filter(|_| kind == Kind::Cluster)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owner_and_label_have_to_agree() {
        let owned = |api: &str, kind: &str, controller: bool, label: &str| {
            json!({"metadata": {
                "labels": {keys::ORIGINATED_FROM_KIND: label},
                "ownerReferences": [
                    {"apiVersion": "example.com/v1", "kind": "Team", "name": "vision"},
                    {"apiVersion": api, "kind": kind, "name": "demo", "controller": controller},
                ],
            }})
        };
        for (kind, object, expected) in [
            (
                Kind::Cluster,
                owned("ray.io/v1", "RayJob", true, "RayJob"),
                Some(Kind::Job),
            ),
            (
                Kind::Cluster,
                owned("ray.io/v1", "RayService", true, "RayService"),
                Some(Kind::Service),
            ),
            (
                Kind::Cluster,
                owned("ray.io/v1", "RayJob", true, "RayService"),
                None,
            ),
            (Kind::Cluster, owned("ray.io/v1", "RayJob", true, ""), None),
            (Kind::Cluster, owned("ray.io/v1", "RayJob", false, "RayJob"), None),
            (
                Kind::Cluster,
                owned("example.com/v1", "RayJob", true, "RayJob"),
                None,
            ),
            (
                Kind::Cluster,
                owned("ray.io/v1", "RayCronJob", true, "RayCronJob"),
                None,
            ),
            (
                Kind::Cluster,
                json!({"metadata": {"labels": {keys::ORIGINATED_FROM_KIND: "RayJob"}}}),
                None,
            ),
            // KubeRay puts no label on these.
            (
                Kind::Job,
                owned("ray.io/v1", "RayCronJob", true, ""),
                Some(Kind::CronJob),
            ),
            (Kind::Service, owned("ray.io/v1", "RayJob", true, "RayJob"), None),
        ] {
            assert_eq!(maker(kind, &object), expected, "{kind} {object}");
        }
    }
}
