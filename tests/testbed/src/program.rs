//! The programs of the world that are written in Go: what they are, and how they are had (from the machine, else built from their modules).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use workshop::{Cache, GoBuild, Making, copy_folder};

use crate::prerequisites::{find, is_program};
use crate::wire::Paths;

/// What is built in one go: the tools of one `go.mod` under `go/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Program {
    /// The store of the API server.
    Etcd,
    /// API server, controller manager and scheduler; most of their packages are shared.
    Kubernetes,
    /// The operator, and with it its CRDs, RBAC and samples.
    KubeRay,
    /// Scrapes and answers `PromQL`.
    Prometheus,
    /// What people have for the API server. Of another version than that, mostly, where the machine has it.
    Kubectl,
}

impl std::fmt::Display for Program {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "Kubernetes",
            Self::KubeRay => "KubeRay operator",
            Self::Prometheus => "Prometheus",
            Self::Kubectl => "kubectl",
        })
    }
}

/// The name under which the KubeRay module's `config` folder is among the paths of [`Program::KubeRay`].
pub(crate) const KUBERAY_CONFIG: &str = "config";
const KUBERAY_MODULE: &str = "github.com/ray-project/kuberay/ray-operator";

impl Program {
    fn folder(self) -> &'static str {
        match self {
            Self::Kubectl => Self::Kubernetes.name(),
            other => other.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
            Self::KubeRay => "kuberay",
            Self::Prometheus => "prometheus",
            Self::Kubectl => "kubectl",
        }
    }

    /// Executable -> package. The module is the package's longest prefix that `go.mod` requires.
    fn executables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Etcd => &[("etcd", "go.etcd.io/etcd/server/v3")],
            Self::Kubernetes => &[
                ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
                (
                    "kube-controller-manager",
                    "k8s.io/kubernetes/cmd/kube-controller-manager",
                ),
                ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ],
            Self::KubeRay => &[("ray-operator", KUBERAY_MODULE)],
            Self::Prometheus => &[("prometheus", "github.com/prometheus/prometheus/cmd/prometheus")],
            Self::Kubectl => &[("kubectl", "k8s.io/kubernetes/cmd/kubectl")],
        }
    }

    /// Its executables (and, for KubeRay, the `config` folder), made if they are not there.
    pub(crate) fn make(self, cache: &Cache, making: &Making) -> Result<Paths> {
        let mut paths = match self.found() {
            Some(paths) => paths,
            None => self.built(cache, making)?,
        };
        if self == Self::KubeRay {
            paths.insert(KUBERAY_CONFIG.to_owned(), kuberay_config(cache, making)?);
        }
        Ok(paths)
    }

    /// All of its executables on this machine. Kubernetes counts as a whole: its parts must be of one version.
    fn found(self) -> Option<Paths> {
        let place = |name: &str| match self {
            Self::Etcd | Self::Kubernetes => std::env::var_os("KUBEBUILDER_ASSETS")
                .map(|folder| Path::new(&folder).join(name))
                .filter(|file| is_program(file))
                .or_else(|| find(name)),
            Self::KubeRay => std::env::var_os("KUBERAY_OPERATOR").map(PathBuf::from),
            Self::Prometheus | Self::Kubectl => find(name),
        };
        self.executables()
            .iter()
            .map(|(name, _)| Some(((*name).to_owned(), place(name)?)))
            .collect()
    }

    fn built(self, cache: &Cache, making: &Making) -> Result<Paths> {
        let folder = self.build()?.make(cache, making, |_| Ok(()))?;
        let named = |(name, _): &(&str, &str)| ((*name).to_owned(), folder.join(name));
        Ok(self.executables().iter().map(named).collect())
    }

    fn build(self) -> Result<GoBuild<'static>> {
        let version = self.version()?;
        Ok(GoBuild {
            folder: self.module_folder()?,
            key: format!("{}-{version}", self.name()),
            executables: self.executables(),
            flags: Vec::new(),
            linker_flags: self.linker_flags(&version),
        })
    }

    /// Kubernetes learns its version from the linker only.
    fn linker_flags(self, version: &str) -> String {
        let mut flags = String::new();
        if matches!(self, Self::Kubernetes | Self::Kubectl) {
            let mut numbers = version.trim_start_matches('v').split('.');
            let fields = [
                ("gitVersion", Some(version)),
                ("gitMajor", numbers.next()),
                ("gitMinor", numbers.next()),
            ];
            for (field, value) in fields {
                let value = value.unwrap_or_default();
                write!(flags, "-X k8s.io/component-base/version.{field}={value} ")
                    .expect("a String takes everything");
            }
        }
        flags
    }

    /// The version that `go.mod` requires.
    fn version(self) -> Result<String> {
        let file = self.module_folder()?.join("go.mod");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let package = self.executables()[0].1;
        required_version(&text, package)
            .with_context(|| format!("{} requires no module of {package}", file.display()))
    }

    fn module_folder(self) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("go")
            .join(self.folder());
        ensure!(
            folder.exists(),
            "{} is gone: the testbed runs from the checkout it was built in",
            folder.display()
        );
        Ok(folder)
    }
}

/// The version of the module that holds `package`, by the single-line `require` of a `go.mod`.
fn required_version(go_mod: &str, package: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let (module, version) = line.strip_prefix("require ")?.split_once(' ')?;
        package.starts_with(module).then(|| version.trim().to_owned())
    })
}

/// The CRDs, RBAC and samples, copied out of the module cache, which may be cleaned at any time.
fn kuberay_config(cache: &Cache, making: &Making) -> Result<PathBuf> {
    let key = format!("kuberay-config-{}", Program::KubeRay.version()?);
    cache.keep(
        &key,
        || making.progress("another run is fetching it"),
        |folder| {
            let module = Program::KubeRay.build()?.source(KUBERAY_MODULE)?;
            copy_folder(&module.join("config"), folder)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_pinned_version() -> Result<()> {
        for program in [
            Program::Etcd,
            Program::Kubernetes,
            Program::KubeRay,
            Program::Prometheus,
            Program::Kubectl,
        ] {
            let version = program.version()?;
            assert!(version.starts_with('v'), "{program:?} {version}");
        }
        Ok(())
    }

    #[test]
    fn the_required_module_may_be_a_prefix_of_the_package() {
        let go_mod =
            "module x\n\nrequire (\n\ta.b/c v9.9.9 // indirect\n)\n\nrequire k8s.io/kubernetes v1.36.3\n";
        assert_eq!(
            required_version(go_mod, "k8s.io/kubernetes/cmd/kube-scheduler").as_deref(),
            Some("v1.36.3")
        );
    }
}
