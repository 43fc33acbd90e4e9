//! Why a Pod is not a Ray node yet, told apart by its conditions and the states of its containers. Pure.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::ResourceExt;
use prometheus_client::encoding::EncodeLabelValue;
use serde::{Deserialize, Serialize};

/// What kind of thing is waited for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue, Serialize, Deserialize,
)]
pub(crate) enum Reason {
    /// The Pod was not let into being: a quota, an admission webhook, a limit range.
    NotCreated,
    /// Somebody has yet to lift a scheduling gate.
    Gated,
    /// No node of Kubernetes has room, or none suits.
    Unschedulable,
    /// Its image does not come.
    Image,
    /// A container fails, again and again.
    Crash,
    /// An init container is not done.
    Init,
    /// It is being set up.
    Starting,
    /// Ray runs in it, and the head does not know it.
    NotJoined,
}

/// What a Pod waits for, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: Reason,
    pub(crate) since: Option<Timestamp>,
    /// In the words of Kubernetes.
    pub(crate) message: String,
}

/// What a kubelet says of images that do not come. While it tries for the first time it says `ContainerCreating`.
const IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// What a kubelet says of containers that cannot be made or kept.
const CRASH: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreStartHookError",
    "PostStartHookError",
];

/// What a Pod waits for; nothing once its Ray container, the first, runs.
pub(crate) fn waiting(pod: &Pod) -> Option<Waiting> {
    let created = pod.creation_timestamp().map(|time| time.0);
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let scheduled = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "PodScheduled");
    let since = scheduled.and_then(transition).or(created);
    if let Some(condition) = scheduled.filter(|condition| condition.status == "False") {
        return Some(unscheduled(condition, since));
    }
    if scheduled.is_none() && pod.spec.as_ref()?.node_name.is_none() {
        return Some(Waiting {
            reason: Reason::Unschedulable,
            since: created,
            message: "no scheduler has looked at it yet".to_owned(),
        });
    }
    let status = status?;
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let ray = pod.spec.as_ref()?.containers.first()?;
    if containers
        .iter()
        .any(|container| container.name == ray.name && runs(container))
    {
        return None;
    }
    let mut faults = init.iter().chain(containers).filter_map(fault);
    let (reason, message) = faults
        .next()
        .or_else(|| init.iter().find(|container| !is_done(container)).map(unfinished))
        .unwrap_or((Reason::Starting, "it is being set up".to_owned()));
    Some(Waiting {
        reason,
        // What ran before and ended waits since then.
        since: since.max(init.iter().chain(containers).filter_map(ended).max()),
        message,
    })
}

fn unscheduled(condition: &PodCondition, since: Option<Timestamp>) -> Waiting {
    let word = condition.reason.as_deref().unwrap_or("not scheduled");
    Waiting {
        reason: if word == "SchedulingGated" {
            Reason::Gated
        } else {
            Reason::Unschedulable
        },
        since,
        message: joined(word, condition.message.as_deref()),
    }
}

/// A container that will not run by itself. One that has ended once is begun again at once, and may do better.
fn fault(container: &ContainerStatus) -> Option<(Reason, String)> {
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref()?;
    let word = waiting.reason.as_deref()?;
    let reason = if IMAGE.contains(&word) {
        Reason::Image
    } else if CRASH.contains(&word) {
        Reason::Crash
    } else {
        return None;
    };
    let message = joined(word, waiting.message.as_deref());
    Some((reason, format!("{}: {message}", container.name)))
}

/// When a container ended last.
fn ended(container: &ContainerStatus) -> Option<Timestamp> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let ended = states
        .into_iter()
        .flatten()
        .filter_map(|state| state.terminated.as_ref());
    ended
        .filter_map(|ended| ended.finished_at.as_ref())
        .map(|time| time.0)
        .max()
}

fn unfinished(container: &ContainerStatus) -> (Reason, String) {
    let message = format!("init container {} is not done", container.name);
    (Reason::Init, message)
}

/// An init container that ended well, or a sidecar among them that runs.
fn is_done(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let ended = state.and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code == 0) || (runs(container) && container.started == Some(true))
}

fn runs(container: &ContainerStatus) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

fn transition(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn joined(word: &str, message: Option<&str>) -> String {
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{word}: {message}"),
        None => word.to_owned(),
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::waiting;

    /// The status of a worker of one container `ray`, created at ten o'clock, read as one line.
    fn told(status: &Value) -> String {
        let pod = json!({
            "metadata": { "name": "w", "creationTimestamp": "2030-01-01T10:00:00Z" },
            "spec": { "containers": [{ "name": "ray" }] },
            "status": status,
        });
        let pod = serde_json::from_value(pod).expect("a Pod");
        waiting(&pod).map_or("nothing".to_owned(), |waiting| {
            let since = waiting.since.map(|since| since.to_string());
            format!(
                "{:?} since {}: {waiting}",
                waiting.reason,
                since.unwrap_or_default()
            )
        })
    }

    fn unscheduled(reason: &str, message: &str) -> Value {
        json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": "2030-01-01T10:00:01Z" }] })
    }

    /// A Pod that has its node, with its init container `wait-gcs-ready` and `ray` as stated.
    fn scheduled(init: &Value, ray: &Value) -> Value {
        let status = |name: &str, state: &Value| json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        json!({
            "phase": "Pending",
            "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": "2030-01-01T10:00:02Z" }],
            "initContainerStatuses": [status("wait-gcs-ready", init)],
            "containerStatuses": [status("ray", ray)],
        })
    }

    #[test]
    fn without_a_node() {
        assert_snapshot!(told(&json!({})), @"Unschedulable since 2030-01-01T10:00:00Z: no scheduler has looked at it yet");
        assert_snapshot!(
            told(&unscheduled("Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")),
            @"Unschedulable since 2030-01-01T10:00:01Z: Unschedulable: 0/2 nodes are available: 2 Insufficient cpu."
        );
        assert_snapshot!(
            told(&unscheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")),
            @"Gated since 2030-01-01T10:00:01Z: SchedulingGated: Scheduling is blocked due to non-empty scheduling gates"
        );
    }

    #[test]
    fn with_a_node() {
        let done = json!({ "terminated": { "exitCode": 0 } });
        let failed = json!({ "terminated": { "exitCode": 1, "finishedAt": "2030-01-01T11:00:00Z" } });
        let running = json!({ "running": {} });
        let waits =
            |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
        let says = |init: &Value, ray: &Value| told(&scheduled(init, ray));
        let later = waits("PodInitializing", "");
        assert_snapshot!(says(&running, &later), @"Init since 2030-01-01T10:00:02Z: init container wait-gcs-ready is not done");
        assert_snapshot!(says(&waits("CrashLoopBackOff", "back-off 10s"), &later), @"Crash since 2030-01-01T10:00:02Z: wait-gcs-ready: CrashLoopBackOff: back-off 10s");
        assert_snapshot!(says(&failed, &later), @"Init since 2030-01-01T11:00:00Z: init container wait-gcs-ready is not done");
        assert_snapshot!(says(&done, &failed), @"Starting since 2030-01-01T11:00:00Z: it is being set up");
        assert_snapshot!(says(&done, &waits("ContainerCreating", "")), @"Starting since 2030-01-01T10:00:02Z: it is being set up");
        assert_snapshot!(says(&done, &waits("ImagePullBackOff", "Back-off pulling image x")), @"Image since 2030-01-01T10:00:02Z: ray: ImagePullBackOff: Back-off pulling image x");
        assert_snapshot!(says(&done, &waits("CreateContainerConfigError", "secret \"s\" not found")), @r#"Crash since 2030-01-01T10:00:02Z: ray: CreateContainerConfigError: secret "s" not found"#);
        assert_snapshot!(says(&done, &running), @"nothing");
    }
}
