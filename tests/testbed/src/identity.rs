//! Who may call the API server: one identity for each part, with a token, a kubeconfig, and no more rights than the part has in a real cluster.
//! The keys and certificates of the API server are made here too, anew for each run.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::inside::BRIDGE_ADDRESS;

/// A caller of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// May do everything: the tests, and the person at the keyboard.
    Admin,
    /// `rayward-webhook`'s service account; its rights come from `manifests/base/rbac.yaml`.
    Webhook,
    /// `rayward-autoscaler`'s service account; likewise.
    Autoscaler,
    /// The KubeRay operator's service account; its rights come from KubeRay's own `config/rbac`.
    Operator,
    /// The kubelet stand-in, for all Nodes at once.
    Podlet,
    /// kube-controller-manager, for all its controllers at once.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// Prometheus, which looks up what to scrape.
    Prometheus,
}

impl Identity {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Admin,
        Self::Webhook,
        Self::Autoscaler,
        Self::Operator,
        Self::Podlet,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Prometheus,
    ];

    /// A file name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Webhook => "rayward-webhook",
            Self::Autoscaler => "rayward-autoscaler",
            Self::Operator => "kuberay-operator",
            Self::Podlet => "podlet",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Prometheus => "prometheus",
        }
    }

    /// User and groups. Service accounts are named as their own tokens would name them, so that the RBAC of a real cluster applies.
    fn user(self) -> (&'static str, &'static str) {
        const RAYWARD: &str = "system:serviceaccounts,system:serviceaccounts:rayward-system";
        match self {
            Self::Webhook => ("system:serviceaccount:rayward-system:rayward-webhook", RAYWARD),
            Self::Autoscaler => ("system:serviceaccount:rayward-system:rayward-autoscaler", RAYWARD),
            Self::Operator => (
                "system:serviceaccount:ray-system:kuberay-operator",
                "system:serviceaccounts,system:serviceaccounts:ray-system",
            ),
            Self::Scheduler => ("system:kube-scheduler", ""),
            // One identity plays many service accounts (or nodes) here, so that none of them has to fetch a token first.
            Self::ControllerManager => ("system:kube-controller-manager", "system:masters"),
            Self::Podlet => ("podlet", "system:masters"),
            Self::Prometheus => ("prometheus", "system:masters"),
            Self::Admin => ("admin", "system:masters"),
        }
    }
}

/// What the API server proves itself with, and knows callers by.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    folder: PathBuf,
}

impl Credentials {
    /// Makes everything in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };

        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "testbed");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.pem", ca.self_signed(&ca_key)?.pem())?;

        let key = KeyPair::generate()?;
        let names = [
            "127.0.0.1",
            &BRIDGE_ADDRESS.to_string(),
            // First address of the service range: the ClusterIP of `kubernetes`.
            "10.96.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut serving = CertificateParams::new(names.map(str::to_owned))?;
        serving
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        write(
            "server.pem",
            serving.signed_by(&key, &Issuer::new(ca, ca_key))?.pem(),
        )?;
        write("server.key", key.serialize_pem())?;

        let accounts = KeyPair::generate()?;
        write("service-accounts.key", accounts.serialize_pem())?;
        write("service-accounts.pub", accounts.public_key_pem())?;

        let mut tokens = String::new();
        for identity in Identity::ALL {
            let (user, groups) = identity.user();
            writeln!(tokens, "{},{user},{user},\"{groups}\"", identity.name())?;
        }
        write("tokens.csv", tokens)?;

        let credentials = Self {
            folder: folder.to_owned(),
        };
        for identity in Identity::ALL {
            let server = SocketAddr::from(([127, 0, 0, 1], crate::control_plane::API_SERVER_PORT));
            write(
                &format!("{}.kubeconfig", identity.name()),
                credentials.kubeconfig_for(identity, server),
            )?;
        }
        Ok(credentials)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The kubeconfig that works inside.
    pub(crate) fn kubeconfig(&self, identity: Identity) -> PathBuf {
        self.file(&format!("{}.kubeconfig", identity.name()))
    }

    /// A kubeconfig for an API server that is reached at `server`. Its token is the identity's name: who can reach the API server at all is
    /// on this machine and in this run's namespaces, so there is nothing to keep secret.
    pub(crate) fn kubeconfig_for(&self, identity: Identity, server: SocketAddr) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": identity.name()}}],
            "clusters": [{"name": "testbed", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority": self.file("ca.pem"),
            }}],
            "users": [{"name": identity.name(), "user": {"token": identity.name()}}],
        });
        format!("{config:#}\n")
    }

    /// A client that calls as `identity`.
    pub(crate) async fn client(&self, identity: Identity) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(identity))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }
}
