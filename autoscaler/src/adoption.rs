//! Who writes how many workers a cluster has. Pure.
//!
//! The Pod of its head says so. A head with a container `autoscaler` has a writer of its own for as long as it lives, whatever the RayCluster
//! says by now, since a Pod keeps its containers for life. The service for all clusters writes only where no head carries one, and only if it
//! is asked to. So no two of Ray's autoscaler, ours beside the head and ours for all ever write to one cluster, and whoever moves a cluster
//! from one to another does it by having the head made anew.

use std::fmt;

use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use ray::autoscaler_mode::AutoscalerMode;
use ray::keys;

use crate::cluster::{Cluster, Pod, View};

/// What the program of our container is called, and what the name of our image tells.
const OURS: &str = "rayward";

/// The autoscaler beside Ray in a head's Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sidecar {
    Ray,
    Rayward,
}

/// Whose decisions count in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The service for all clusters.
    Central,
    /// The container in its head.
    Head(Sidecar),
    /// Neither: its head has none, and the RayCluster does not ask for ours.
    Nobody,
}

/// Which clusters are ours to look at.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All whose mode is central or shadow, or that do not say while that is the default.
    Central { default_mode: AutoscalerMode },
    /// This one, from the Pod of its head, whatever its mode.
    Beside {
        namespace: String,
        name: String,
        head: String,
    },
}

/// What we are to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Our decisions are carried out.
    Writer,
    /// Somebody else writes: we decide, compare, and touch nothing.
    Shadow(Shadowed),
    /// We are beside a head that is not, or no longer, the one that counts.
    Aside,
}

/// Why a cluster is only shadowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shadowed {
    /// Its mode says so.
    Asked,
    /// This head has an autoscaler of its own.
    ByHead(String),
}

impl Sidecar {
    /// The first container runs Ray, whatever it is called.
    pub(crate) fn of(pod: &KubernetesPod) -> Option<Self> {
        let containers = &pod.spec.as_ref()?.containers;
        let container = containers
            .iter()
            .skip(1)
            .find(|container| container.name == keys::AUTOSCALER_CONTAINER)?;
        let words = container.command.iter().flatten().chain(&container.image);
        let is_ours = words.into_iter().any(|word| word.contains(OURS));
        Some(if is_ours { Self::Rayward } else { Self::Ray })
    }
}

impl Scope {
    /// Whether we look after a cluster at all.
    pub(crate) fn covers(&self, cluster: &Cluster) -> bool {
        let mode = |default| cluster.mode().unwrap_or(default);
        cluster.is_autoscaled()
            && match self {
                Self::Central { default_mode } => {
                    matches!(
                        mode(*default_mode),
                        AutoscalerMode::Central | AutoscalerMode::Shadow
                    )
                }
                Self::Beside { .. } => true,
            }
    }

    /// Whether we look after clusters from outside.
    pub(crate) fn is_central(&self) -> bool {
        matches!(self, Self::Central { .. })
    }

    /// What we are to a cluster that we look after.
    pub(crate) fn standing(&self, view: &View) -> Standing {
        match self {
            Self::Central { default_mode } => {
                let mode = view.cluster.as_ref().and_then(|cluster| cluster.mode());
                if mode.unwrap_or(*default_mode) != AutoscalerMode::Central {
                    return Standing::Shadow(Shadowed::Asked);
                }
                with_sidecar(view).next().map_or(Standing::Writer, |head| {
                    Standing::Shadow(Shadowed::ByHead(head.name.clone()))
                })
            }
            Self::Beside { head, .. } => {
                let counts = view.head().is_some_and(|pod| pod.name == *head);
                let is_meant = with_sidecar(view).any(|pod| pod.name == *head);
                if counts && is_meant {
                    Standing::Writer
                } else {
                    Standing::Aside
                }
            }
        }
    }
}

/// One that is being deleted or has failed counts too: as long as its Pod is there, its autoscaler may be running.
fn with_sidecar(view: &View) -> impl Iterator<Item = &Pod> {
    let pods = view.pods.values().map(AsRef::as_ref);
    pods.filter(|pod| pod.is_head && pod.sidecar.is_some())
}

/// Who writes a cluster of that mode, if its head is this one.
pub(crate) fn writer(mode: AutoscalerMode, head: &Pod) -> Writer {
    match (head.sidecar, mode) {
        (Some(sidecar), _) => Writer::Head(sidecar),
        (None, AutoscalerMode::Central) => Writer::Central,
        (None, _) => Writer::Nobody,
    }
}

/// Who is to write a cluster of that mode.
pub(crate) fn wanted(mode: AutoscalerMode) -> Writer {
    match mode {
        AutoscalerMode::Central => Writer::Central,
        AutoscalerMode::Sidecar => Writer::Head(Sidecar::Rayward),
        AutoscalerMode::Ray | AutoscalerMode::Shadow => Writer::Head(Sidecar::Ray),
    }
}

impl Shadowed {
    /// In a few words.
    pub(crate) fn briefly(&self) -> String {
        match self {
            Self::Asked => "its mode is shadow".to_owned(),
            Self::ByHead(head) => format!("the head {head} has an autoscaler of its own"),
        }
    }
}

/// As it is told to people: in an Event, a condition and `explain`.
impl fmt::Display for Shadowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.briefly())?;
        formatter.write_str(match self {
            Self::Asked => "; Rayward only looks on",
            Self::ByHead(_) => {
                ", which goes on scaling this cluster; Rayward only looks on. To have Rayward scale it, delete the head Pod: the new one is made \
                 without"
            }
        })
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Central => "rayward",
            Self::Head(Sidecar::Rayward) => "rayward in the head",
            Self::Head(Sidecar::Ray) => "ray in the head",
            Self::Nobody => "nobody",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn view(mode: Option<&str>, heads: &[(&str, &[Value])]) -> View {
        let annotations = mode.map(|mode| json!({ "rayward.dev/autoscaler": mode }));
        let cluster = json!({
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": { "name": "demo", "namespace": "team", "annotations": annotations },
            "spec": { "enableInTreeAutoscaling": true, "headGroupSpec": { "template": {} } },
        });
        let cluster = Cluster::read(&serde_json::from_value(cluster).expect("an object"));
        let heads = heads.iter().map(|(name, sidecars)| {
            let ray = json!({ "name": "ray-head" });
            let containers: Vec<_> = std::iter::once(&ray).chain(*sidecars).collect();
            let labels = json!({
                "ray.io/cluster": "demo", "ray.io/node-type": "head", "ray.io/group": "headgroup",
            });
            let pod = json!({
                "metadata": { "name": name, "labels": labels },
                "spec": { "containers": containers },
                "status": { "phase": "Running", "podIP": "10.0.0.1" },
            });
            let pod = serde_json::from_value(pod).expect("a Pod");
            let (_, pod) = Pod::read(&pod).expect("the head of a cluster");
            ((*name).to_owned(), Arc::new(pod))
        });
        View {
            cluster: cluster.map(Arc::new),
            pods: heads.collect(),
        }
    }

    fn ray() -> Value {
        json!({ "name": "autoscaler", "image": "rayproject/ray:2.60.0", "command": ["/bin/bash", "-c", "--"] })
    }

    fn ours() -> Value {
        json!({ "name": "autoscaler", "image": "example.com/a:1", "command": ["/usr/local/bin/rayward-autoscaler"] })
    }

    fn central() -> Scope {
        Scope::Central {
            default_mode: AutoscalerMode::Central,
        }
    }

    #[test]
    fn the_service_writes_where_no_head_has_an_autoscaler() {
        let standing = |mode, heads: &[(&str, &[Value])]| central().standing(&view(mode, heads));
        let by = |head: &str| Standing::Shadow(Shadowed::ByHead(head.to_owned()));
        assert_eq!(standing(None, &[("a", &[])]), Standing::Writer);
        assert_eq!(standing(None, &[]), Standing::Writer);
        assert_eq!(
            standing(None, &[("a", &[json!({ "name": "logs" })])]),
            Standing::Writer
        );
        assert_eq!(standing(None, &[("a", &[ray()])]), by("a"));
        assert_eq!(standing(Some("central"), &[("a", &[ours()])]), by("a"));
        // The old head is on its way out, the new one has none.
        assert_eq!(standing(None, &[("a", &[]), ("b", &[ray()])]), by("b"));
        let asked = Standing::Shadow(Shadowed::Asked);
        assert_eq!(standing(Some("shadow"), &[("a", &[ray()])]), asked);
        assert_eq!(standing(Some("shadow"), &[("a", &[])]), asked);
    }

    #[test]
    fn beside_a_head_only_that_head_counts() {
        let beside = Scope::Beside {
            namespace: "team".to_owned(),
            name: "demo".to_owned(),
            head: "a".to_owned(),
        };
        let standing = |heads: &[(&str, &[Value])]| beside.standing(&view(Some("sidecar"), heads));
        assert_eq!(standing(&[("a", &[ours()])]), Standing::Writer);
        assert_eq!(standing(&[("b", &[ours()])]), Standing::Aside);
        // A process of ours that is not in the place where others would look for it.
        assert_eq!(standing(&[("a", &[])]), Standing::Aside);
        assert_eq!(standing(&[]), Standing::Aside);
    }

    /// Whatever the mode and the head, at most one of the service and the container in the head writes.
    #[test]
    fn never_two_writers() {
        for default_mode in AutoscalerMode::ALL {
            for mode in AutoscalerMode::ALL.map(|mode| mode.to_string()) {
                for sidecar in [vec![], vec![ray()], vec![ours()]] {
                    let view = view(Some(&mode), &[("a", &sidecar)]);
                    let scope = Scope::Central { default_mode };
                    let covered = view.cluster.as_ref().is_some_and(|cluster| scope.covers(cluster));
                    let central = covered && scope.standing(&view) == Standing::Writer;
                    assert!(!central || sidecar.is_empty(), "{mode} {sidecar:?}");
                    let mode = mode.parse().expect("a mode");
                    let told = writer(mode, view.head().expect("a head"));
                    assert_eq!(central, told == Writer::Central, "{mode} {sidecar:?}");
                }
            }
        }
    }

    #[test]
    fn a_new_head_has_whom_its_mode_wants() {
        assert_eq!(
            wanted(AutoscalerMode::Central),
            writer(AutoscalerMode::Central, &head(&[]))
        );
        assert_eq!(
            wanted(AutoscalerMode::Sidecar),
            writer(AutoscalerMode::Sidecar, &head(&[ours()]))
        );
        for mode in [AutoscalerMode::Ray, AutoscalerMode::Shadow] {
            assert_eq!(wanted(mode), writer(mode, &head(&[ray()])));
        }
    }

    fn head(sidecars: &[Value]) -> Pod {
        view(None, &[("a", sidecars)]).head().expect("a head").clone()
    }
}
