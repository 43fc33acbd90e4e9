//! A container's environment, and what `$(NAME)` in its command means.
//!
//! Pure: the config maps and secrets a container refers to are fetched by `container` and handed in.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, ResourceFieldSelector};
use ray::quantity::Quantity;

/// Names and values, in no order: nothing depends on it once references are expanded.
pub(super) type Environment = BTreeMap<String, String>;

/// The config maps and secrets of a namespace that a container asked for and that exist, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    pub(super) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) secrets: BTreeMap<String, BTreeMap<String, String>>,
}

/// A Pod where it runs: what the downward API can tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) pod: &'a Pod,
    pub(super) pod_ip: Ipv4Addr,
    pub(super) host_ip: Ipv4Addr,
    /// What a resource without a limit resolves to: the node's allocatable amounts.
    pub(super) allocatable: &'a BTreeMap<String, String>,
}

/// Something that the container needs and that is not there; a kubelet waits for it to appear.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    #[error("configmap \"{0}\" not found")]
    ConfigMap(String),
    #[error("secret \"{0}\" not found")]
    Secret(String),
    #[error("couldn't find key {key} in {of}")]
    Key { key: String, of: String },
    #[error("unsupported field path \"{0}\"")]
    Field(String),
    #[error("unsupported resource \"{0}\"")]
    Resource(String),
}

/// `known` first (the services), then `envFrom`, then `env` in order, each able to refer to what came before.
pub(super) fn environment(
    known: &Environment,
    container: &Container,
    place: Place<'_>,
    sources: &Sources,
) -> Result<Environment, Missing> {
    let mut result = known.clone();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let found = if let Some(map) = &from.config_map_ref {
            entries(&sources.config_maps, &map.name, map.optional)
                .ok_or(Missing::ConfigMap(map.name.clone()))?
        } else if let Some(secret) = &from.secret_ref {
            entries(&sources.secrets, &secret.name, secret.optional)
                .ok_or(Missing::Secret(secret.name.clone()))?
        } else {
            continue;
        };
        result.extend(
            found
                .into_iter()
                .map(|(key, value)| (format!("{prefix}{key}"), value)),
        );
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, container, place, sources, &result)? {
            result.insert(variable.name.clone(), value);
        }
    }
    Ok(result)
}

/// Every config map and secret that [`environment`] may ask for.
pub(super) fn wanted(container: &Container) -> (Vec<String>, Vec<String>) {
    let sources = || {
        container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| variable.value_from.as_ref())
    };
    let bulk = || container.env_from.iter().flatten();
    let config_maps = (sources().filter_map(|from| Some(from.config_map_key_ref.as_ref()?.name.clone())))
        .chain(bulk().filter_map(|from| Some(from.config_map_ref.as_ref()?.name.clone())));
    let secrets = (sources().filter_map(|from| Some(from.secret_key_ref.as_ref()?.name.clone())))
        .chain(bulk().filter_map(|from| Some(from.secret_ref.as_ref()?.name.clone())));
    (config_maps.collect(), secrets.collect())
}

fn value(
    variable: &EnvVar,
    container: &Container,
    place: Place<'_>,
    sources: &Sources,
    known: &Environment,
) -> Result<Option<String>, Missing> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    if let Some(field) = &from.field_ref {
        let path = &field.field_path;
        return self::field(place, path)
            .map(Some)
            .ok_or_else(|| Missing::Field(path.clone()));
    }
    if let Some(resource) = &from.resource_field_ref {
        return self::resource(container, resource, place.allocatable).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let found = entries(&sources.config_maps, &key.name, key.optional)
            .ok_or_else(|| Missing::ConfigMap(key.name.clone()))?;
        return keyed(found, &key.key, key.optional, || {
            format!("ConfigMap {}", key.name)
        });
    }
    if let Some(key) = &from.secret_key_ref {
        let found = entries(&sources.secrets, &key.name, key.optional)
            .ok_or_else(|| Missing::Secret(key.name.clone()))?;
        return keyed(found, &key.key, key.optional, || format!("Secret {}", key.name));
    }
    Ok(None)
}

fn entries(
    all: &BTreeMap<String, BTreeMap<String, String>>,
    name: &str,
    optional: Option<bool>,
) -> Option<BTreeMap<String, String>> {
    all.get(name)
        .cloned()
        .or_else(|| (optional == Some(true)).then(BTreeMap::new))
}

fn keyed(
    mut found: BTreeMap<String, String>,
    key: &str,
    optional: Option<bool>,
    of: impl Fn() -> String,
) -> Result<Option<String>, Missing> {
    match found.remove(key) {
        None if optional != Some(true) => Err(Missing::Key {
            key: key.into(),
            of: of(),
        }),
        value => Ok(value),
    }
}

/// What a downward API field path says about the Pod; `None` when there is no such field.
///
/// All labels and all annotations come as the lines that a downward API volume has.
pub(super) fn field(place: Place<'_>, path: &str) -> Option<String> {
    let metadata = &place.pod.metadata;
    let spec = place.pod.spec.as_ref();
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let lines: Vec<String> = map
            .iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        lines.join("\n")
    };
    let entry = |map: &Option<BTreeMap<String, String>>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(
            map.as_ref()
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default(),
        )
    };
    Some(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => spec?.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec?.service_account_name.clone().unwrap_or_default(),
        "status.podIP" | "status.podIPs" => place.pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => place.host_ip.to_string(),
        other => {
            let (map, rest) = if let Some(rest) = other.strip_prefix("metadata.labels") {
                (&metadata.labels, rest)
            } else {
                (&metadata.annotations, other.strip_prefix("metadata.annotations")?)
            };
            entry(map, rest)?
        }
    })
}

/// `limits.cpu` and its like, in units of the divisor, rounded up.
pub(super) fn resource(
    container: &Container,
    wanted: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, String>,
) -> Result<String, Missing> {
    let missing = || Missing::Resource(wanted.resource.clone());
    let (side, name) = wanted.resource.split_once('.').ok_or_else(missing)?;
    let resources = container.resources.as_ref();
    let stated = match side {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(missing()),
    };
    let stated = stated
        .and_then(|amounts| amounts.get(name))
        .map(|amount| amount.0.clone());
    let amount = stated.or_else(|| (side == "limits").then(|| allocatable.get(name).cloned())?);
    let divisor = wanted.divisor.as_ref().map_or("1", |divisor| &divisor.0);
    in_units(amount.as_deref().unwrap_or("0"), divisor)
        .map(|units| units.to_string())
        .ok_or_else(missing)
}

fn in_units(amount: &str, divisor: &str) -> Option<i128> {
    let nanos = |text: &str| text.parse::<Quantity>().ok().map(Quantity::nanos);
    let divisor = nanos(divisor).filter(|nanos| *nanos > 0).or_else(|| nanos("1"))?; // the API server makes it 0
    Some((nanos(amount)? + divisor - 1) / divisor)
}

/// Replaces `$(NAME)` by the variable's value, `$$` by `$`; a reference to nothing stays as it is.
pub(super) fn expand(text: &str, known: &Environment) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match known.get(name) {
                Some(value) => result.push_str(value),
                None => result.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn environment_of_a_container() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "demo", "namespace": "a", "labels": { "ray.io/group": "small" } },
            "spec": { "nodeName": "node-1", "containers": [] },
        }))
        .expect("a pod");
        let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
        let amount =
            |of: &str, divisor: &str| json!({ "resourceFieldRef": { "resource": of, "divisor": divisor } });
        let container: Container = serde_json::from_value(json!({
            "name": "ray",
            "resources": { "limits": { "cpu": "1500m", "memory": "2Gi" } },
            "envFrom": [
                { "prefix": "CM_", "configMapRef": { "name": "settings" } },
                { "secretRef": { "name": "absent", "optional": true } },
            ],
            "env": [
                { "name": "NAME", "valueFrom": field("metadata.name") },
                { "name": "GROUP", "valueFrom": field("metadata.labels['ray.io/group']") },
                { "name": "IP", "valueFrom": field("status.podIP") },
                { "name": "CPUS", "valueFrom": amount("limits.cpu", "0") },
                { "name": "MEBIBYTES", "valueFrom": amount("limits.memory", "1Mi") },
                { "name": "NODE_PODS", "valueFrom": amount("limits.pods", "1") },
                { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "auth", "key": "token" } } },
                { "name": "ADDRESS", "value": "$(IP):$(CM_PORT) $(LATER) $$(IP) $5 $(" },
                { "name": "LATER", "value": "" },
            ],
        }))
        .expect("a container");
        let map = |name: &str, key: &str, value: &str| {
            BTreeMap::from([(
                name.to_owned(),
                BTreeMap::from([(key.to_owned(), value.to_owned())]),
            )])
        };
        let sources = Sources {
            config_maps: map("settings", "PORT", "6379"),
            secrets: map("auth", "token", "hush"),
        };
        let allocatable = BTreeMap::from([("pods".to_owned(), "110".to_owned())]);
        let place = Place {
            pod: &pod,
            pod_ip: Ipv4Addr::new(10, 244, 1, 2),
            host_ip: Ipv4Addr::new(10, 244, 0, 1),
            allocatable: &allocatable,
        };
        let told = |sources: &Sources| match environment(&Environment::new(), &container, place, sources) {
            Ok(all) => {
                let lines: Vec<_> = all
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                lines.join("\n")
            }
            Err(missing) => missing.to_string(),
        };
        insta::assert_snapshot!(told(&sources), @r"
        ADDRESS=10.244.1.2:6379 $(LATER) $(IP) $5 $(
        CM_PORT=6379
        CPUS=2
        GROUP=small
        IP=10.244.1.2
        LATER=
        MEBIBYTES=2048
        NAME=demo
        NODE_PODS=110
        TOKEN=hush
        ");
        assert_eq!(told(&Sources::default()), "configmap \"settings\" not found");
        let without_key = Sources {
            secrets: map("auth", "other", ""),
            ..sources
        };
        assert_eq!(told(&without_key), "couldn't find key token in Secret auth");
    }
}
