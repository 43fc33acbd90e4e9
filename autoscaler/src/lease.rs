//! The Lease of this replica: renewed, compared with those of the others, and given up at the end. What follows from it is decided in
//! [`crate::ownership`].

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::NAME;
use crate::ownership::{LEASE, Membership, Ownership, PERIOD, Sighted, Tenure};

/// The Leases of all replicas, and no others.
const LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/name", "rayward"),
    ("app.kubernetes.io/component", "autoscaler"),
];
/// Before the name of the replica, the name of its Lease.
const PREFIX: &str = "rayward-autoscaler-";
/// A renewal that takes longer would be worth little.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
/// How soon it is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(500);
/// Leases of replicas that ended are swept up after this. Clocks may differ by less.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// Keeps our Lease.
pub(crate) struct Keeper {
    leases: Api<Lease>,
    me: String,
    membership: Membership,
    tenure: watch::Sender<Option<Tenure>>,
    /// What was last said: with whom they are shared, and whether we act.
    shared: Option<(BTreeSet<String>, bool)>,
}

impl Keeper {
    /// A replica of that name, and which clusters are its own as long as [`Self::keep`] is polled.
    pub(crate) fn new(client: Client, namespace: &str, replica: &str) -> (Self, Ownership) {
        // What was begun by a process of the same name may still be on its way, so each process counts as another.
        let process = RandomState::new().hash_one(std::process::id());
        let me = format!("{}-{:08x}", replica.to_lowercase(), process & 0xffff_ffff);
        let (tenure, told) = watch::channel(None);
        let keeper = Self {
            leases: Api::namespaced(client, namespace),
            membership: Membership::new(me.clone()),
            me,
            tenure,
            shared: None,
        };
        (keeper, Ownership::Shared(told))
    }

    /// Renews and looks, for ever.
    pub(crate) async fn keep(&mut self) {
        loop {
            let wait = match tokio::time::timeout(DEADLINE, self.renew()).await {
                Ok(Ok(())) => PERIOD,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "lease not renewed");
                    RETRY
                }
                Err(_) => {
                    tracing::warn!(seconds = DEADLINE.as_secs(), "lease not renewed in time");
                    RETRY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Says that we act no more. Whoever calls this has stopped to.
    pub(crate) async fn release(self) {
        self.tenure.send_replace(None);
        let released = tokio::time::timeout(DEADLINE, self.write(None)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!(
                ?released,
                "lease not released: the others wait until it has run out"
            );
        }
    }

    async fn renew(&mut self) -> kube::Result<()> {
        let sent = Instant::now();
        self.write(Some(self.me.clone())).await?;
        let listed = self.list().await?;
        let now = Instant::now();
        let tenure = self.membership.look(listed, sent, now);
        let shared = (tenure.members().clone(), tenure.has_begun(now));
        if self.shared.as_ref() != Some(&shared) {
            let (replicas, acts) = &shared;
            tracing::info!(me = self.me, ?replicas, acts, "clusters are shared");
            self.shared = Some(shared);
        }
        self.tenure.send_replace(Some(tenure));
        Ok(())
    }

    /// Creates it where it is not there.
    async fn write(&self, holder: Option<String>) -> kube::Result<()> {
        let name = format!("{PREFIX}{}", self.me);
        let labels = LABELS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let seconds = i32::try_from(LEASE.as_secs()).unwrap_or(i32::MAX);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: holder,
                lease_duration_seconds: Some(seconds),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PatchParams::apply(NAME).force();
        self.leases
            .patch(&name, &parameters, &Patch::Apply(lease))
            .await
            .map(drop)
    }

    async fn list(&self) -> kube::Result<Vec<Sighted>> {
        let selector = LABELS.map(|(key, value)| format!("{key}={value}")).join(",");
        let listed = self.leases.list(&ListParams::default().labels(&selector)).await?;
        let mut sighted = Vec::new();
        for lease in listed.items {
            if is_left_behind(&lease) {
                // Another may have been quicker.
                let _ = self
                    .leases
                    .delete(&lease.name_any(), &DeleteParams::default())
                    .await;
                continue;
            }
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
            let name = lease.name_any();
            sighted.push(Sighted {
                released: holder.is_none_or(String::is_empty),
                uid: lease.uid().unwrap_or_default(),
                mark: lease.resource_version().unwrap_or_default(),
                replica: name.strip_prefix(PREFIX).map_or(name.clone(), str::to_owned),
            });
        }
        Ok(sighted)
    }
}

fn is_left_behind(lease: &Lease) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    renewed.is_some_and(|renewed| {
        let age = Timestamp::now().duration_since(renewed.0);
        age.unsigned_abs() > LEFT_BEHIND && age.is_positive()
    })
}
