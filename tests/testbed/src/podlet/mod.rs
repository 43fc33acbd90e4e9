//! `podlet`: the stand-in for a kubelet and its container runtime, for Pods as plain processes.
//!
//! It registers [`Node`](NodeSpec)s, and runs what the scheduler binds to them: `pod` is the life of a Pod, `container`
//! that of a container, `program` what it runs (by `image` and `env`), `sandbox` and `rootfs` the namespaces it lives
//! in, `volumes` what it finds there, `probe` how it is asked for its health, `status` what the API server is told,
//! `names` and `api_service` how programs find each other and the API server, `kubelet_api` what `kubectl logs` asks.
//!
//! It needs to be root in network, mount and PID namespaces that are thrown away with everything in it: making those
//! is not its business. When it is dropped it kills the processes it started; mounts and interfaces go with the
//! namespaces.

mod api_service;
mod container;
mod env;
mod image;
mod kubelet_api;
mod names;
mod node;
mod pod;
mod probe;
mod program;
mod rootfs;
mod sandbox;
mod status;
mod volumes;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use nix::mount::MsFlags;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use std::process::Output;

pub use node::NodeSpec;
pub use sandbox::Bridge;

use container::Session;
use names::Names;
use pod::Deadline;

/// Finds the virtual environment of a Ray version, and makes it on first use.
pub type RayVersions = Arc<dyn Fn(String) -> BoxFuture<'static, Result<PathBuf>> + Send + Sync>;

/// What the podlet needs to know about the world it is in.
#[derive(Clone)]
pub struct PodletConfig {
    /// For everything that a kubelet may do.
    pub client: Client,
    /// Where the API server is, as seen from here; Pods reach it at port 443 of the bridge.
    pub api_server: SocketAddr,
    /// The Nodes to register.
    pub nodes: Vec<NodeSpec>,
    /// A folder of its own.
    pub work: PathBuf,
    /// Where Ray comes from.
    pub rays: RayVersions,
    /// The machine's hosts file, to be filled with the names of Services.
    pub hosts_file: PathBuf,
    /// What Pods' networks are plugged into.
    pub bridge: Bridge,
}

impl fmt::Debug for PodletConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PodletConfig")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// Runs Pods until it is dropped.
#[derive(Debug)]
pub struct Podlet {
    host: Arc<Host>,
    _tasks: JoinSet<()>,
}

impl Podlet {
    /// Registers the Nodes and begins to run what is bound to them.
    pub async fn start(config: PodletConfig) -> Result<Podlet> {
        let PodletConfig {
            client,
            api_server,
            nodes,
            work,
            rays,
            hosts_file,
            bridge,
        } = config;
        let pods_folder = work.join("pods");
        std::fs::create_dir_all(&pods_folder).with_context(|| format!("make {}", pods_folder.display()))?;
        // A file system of its own, since an overlay cannot write to the one it covers.
        rootfs::mount_on(
            &pods_folder,
            None,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0755"),
        )?;
        let (names, follow_names) = Names::watch(client.clone(), &hosts_file, bridge.address)?;
        let reporter = Reporter {
            controller: "podlet".into(),
            instance: None,
        };
        let host = Arc::new(Host {
            recorder: Recorder::new(client.clone(), reporter),
            client: client.clone(),
            logs: work.join("logs"),
            pods_folder,
            rays,
            names,
            next_address: AtomicU32::new(bridge.address.to_bits() & 0xffff_0000 | 0x0101),
            bridge,
            nodes: nodes.into_iter().map(|node| (node.name.clone(), node)).collect(),
            sessions: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_names);
        kubelet_api::serve(&host, &mut tasks).await?;
        api_service::serve(host.bridge.address, api_server, &mut tasks).await?;
        let register = |node| node::register(&host.client, node, host.bridge.address, kubelet_api::PORT);
        try_join_all(host.nodes.values().map(register)).await?;
        for name in host.nodes.keys() {
            tasks.spawn(node::keep_alive(client.clone(), name.clone()));
        }
        tasks.spawn(run_pods(Arc::clone(&host)));
        Ok(Podlet { host, _tasks: tasks })
    }

    /// Runs a command in a running container, to its end.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        argv: &[impl AsRef<str>],
    ) -> Result<Output> {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        let session = self.host.sessions().get(&key).cloned();
        let session =
            session.with_context(|| format!("container {container} of {namespace}/{pod} is not running"))?;
        session
            .run(argv.iter().map(|word| word.as_ref().to_owned()).collect())
            .await
    }

    /// The folder with every container's output: `<namespace>_<pod>_<uid>/<container>/<restart>.log`.
    pub fn logs(&self) -> &std::path::Path {
        &self.host.logs
    }
}

/// Namespace, Pod, container.
type ContainerKey = (String, String, String);

/// What all Pods share.
struct Host {
    client: Client,
    recorder: Recorder,
    pods_folder: PathBuf,
    logs: PathBuf,
    rays: RayVersions,
    names: Names,
    bridge: Bridge,
    next_address: AtomicU32,
    nodes: BTreeMap<String, NodeSpec>,
    sessions: Mutex<HashMap<ContainerKey, Arc<Session>>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Host")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// An address that no Pod had before, so that nobody meets a stranger where somebody used to be.
    fn next_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.next_address.fetch_add(1, Ordering::Relaxed))
    }

    fn allocatable(&self, node: &str) -> &BTreeMap<String, String> {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        self.nodes.get(node).map_or(&NOTHING, |node| &node.allocatable)
    }

    fn log_folder(&self, pod: &Pod, container: &str) -> PathBuf {
        let (namespace, uid) = (pod.namespace().unwrap_or_default(), pod.uid().unwrap_or_default());
        self.logs
            .join(format!("{namespace}_{}_{uid}", pod.name_any()))
            .join(container)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<ContainerKey, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: ContainerKey, session: &Arc<Session>) {
        self.sessions().insert(key, Arc::clone(session));
    }

    fn forget(&self, key: &ContainerKey) {
        self.sessions().remove(key);
    }

    /// Publishes an event without waiting for it.
    fn event(&self, pod: &Pod, type_: EventType, reason: &str, note: &str) {
        let (recorder, regarding) = (self.recorder.clone(), pod.object_ref(&()));
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note.chars().take(1024).collect()),
            action: reason.into(),
            secondary: None,
        };
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &regarding).await {
                tracing::debug!(%error, reason = event.reason, "publish an event");
            }
        });
    }
}

/// Starts a task for every Pod that is bound to one of our Nodes, and tells it when the Pod is to go.
async fn run_pods(host: Arc<Host>) {
    let bound = watcher::Config::default().fields("spec.nodeName!=");
    let changes = watcher(Api::<Pod>::all(host.client.clone()), bound).default_backoff();
    let mut changes = std::pin::pin!(changes);
    let mut pods: HashMap<String, watch::Sender<Deadline>> = HashMap::new();
    let mut listed = Vec::new();
    let mut tasks = JoinSet::new();
    while let Some(change) = changes.next().await {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a Pod's task panicked");
            }
        }
        match change {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitDone) => pods.retain(|uid, asked| {
                let there = listed.contains(uid);
                if !there {
                    asked.send_replace(Some(Instant::now()));
                }
                there
            }),
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(asked) = pods.remove(&pod.uid().unwrap_or_default()) {
                    asked.send_replace(Some(Instant::now()));
                }
            }
            Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                let uid = pod.uid().unwrap_or_default();
                listed.push(uid.clone());
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                if !node.is_some_and(|node| host.nodes.contains_key(node)) {
                    continue;
                }
                let deadline = deadline(&pod);
                let asked = pods.entry(uid).or_insert_with(|| {
                    let (asked, hear) = watch::channel(None);
                    tasks.spawn(pod::live(Arc::clone(&host), Arc::new(pod), hear));
                    asked
                });
                // Counted from when we hear of it; only ever brought forward.
                asked.send_if_modified(|known| {
                    let earlier = deadline.filter(|deadline| known.is_none_or(|known| *deadline < known));
                    *known = earlier.or(*known);
                    earlier.is_some()
                });
            }
            Err(error) => tracing::warn!(%error, "watch pods"),
        }
    }
}

fn deadline(pod: &Pod) -> Deadline {
    pod.metadata.deletion_timestamp.as_ref()?;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
    Some(Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
}
