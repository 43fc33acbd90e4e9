//! What the servers say. Whoever looks at a group asks for the answers it takes; each that was asked for lately is fetched once a round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Settings;
use super::prometheus::{Failure, Of, Server};
use crate::metrics::{Metrics, QueryLabels, QueryOutcome};

/// Servers answer a query in milliseconds, so a few at once are many a second.
const QUERIES_AT_ONCE: usize = 16;
/// What nobody has asked for in so long is forgotten.
const WANTED_FOR: Duration = Duration::from_mins(1);
/// How many rounds an answer counts for when no newer one comes.
const ROUNDS_MAX: u32 = 3;
/// New queries come in flocks: a policy has several.
const SETTLE_PERIOD: Duration = Duration::from_millis(100);

/// A question to a server; without one to the first that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Query {
    pub(crate) server: Option<String>,
    pub(crate) promql: String,
    /// Which series of the answer is meant; without it there has to be one only.
    pub(crate) of: Option<Of>,
}

/// What is known of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// The number, or why it is not known.
    pub(super) now: Result<f64, Failure>,
    /// The last number that was known.
    pub(super) last: Option<f64>,
    /// How often in a row it was not known.
    pub(super) failures: u32,
    /// How old it is.
    pub(super) age: Option<Duration>,
}

/// All questions that somebody wants answered. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queries {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    // Held for a moment only, never across an await.
    wanted: Mutex<BTreeMap<Query, Wanted>>,
    /// Something is wanted that was not before.
    new: watch::Sender<()>,
}

struct Wanted {
    asked_at: Instant,
    answered_at: Option<Instant>,
    answer: Answer,
}

impl Queries {
    pub(super) fn new(settings: Settings) -> Self {
        let shared = Shared {
            settings,
            wanted: Mutex::default(),
            new: watch::Sender::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What is known now; and the question will be asked from now on.
    pub(super) fn ask(&self, query: &Query, now: Instant) -> Answer {
        let mut all = self.wanted();
        if let Some(wanted) = all.get_mut(query) {
            wanted.asked_at = now;
            return wanted.known(now, self.shared.settings.period);
        }
        let wanted = Wanted {
            asked_at: now,
            answered_at: None,
            answer: Answer::default(),
        };
        let answer = wanted.answer.clone();
        all.insert(query.clone(), wanted);
        self.shared.new.send_replace(());
        answer
    }

    /// Asks for ever, each server in a loop of its own: one that hangs delays the answers of no other.
    pub(super) async fn run(self, metrics: Metrics) {
        let mut new = self.shared.new.subscribe();
        let mut asking: BTreeMap<Option<String>, Asking> = BTreeMap::new();
        loop {
            let servers = self.servers(Instant::now());
            asking.retain(|server, _| servers.contains(server));
            for server in servers {
                let asked = asking.entry(server.clone());
                asked.or_insert_with(|| Asking(tokio::spawn(self.clone().ask_one(server, metrics.clone()))));
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.settings.period) => {}
                _ = new.changed() => {}
            }
        }
    }

    async fn ask_one(self, named: Option<String>, metrics: Metrics) {
        let mut new = self.shared.new.subscribe();
        let server = self.server(named.as_deref());
        let mut round = Instant::now();
        loop {
            let asked = self
                .due(named.as_ref(), round)
                .into_iter()
                .map(|(promql, queries)| {
                    let server = server.clone();
                    async move {
                        let answer = match server {
                            Ok(server) => server.ask(&promql).await,
                            Err(failure) => Err(failure),
                        };
                        (queries, answer)
                    }
                });
            let asked: Vec<_> = asked.collect();
            let mut answers = stream::iter(asked).buffer_unordered(QUERIES_AT_ONCE);
            while let Some((queries, answer)) = answers.next().await {
                let outcome = if answer.is_ok() {
                    QueryOutcome::Answered
                } else {
                    QueryOutcome::Failed
                };
                metrics.queries.get_or_create(&QueryLabels { outcome }).inc();
                let mut wanted = self.wanted();
                for query in queries {
                    let number = answer.as_ref().map_err(Clone::clone);
                    let number = number.and_then(|answer| answer.number(query.of.as_ref()));
                    if let Some(wanted) = wanted.get_mut(&query) {
                        wanted.take(number, Instant::now());
                    }
                }
            }
            let next = round + self.shared.settings.period;
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => round = Instant::now().max(next),
                _ = new.changed() => tokio::time::sleep(SETTLE_PERIOD).await,
            }
        }
    }

    /// The servers of what is still wanted; the rest is forgotten.
    fn servers(&self, now: Instant) -> BTreeSet<Option<String>> {
        let mut all = self.wanted();
        all.retain(|_, wanted| now.saturating_duration_since(wanted.asked_at) < WANTED_FOR);
        all.keys().map(|query| query.server.clone()).collect()
    }

    /// What is to be asked of a server, since it has no answer of this round; and whose questions that answers.
    fn due(&self, server: Option<&String>, round: Instant) -> BTreeMap<String, Vec<Query>> {
        let all = self.wanted();
        let due = all
            .iter()
            .filter(|(query, _)| query.server.as_ref() == server)
            .filter(|(_, wanted)| wanted.answered_at.is_none_or(|at| at < round));
        let mut asked: BTreeMap<String, Vec<Query>> = BTreeMap::new();
        for (query, _) in due {
            asked.entry(query.promql.clone()).or_default().push(query.clone());
        }
        asked
    }

    fn server(&self, named: Option<&str>) -> Result<Server, Failure> {
        let allowed = &self.shared.settings.servers;
        let address = match named {
            None => allowed.first().map(String::as_str).ok_or(Failure::NoServer)?,
            Some(named) if allowed.is_empty() || allowed.iter().any(|server| server == named) => named,
            Some(named) => return Err(Failure::Forbidden(named.to_owned())),
        };
        Server::new(address)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Query, Wanted>> {
        self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop of a server, which ends with this.
struct Asking(JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            now: Err(Failure::NotYet),
            last: None,
            failures: 0,
            age: None,
        }
    }
}

impl Wanted {
    fn take(&mut self, answer: Result<f64, Failure>, now: Instant) {
        self.answered_at = Some(now);
        match &answer {
            Ok(value) => {
                self.answer.last = Some(*value);
                self.answer.failures = 0;
            }
            Err(_) => self.answer.failures += 1,
        }
        self.answer.now = answer;
    }

    /// An answer that nobody has renewed for some rounds says nothing any more.
    fn known(&self, now: Instant, period: Duration) -> Answer {
        let age = self.answered_at.map(|at| now.saturating_duration_since(at));
        let fresh = age.is_none_or(|age| age <= period.saturating_mul(ROUNDS_MAX));
        let answer = Answer {
            age,
            ..self.answer.clone()
        };
        if fresh {
            answer
        } else {
            Answer {
                now: Err(Failure::TooLate),
                ..answer
            }
        }
    }
}
