//! Devices cannot be overcommitted: whoever states one of request and limit has stated both.

use ray::cluster::ClusterSpec;
use ray::keys;
use serde_json::{Map, Value};

use super::{Fill, Filled};
use crate::facts::Facts;

pub(super) const FILLS: &[Fill] = &[devices];

/// Request and limit of a device follow each other.
fn devices(cluster: &ClusterSpec, object: &Value, _: &Facts, filled: &mut Filled) {
    for group in cluster.groups() {
        let resources = group.ray_container_path().key("resources");
        for (stated, implied) in [("requests", "limits"), ("limits", "requests")] {
            let amounts = |list| resources.key(list).resolve(object).and_then(Value::as_object);
            let known = |name: &String| {
                amounts(implied)
                    .and_then(|amounts| amounts.get(name))
                    .is_some_and(|amount| !amount.is_null())
            };
            for (name, amount) in amounts(stated).into_iter().flat_map(Map::iter) {
                if keys::is_device(name) && !known(name) && !amount.is_null() {
                    filled.insert(resources.key(implied).key(name.clone()), amount.clone());
                }
            }
        }
    }
}
