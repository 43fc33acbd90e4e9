//! Service names: the stand-in for cluster DNS and for cluster IPs.
//!
//! Every Pod's hosts file, and the machine's own, say which addresses stand behind a Service: those of its ready
//! endpoints, directly. There is no proxy, so a Service's port has to equal its target port, as it does for Ray.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

/// Keeps hosts files up to date.
#[derive(Clone, Debug)]
pub(super) struct Names {
    slices: Store<EndpointSlice>,
    api_server: Ipv4Addr,
    files: Arc<Mutex<HashMap<String, HostsFile>>>,
}

/// A file that begins with lines of its own.
#[derive(Debug)]
struct HostsFile {
    file: File,
    own_lines: String,
    /// Whose services have short names here.
    namespace: Option<String>,
    written: String,
}

impl Names {
    /// The names, and the work of following changes for as long as they are wanted.
    ///
    /// `machine_file` is for processes outside of Pods.
    pub(super) fn watch(
        client: Client,
        machine_file: &Path,
        api_server: Ipv4Addr,
    ) -> Result<(Names, impl Future<Output = ()> + use<>)> {
        let (slices, writer) = reflector::store();
        let names = Names {
            slices,
            api_server,
            files: Arc::default(),
        };
        names.add("", machine_file, "", None)?;
        let changes = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default())
            .default_backoff()
            .reflect(writer);
        let following = names.clone();
        let follow = changes.for_each(move |change| {
            match change {
                // Until a new list is complete, the store holds the old one.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => following.write_all(),
                Err(error) => tracing::warn!(%error, "watch endpoint slices"),
            }
            std::future::ready(())
        });
        Ok((names, follow))
    }

    /// Keeps `file` up to date until `key` is removed.
    pub(super) fn add(&self, key: &str, file: &Path, own_lines: &str, namespace: Option<&str>) -> Result<()> {
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(file);
        let mut hosts = HostsFile {
            file: open.with_context(|| format!("open hosts file {}", file.display()))?,
            own_lines: format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{own_lines}\n"),
            namespace: namespace.map(str::to_owned),
            written: String::new(),
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut hosts);
        files.insert(key.to_owned(), hosts);
        Ok(())
    }

    pub(super) fn remove(&self, key: &str) {
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn write_all(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values_mut().for_each(|hosts| self.write(hosts));
    }

    fn write(&self, hosts: &mut HostsFile) {
        let slices = self.slices.state();
        let services = lines(
            slices.iter().map(Arc::as_ref),
            hosts.namespace.as_deref(),
            self.api_server,
        );
        hosts.write(&services);
    }
}

impl HostsFile {
    /// In place, because containers see the file through a bind mount; in one write and never shorter than before, so
    /// that a reader meets the old lines or the new ones.
    fn write(&mut self, services: &str) {
        let mut text = self.own_lines.clone() + services;
        if text.trim_end() == self.written.trim_end() {
            return;
        }
        let shortage = self.written.len().saturating_sub(text.len());
        text.extend(std::iter::repeat_n('\n', shortage));
        if let Err(error) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::warn!(%error, "write a hosts file");
        }
        self.written = text;
    }
}

/// The hosts lines of every Service, sorted.
fn lines<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    namespace: Option<&str>,
    api_server: Ipv4Addr,
) -> String {
    let mut lines = BTreeSet::from([line(
        &api_server.to_string(),
        "",
        "kubernetes",
        "default",
        namespace,
    )]);
    for slice in slices {
        let Some(service) = slice.labels().get("kubernetes.io/service-name") else {
            continue;
        };
        let of = slice.namespace().unwrap_or_default();
        if (service.as_str(), of.as_str()) == ("kubernetes", "default") {
            continue; // what the API server says about itself is where it listens, not where Pods reach it
        }
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready);
            for address in endpoint.addresses.iter().filter(|_| ready != Some(false)) {
                lines.insert(line(address, "", service, &of, namespace));
                if let Some(host) = &endpoint.hostname {
                    lines.insert(line(address, &format!("{host}."), service, &of, namespace));
                }
            }
        }
    }
    lines.into_iter().collect()
}

/// One address with every form of a name, the full one first.
fn line(address: &str, host: &str, service: &str, of: &str, namespace: Option<&str>) -> String {
    let name = format!("{host}{service}");
    let short = if namespace == Some(of) {
        format!(" {name}")
    } else {
        String::new()
    };
    format!("{address} {name}.{of}.svc.cluster.local {name}.{of}.svc {name}.{of}{short}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(service: &str, namespace: &str, endpoints: &serde_json::Value) -> EndpointSlice {
        let labels = json!({ "kubernetes.io/service-name": service });
        serde_json::from_value(json!({
            "metadata": { "name": service, "namespace": namespace, "labels": labels },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [],
        }))
        .expect("a slice")
    }

    #[test]
    fn hosts_lines() {
        let slices = [
            slice("kubernetes", "default", &json!([{ "addresses": ["127.0.0.1"] }])),
            slice(
                "serve",
                "a",
                &json!([
                    { "addresses": ["10.244.1.2"], "conditions": { "ready": true } },
                    { "addresses": ["10.244.1.3"], "conditions": { "ready": false } },
                ]),
            ),
            slice(
                "slices",
                "b",
                &json!([{ "addresses": ["10.244.1.4"], "hostname": "host-0" }]),
            ),
        ];
        let api_server = Ipv4Addr::new(10, 244, 0, 1);
        insta::assert_snapshot!(lines(slices.iter(), Some("a"), api_server), @r"
        10.244.0.1 kubernetes.default.svc.cluster.local kubernetes.default.svc kubernetes.default
        10.244.1.2 serve.a.svc.cluster.local serve.a.svc serve.a serve
        10.244.1.4 host-0.slices.b.svc.cluster.local host-0.slices.b.svc host-0.slices.b
        10.244.1.4 slices.b.svc.cluster.local slices.b.svc slices.b
        ");
    }

    #[test]
    fn hosts_files_are_rewritten_in_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        let file = File::create(&path).expect("a file");
        let mut hosts = HostsFile {
            file,
            own_lines: "own\n".into(),
            namespace: None,
            written: String::new(),
        };
        let mut read_after = |services: &str| {
            hosts.write(services);
            std::fs::read_to_string(&path).expect("the file")
        };
        assert_eq!(read_after("one\ntwo\n"), "own\none\ntwo\n");
        assert_eq!(read_after("two\n"), "own\ntwo\n\n\n\n\n");
        assert_eq!(read_after("one\ntwo\n"), "own\none\ntwo\n");
    }
}
