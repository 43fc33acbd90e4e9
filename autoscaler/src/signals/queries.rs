//! What the servers say. Whoever looks at a group asks for the answers it takes; each that was asked for lately is fetched once a round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Settings;
use super::access::{Access, Endpoint};
use super::prometheus::{Failure, Of, Server};
use crate::metrics::{Metrics, QueryLabels, QueryOutcome};

/// Servers answer a query in milliseconds, so a few at once are many a second.
const QUERIES_AT_ONCE: usize = 16;
/// What nobody has asked for in so long is forgotten.
const WANTED_FOR: Duration = Duration::from_mins(1);
/// How many rounds an answer counts for when no newer one comes.
const ROUNDS_MAX: u32 = 3;
/// How long a Secret counts as it was read.
const SHOWN_FOR: Duration = Duration::from_mins(1);
/// New queries come in flocks: a policy has several.
const SETTLE_PERIOD: Duration = Duration::from_millis(100);

/// A question to a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Query {
    pub(crate) endpoint: Endpoint,
    pub(crate) promql: String,
    /// Which series of the answer is meant; without it there has to be one only.
    pub(crate) of: Option<Of>,
}

impl Query {
    /// One number, of a server that asks for nothing.
    pub(crate) fn of(promql: String) -> Self {
        Self {
            endpoint: Endpoint::default(),
            promql,
            of: None,
        }
    }
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
    /// Who has the Secrets.
    client: Option<Client>,
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
    pub(super) fn new(settings: Settings, client: Option<Client>) -> Self {
        let shared = Shared {
            settings,
            client,
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

    /// Asks for ever, each endpoint in a loop of its own: one that hangs delays the answers of no other.
    pub(super) async fn run(self, metrics: Metrics) {
        let mut new = self.shared.new.subscribe();
        let mut asking: BTreeMap<Endpoint, Asking> = BTreeMap::new();
        loop {
            let endpoints = self.endpoints(Instant::now());
            asking.retain(|endpoint, _| endpoints.contains(endpoint));
            for endpoint in endpoints {
                let asked = asking.entry(endpoint.clone());
                asked
                    .or_insert_with(|| Asking(tokio::spawn(self.clone().ask_one(endpoint, metrics.clone()))));
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.settings.period) => {}
                _ = new.changed() => {}
            }
        }
    }

    async fn ask_one(self, endpoint: Endpoint, metrics: Metrics) {
        let mut new = self.shared.new.subscribe();
        let mut round = Instant::now();
        let (mut shown, mut shown_at) = (self.access(&endpoint).await, round);
        let mut server = self.server(&endpoint, &shown);
        loop {
            // Whoever changes a password changes the Secret, too.
            if server.is_err() || shown_at.elapsed() > SHOWN_FOR {
                let access = self.access(&endpoint).await;
                if access != shown {
                    server = self.server(&endpoint, &access);
                }
                (shown, shown_at) = (access, Instant::now());
            }
            let asked = self.due(&endpoint, round).into_iter().map(|(promql, queries)| {
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

    /// The endpoints of what is still wanted; the rest is forgotten.
    fn endpoints(&self, now: Instant) -> BTreeSet<Endpoint> {
        let mut all = self.wanted();
        all.retain(|_, wanted| now.saturating_duration_since(wanted.asked_at) < WANTED_FOR);
        all.keys().map(|query| query.endpoint.clone()).collect()
    }

    /// What is to be asked of an endpoint, since it has no answer of this round; and whose questions that answers.
    fn due(&self, endpoint: &Endpoint, round: Instant) -> BTreeMap<String, Vec<Query>> {
        let all = self.wanted();
        let due = all
            .iter()
            .filter(|(query, _)| query.endpoint == *endpoint)
            .filter(|(_, wanted)| wanted.answered_at.is_none_or(|at| at < round));
        let mut asked: BTreeMap<String, Vec<Query>> = BTreeMap::new();
        for (query, _) in due {
            asked.entry(query.promql.clone()).or_default().push(query.clone());
        }
        asked
    }

    /// The address that is meant, if it may be asked.
    fn address<'e>(&'e self, endpoint: &'e Endpoint) -> Result<&'e str, Failure> {
        let allowed = &self.shared.settings.servers;
        match endpoint.server.as_deref() {
            None => allowed.first().map(String::as_str).ok_or(Failure::NoServer),
            Some(named) if allowed.is_empty() || allowed.iter().any(|server| server == named) => Ok(named),
            Some(named) => Err(Failure::Forbidden(named.to_owned())),
        }
    }

    /// What it gets to see. What is beside us is for those that we were given by name.
    async fn access(&self, endpoint: &Endpoint) -> Result<Access, Failure> {
        let address = self.address(endpoint)?;
        let settings = &self.shared.settings;
        match (&endpoint.secret, &self.shared.client, &settings.credentials) {
            (Some(secret), Some(client), _) => Access::in_secret(client, secret, address).await,
            (None, _, Some(folder)) if !settings.servers.is_empty() => Access::in_folder(folder).await,
            _ => Ok(Access::default()),
        }
    }

    fn server(&self, endpoint: &Endpoint, access: &Result<Access, Failure>) -> Result<Server, Failure> {
        let access = access.as_ref().map_err(Clone::clone)?;
        Server::asked_with(self.address(endpoint)?, access, &endpoint.headers)
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
