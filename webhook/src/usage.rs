//! What accelerators the objects of each namespace have, for bounds that are about all of them: what watches have shown, and what this
//! replica let through a moment ago and they have not shown yet. Only counts are kept. It is no quota: another replica, or a write at the
//! same time, is not seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use ray::object::Kind;
use rules::{Request, Usage};
use serde_json::Value;

use crate::clusters::resource;

/// The kinds that count. The jobs of a `RayCronJob` do so themselves.
const KINDS: [Kind; 3] = [Kind::Cluster, Kind::Job, Kind::Service];
/// How long a watch may take to show what was let through. Afterwards it has been refused by somebody else, or is gone again.
const ON_THE_WAY: SignedDuration = SignedDuration::from_secs(30);

/// Who an object is: its namespace, kind and name. So those of a namespace stand together.
type Who = (String, Kind, String);

/// What objects have, for all who ask.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    /// The objects as they are known through `client`, and what keeps them up to date for as long as it is polled.
    pub fn watch(client: Client) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let ledger = Self::default();
        let known = ledger.clone();
        let keep = async move {
            let watches = KINDS.map(|kind| keep(client.clone(), kind, known.clone()));
            join_all(watches).await;
        };
        (ledger, keep)
    }

    /// What the other objects in the namespace of the one that `request` writes have. Nothing is known of them where it is part of another,
    /// which counts for both.
    pub fn others(&self, request: &Request<'_>) -> Option<Usage> {
        let is_part = ray::part_of(request.kind, request.object).is_some();
        (!is_part).then(|| self.book().others(&who(request), request.now))
    }

    /// What `request` writes has been let through.
    pub fn admit(&self, request: &Request<'_>) {
        let usage = usage(request.kind, request.object);
        self.book().admit(who(request), usage, request.now);
    }

    /// What `request` writes is there.
    pub fn show(&self, request: &Request<'_>) {
        let usage = usage(request.kind, request.object);
        self.book().show(who(request), usage);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Whoever panics with the lock held leaves whole maps behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts by object.
#[derive(Debug, Default)]
struct Book {
    shown: BTreeMap<Who, Usage>,
    admitted: BTreeMap<Who, (Usage, Timestamp)>,
}

impl Book {
    /// What the objects around `who` have. Of one that is on its way from one amount to another the greater counts.
    fn others(&self, who: &Who, now: Timestamp) -> Usage {
        let first = (who.0.clone(), Kind::Cluster, String::new());
        let shown = self.shown.range(&first..);
        let admitted = self.admitted.range(&first..);
        let admitted = admitted.filter(|(_, (_, when))| is_on_the_way(*when, now));
        let mut counts: BTreeMap<&Who, Usage> = BTreeMap::new();
        for (other, usage) in shown
            .take_while(|(other, _)| other.0 == who.0)
            .chain(
                admitted
                    .map(|(other, (usage, _))| (other, usage))
                    .take_while(|(other, _)| other.0 == who.0),
            )
            .filter(|(other, _)| *other != who)
        {
            let count = counts.entry(other).or_default();
            *count = std::mem::take(count).max(usage);
        }
        counts.values().fold(Usage::default(), Usage::plus)
    }

    /// One without a name will get one that we are not told.
    fn admit(&mut self, who: Who, usage: Usage, now: Timestamp) {
        self.admitted.retain(|_, (_, when)| is_on_the_way(*when, now));
        if !who.2.is_empty() {
            self.admitted.insert(who, (usage, now));
        }
    }

    fn show(&mut self, who: Who, usage: Usage) {
        // An older state may be shown late.
        if self
            .admitted
            .get(&who)
            .is_some_and(|(admitted, _)| *admitted == usage)
        {
            self.admitted.remove(&who);
        }
        if usage.is_empty() {
            self.shown.remove(&who);
        } else {
            self.shown.insert(who, usage);
        }
    }

    fn remove(&mut self, who: &Who) {
        self.shown.remove(who);
        self.admitted.remove(who);
    }

    /// These are all the objects of a kind.
    fn replace(&mut self, kind: Kind, all: BTreeMap<Who, Usage>) {
        self.shown.retain(|who, _| who.1 != kind);
        for (who, usage) in all {
            self.show(who, usage);
        }
    }
}

fn is_on_the_way(admitted: Timestamp, now: Timestamp) -> bool {
    now.duration_since(admitted) < ON_THE_WAY
}

fn who(request: &Request<'_>) -> Who {
    let name = request.object["metadata"]["name"].as_str().unwrap_or_default();
    (request.namespace.to_owned(), request.kind, name.to_owned())
}

/// What counts of an object: nothing of a cluster that its job or service counts for, nor of a job that has ended and whose cluster goes with it.
fn usage(kind: Kind, object: &Value) -> Usage {
    let has_ended = kind == Kind::Job
        && object["spec"]["shutdownAfterJobFinishes"] == true
        && matches!(
            object["status"]["jobDeploymentStatus"].as_str(),
            Some("Complete" | "Failed")
        );
    if has_ended || ray::part_of(kind, object).is_some() {
        Usage::default()
    } else {
        Usage::of(kind, object)
    }
}

async fn keep(client: Client, kind: Kind, ledger: Ledger) {
    let resource = resource(kind);
    let api = Api::<DynamicObject>::all_with(client, &resource);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.extend([read(kind, object)]),
            Ok(Event::InitDone) => ledger.book().replace(kind, std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => {
                let (who, usage) = read(kind, object);
                ledger.book().show(who, usage);
            }
            Ok(Event::Delete(object)) => ledger.book().remove(&read(kind, object).0),
            Err(error) => tracing::warn!(%error, "watch of {} failed", resource.plural),
        }
    }
}

fn read(kind: Kind, object: DynamicObject) -> (Who, Usage) {
    let object = serde_json::to_value(object).expect("an object is JSON");
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    ((text("namespace"), kind, text("name")), usage(kind, &object))
}

#[cfg(test)]
mod tests;
