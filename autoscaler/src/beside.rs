//! The one RayCluster that we are beside of. The rights that KubeRay gives a head allow to get it, not to watch it, so it is looked at again and again.

use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

/// How soon a change is seen that is not our own. Ray's own autoscaler asks about as often.
const PERIOD: Duration = Duration::from_secs(2);

type Event = watcher::Result<watcher::Event<DynamicObject>>;

/// The cluster as a watch would tell of it.
pub(crate) fn cluster(api: Api<DynamicObject>, name: String) -> impl Stream<Item = Event> {
    let looks = stream::unfold(None, move |seen: Option<Option<String>>| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            if seen.is_some() {
                tokio::time::sleep(PERIOD).await;
            }
            let (events, seen) = match api.get_opt(&name).await {
                Ok(object) => {
                    let version = object.as_ref().and_then(ResourceExt::resource_version);
                    (news(object, seen.as_ref() == Some(&version)), Some(version))
                }
                Err(error) => {
                    let error = watcher::Error::InitialListFailed(error);
                    (vec![Err(error)], Some(None))
                }
            };
            Some((stream::iter(events), seen))
        }
    });
    looks.flatten()
}

/// The whole of what there is, unless that is what was told last.
fn news(object: Option<DynamicObject>, is_told: bool) -> Vec<Event> {
    if is_told {
        return Vec::new();
    }
    let there = object.map(watcher::Event::InitApply);
    let whole = [watcher::Event::Init].into_iter().chain(there);
    whole.chain([watcher::Event::InitDone]).map(Ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::ray_cluster;

    #[test]
    fn a_look_that_shows_nothing_new_is_no_news() {
        let object = || Some(DynamicObject::new("demo", &ray_cluster()));
        let told = |object, is_told| news(object, is_told).len();
        assert_eq!(told(object(), false), 3);
        assert_eq!(told(None, false), 2);
        assert_eq!(told(object(), true), 0);
    }
}
