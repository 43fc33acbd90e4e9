//! The life of one Pod on its node, from binding to removal.
//!
//! One task a Pod, told top to bottom: network, volumes, init containers in order, containers side by side, the end.
//! What is known on the way is collected as `Facts`, which `status` turns into what the API server is told.
//! Native sidecars (init containers that restart always) are waited for at start like any init container, and are
//! stopped after the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::{join, join_all};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Host;
use super::container::{Restart, supervise};
use super::env::Place;
use super::sandbox::Sandbox;
use super::status::{self, ContainerFacts, Facts, is_sidecar};
use super::volumes::Volumes;

/// When a Pod's processes have to be gone; none while it may run.
pub(super) type Deadline = Option<Instant>;

/// A kubelet's goes to two minutes; here somebody is waiting.
const RETRY_PAUSE_MOST: Duration = Duration::from_secs(5);

/// Runs `pod` until `asked` sets a deadline and the Pod object could be removed.
pub(super) async fn live(host: Arc<Host>, pod: Arc<Pod>, mut asked: watch::Receiver<Deadline>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let facts = Facts::new(&spec, host.bridge.address, Timestamp::now());
    let (facts, changes) = watch::channel(facts);
    let (deadline, stopping) = watch::channel(None);
    let folder = host.pods_folder.join(pod.uid().unwrap_or_default());
    let life = Life {
        host,
        pod,
        spec,
        folder,
        facts,
        stopping,
    };
    let mut report = Report {
        life: &life,
        written: None,
    };
    tokio::select! {
        () = report.follow(changes) => {}
        () = life.run(asked.clone(), deadline) => {}
    }
    report.write(&life.facts()).await;
    life.clean_up().await;
    // An error means that nobody will ever ask: the podlet is being dropped.
    if asked.wait_for(Option::is_some).await.is_ok() {
        life.remove_object().await;
    }
}

/// A Pod, and what is known and wanted of it.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) host: Arc<Host>,
    pub(super) pod: Arc<Pod>,
    spec: PodSpec,
    /// Everything that the Pod keeps on disk, but for its logs.
    pub(super) folder: PathBuf,
    facts: watch::Sender<Facts>,
    stopping: watch::Receiver<Deadline>,
}

/// A Pod that has a network and volumes, so that containers can run.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) life: Life,
    pub(super) sandbox: Sandbox,
    pub(super) volumes: Arc<Volumes>,
}

impl Life {
    /// Everything from the first step to the last process's end.
    async fn run(&self, mut asked: watch::Receiver<Deadline>, deadline: watch::Sender<Deadline>) {
        let work = async {
            if let Some(home) = self.unless_stopping(self.move_in()).await {
                home.run_containers().await;
            }
        };
        let mut work = std::pin::pin!(work);
        let time_limit = self
            .spec
            .active_deadline_seconds
            .map(|seconds| Instant::now() + Duration::from_secs(seconds.unsigned_abs()));
        asked.mark_changed();
        loop {
            tokio::select! {
                () = &mut work => return,
                changed = asked.changed() => {
                    let wanted = if changed.is_ok() { *asked.borrow_and_update() } else { Some(Instant::now()) };
                    if wanted.is_some() {
                        self.facts.send_modify(|facts| facts.stopping = true);
                        deadline.send_replace(wanted);
                    }
                    if changed.is_err() {
                        return work.await;
                    }
                }
                () = sleep_until(time_limit.unwrap_or_else(Instant::now)),
                    if time_limit.is_some() && deadline.borrow().is_none() =>
                {
                    let message = "Pod was active on the node longer than the specified deadline";
                    let failure = ("DeadlineExceeded".to_owned(), message.to_owned());
                    self.facts.send_modify(|facts| facts.failure = Some(failure));
                    deadline.send_replace(Some(Instant::now() + self.grace()));
                }
            }
        }
    }

    /// Network and volumes; tries until they are there.
    async fn move_in(&self) -> Home {
        let ip = self.host.next_ip();
        let hostname = self.spec.hostname.clone().unwrap_or_else(|| self.pod.name_any());
        let sandbox = self
            .insist("FailedCreatePodSandBox", || {
                Sandbox::new(&self.host.bridge, ip, hostname.chars().take(63).collect())
            })
            .await;
        self.insist("FailedCreatePodSandBox", || async { self.make_names(&sandbox) })
            .await;
        self.facts.send_modify(|facts| facts.pod_ip = Some(ip));
        let folder = self.folder.join("volumes");
        let volumes = self
            .insist("FailedMount", || {
                Volumes::make(&self.host.client, self.place(ip), &folder)
            })
            .await;
        Home {
            life: self.clone(),
            sandbox,
            volumes: Arc::new(volumes),
        }
    }

    async fn insist<T, F: Future<Output = Result<T>>>(&self, reason: &str, attempt: impl Fn() -> F) -> T {
        let mut pause = Duration::from_millis(500);
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => self.event_warning(reason, &format!("{error:#}")),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MOST);
        }
    }

    /// The hosts file and the empty resolver configuration that all containers share.
    fn make_names(&self, sandbox: &Sandbox) -> Result<()> {
        let folder = self.names_folder();
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("resolv.conf"), "")?;
        let mut own = vec![format!("{} {}", sandbox.ip, sandbox.hostname)];
        own.extend(self.spec.host_aliases.iter().flatten().map(|alias| {
            let names = alias.hostnames.as_deref().unwrap_or_default();
            format!("{} {}", alias.ip, names.join(" "))
        }));
        self.host.names.add(
            &self.uid(),
            &folder.join("hosts"),
            &own.join("\n"),
            self.pod.namespace().as_deref(),
        )
    }

    pub(super) fn names_folder(&self) -> PathBuf {
        self.folder.join("names")
    }

    pub(super) fn place(&self, pod_ip: std::net::Ipv4Addr) -> Place<'_> {
        let allocatable = self
            .host
            .allocatable(self.spec.node_name.as_deref().unwrap_or_default());
        Place {
            pod: &self.pod,
            pod_ip,
            host_ip: self.host.bridge.address,
            allocatable,
        }
    }

    pub(super) fn uid(&self) -> String {
        self.pod.uid().unwrap_or_default()
    }

    /// What the host knows a running container by.
    pub(super) fn key(&self, container: &Container) -> super::ContainerKey {
        (
            self.pod.namespace().unwrap_or_default(),
            self.pod.name_any(),
            container.name.clone(),
        )
    }

    pub(super) fn log_file(&self, container: &str, run: i32) -> PathBuf {
        self.host
            .log_folder(&self.pod, container)
            .join(format!("{run}.log"))
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(
            self.host.client.clone(),
            &self.pod.namespace().unwrap_or_default(),
        )
    }

    pub(super) fn grace(&self) -> Duration {
        let seconds = self.spec.termination_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Notes something about a container.
    pub(super) fn tell(&self, container: &Container, change: impl FnOnce(&mut ContainerFacts)) {
        self.facts
            .send_modify(|facts| change(facts.container(&container.name)));
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// The outcome of `work`; none if the Pod is told to stop first.
    pub(super) async fn unless_stopping<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            value = work => Some(value),
            () = self.stop_asked() => None,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Waits until the Pod is told to stop.
    pub(super) async fn stop_asked(&self) {
        let _ = self.stopping.clone().wait_for(Option::is_some).await; // nobody left to ask: stop as well
    }

    /// Waits until the Pod's processes have to be gone, whatever changes about that in between.
    pub(super) async fn deadline_passed(&self) {
        let mut stopping = self.stopping.clone();
        loop {
            let deadline = *stopping.borrow_and_update();
            tokio::select! {
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
                changed = stopping.changed() => if changed.is_err() { return },
            }
        }
    }

    pub(super) fn event(&self, reason: &str, note: &str) {
        self.host.event(&self.pod, EventType::Normal, reason, note);
    }

    pub(super) fn event_warning(&self, reason: &str, note: &str) {
        self.host.event(&self.pod, EventType::Warning, reason, note);
    }

    async fn clean_up(&self) {
        self.host.names.remove(&self.uid());
        if let Err(error) = tokio::fs::remove_dir_all(&self.folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, pod = self.pod.name_any(), "remove a Pod's folder");
        }
    }

    /// The last step of a graceful deletion.
    async fn remove_object(&self) {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: self.pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default().grace_period(0)
        };
        let pods: Api<Pod> = self.api();
        loop {
            match pods.delete(&self.pod.name_any(), &parameters).await {
                Err(error) if !is_final(&error) => {
                    tracing::warn!(%error, pod = self.pod.name_any(), "remove a Pod");
                    sleep(Duration::from_secs(1)).await;
                }
                _ => return,
            }
        }
    }
}

impl Home {
    async fn run_containers(&self) {
        let (steps, reached) = watch::channel(0);
        let (sidecars_end, stopping) = watch::channel(None);
        let beside = Home {
            life: Life {
                stopping,
                ..self.life.clone()
            },
            sandbox: self.sandbox.clone(),
            volumes: Arc::clone(&self.volumes),
        };
        let inits = || status::init_containers(&self.life.spec).iter().enumerate();
        let sidecars = inits()
            .filter(|(_, init)| is_sidecar(init))
            .map(async |(step, init)| {
                let mut reached = reached.clone();
                let turn = beside
                    .life
                    .unless_stopping(reached.wait_for(|&at| at >= step))
                    .await
                    .is_some();
                if turn {
                    supervise(&beside, init, Restart::Always).await;
                }
            });
        let story = async {
            self.run_in_order(inits(), &steps).await;
            let end = self
                .life
                .stopping
                .borrow()
                .unwrap_or_else(|| Instant::now() + self.life.grace());
            sidecars_end.send_replace(Some(end));
        };
        join(story, join_all(sidecars)).await;
    }

    /// Init containers one by one, then all others at once.
    async fn run_in_order(
        &self,
        inits: impl Iterator<Item = (usize, &Container)>,
        steps: &watch::Sender<usize>,
    ) {
        let restart = Restart::of(status::restart_policy(&self.life.spec));
        let restart_init = if restart == Restart::Never {
            restart
        } else {
            Restart::OnFailure
        };
        for (step, init) in inits {
            steps.send_replace(step);
            let done = if is_sidecar(init) {
                let mut facts = self.life.facts.subscribe();
                let started = facts.wait_for(|facts| facts.has_started(init));
                self.life.unless_stopping(started).await.is_some()
            } else {
                supervise(self, init, restart_init).await
            };
            if !done {
                return;
            }
        }
        let mains = self.life.spec.containers.iter();
        join_all(mains.map(|container| supervise(self, container, restart))).await;
    }

    pub(super) fn place(&self) -> Place<'_> {
        self.life.place(self.sandbox.ip)
    }
}

/// Tells the API server what is known, whenever that changes.
struct Report<'a> {
    life: &'a Life,
    written: Option<PodStatus>,
}

impl Report<'_> {
    async fn follow(&mut self, mut changes: watch::Receiver<Facts>) {
        loop {
            let facts = changes.borrow_and_update().clone();
            self.write(&facts).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tries until it is written or the Pod is gone.
    async fn write(&mut self, facts: &Facts) {
        let Life { pod, spec, .. } = self.life;
        let status = status::status(spec, facts, self.written.as_ref(), Timestamp::now());
        if self.written.as_ref() == Some(&status) {
            return;
        }
        let change = json!({ "metadata": { "uid": pod.uid() }, "status": status });
        let pods: Api<Pod> = self.life.api();
        let name = pod.name_any();
        loop {
            // Strategic, because the scheduler and others keep conditions of their own in the list.
            match pods
                .patch_status(&name, &PatchParams::default(), &Patch::Strategic(&change))
                .await
            {
                Err(error) if !is_final(&error) => tracing::warn!(%error, pod = name, "write a Pod's status"),
                _ => break,
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.written = Some(status);
    }
}

/// Nothing is to be gained by trying again: the Pod is gone, or is another one of the same name.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}
