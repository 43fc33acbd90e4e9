//! The RayScalingPolicies there are, from a watch. One that is changed into something that cannot be followed is followed as it was before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use ray::keys;
use ray::object::Metadata;
use ray::scaling_policy::{self, GroupPolicy, Mode, Override, ScalingPolicySpec, TargetKind};
use ray::strict::Problem;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::status::Told;
use super::statuses::Statuses;
use crate::watch::Rest;

/// Namespace and name.
pub(super) type PolicyKey = (String, String);

/// One policy.
#[derive(Clone, Debug)]
pub(super) struct ScalingPolicy {
    pub(super) key: PolicyKey,
    pub(super) generation: i64,
    /// When it was seen to be as it is.
    pub(super) read_at: Instant,
    /// When it was made; of two that want the same group the older one is followed.
    created: String,
    /// As it was written.
    json: Value,
    /// Another mode than that.
    for_now: Option<Override>,
    /// What is wrong with that.
    pub(super) problems: Vec<Problem>,
    /// As it was when nothing was wrong with it.
    spec: Option<ScalingPolicySpec>,
}

/// All policies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// The oldest first.
    pub(super) all: Vec<Arc<ScalingPolicy>>,
    /// Where in that list those are that name a target: each look at a cluster asks, and there may be thousands.
    by_target: BTreeMap<Target, Vec<usize>>,
    /// There are no others.
    pub(super) known: bool,
}

/// Namespace, kind and name.
type Target = (String, String, String);

/// A group, and the policy that wants something of it.
pub(super) struct Followed<'p> {
    pub(super) policy: &'p ScalingPolicy,
    pub(super) spec: &'p ScalingPolicySpec,
    pub(super) group: String,
    pub(super) wants: &'p GroupPolicy,
    /// The older policy that is followed in its place.
    pub(super) other: Option<&'p str>,
}

/// The API of the kind.
pub(super) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk(
        scaling_policy::GROUP,
        scaling_policy::VERSION,
        scaling_policy::KIND,
    );
    ApiResource::from_gvk_with_plural(&kind, scaling_policy::PLURAL)
}

/// Publishes the policies as they change, and writes what came of them, for ever. One does not wait for the other: a watch that nobody reads ends, and
/// what is written upon an old version is refused.
pub(super) async fn keep(
    client: Client,
    publish: watch::Sender<Arc<Policies>>,
    statuses: Statuses,
    reported: mpsc::UnboundedReceiver<Told>,
) {
    let writer = reflector::store::Writer::new(resource());
    let stored = writer.as_reader();
    let telling = statuses.keep(publish.subscribe(), stored.clone(), reported);
    tokio::join!(watched(client, publish, writer, &stored), telling);
}

async fn watched(
    client: Client,
    publish: watch::Sender<Arc<Policies>>,
    writer: reflector::store::Writer<DynamicObject>,
    stored: &Store<DynamicObject>,
) {
    let api = Api::<DynamicObject>::all_with(client, &resource());
    let events = watcher(api, watcher::Config::default())
        .backoff(Rest::default())
        .reflect(writer);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            // Mostly it is the status that has changed, by our own hand.
            Ok(watcher::Event::Apply(object)) if publish.borrow().has(&object) => {}
            Ok(_) => publish.send_modify(|policies| *policies = Arc::new(policies.renewed(stored))),
            Err(error) => {
                tracing::warn!(watched = scaling_policy::PLURAL, error = %error, "watch broken, begun anew");
                // Where there is no such kind, or we may not see it, there are none to follow.
                if matches!(&error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
                {
                    publish.send_if_modified(|policies| {
                        let news = !policies.known;
                        if news {
                            *policies = Arc::new(Policies::none());
                        }
                        news
                    });
                }
            }
        }
    }
}

impl Policies {
    /// It is known that there are none.
    pub(super) fn none() -> Self {
        Self::of_these(Vec::new())
    }

    fn renewed(&self, stored: &Store<DynamicObject>) -> Self {
        let before: BTreeMap<_, _> = self.all.iter().map(|policy| (&policy.key, policy)).collect();
        let all = stored.state().into_iter().map(|object| {
            let key = (object.namespace().unwrap_or_default(), object.name_any());
            let before = before.get(&key).copied();
            ScalingPolicy::read(key, &object, before)
        });
        Self::of_these(all.collect())
    }

    /// These, in any order, and no others.
    pub(super) fn of_these(mut all: Vec<Arc<ScalingPolicy>>) -> Self {
        all.sort_by(|one, other| (&one.created, &one.key).cmp(&(&other.created, &other.key)));
        let mut by_target = BTreeMap::<Target, Vec<usize>>::new();
        for (index, policy) in all.iter().enumerate() {
            if let Some(target) = policy.target_key() {
                by_target.entry(target).or_default().push(index);
            }
        }
        Self {
            all,
            by_target,
            known: true,
        }
    }

    /// Whether a policy is among these as it is written now.
    fn has(&self, object: &DynamicObject) -> bool {
        let (namespace, name) = (object.namespace(), object.name_any());
        let mut named = self
            .all
            .iter()
            .filter(|policy| policy.key.1 == name && Some(&policy.key.0) == namespace.as_ref());
        named.any(|policy| {
            Some(policy.generation) == object.metadata.generation
                && policy.json == object.data["spec"]
                && override_of(object) == Ok(policy.for_now)
        })
    }

    /// What is wanted of the groups of a cluster, a row for each policy that names one.
    pub(super) fn of(&self, cluster: &Metadata, groups: &[&str]) -> Vec<Followed<'_>> {
        let mut followed: Vec<Followed<'_>> = Vec::new();
        for policy in self.naming(cluster) {
            let Some(spec) = &policy.spec else {
                continue;
            };
            for group in groups {
                let Some(wants) = spec.of_group(group) else {
                    continue;
                };
                let mut older = followed.iter().filter(|older| older.group == *group);
                let other = older.next().map(|older| older.policy.key.1.as_str());
                followed.push(Followed {
                    policy,
                    spec,
                    group: (*group).to_owned(),
                    wants,
                    other,
                });
            }
        }
        followed
    }

    /// Those that name a cluster, or the owner that it was made for; the oldest first.
    fn naming(&self, cluster: &Metadata) -> impl Iterator<Item = &ScalingPolicy> {
        let mut indices: Vec<usize> = targets(cluster)
            .filter_map(|target| self.by_target.get(&target))
            .flatten()
            .copied()
            .filter(|index| self.all[*index].is_about(cluster))
            .collect();
        indices.sort_unstable();
        indices.into_iter().map(|index| self.all[index].as_ref())
    }
}

impl ScalingPolicy {
    pub(super) fn read(key: PolicyKey, object: &DynamicObject, before: Option<&Arc<Self>>) -> Arc<Self> {
        let json = &object.data["spec"];
        let created = object.creation_timestamp().map(|time| time.0.to_string());
        let generation = object.metadata.generation.unwrap_or_default();
        let for_now = override_of(object);
        let is_same = |before: &&Arc<Self>| {
            before.generation == generation && before.json == *json && for_now == Ok(before.for_now)
        };
        if let Some(before) = before.filter(is_same) {
            return Arc::clone(before);
        }
        let (spec, mut problems) = match scaling_policy::read(json) {
            Ok(spec) => (Some(spec), Vec::new()),
            Err(problems) => (before.and_then(|before| before.spec.clone()), problems),
        };
        let for_now = for_now.unwrap_or_else(|problem| {
            problems.push(problem);
            before.and_then(|before| before.for_now)
        });
        Arc::new(Self {
            key,
            generation,
            read_at: Instant::now(),
            created: created.unwrap_or_default(),
            json: json.clone(),
            for_now,
            problems,
            spec,
        })
    }

    /// One that stands nowhere but in a file.
    pub(super) fn of_spec(spec: &ScalingPolicySpec) -> Self {
        Self {
            key: PolicyKey::default(),
            generation: 0,
            read_at: Instant::now(),
            created: String::new(),
            json: Value::Null,
            for_now: None,
            problems: Vec::new(),
            spec: Some(spec.clone()),
        }
    }

    /// Whether it is about a cluster.
    pub(super) fn is_about(&self, cluster: &Metadata) -> bool {
        let target = self.spec.as_ref().map(|spec| &spec.target);
        cluster.namespace.as_deref() == Some(&self.key.0)
            && target.is_some_and(|target| target.is_for(cluster))
    }

    /// By its annotations, or else by its spec.
    pub(super) fn mode(&self, now: Timestamp) -> Mode {
        let for_now = self.for_now.and_then(|for_now| for_now.at(now));
        let mode = for_now.or_else(|| self.spec.as_ref()?.mode);
        mode.unwrap_or_default()
    }

    /// The name of the only group that it is about, if it is about one.
    pub(super) fn one_group(&self) -> Option<&str> {
        self.spec.as_ref()?.one_group()
    }

    /// What it is about, in words; nothing where it never could be followed.
    pub(super) fn target(&self) -> Option<String> {
        Some(self.spec.as_ref()?.target.to_string())
    }

    /// What it is about, as it is looked up by, without a name where it goes by labels; nothing where it never could be followed.
    fn target_key(&self) -> Option<Target> {
        let target = &self.spec.as_ref()?.target;
        Some((
            self.key.0.clone(),
            target.kind().name().to_owned(),
            target.name.clone(),
        ))
    }
}

/// What a policy about this cluster may name: itself, or the owner that it was made for. Without a name it may be about either.
fn targets(cluster: &Metadata) -> impl Iterator<Item = Target> {
    let namespace = cluster.namespace.clone().unwrap_or_default();
    let label = |key: &str| cluster.labels.get(key).cloned();
    let itself = TargetKind::RayCluster.name().to_owned();
    let owner = label(keys::ORIGINATED_FROM_KIND).filter(|kind| *kind != itself);
    let owner = owner.zip(label(keys::ORIGINATED_FROM_NAME));
    let named = Some(itself).zip(cluster.name.clone()).into_iter().chain(owner);
    let each = named.flat_map(|(kind, name)| [(kind.clone(), name), (kind, String::new())]);
    each.map(move |(kind, name)| (namespace.clone(), kind, name))
}

fn override_of(object: &DynamicObject) -> Result<Option<Override>, Problem> {
    let annotations = object.annotations();
    Override::read(|key| annotations.get(key).map(String::as_str))
}
