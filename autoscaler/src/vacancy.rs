//! Clusters that nobody uses any more: after `idleTerminationOptions.timeoutSeconds` without a driver they are suspended or deleted, as Ray 2.60's own
//! autoscaler does it (Ray `kuberay/cloud_provider.py`). Where KubeRay's definition does not have the options, no RayCluster has them, and nothing is asked.
//!
//! The time begins anew with each driver that was there, with each head that does not say who is, and with our own restart: late is no harm.

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use ray::cluster::IdleTermination;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::gcs::Drivers;
use crate::watch::ray_cluster;

/// Under it the operator cleans up what a cluster that is deleted for idleness leaves behind.
const FINALIZER: &str = "ray.io/idle-termination-cleanup-finalizer";

/// Since when a cluster has had no driver.
#[derive(Debug, Default)]
pub(crate) struct Vacancy {
    since: Option<Instant>,
    last_left: u64,
}

/// What becomes of a cluster that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Suspend,
    Delete,
}

impl Vacancy {
    /// What is to become of it now. Nobody knows of drivers: then there may be one.
    pub(crate) fn look(
        &mut self,
        options: &IdleTermination,
        drivers: Option<Drivers>,
        now: Instant,
    ) -> Option<Ending> {
        let timeout = u64::try_from(options.timeout_seconds?).unwrap_or(0);
        let Some(drivers) = drivers.filter(|drivers| drivers.attached == 0) else {
            self.since = None;
            return None;
        };
        if drivers.last_left > self.last_left {
            self.last_left = drivers.last_left;
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < Duration::from_secs(timeout) {
            return None;
        }
        match options.policy.as_deref() {
            None | Some("Suspend") => Some(Ending::Suspend),
            Some("Delete") => Some(Ending::Delete),
            Some(_) => None,
        }
    }
}

/// Ends a cluster, if it still is as it was looked at. False where the definition of RayCluster has no place to say so.
pub(crate) async fn end(client: Client, cluster: &Cluster, ending: Ending) -> kube::Result<bool> {
    let metadata = &cluster.metadata;
    let (namespace, name) = (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ray_cluster());
    let mut version = metadata.resource_version.clone();
    if let Some(edit) = edit(cluster, ending) {
        let guarded = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": version },
            edit,
        ]);
        let patch: json_patch::Patch = serde_json::from_value(guarded).map_err(kube::Error::SerdeError)?;
        let written = clusters
            .patch(name, &PatchParams::default(), &Patch::<()>::Json(patch))
            .await?;
        if ending == Ending::Suspend {
            return Ok(written.data["spec"]["idleSuspend"] == true);
        }
        version = written.metadata.resource_version;
    }
    if ending == Ending::Delete {
        let preconditions = Preconditions {
            uid: metadata.uid.clone(),
            resource_version: version,
        };
        clusters
            .delete(name, &DeleteParams::default().preconditions(preconditions))
            .await?;
    }
    Ok(true)
}

/// What is written for it, unless that is there already.
fn edit(cluster: &Cluster, ending: Ending) -> Option<Value> {
    let add = |path: &str, value: Value| Some(json!({ "op": "add", "path": path, "value": value }));
    match ending {
        Ending::Suspend => add("/spec/idleSuspend", true.into()),
        Ending::Delete if cluster.finalizers.iter().any(|known| known == FINALIZER) => None,
        Ending::Delete if cluster.finalizers.is_empty() => add("/metadata/finalizers", json!([FINALIZER])),
        Ending::Delete => add("/metadata/finalizers/-", FINALIZER.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ray::cluster::IdleTermination;
    use serde_json::json;

    use super::{Ending, FINALIZER, Vacancy, edit};
    use crate::gcs::Drivers;
    use crate::tests::cluster;

    /// A letter for each look, ten seconds apart: `D` a driver is there, `-` none is, `x` one has come and gone since, `?` the head does not say.
    /// Told is `!` for each look that ends the cluster, of which nobody may have made use for half a minute.
    fn looks(looks: &str, policy: Option<&str>) -> String {
        let options = IdleTermination {
            timeout_seconds: Some(30),
            policy: policy.map(str::to_owned),
        };
        let (mut vacancy, start, mut last_left) = (Vacancy::default(), Instant::now(), 0);
        let mut look = |(index, look): (u64, char)| {
            last_left += u64::from(look == 'x');
            let drivers = (look != '?').then_some(Drivers {
                attached: usize::from(look == 'D'),
                last_left,
            });
            let now = start + Duration::from_secs(10 * index);
            vacancy.look(&options, drivers, now).map_or(look, |_| '!')
        };
        (0..).zip(looks.chars()).map(&mut look).collect()
    }

    #[test]
    fn a_cluster_ends_once_nobody_has_used_it_for_long_enough() {
        assert_eq!(looks("------", None), "---!!!");
        assert_eq!(looks("--D-----", None), "--D---!!");
    }

    #[test]
    fn whoever_came_and_left_between_two_looks_was_there() {
        assert_eq!(looks("--x-----", None), "--x--!!!");
    }

    #[test]
    fn ignorance_is_no_vacancy() {
        assert_eq!(looks("--?-----", None), "--?---!!");
    }

    #[test]
    fn it_ends_as_its_author_wants() {
        let mut vacancy = Vacancy::default();
        let mut ending = |policy: Option<&str>, timeout_seconds| {
            let policy = policy.map(str::to_owned);
            let options = IdleTermination {
                timeout_seconds,
                policy,
            };
            vacancy.look(&options, Some(Drivers::default()), Instant::now())
        };
        assert_eq!(ending(None, Some(0)), Some(Ending::Suspend));
        assert_eq!(ending(Some("Suspend"), Some(0)), Some(Ending::Suspend));
        assert_eq!(ending(Some("Delete"), Some(0)), Some(Ending::Delete));
        assert_eq!(ending(Some("Explode"), Some(0)), None);
        assert_eq!(ending(None, None), None);
    }

    #[test]
    fn the_finalizers_of_others_stay() {
        let mut cluster = cluster(&json!({}));
        let written = |cluster: &_| edit(cluster, Ending::Delete).map(|edit| edit["path"].clone());
        assert_eq!(written(&cluster), Some(json!("/metadata/finalizers")));
        cluster.finalizers.push("other".to_owned());
        assert_eq!(written(&cluster), Some(json!("/metadata/finalizers/-")));
        cluster.finalizers.push(FINALIZER.to_owned());
        assert_eq!(written(&cluster), None);
    }
}
