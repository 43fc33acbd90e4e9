//! Which KubeRay reconciles what we admit, from a watch of its operator's Deployment, and which Kubernetes that is on.
//!
//! Nobody has to let us see either: what we cannot find out stays unknown, and the rules that turn on it warn instead of refusing.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use ray::image::Image;
use ray::version::RayVersion;
use rules::{Facts, Gates, Operator};

use crate::args::World;

/// What KubeRay's own manifests and its chart label the operator with.
const LABELED: &str = "app.kubernetes.io/name in (kuberay-operator, kuberay)";
const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";
const CHART: &str = "helm.sh/chart";
const OPERATOR: &str = "kuberay-operator";
const GATES_FLAG: &str = "--feature-gates";
/// An API server is seldom upgraded, and never without a restart.
const KUBERNETES_REFRESH: Duration = Duration::from_mins(10);

/// Keeps `facts` up to date for as long as it is polled, except for what the command line told.
pub async fn keep(client: Client, world: World, facts: Arc<ArcSwap<Facts>>) {
    let kubernetes = async {
        if world.kubernetes_version.is_none() {
            keep_kubernetes(&client, &facts).await;
        }
    };
    let kuberay = async {
        if world.kuberay_version.is_none() || world.feature_gates.is_none() {
            keep_kuberay(&client, &world, &facts).await;
        }
    };
    tokio::join!(kubernetes, kuberay);
    // Everything was told.
    std::future::pending::<()>().await;
}

async fn keep_kubernetes(client: &Client, facts: &ArcSwap<Facts>) {
    loop {
        match client.apiserver_version().await {
            Ok(info) => {
                // Some providers write the minor version as `36+`.
                let version = format!("{}.{}", info.major, info.minor)
                    .parse::<RayVersion>()
                    .ok();
                let version = version.map(|version| (version.major, version.minor));
                update(facts, |facts| facts.kubernetes = version);
            }
            Err(error) => tracing::warn!(%error, "the version of kubernetes is not known"),
        }
        tokio::time::sleep(KUBERNETES_REFRESH).await;
    }
}

async fn keep_kuberay(client: &Client, world: &World, facts: &ArcSwap<Facts>) {
    let mut found = std::pin::pin!(found(client.clone()));
    while let Some(kuberay) = found.next().await {
        let operator = world.kuberay_version.or(kuberay.version);
        let gates = world.feature_gates.clone().unwrap_or(kuberay.gates);
        tracing::info!(
            version = operator.map(tracing::field::display),
            gates_known = gates.others_are_default,
            "kuberay"
        );
        update(facts, |facts| {
            facts.operator = operator;
            facts.gates = gates.clone();
        });
    }
}

/// Changes some of the facts. Whoever else does so at the same time loses nothing.
pub(crate) fn update(facts: &ArcSwap<Facts>, change: impl Fn(&mut Facts)) {
    facts.rcu(|facts| {
        let mut facts = Facts::clone(facts);
        change(&mut facts);
        facts
    });
}

/// What a Deployment tells of the operator in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KubeRay {
    version: Option<Operator>,
    gates: Gates,
}

/// What is known of the operator, whenever that changes.
fn found(client: Client) -> impl Stream<Item = KubeRay> {
    let writer = reflector::store::Writer::<Deployment>::default();
    let deployments = writer.as_reader();
    let events = watcher(Api::all(client), watcher::Config::default().labels(LABELED)).default_backoff();
    let mut failing = false;
    let mut last = None;
    events.reflect(writer).filter_map(move |event| {
        let now = match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
            Ok(_) => {
                failing = false;
                let state = deployments.state();
                Some(KubeRay::of_all(state.iter().map(AsRef::as_ref)))
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "deployments cannot be watched; pass --kuberay-version and --feature-gates");
                }
                None
            }
        };
        let changed = now.filter(|now| last.as_ref() != Some(now));
        last = changed.clone().or(last.take());
        async { changed }
    })
}

impl KubeRay {
    /// What all that run agree on. Which of several operators reconciles an object nobody can tell.
    fn of_all<'d>(deployments: impl Iterator<Item = &'d Deployment>) -> Self {
        let mut all = deployments.filter_map(Self::of);
        let Some(first) = all.next() else {
            return Self::default();
        };
        all.fold(first, |agreed, other| Self {
            version: agreed.version.filter(|version| other.version == Some(*version)),
            gates: if agreed.gates == other.gates {
                agreed.gates
            } else {
                Gates::default()
            },
        })
    }

    /// Nothing where the Deployment has no operator in it.
    fn of(deployment: &Deployment) -> Option<Self> {
        let spec = deployment.spec.as_ref()?;
        let containers = &spec.template.spec.as_ref()?.containers;
        let labels = deployment.labels();
        let labeled = [NAME, COMPONENT]
            .iter()
            .any(|key| labels.get(*key).is_some_and(|value| value == OPERATOR));
        let container = containers
            .iter()
            .find(|container| image(container).is_some_and(|image| is_operator(&image)))
            .or_else(|| containers.first().filter(|_| labeled))?;
        let chart = || {
            let version = labels.get(CHART)?.strip_prefix(OPERATOR)?.strip_prefix('-')?;
            version.parse().ok()
        };
        let tagged = image(container).and_then(|image| image.tagged_version());
        (spec.replicas != Some(0)).then(|| Self {
            version: tagged.or_else(chart).map(Operator::nearest),
            gates: gates(container),
        })
    }
}

fn image(container: &Container) -> Option<Image> {
    container.image.as_deref().map(Image::parse)
}

fn is_operator(image: &Image) -> bool {
    image.repository.ends_with("/operator") && image.repository.contains("kuberay")
}

/// As the operator's own flag says, given with its value or before it; what is not stated there is as by default.
fn gates(container: &Container) -> Gates {
    let words = container.command.iter().chain(&container.args).flatten();
    let mut words = words.map(String::as_str);
    let mut stated = None;
    while let Some(word) = words.next() {
        // The operator takes its flags with one dash, too.
        let flag = word
            .strip_prefix(GATES_FLAG)
            .or_else(|| word.strip_prefix(&GATES_FLAG[1..]));
        stated = match flag {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => stated,
        };
    }
    // An operator that is newer than we are may have gates that we do not know.
    let entries = stated.unwrap_or_default().split(',');
    let known = entries.filter_map(|entry| entry.parse::<Gates>().ok());
    Gates {
        stated: known.flat_map(|gates| gates.stated).collect(),
        others_are_default: true,
    }
}

#[cfg(test)]
mod tests;
