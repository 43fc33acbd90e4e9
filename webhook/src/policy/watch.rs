//! Policies and namespaces as they are now, from watches. Policies that changed are read, and swapped into the facts at once; a bad one
//! is told so in its status, where what it said before is kept, too, and stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use rules::policy::{NamedPolicy, Problem};
use rules::{Facts, Policies};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::definition;
use crate::operator;

const MANAGER: &str = "rayward-webhook";
/// How often statuses are looked at that could not be written, or that a replica of another version has written.
const STATUS_REFRESH: Duration = Duration::from_secs(30);
/// How long we wait for the namespaces before we answer without knowing their labels.
const NAMESPACES_WAIT: Duration = Duration::from_secs(5);
/// How long a write may wait for us to look its namespace up.
const LOOKUP: Duration = Duration::from_millis(500);
/// How long new policies may have to wait because the status of another cannot be written.
const STATUS_WAIT: Duration = Duration::from_secs(5);
/// A condition cannot say more.
const MESSAGE_CHARS_MAX: usize = 32_768;

/// The namespaces and their labels.
#[derive(Clone)]
pub struct Namespaces {
    client: Client,
    watched: Store<PartialObjectMeta<Namespace>>,
}

impl Namespaces {
    /// The namespaces as they are known through `client`, and what keeps them up to date for as long as it is polled.
    pub fn watch(client: Client) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let writer = reflector::store::Writer::default();
        let watched = writer.as_reader();
        let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|namespace| {
                // Only the labels are asked for.
                namespace.managed_fields_mut().clear();
                namespace.annotations_mut().clear();
            });
        let keep = events.reflect(writer).for_each(async |event| {
            if let Err(error) = event {
                tracing::warn!(%error, "watch of namespaces failed");
            }
        });
        (Self { client, watched }, keep)
    }

    /// The labels of a namespace. One that was made a moment ago, together with what is in it, is looked up: it must not be a way around
    /// a policy. Nothing, if even that fails.
    pub async fn labels(&self, name: &str) -> Option<BTreeMap<String, String>> {
        if let Some(labels) = self.watched(name) {
            return Some(labels);
        }
        let api = Api::<Namespace>::all(self.client.clone());
        match timeout(LOOKUP, api.get_metadata_opt(name)).await {
            Ok(Ok(namespace)) => namespace.map(|namespace| namespace.labels().clone()),
            Ok(Err(error)) => {
                tracing::warn!(%error, namespace = name, "the labels of a namespace are not to be had");
                None
            }
            Err(_) => {
                tracing::warn!(
                    namespace = name,
                    "the labels of a namespace are not to be had in time"
                );
                None
            }
        }
    }

    /// The same, as far as the watch knows.
    pub fn watched(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.watched
            .get(&ObjectRef::new(name))
            .map(|namespace| namespace.labels().clone())
    }
}

/// Keeps the policies among `facts` up to date for as long as it is polled. It is `known` from then on what policies there are; also when
/// there are none to be had because we may not see them, or because nobody has installed the kind.
pub async fn keep(
    client: Client,
    facts: Arc<ArcSwap<Facts>>,
    namespaces: Namespaces,
    known: watch::Sender<bool>,
) {
    let api = Api::<DynamicObject>::all_with(client, &definition::resource());
    let writer = reflector::store::Writer::new(definition::resource());
    let policies = writer.as_reader();
    let events = watcher(api.clone(), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let mut events = std::pin::pin!(events);
    let mut refresh = tokio::time::interval(STATUS_REFRESH);
    let mut kept = Kept::default();
    loop {
        let now = tokio::select! {
            event = events.next() => match event {
                Some(Ok(watcher::Event::Init | watcher::Event::InitApply(_))) => continue,
                Some(Ok(_)) => policies.state(),
                Some(Err(error)) => {
                    tracing::warn!(%error, "watch of rayadmissionpolicies failed");
                    if matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(_))) {
                        known.send_replace(true);
                    }
                    continue;
                }
                None => return,
            },
            _ = refresh.tick() => {
                write_statuses(&api, &policies.state(), &kept).await;
                continue;
            }
        };
        let changed = kept.take(now.iter().map(|policy| {
            let (spec, in_force) = (&policy.data["spec"], &policy.data["status"]["inForce"]);
            (policy.name_any(), spec, in_force)
        }));
        if !changed.is_empty() {
            let all = Arc::new(Policies::new(kept.in_force()));
            operator::update(&facts, |facts| facts.policies = all.clone());
            tracing::info!(
                changed = changed.join(","),
                in_force = kept.in_force().count(),
                "policies"
            );
        }
        if !*known.borrow() {
            // A late answer is better than one that overlooks a policy.
            let namespaces = namespaces.watched.wait_until_ready();
            let _ = timeout(NAMESPACES_WAIT, namespaces).await;
            known.send_replace(true);
        }
        let changed: Vec<_> = now
            .into_iter()
            .filter(|policy| changed.contains(&policy.name_any()))
            .collect();
        write_statuses(&api, &changed, &kept).await;
    }
}

/// What is known of each policy by its name.
#[derive(Debug, Default)]
struct Kept(BTreeMap<String, One>);

#[derive(Debug)]
struct One {
    /// As it was last seen.
    spec: Value,
    /// What is wrong with that.
    problems: Vec<Problem>,
    /// As it was when nothing was wrong with it.
    good: Option<NamedPolicy>,
}

impl Kept {
    /// Looks at all policies that there are, each with its name, its spec, and the spec that its status says is in force; and says which are
    /// new, have changed or are gone.
    fn take<'p>(&mut self, policies: impl Iterator<Item = (String, &'p Value, &'p Value)>) -> Vec<String> {
        let mut gone = std::mem::take(&mut self.0);
        let mut changed = Vec::new();
        for (name, spec, in_force) in policies {
            let before = gone.remove(&name);
            let one = match before {
                Some(before) if before.spec == *spec => before,
                before => {
                    changed.push(name.clone());
                    let read = NamedPolicy::read(name.clone(), spec);
                    let (good, problems) = match read {
                        Ok(policy) => (Some(policy), Vec::new()),
                        Err(problems) => {
                            // It is `null` where nothing has been in force yet.
                            let told = Some(in_force).filter(|told| !told.is_null());
                            let told = || NamedPolicy::read(name.clone(), told?).ok();
                            (before.and_then(|before| before.good).or_else(told), problems)
                        }
                    };
                    let spec = spec.clone();
                    One { spec, problems, good }
                }
            };
            self.0.insert(name, one);
        }
        changed.extend(gone.into_keys());
        changed
    }

    fn in_force(&self) -> impl Iterator<Item = NamedPolicy> {
        self.0.values().filter_map(|one| one.good.clone())
    }
}

/// Writes the statuses of these policies that are not yet as they should be. All replicas write the same.
async fn write_statuses(api: &Api<DynamicObject>, policies: &[Arc<DynamicObject>], kept: &Kept) {
    for policy in policies {
        let name = policy.name_any();
        let Some(one) = kept.0.get(&name).filter(|one| one.spec == policy.data["spec"]) else {
            continue;
        };
        let generation = policy.metadata.generation.unwrap_or_default();
        let Some(status) = status(one, generation, &policy.data["status"], Timestamp::now()) else {
            continue;
        };
        let resource = definition::resource();
        let patch = json!({"apiVersion": resource.api_version, "kind": resource.kind, "status": status});
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(patch);
        match timeout(STATUS_WAIT, api.patch_status(&name, &parameters, &patch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, policy = name, "the status of a policy could not be written");
            }
            Err(_) => tracing::warn!(policy = name, "the status of a policy was not written in time"),
        }
    }
}

/// The status that a policy has to have; nothing if that is what it has.
fn status(one: &One, generation: i64, written: &Value, now: Timestamp) -> Option<Value> {
    let One { problems, good, .. } = one;
    let (status, reason) = if problems.is_empty() {
        ("True", "Valid")
    } else {
        ("False", "Invalid")
    };
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let message: String = told.join("\n").chars().take(MESSAGE_CHARS_MAX).collect();
    let before = &written["conditions"][0];
    let since = match &before["lastTransitionTime"] {
        since @ Value::String(_) if before["status"] == status => since.clone(),
        // Kubernetes' own times have no fractions.
        _ => json!(format!("{now:.0}")),
    };
    let mut wanted = json!({
        "observedGeneration": generation,
        "conditions": [{
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
            "observedGeneration": generation,
        }],
    });
    if let Some(good) = good {
        wanted["inForce"] = good.json().clone();
    }
    let fields = wanted.as_object().expect("it was made as one");
    // What came of the last audit stands beside them.
    fields
        .iter()
        .any(|(field, value)| written[field] != *value)
        .then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_is_newer_than_the_watch_is_looked_up_briefly() {
        let answer = |request: http::Request<kube::client::Body>| async move {
            let namespace = json!({"metadata": {"name": "new", "labels": {"stage": "prod"}}});
            let answer = match request.uri().path().rsplit('/').next() {
                Some("new") => namespace,
                _ => std::future::pending().await,
            };
            let body = kube::client::Body::from(answer.to_string().into_bytes());
            Ok::<_, kube::Error>(http::Response::new(body))
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let (namespaces, _not_polled) = Namespaces::watch(client);
        let labels = BTreeMap::from([("stage".to_owned(), "prod".to_owned())]);
        assert_eq!(namespaces.labels("new").await, Some(labels));
        assert_eq!(namespaces.labels("late").await, None);
    }

    #[test]
    fn the_last_good_version_stays_in_force_until_the_policy_is_gone() {
        let mut kept = Kept::default();
        let mut take = |specs: &[(&str, Value)]| {
            let policies = specs
                .iter()
                .map(|(name, spec)| ((*name).to_owned(), spec, &Value::Null));
            let changed = kept.take(policies);
            let in_force: Vec<String> = kept
                .in_force()
                .map(|policy| format!("{} {}", policy.name(), policy.priority()))
                .collect();
            format!(
                "{} changed; in force: {}",
                changed.join(", "),
                in_force.join(", ")
            )
        };
        let good = |priority: i32| json!({"priority": priority});
        let bad = json!({"priority": "high"});
        insta::assert_snapshot!(take(&[("a", good(1)), ("b", bad.clone())]), @"a, b changed; in force: a 1");
        insta::assert_snapshot!(take(&[("a", bad.clone()), ("b", good(2))]), @"a, b changed; in force: a 1, b 2");
        insta::assert_snapshot!(take(&[("a", bad.clone()), ("b", good(2))]), @" changed; in force: a 1, b 2");
        insta::assert_snapshot!(take(&[("b", good(3))]), @"b, a changed; in force: b 3");
    }

    #[test]
    fn what_the_status_says_is_in_force_is_in_force_when_we_start() {
        let (bad, good) = (json!({"priority": "high"}), json!({"priority": 7}));
        let in_force = |told: &Value| {
            let mut kept = Kept::default();
            kept.take([("a".to_owned(), &bad, told)].into_iter());
            kept.in_force().next().map(|policy| policy.priority())
        };
        assert_eq!(in_force(&good), Some(7));
        assert_eq!(in_force(&Value::Null), None);
        assert_eq!(in_force(&bad), None);
    }

    #[test]
    fn a_status_is_written_once() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let one = |spec: Value| {
            let mut kept = Kept::default();
            kept.take([("a".to_owned(), &spec, &Value::Null)].into_iter());
            kept.0.remove("a").expect("it was taken")
        };
        let bad = one(json!({"priority": "high"}));
        let first = status(&bad, 3, &Value::Null, at(0)).expect("there is none yet");
        insta::assert_snapshot!(first, @r#"{"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"spec.priority: expected a whole number of 32 bits, found the string \"high\" (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)","observedGeneration":3,"reason":"Invalid","status":"False","type":"Ready"}],"observedGeneration":3}"#);
        assert_eq!(status(&bad, 3, &first, at(9)), None);
        let next = status(&bad, 4, &first, at(9)).expect("it is of another generation");
        assert_eq!(
            next["conditions"][0]["lastTransitionTime"],
            first["conditions"][0]["lastTransitionTime"]
        );
        let repaired =
            status(&one(json!({"priority": 7})), 5, &next, at(9)).expect("nothing is wrong any more");
        insta::assert_snapshot!(repaired, @r#"{"conditions":[{"lastTransitionTime":"1970-01-01T00:00:09Z","message":"","observedGeneration":5,"reason":"Valid","status":"True","type":"Ready"}],"inForce":{"priority":7},"observedGeneration":5}"#);
    }
}
