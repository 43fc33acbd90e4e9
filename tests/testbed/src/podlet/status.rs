//! What a Pod's status says, computed from what is known about its containers.
//!
//! Pure: facts in, `PodStatus` out, as a kubelet's `getPhase` and `generateAPIPodStatus` would have it. Who gathers
//! the facts is `pod` and `container`, who writes the result is `pod`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Everything that is known about a Pod on its node.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) started_at: Timestamp,
    pub(super) host_ip: Ipv4Addr,
    pub(super) pod_ip: Option<Ipv4Addr>,
    /// By container name; init containers and containers share one name space.
    pub(super) containers: BTreeMap<String, ContainerFacts>,
    /// Nothing will be started any more.
    pub(super) stopping: bool,
    /// Why the Pod failed as a whole, whatever its containers did: reason and message.
    pub(super) failure: Option<(String, String)>,
}

/// Everything that is known about one container.
#[derive(Clone, Debug, Default)]
pub(super) struct ContainerFacts {
    pub(super) state: State,
    pub(super) last_exit: Option<Exit>,
    pub(super) restarts: i32,
    pub(super) id: Option<String>,
    /// The startup probe has passed, or there is none and the process runs.
    pub(super) started: bool,
    pub(super) ready: bool,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Waiting { reason: String, message: Option<String> },
    Running { since: Timestamp },
    Exited(Exit),
}

impl Default for State {
    fn default() -> Self {
        State::waiting("PodInitializing")
    }
}

impl State {
    pub(super) fn waiting(reason: &str) -> State {
        State::Waiting {
            reason: reason.into(),
            message: None,
        }
    }

    pub(super) fn waiting_because(reason: &str, message: impl Into<String>) -> State {
        State::Waiting {
            reason: reason.into(),
            message: Some(message.into()),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) id: Option<String>,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
}

impl Facts {
    pub(super) fn new(spec: &PodSpec, host_ip: Ipv4Addr, now: Timestamp) -> Facts {
        let has_init = !init_containers(spec).is_empty();
        let first_state = if has_init {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        let containers = all_containers(spec)
            .map(|container| {
                let state = State::waiting(first_state);
                (
                    container.name.clone(),
                    ContainerFacts {
                        state,
                        ..ContainerFacts::default()
                    },
                )
            })
            .collect();
        Facts {
            started_at: now,
            host_ip,
            pod_ip: None,
            containers,
            stopping: false,
            failure: None,
        }
    }

    pub(super) fn container(&mut self, name: &str) -> &mut ContainerFacts {
        self.containers.entry(name.to_owned()).or_default()
    }

    pub(super) fn has_started(&self, container: &Container) -> bool {
        self.containers
            .get(&container.name)
            .is_some_and(|known| known.started)
    }
}

pub(super) fn init_containers(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    init_containers(spec).iter().chain(&spec.containers)
}

/// An init container that keeps running beside the others.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The status to report; `previous` keeps the times of conditions that did not change.
pub(super) fn status(
    spec: &PodSpec,
    facts: &Facts,
    previous: Option<&PodStatus>,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(spec, facts);
    let (reason, message) = facts.failure.clone().unzip();
    PodStatus {
        conditions: Some(conditions(spec, facts, phase, previous, now)),
        container_statuses: Some(statuses(&spec.containers, facts)),
        init_container_statuses: spec.init_containers.as_ref().map(|all| statuses(all, facts)),
        host_ip: Some(facts.host_ip.to_string()),
        host_ips: Some(vec![HostIP {
            ip: facts.host_ip.to_string(),
        }]),
        pod_ip: facts.pod_ip.map(|ip| ip.to_string()),
        pod_ips: facts.pod_ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        phase: Some(phase.into()),
        reason,
        message,
        start_time: Some(Time(facts.started_at)),
        ..PodStatus::default()
    }
}

fn phase(spec: &PodSpec, facts: &Facts) -> &'static str {
    let policy = if facts.stopping {
        "Never"
    } else {
        restart_policy(spec)
    };
    if facts.failure.is_some() {
        return "Failed";
    }
    for init in init_containers(spec).iter().filter(|init| !is_sidecar(init)) {
        match exit_of(facts, init) {
            Some(exit) if exit.code == 0 => {}
            Some(_) if policy == "Never" => return "Failed",
            _ => return "Pending",
        }
    }
    let mains = || {
        spec.containers
            .iter()
            .filter_map(|container| facts.containers.get(&container.name))
    };
    let exits = || {
        spec.containers
            .iter()
            .filter_map(|container| exit_of(facts, container))
    };
    if mains().any(|main| matches!(main.state, State::Waiting { .. }) && main.last_exit.is_none()) {
        return "Pending";
    }
    let over = exits().count() == spec.containers.len();
    let succeeded = exits().all(|exit| exit.code == 0);
    match (over, policy, succeeded) {
        (true, "Never" | "OnFailure", true) => "Succeeded",
        (true, "Never", false) => "Failed",
        _ => "Running",
    }
}

/// The Pod's restart policy; the API server always fills it in.
pub(super) fn restart_policy(spec: &PodSpec) -> &str {
    spec.restart_policy.as_deref().unwrap_or("Always")
}

fn exit_of<'a>(facts: &'a Facts, container: &Container) -> Option<&'a Exit> {
    match &facts.containers.get(&container.name)?.state {
        State::Exited(exit) => Some(exit),
        _ => None,
    }
}

fn conditions(
    spec: &PodSpec,
    facts: &Facts,
    phase: &str,
    previous: Option<&PodStatus>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let uninitialized = names_where(init_containers(spec), |init| {
        if is_sidecar(init) {
            !facts.has_started(init)
        } else {
            exit_of(facts, init).is_none_or(|exit| exit.code != 0)
        }
    });
    let unready = names_where(&spec.containers, |container| {
        !facts
            .containers
            .get(&container.name)
            .is_some_and(|known| known.ready)
    });
    let initialized = match (phase, uninitialized) {
        ("Succeeded", _) => Ok(()),
        (_, names) if names.is_empty() => Ok(()),
        (_, names) => Err((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{names}]"),
        )),
    };
    let ready = match (phase, unready) {
        ("Succeeded", _) => Err(("PodCompleted", String::new())),
        ("Failed", _) => Err(("PodFailed", String::new())),
        (_, names) if names.is_empty() => Ok(()),
        (_, names) => Err((
            "ContainersNotReady",
            format!("containers with unready status: [{names}]"),
        )),
    };
    let sandbox = if facts.pod_ip.is_some() {
        Ok(())
    } else {
        Err(("SandboxNotReady", String::new()))
    };
    [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("ContainersReady", ready.clone()),
        ("Ready", ready),
    ]
    .into_iter()
    .map(|(kind, outcome)| {
        let status = if outcome.is_ok() { "True" } else { "False" };
        let unchanged_since = previous
            .and_then(|status| status.conditions.as_ref())
            .and_then(|conditions| {
                conditions
                    .iter()
                    .find(|old| old.type_ == kind && old.status == status)
            })
            .and_then(|old| old.last_transition_time.clone());
        // Empty, not absent: a patch that leaves them out would leave the old ones.
        let (reason, message) = outcome.err().unwrap_or_default();
        PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(unchanged_since.unwrap_or(Time(now))),
            ..PodCondition::default()
        }
    })
    .collect()
}

fn names_where(containers: &[Container], holds: impl Fn(&Container) -> bool) -> String {
    let names: Vec<&str> = containers
        .iter()
        .filter(|container| holds(container))
        .map(|container| &*container.name)
        .collect();
    names.join(" ")
}

fn statuses(containers: &[Container], facts: &Facts) -> Vec<ContainerStatus> {
    containers
        .iter()
        .map(|container| {
            let known = facts.containers.get(&container.name).cloned().unwrap_or_default();
            let image = container.image.clone().unwrap_or_default();
            ContainerStatus {
                name: container.name.clone(),
                image_id: if known.id.is_some() {
                    image.clone()
                } else {
                    String::new()
                },
                image,
                container_id: known.id,
                restart_count: known.restarts,
                started: Some(known.started),
                ready: known.ready,
                state: Some(container_state(known.state)),
                last_state: known.last_exit.map(|exit| container_state(State::Exited(exit))),
                ..ContainerStatus::default()
            }
        })
        .collect()
}

fn container_state(state: State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason),
                message,
            }),
            ..ContainerState::default()
        },
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(since)),
            }),
            ..ContainerState::default()
        },
        State::Exited(exit) => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: exit.code,
                signal: exit.signal,
                reason: Some(exit.reason),
                message: exit.message,
                container_id: exit.id,
                started_at: Some(Time(exit.started_at)),
                finished_at: Some(Time(exit.finished_at)),
            }),
            ..ContainerState::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Pod in one line: `policy | init states | container states`, each state a letter.
    ///
    /// `w` waiting, `r` running, `R` running and ready, `0` and `1` exited with that code, `c` waiting to be restarted.
    fn told(line: &str) -> String {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let now = Timestamp::UNIX_EPOCH;
        let containers = |prefix: &str, states: &str| -> Vec<Container> {
            (0..states.len())
                .map(|index| Container {
                    name: format!("{prefix}{index}"),
                    ..Container::default()
                })
                .collect()
        };
        let spec = PodSpec {
            restart_policy: Some(parts[0].trim_end_matches('!').into()),
            init_containers: Some(containers("i", parts[1])),
            containers: containers("c", parts[2]),
            ..PodSpec::default()
        };
        let mut facts = Facts::new(&spec, Ipv4Addr::new(10, 244, 0, 1), now);
        facts.stopping = parts[0].ends_with('!');
        facts.pod_ip = Some(Ipv4Addr::new(10, 244, 1, 2));
        for (prefix, states) in [("i", parts[1]), ("c", parts[2])] {
            for (index, letter) in states.chars().enumerate() {
                let known = facts.container(&format!("{prefix}{index}"));
                let exit = |code| Exit {
                    code,
                    signal: None,
                    reason: "Error".into(),
                    message: None,
                    id: None,
                    started_at: now,
                    finished_at: now,
                };
                match letter {
                    'r' => known.state = State::Running { since: now },
                    'R' => (known.state, known.ready) = (State::Running { since: now }, true),
                    'c' => known.last_exit = Some(exit(1)),
                    '0' => known.state = State::Exited(exit(0)),
                    '1' => known.state = State::Exited(exit(1)),
                    _ => {}
                }
            }
        }
        let status = status(&spec, &facts, None, now);
        let holding: Vec<String> = status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .filter(|condition| condition.status == "True")
            .map(|condition| condition.type_)
            .collect();
        let line = format!(
            "{line:20} {:9} {}",
            status.phase.unwrap_or_default(),
            holding[1..].join(" ")
        );
        line.trim_end().to_owned()
    }

    #[test]
    fn phases_and_conditions() {
        let lines = [
            "Always    |   | w",
            "Always    | r | w",
            "Always    | 1 | w",
            "Never     | 1 | w",
            "Always    | 0 | rR",
            "Always    | 0 | RR",
            "Always    |   | c",
            "Always    |   | 0",
            "Always!   |   | 0",
            "OnFailure |   | 0",
            "OnFailure |   | c",
            "Never     |   | 0R",
            "Never     |   | 00",
            "Never     |   | 01",
        ];
        insta::assert_snapshot!(lines.map(told).join("\n"), @r"
        Always    |   | w    Pending   Initialized
        Always    | r | w    Pending
        Always    | 1 | w    Pending
        Never     | 1 | w    Failed
        Always    | 0 | rR   Running   Initialized
        Always    | 0 | RR   Running   Initialized ContainersReady Ready
        Always    |   | c    Running   Initialized
        Always    |   | 0    Running   Initialized
        Always!   |   | 0    Succeeded Initialized
        OnFailure |   | 0    Succeeded Initialized
        OnFailure |   | c    Running   Initialized
        Never     |   | 0R   Running   Initialized
        Never     |   | 00   Succeeded Initialized
        Never     |   | 01   Failed    Initialized
        ");
    }
}
