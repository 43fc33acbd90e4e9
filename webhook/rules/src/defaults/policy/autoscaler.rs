//! Who scales a cluster that scales, and how.

use ray::autoscaler_mode::AutoscalerMode;
use ray::cluster::ClusterSpec;
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::version::RayVersion;
use serde_json::Value;

use super::super::autoscaling::is_version_open;
use super::super::{Fill, Filled, ray_version_is};
use super::author;
use crate::policy::{AutoscalerDefaults, Resources, Version};
use crate::rule::Subject;

pub(super) const FILLS: &[Fill] = &[mode, options, version];

/// The first Ray whose second autoscaler KubeRay can be told to use.
const V2_SINCE: RayVersion = RayVersion::new(2, 10, 0);

/// A cron job does not hand on its annotations, so there is no place for it to say so.
fn mode(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let said = subject.object.metadata.annotations.contains_key(keys::AUTOSCALER);
    if let Some(mode) = defaults(cluster, subject).and_then(|defaults| defaults.mode)
        && !said
        && subject.object.kind() != Kind::CronJob
    {
        let place = Pointer::root()
            .key("metadata")
            .key("annotations")
            .key(keys::AUTOSCALER);
        let author = author(subject, &["autoscaler", "mode"]);
        filled.insert_for(author, place, AutoscalerMode::from(mode).to_string().into());
    }
}

fn options(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(defaults) = defaults(cluster, subject) else {
        return;
    };
    let place = cluster.path.key("autoscalerOptions");
    let upscaling = defaults.upscaling_mode.map(|mode| format!("{mode:?}").into());
    let values: [(_, Option<Value>); 3] = [
        (
            "idleTimeoutSeconds",
            defaults.idle_timeout_seconds.map(Into::into),
        ),
        ("upscalingMode", upscaling),
        ("image", defaults.image.clone().map(Into::into)),
    ];
    let resources = defaults.resources.iter();
    let amounts = resources.flat_map(Resources::lists).flat_map(|(list, amounts)| {
        let place = place.key("resources").key(list);
        amounts.iter().map(move |(name, amount)| {
            let author = author(subject, &["autoscaler", "resources", list, name]);
            (author, place.key(name.clone()), amount.0.clone())
        })
    });
    let has_resources = is_said(&place.key("resources"), subject);
    let values = values.into_iter().filter_map(|(field, value)| {
        Some((author(subject, &["autoscaler", field]), place.key(field), value?))
    });
    let values = values.filter(|(_, place, _)| !is_said(place, subject));
    for (author, place, value) in values.chain(amounts.filter(|_| !has_resources)) {
        // A template may have named the image.
        if !filled.contains(&place) {
            filled.insert_for(author, place, value);
        }
    }
}

/// Not for a Ray that would not know it, nor where another choice is written anywhere.
fn version(cluster: &ClusterSpec, subject: &Subject<'_>, filled: &mut Filled) {
    let Some(version) = defaults(cluster, subject).and_then(|defaults| defaults.version) else {
        return;
    };
    let known = || ray_version_is(cluster, subject.facts, |version| version >= V2_SINCE);
    if is_version_open(cluster, subject) && known() {
        let text = match version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        };
        let author = author(subject, &["autoscaler", "version"]);
        filled.insert_for(
            author,
            cluster.path.key("autoscalerOptions").key("version"),
            text.into(),
        );
    }
}

fn defaults<'p>(cluster: &ClusterSpec, subject: &Subject<'p>) -> Option<&'p AutoscalerDefaults> {
    let defaults = subject.policy.spec.autoscaler.as_ref();
    defaults.filter(|_| cluster.is_autoscaled())
}

fn is_said(place: &Pointer, subject: &Subject<'_>) -> bool {
    let written = place.resolve(subject.json);
    written.is_some_and(|value| !value.is_null() && value != "")
}
