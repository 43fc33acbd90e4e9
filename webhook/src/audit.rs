//! What is wrong with the objects that are there already: when policies or facts change, and every few hours, one replica looks at all of
//! them by the rules of today. Nothing is refused by it. The results are in the statuses of the policies, in metrics, and in reports.

mod objects;
mod report;
mod results;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use ray::object::Kind;
use rules::audit::{Census, Who};
use rules::policy::NamedPolicy;
use rules::{Facts, Operation, Request};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::policy::watch::Namespaces;
use objects::Objects;
pub use results::Results;

/// The Lease whose holder does it.
const LEASE: &str = "rayward-webhook-audit";
/// How long after the holder has died another replica takes over.
const LEASE_SECONDS: u64 = 30;
/// How often it is looked whether anything has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Policies seldom change alone: one pass for all that change within this time.
const SETTLE: Duration = Duration::from_secs(5);
/// Where something changes all the time, it does not wait for longer than this.
const SETTLE_MAX: Duration = Duration::from_mins(1);
/// How long after a pass that failed it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What it takes.
pub struct Auditor {
    /// To list with, and to write.
    pub client: Client,
    /// What the rules know of the world.
    pub facts: Arc<ArcSwap<Facts>>,
    /// The labels by which policies select.
    pub namespaces: Namespaces,
    /// It is not begun before it is known which policies there are.
    pub policies_known: watch::Receiver<bool>,
    /// Where the Lease is.
    pub lease_namespace: String,
    /// How often to look though nothing has changed; zero is never at all.
    pub every: Duration,
    /// For the metrics.
    pub results: Results,
}

/// One pass over all objects.
struct Pass {
    finished: Timestamp,
    census: Census,
    reports: BTreeMap<String, report::Draft>,
}

/// When the next pass is due.
#[derive(Debug, Default)]
struct Schedule {
    /// What was last seen, and since when it is so.
    seen: Option<(Arc<Facts>, Instant)>,
    /// Since when a pass is wanted.
    wanted: Option<Instant>,
    /// What was last looked at all objects with, and when.
    passed: Option<(Arc<Facts>, Instant)>,
    /// Not before, because the last attempt failed.
    not_before: Option<Instant>,
}

impl Auditor {
    /// Goes on for as long as it is polled.
    pub async fn keep(mut self) {
        if self.every.is_zero() {
            return std::future::pending().await;
        }
        if self.policies_known.wait_for(|known| *known).await.is_err() {
            return;
        }
        let lease = self.lease().await;
        let (mut is_ours, _holding) = lease.watch().await;
        let mut schedule = Schedule::default();
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            if !*is_ours.borrow_and_update() {
                schedule = Schedule::default();
                self.results.clear();
                continue;
            }
            if let Some(facts) = schedule.due(self.facts.load_full(), Instant::now(), self.every) {
                // Whoever loses the Lease in the middle leaves the rest to the next.
                let done = tokio::select! {
                    done = self.pass(facts.clone()) => done,
                    _ = is_ours.wait_for(|is_ours| !is_ours) => continue,
                };
                if let Err(error) = &done {
                    tracing::warn!(error = format!("{error:#}"), "the audit broke off");
                }
                schedule.done(facts, Instant::now(), done.is_ok());
            }
        }
    }

    async fn lease(&self) -> LeaseManager {
        loop {
            let lease = LeaseManagerBuilder::new(self.client.clone(), LEASE)
                .with_namespace(&self.lease_namespace)
                .with_duration(LEASE_SECONDS)
                .build();
            match lease.await {
                Ok(lease) => return lease,
                Err(error) => tracing::warn!(%error, "the lease of the audit is not to be had"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn pass(&self, facts: Arc<Facts>) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut census = Census::default();
        let mut reports = BTreeMap::<String, report::Draft>::new();
        for kind in Kind::ALL {
            let mut objects = Objects::of(self.client.clone(), kind);
            while let Some(page) = objects
                .next()
                .await
                .with_context(|| format!("list every {kind}"))?
            {
                for object in page {
                    self.look_at(kind, &object, &facts, &mut census, &mut reports);
                    // Whoever waits for an answer comes first.
                    tokio::task::yield_now().await;
                }
            }
        }
        let pass = Pass {
            finished: Timestamp::now(),
            census,
            reports,
        };
        status::write(&self.client, &pass)
            .await
            .context("write the statuses of policies")?;
        report::write(&self.client, &pass.reports)
            .await
            .context("write reports")?;
        tracing::info!(
            objects = pass.census.objects.values().sum::<u64>(),
            findings = pass.census.findings.values().sum::<u64>(),
            seconds = started.elapsed().as_secs_f64(),
            "audited"
        );
        self.results.set(&pass);
        Ok(())
    }

    fn look_at(
        &self,
        kind: Kind,
        object: &serde_json::Value,
        facts: &Facts,
        census: &mut Census,
        reports: &mut BTreeMap<String, report::Draft>,
    ) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let who = Who {
            namespace: text("namespace"),
            kind,
            name: text("name"),
            uid: text("uid"),
        };
        let labels = self.namespaces.watched(&who.namespace);
        // As if it were written anew.
        let request = Request {
            namespace: &who.namespace,
            namespace_labels: labels.as_ref(),
            now: Timestamp::now(),
            ..Request::new(Operation::Create, kind, object, None)
        };
        let policy = facts.policies.of(&request);
        let verdict = rules::judge(rules::check(&request, facts), &request, &policy);
        let selecting = facts.policies.selecting(&request).map(NamedPolicy::name);
        census.count(&who, &verdict, selecting);
        if !verdict.findings.is_empty() {
            reports
                .entry(who.namespace.clone())
                .or_default()
                .add(&who, &verdict.findings);
        }
    }
}

impl Schedule {
    /// The facts to look at all objects with, if it is time to.
    fn due(&mut self, facts: Arc<Facts>, now: Instant, every: Duration) -> Option<Arc<Facts>> {
        let since = match &self.seen {
            Some((seen, since)) if same(seen, &facts) => *since,
            _ => now,
        };
        self.seen = Some((facts.clone(), since));
        let waits = self.not_before.is_some_and(|not_before| now < not_before);
        let wanted = self
            .passed
            .as_ref()
            .is_none_or(|(passed, at)| !same(passed, &facts) || now.duration_since(*at) >= every);
        if !wanted {
            self.wanted = None;
            return None;
        }
        let wanted = *self.wanted.get_or_insert(now);
        let settled = now.duration_since(since) >= SETTLE || now.duration_since(wanted) >= SETTLE_MAX;
        (settled && !waits).then_some(facts)
    }

    fn done(&mut self, facts: Arc<Facts>, now: Instant, succeeded: bool) {
        self.wanted = None;
        if succeeded {
            self.passed = Some((facts, now));
            self.not_before = None;
        } else {
            self.not_before = Some(now + RETRY);
        }
    }
}

/// Whether what was asked for is not there: an object, or its whole kind, of which an API server says so without a reason that kube would know.
fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn same(one: &Arc<Facts>, other: &Arc<Facts>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_not_installed_is_absent() {
        let status = |code, reason| {
            let status = kube::core::Status::failure("404 page not found", reason).with_code(code);
            kube::Error::Api(Box::new(status))
        };
        assert!(is_absent(&status(404, "Failed to parse error data")));
        assert!(is_absent(&status(404, "NotFound")));
        assert!(!is_absent(&status(403, "Forbidden")));
    }

    #[test]
    fn one_pass_for_all_that_changes_together_and_one_every_few_hours() {
        let every = Duration::from_hours(6);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let facts = |repository: &str| {
            Arc::new(Facts {
                image_repository: repository.to_owned(),
                ..Facts::default()
            })
        };
        let mut schedule = Schedule::default();
        let mut due = |name: &str, second| {
            let due = schedule.due(facts(name), at(second), every);
            if let Some(facts) = &due {
                schedule.done(facts.clone(), at(second), name != "fails");
            }
            due.is_some()
        };
        let cases = [
            ("a", 0, false, "nothing has settled"),
            ("b", 4, false, "it changes again"),
            ("b", 8, false, "which has not settled"),
            ("b", 9, true, "now it has"),
            ("b", 10, false, "it was done"),
            ("b", 9 + 6 * 3600, true, "it is time again"),
            ("fails", 30_000, false, "it changes"),
            ("fails", 30_005, true, "it has settled, and fails"),
            ("fails", 30_034, false, "it waits"),
            ("fails", 30_035, true, "it is tried again"),
        ];
        for (name, second, expected, why) in cases {
            assert_eq!(due(name, second), expected, "{why}, in second {second}");
        }
        let restless = (40_000..40_061).filter(|second| due(&format!("{second}"), *second));
        assert_eq!(restless.collect::<Vec<_>>(), [40_060], "it never settles");
    }
}
