//! The loop that keeps the certificate, the Secret and the webhook configurations in step: read, decide, write, wait.
//!
//! While the API server cannot be reached nothing changes: what is served stays served, who was ready stays ready.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio::sync::watch;

use crate::authority::{IssueError, Leaf};
use crate::certificate::{Bundle, Certificate};
use crate::files::{Files, FilesError};
use crate::resolver::Resolver;
use crate::rotation::{Lifetimes, Replica, State};
use crate::store::{Store, StoreError};
use crate::webhooks::{ConfigurationError, Configurations, Observation, Registration};

/// How often everything is looked at when nothing is known to have changed: files, the wall clock (a machine may have slept), drift.
const PACE: Duration = Duration::from_secs(15);
/// The first wait after a failure; it doubles up to [`PACE`].
const RETRY: Duration = Duration::from_millis(200);
/// Every replica may write the Secret once before it is our turn.
const WRITES_MAX: usize = 10;

/// Where the certificate comes from.
#[derive(Debug)]
pub enum Source {
    /// An authority of our own, shared through a Secret.
    BuiltIn(Box<Store>, Box<Replica>),
    /// Files that the user brought.
    Brought(Files),
}

impl Source {
    /// An authority of our own; certificates for `names`.
    pub fn built_in(store: Store, names: Vec<String>) -> Self {
        let replica = Replica::new(names, Lifetimes::default());
        Self::BuiltIn(Box::new(store), Box::new(replica))
    }
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why the API server would not accept our certificate; nothing when it would.
    pub distrust: Option<String>,
    /// When the certificate that we serve expires.
    pub leaf_not_after: Option<Timestamp>,
    /// When the authority that signed it expires, if it is ours.
    pub authority_not_after: Option<Timestamp>,
}

/// What goes wrong in a pass.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// With the Secret.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// With the files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// With the webhook configurations.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// With issuing.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Others kept writing the Secret before us.
    #[error("write the Secret: lost against other writers {WRITES_MAX} times")]
    Contended,
}

/// Keeps certificate, Secret and webhook configurations in step.
pub struct Keeper {
    source: Source,
    configurations: Configurations,
    registration: Box<dyn Registration>,
    name: ServerName<'static>,
    resolver: Arc<Resolver>,
    leaf: Option<Leaf>,
    /// A certificate that was brought but is not served yet, and since when everybody was seen to trust it.
    pending: Option<(Leaf, Option<Timestamp>)>,
    status: watch::Sender<Status>,
}

impl Keeper {
    /// A keeper for the configurations, which are called by `name`.
    pub fn new(
        source: Source,
        configurations: Configurations,
        registration: Box<dyn Registration>,
        name: ServerName<'static>,
    ) -> Self {
        let starting = Status {
            distrust: Some("starting".to_owned()),
            ..Status::default()
        };
        Self {
            source,
            configurations,
            registration,
            name,
            resolver: Arc::default(),
            leaf: None,
            pending: None,
            status: watch::Sender::new(starting),
        }
    }

    /// What TLS serves.
    pub fn resolver(&self) -> Arc<Resolver> {
        self.resolver.clone()
    }

    /// How things stand, as they change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Runs for as long as it is polled.
    pub async fn run(mut self) {
        let mut changes = self.changes();
        let mut retry = RETRY;
        loop {
            let wait = match self.pass(Timestamp::now()).await {
                // What was changed is read back soon, and what follows from it is done.
                Ok(true) => RETRY,
                Ok(false) => {
                    retry = RETRY;
                    PACE
                }
                Err(error) => {
                    tracing::warn!(%error, "certificates could not be looked after");
                    self.blame(&error);
                    retry = (retry * 2).min(PACE);
                    retry
                }
            };
            // A change that is seen only saves waiting; it is never needed.
            let _ = tokio::time::timeout(wait, changes.next()).await;
        }
    }

    /// One round. Says whether it changed a configuration.
    ///
    /// The configurations are read before the Secret, and applied on condition that they have not changed since: a state that is
    /// older than what they say is never written into them.
    pub async fn pass(&mut self, now: Timestamp) -> Result<bool, KeeperError> {
        let observations = self.configurations.read(&mut *self.registration, now).await?;
        let bundles: Vec<Bundle> = observations.iter().flat_map(Observation::bundles).collect();
        let bundle = match &mut self.source {
            Source::BuiltIn(store, replica) => {
                let state = agree(store, replica, &bundles, now).await?;
                if let Some(leaf) = replica.renew(&state, now)? {
                    let leaf = leaf.clone();
                    self.serve(leaf);
                }
                Some(state.bundle())
            }
            Source::Brought(files) => {
                let brought = files.read().await?;
                self.consider(brought.leaf, &bundles, now);
                // Added to, and taken from only by time: other replicas may still serve what the file before this one vouched for.
                let known = bundles
                    .iter()
                    .flat_map(Bundle::iter)
                    .filter(|known| known.not_after() > now);
                brought.bundle.map(|bundle| bundle.extended(known.cloned()))
            }
        };
        let changed = self.configurations.apply(&observations, bundle.as_ref()).await?;
        for kind in &changed {
            tracing::info!(kind = kind.as_str(), "webhook configuration applied");
        }
        self.report(&bundles, now);
        Ok(!changed.is_empty())
    }

    /// Serves a certificate that was brought as soon as everybody trusts it, or at once if the one before it is of no use.
    fn consider(&mut self, leaf: Leaf, bundles: &[Bundle], now: Timestamp) {
        if self
            .leaf
            .as_ref()
            .is_some_and(|held| held.certificate() == leaf.certificate())
        {
            self.pending = None;
            return;
        }
        let waiting = self
            .pending
            .take()
            .filter(|(waiting, _)| waiting.certificate() == leaf.certificate());
        let usable = |leaf: &Leaf| self.distrust(Some(leaf), bundles, now).is_none();
        let since = usable(&leaf).then(|| waiting.and_then(|(_, since)| since).unwrap_or(now));
        let propagated = since.is_some_and(|since| now >= since + Lifetimes::default().propagation);
        if propagated || !self.leaf.as_ref().is_some_and(&usable) {
            self.serve(leaf);
        } else {
            self.pending = Some((leaf, since));
        }
    }

    fn serve(&mut self, leaf: Leaf) {
        tracing::info!(certificate = ?leaf.certificate(), authority = ?leaf.authority(), "certificate served");
        self.resolver.swap(leaf.key().clone());
        self.leaf = Some(leaf);
    }

    fn report(&self, bundles: &[Bundle], now: Timestamp) {
        let leaf = self.leaf.as_ref();
        let status = Status {
            distrust: self.distrust(leaf, bundles, now),
            leaf_not_after: leaf.map(|leaf| leaf.certificate().not_after()),
            authority_not_after: leaf.and_then(Leaf::authority).map(Certificate::not_after),
        };
        self.status.send_if_modified(|was| {
            let modified = *was != status;
            *was = status;
            modified
        });
    }

    /// Who has never been ready says why; who is ready stays so.
    fn blame(&self, error: &KeeperError) {
        self.status.send_if_modified(|status| match &mut status.distrust {
            Some(reason) => {
                *reason = error.to_string();
                true
            }
            None => false,
        });
    }

    fn distrust(&self, leaf: Option<&Leaf>, bundles: &[Bundle], now: Timestamp) -> Option<String> {
        let Some(leaf) = leaf else {
            return Some("there is no certificate yet".to_owned());
        };
        if bundles.is_empty() {
            return Some(format!(
                "there is no webhook configuration `{}`",
                self.configurations.name()
            ));
        }
        let verified = bundles
            .iter()
            .try_for_each(|bundle| bundle.verify(&leaf.key().cert, &self.name, now));
        verified
            .err()
            .map(|distrust| format!("the API server would refuse our certificate: {distrust}"))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let secret = match &self.source {
            Source::BuiltIn(store, _) => store.changes(),
            Source::Brought(_) => stream::pending().boxed(),
        };
        stream::select(self.configurations.changes(), secret).boxed()
    }
}

/// What the Secret says, after everything that has to happen to it has been written by somebody.
async fn agree(
    store: &Store,
    replica: &mut Replica,
    bundles: &[Bundle],
    now: Timestamp,
) -> Result<State, KeeperError> {
    for _ in 0..WRITES_MAX {
        let stored = store.read().await?;
        let state = stored.as_ref().map(|stored| &stored.state);
        replica.observe(bundles.to_vec(), state, now);
        match (replica.advance(state, now)?, stored) {
            (None, Some(stored)) => return Ok(stored.state),
            (None, None) => unreachable!("a state that is not there is created"),
            (Some(advanced), stored) => {
                if store.write(stored.as_ref(), &advanced).await? {
                    tracing::info!(state = ?advanced, "certificate authorities changed");
                }
            }
        }
    }
    Err(KeeperError::Contended)
}

#[cfg(test)]
mod tests;
