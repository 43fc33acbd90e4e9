//! The world: everything that runs, started in the order that is fastest, and the handles to play with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::apply::{Applied, Applier, Refusal};
use crate::control_plane::{self, API_SERVER_PORT};
use crate::identity::{Credentials, Identity};
use crate::inside::{BRIDGE, BRIDGE_ADDRESS, Inside};
use crate::maker::Maker;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::podlet::{Bridge, NodeSpec, Podlet, PodletConfig};
use crate::process::{Process, Recipe};
use crate::program::Program;
use crate::progress::{Audience, Event, Progress};
use crate::prometheus::{self, Prometheus};
use crate::shell::Shell;
use crate::{operator, rayward, service_proxy};

/// One part of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// The KubeRay operator.
    Operator,
    /// Prometheus, once somebody asked for it.
    Prometheus,
    /// One replica of `rayward-webhook`, counted from 0.
    Webhook(usize),
    /// One replica of `rayward-autoscaler`, counted from 0.
    Autoscaler(usize),
}

/// A running world. It ends with the process.
#[derive(Clone)]
pub struct Testbed {
    shared: Arc<Shared>,
}

struct Shared {
    inside: Inside,
    maker: Maker,
    credentials: Credentials,
    applier: Arc<Applier>,
    samples: PathBuf,
    podlet: Podlet,
    parts: Vec<(Part, Process)>,
    webhook_replicas: usize,
    autoscaler_replicas: usize,
    prometheus: OnceCell<(Process, Prometheus)>,
    guarded_prometheus: OnceCell<Process>,
    namespaces: AtomicUsize,
    shells: AtomicUsize,
}

impl std::fmt::Debug for Testbed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Testbed")
            .field("work", &self.work())
            .finish_non_exhaustive()
    }
}

impl Testbed {
    /// Brings everything up. What has to be built or downloaded is, and `listener` hears of it.
    pub async fn start(
        inside: Inside,
        options: Options,
        listener: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Self> {
        let maker = Maker {
            inside: inside.clone(),
            audience: Audience::new(listener),
        };
        for version in options.ray_versions.clone() {
            let maker = maker.clone();
            // Nobody waits for it here; whoever needs it first hears whether it failed.
            tokio::spawn(async move { maker.ray(&version).await });
        }
        let credentials = Credentials::make(&inside.work().join("credentials"))?;
        let launch = async |recipe: Result<Recipe>| maker.launch(recipe?).await;

        let (etcd, kubernetes, kuberay) = tokio::try_join!(
            async {
                let etcd = maker.program(Program::Etcd).await?;
                launch(control_plane::etcd(&etcd, &inside.data())).await
            },
            maker.program(Program::Kubernetes),
            maker.program(Program::KubeRay),
        )?;
        let api_server = {
            let log = audit_log(inside.work());
            let log = options.audit.then_some(log.as_path());
            launch(control_plane::api_server(&kubernetes, &credentials, log)).await?
        };
        let applier = Arc::new(Applier::new(credentials.client(Identity::Admin).await?));

        let (controller_manager, scheduler, podlet, (operator, ours)) = tokio::try_join!(
            launch(control_plane::controller_manager(&kubernetes, &credentials)),
            launch(control_plane::scheduler(&kubernetes, &credentials)),
            start_podlet(&maker, &credentials, options.nodes.clone()),
            async {
                tokio::try_join!(
                    operator::install_definitions(applier.client(), &kuberay),
                    operator::install_rights(&applier, &kuberay),
                    rayward::install(&applier),
                )?;
                tokio::try_join!(
                    launch(operator::operator(
                        &kuberay,
                        &credentials,
                        &inside.data(),
                        &options.operator_feature_gates
                    )),
                    start_rayward(&maker, &credentials, &options),
                )
            },
        )?;

        let mut parts = vec![
            (Part::Etcd, etcd),
            (Part::ApiServer, api_server),
            (Part::ControllerManager, controller_manager),
            (Part::Scheduler, scheduler),
            (Part::Operator, operator),
        ];
        parts.extend(ours);
        let shared = Shared {
            samples: operator::samples(&kuberay)?,
            inside,
            maker,
            credentials,
            applier,
            podlet,
            parts,
            webhook_replicas: options.webhook_replicas,
            autoscaler_replicas: options.autoscaler_replicas,
            prometheus: OnceCell::new(),
            guarded_prometheus: OnceCell::new(),
            namespaces: AtomicUsize::new(1),
            shells: AtomicUsize::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A client that may do everything.
    pub fn client(&self) -> &Client {
        self.shared.applier.client()
    }

    /// A client with the rights of a part.
    pub async fn client_as(&self, identity: Identity) -> Result<Client> {
        self.shared.credentials.client(identity).await
    }

    /// A kubeconfig file that works inside.
    pub fn kubeconfig(&self, identity: Identity) -> PathBuf {
        self.shared.credentials.kubeconfig(identity)
    }

    /// A kubeconfig file that works for every program of the machine, as long as this world lives.
    pub async fn publish_kubeconfig(&self, identity: Identity) -> Result<PathBuf> {
        let port = self
            .shared
            .inside
            .publish(SocketAddr::from(([127, 0, 0, 1], API_SERVER_PORT)))
            .await?;
        let path = self.work().join("kubeconfig");
        std::fs::write(
            &path,
            self.shared
                .credentials
                .kubeconfig_for(identity, ([127, 0, 0, 1], port).into()),
        )?;
        Ok(path)
    }

    /// The folder of this run, seen by every part and by the machine outside. Pods have a `/tmp` of their own, so they do not see it.
    pub fn work(&self) -> &Path {
        self.shared.inside.work()
    }

    /// KubeRay's sample manifests.
    pub fn samples(&self) -> &Path {
        &self.shared.samples
    }

    /// Everything that runs in Pods.
    pub fn podlet(&self) -> &Podlet {
        &self.shared.podlet
    }

    /// How many replicas of the webhook there are.
    pub fn webhook_replicas(&self) -> usize {
        self.shared.webhook_replicas
    }

    /// A namespace of its own, named after `prefix`, in which Pods can be made. It goes away when the handle is dropped.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        let number = self.shared.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}");
        let object = NamespaceObject {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..NamespaceObject::default()
        };
        Api::all(self.client().clone())
            .create(&PostParams::default(), &object)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().clone(), &name);
        let account = await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
            account.is_some()
        });
        tokio::time::timeout(Duration::from_secs(30), account)
            .await
            .with_context(|| format!("{name} has no default service account after 30 s"))??;
        Ok(Namespace::new(self.clone(), name))
    }

    /// A shell in which `kubectl` has this namespace for its own. A machine without `kubectl` gets one.
    pub async fn shell(&self, namespace: &str) -> Result<Shell> {
        let kubectl = self.shared.maker.program(Program::Kubectl).await?;
        let kubectl = kubectl
            .values()
            .next()
            .context("the outer process made no kubectl")?;
        let number = self.shared.shells.fetch_add(1, Ordering::Relaxed);
        let folder = self.work().join(format!("shell-{number}"));
        Shell::new(folder, kubectl, &self.kubeconfig(Identity::Admin), namespace)
    }

    /// Server-side apply of an object that names its namespace, or has none.
    pub async fn apply(&self, object: &Value) -> Result<Applied, Refusal> {
        self.shared.applier.apply(object, None).await
    }

    /// The same, without storing it.
    pub async fn dry_run(&self, object: &Value) -> Result<Applied, Refusal> {
        self.shared.applier.dry_run(object, None).await
    }

    /// Deletes an object without waiting for its end.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        self.shared.applier.delete(kind, namespace, name).await
    }

    /// The folder with every container's output: `<namespace>_<pod>_<uid>/<container>/<restart>.log`.
    pub fn pod_logs(&self) -> PathBuf {
        self.shared.inside.pod_logs()
    }

    /// What service accounts have asked of the API server, as it audits them, if [`Options::audit`] says so.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(self.work())
    }

    pub(crate) fn applier(&self) -> &Arc<Applier> {
        &self.shared.applier
    }

    /// Prometheus, started when first asked for.
    pub async fn prometheus(&self) -> Result<&Prometheus> {
        let start = async {
            let paths = self.shared.maker.program(Program::Prometheus).await?;
            let webhooks =
                (0..self.shared.webhook_replicas).map(|replica| rayward::webhook_backend(replica).admin_port);
            let autoscalers = (0..self.shared.autoscaler_replicas).map(rayward::autoscaler_admin_port);
            let services = [
                ("rayward-webhook", webhooks.collect()),
                ("rayward-autoscaler", autoscalers.collect()),
                ("kuberay-operator", vec![operator::METRICS_PORT]),
            ];
            let recipe = prometheus::prometheus(
                &paths,
                &self.shared.credentials,
                &self.shared.inside.data(),
                &services,
            )?;
            anyhow::Ok((self.shared.maker.launch(recipe).await?, Prometheus::connect()?))
        };
        Ok(&self.shared.prometheus.get_or_try_init(|| start).await?.1)
    }

    /// Another Prometheus, which knows nothing and wants to see a certificate and a password; started when first asked for. Answers what it takes to be
    /// let in, as a Secret for scaling policies has it.
    pub async fn guarded_prometheus(&self) -> Result<BTreeMap<&'static str, String>> {
        let start = async {
            let paths = self.shared.maker.program(Program::Prometheus).await?;
            let data = self.shared.inside.data();
            let recipe = prometheus::guarded(&paths, &self.shared.credentials, &data)?;
            self.shared.maker.launch(recipe).await
        };
        self.shared.guarded_prometheus.get_or_try_init(|| start).await?;
        let file = |name: &str| {
            let file = self.shared.credentials.file(name);
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
        };
        let [user, password] = prometheus::GUARDED_PROMETHEUS_USER.map(str::to_owned);
        Ok(BTreeMap::from([
            ("username", user),
            ("password", password),
            ("ca.crt", file("ca.pem")?),
            ("tls.crt", file("server.pem")?),
            ("tls.key", file("server.key")?),
        ]))
    }

    /// SIGKILL. The part stays dead until it is started.
    pub async fn kill(&self, part: Part) -> Result<()> {
        self.part(part)?.kill().await
    }

    /// SIGTERM, and an error if the part does not end within its grace period.
    pub async fn stop(&self, part: Part) -> Result<()> {
        self.part(part)?.stop().await
    }

    /// Starts a part that was stopped or killed, and waits until it is ready.
    pub async fn start_part(&self, part: Part) -> Result<()> {
        self.part(part)?.start().await
    }

    /// Stops a part if it runs, starts it, and waits until it is ready.
    pub async fn restart(&self, part: Part) -> Result<()> {
        self.part(part)?.restart().await
    }

    /// SIGSTOP: the part hangs.
    pub async fn pause(&self, part: Part) -> Result<()> {
        self.part(part)?.pause().await
    }

    /// SIGCONT.
    pub async fn resume(&self, part: Part) -> Result<()> {
        self.part(part)?.resume().await
    }

    /// Where a replica of the webhook is answered, past the address that all of them share.
    pub fn webhook_address(&self, replica: usize) -> SocketAddr {
        ([127, 0, 0, 1], rayward::webhook_backend(replica).port).into()
    }

    /// Where a replica of the autoscaler tells how it is, also to the API server, which asks nobody on the loopback.
    pub fn autoscaler_admin_address(&self, replica: usize) -> SocketAddr {
        (BRIDGE_ADDRESS, rayward::autoscaler_admin_port(replica)).into()
    }

    /// Where the operator's own webhook is answered.
    pub fn operator_webhook_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], operator::WEBHOOK_PORT).into()
    }

    /// The process that the part is right now.
    pub async fn pid(&self, part: Part) -> Result<i32> {
        Ok(self.part(part)?.pid().await?.as_raw())
    }

    /// Memory that the part holds right now.
    pub async fn rss_bytes(&self, part: Part) -> Result<u64> {
        self.part(part)?.rss_bytes().await
    }

    /// All that the part has logged in this run.
    pub fn logs(&self, part: Part) -> Result<String> {
        let log = self.part(part)?.log();
        let bytes = std::fs::read(log).with_context(|| format!("read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn part(&self, part: Part) -> Result<&Process> {
        if part == Part::Prometheus {
            return self
                .shared
                .prometheus
                .get()
                .map(|(process, _)| process)
                .context("nobody has asked for Prometheus yet");
        }
        let found = self.shared.parts.iter().find(|(one, _)| *one == part);
        found
            .map(|(_, process)| process)
            .with_context(|| format!("there is no {part:?} in this world"))
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.shared
            .parts
            .iter()
            .map(|(_, process)| process)
            .chain(self.shared.prometheus.get().map(|(process, _)| process))
            .chain(self.shared.guarded_prometheus.get())
    }
}

fn audit_log(work: &Path) -> PathBuf {
    work.join("audit.log")
}

/// The kubelet stand-in; it gets a Ray version from outside when an image first names it.
async fn start_podlet(maker: &Maker, credentials: &Credentials, nodes: Vec<NodeSpec>) -> Result<Podlet> {
    let started = Instant::now();
    let rays = {
        let maker = maker.clone();
        move |version: String| -> BoxFuture<'static, Result<PathBuf>> {
            let maker = maker.clone();
            Box::pin(async move { maker.ray(&version).await })
        }
    };
    let work = maker.inside.work().join("podlet");
    keep_logs(&work.join("logs"), &maker.inside.pod_logs())?;
    let podlet = Podlet::start(PodletConfig {
        client: credentials.client(Identity::Podlet).await?,
        api_server: (BRIDGE_ADDRESS, API_SERVER_PORT).into(),
        nodes,
        work,
        rays: Arc::new(rays),
        hosts_file: maker.inside.hosts(),
        bridge: Bridge {
            name: BRIDGE.to_owned(),
            address: BRIDGE_ADDRESS,
        },
    })
    .await
    .context("start podlet")?;
    maker.audience.tell("podlet", Event::Up(started.elapsed()));
    Ok(podlet)
}

/// Containers' output goes where all logs go, and stays when they stay.
fn keep_logs(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::create_dir_all(from.parent().expect("it is in podlet's folder"))?;
    std::os::unix::fs::symlink(to, from).with_context(|| format!("link {}", from.display()))
}

/// The webhook's replicas behind their address, and those of the autoscaler.
async fn start_rayward(
    maker: &Maker,
    credentials: &Credentials,
    options: &Options,
) -> Result<Vec<(Part, Process)>> {
    let replicas = 0..options.webhook_replicas;
    let backends = replicas.clone().map(rayward::webhook_backend).collect();
    service_proxy::start(rayward::WEBHOOK_SERVICE_PORT, backends).await?;
    let mut recipes: Vec<(Part, Recipe)> = replicas
        .map(|replica| {
            (
                Part::Webhook(replica),
                rayward::webhook(
                    replica,
                    credentials,
                    &options.operator_feature_gates,
                    &options.webhook_arguments,
                ),
            )
        })
        .collect();
    recipes.extend((0..options.autoscaler_replicas).map(|replica| {
        (
            Part::Autoscaler(replica),
            rayward::autoscaler(replica, credentials, &options.autoscaler_arguments),
        )
    }));
    let started = recipes
        .into_iter()
        .map(async |(part, recipe)| anyhow::Ok((part, maker.launch(recipe).await?)));
    futures::future::try_join_all(started).await
}
