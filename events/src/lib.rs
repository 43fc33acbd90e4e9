//! Events on Kubernetes objects, for people who look at those. One that repeats is counted, now and then; and one that differs from others only in its note is
//! an Event of its own: kube's recorder, as client-go's, would count it into the first and lose what it says.

mod recent;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{self, EventType, Reporter};

use crate::recent::Recent;

/// An Event is not worth waiting for.
const DEADLINE: Duration = Duration::from_secs(2);
/// The API server takes no longer notes.
const NOTE_BYTES_MAX: usize = 1024;

/// What is to be said of an object.
#[derive(Clone, Debug)]
pub struct Event {
    type_: EventType,
    action: &'static str,
    reason: &'static str,
    note: String,
}

/// Publishes Events. Clones count together.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    controller: &'static str,
    /// One for each Event: those of one recorder of kube's never differ in their notes.
    recorders: Arc<Mutex<Recent<events::Recorder>>>,
}

impl Event {
    /// One that tells what was done.
    pub fn normal(action: &'static str, reason: &'static str, note: impl Into<String>) -> Self {
        Self::new(EventType::Normal, action, reason, note.into())
    }

    /// One about which somebody should do something.
    pub fn warning(action: &'static str, reason: &'static str, note: impl Into<String>) -> Self {
        Self::new(EventType::Warning, action, reason, note.into())
    }

    fn new(type_: EventType, action: &'static str, reason: &'static str, mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        Self {
            type_,
            action,
            reason,
            note,
        }
    }

    /// What it says, as far as the API server takes it.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// An Event that is to be written.
pub struct Due {
    recorder: events::Recorder,
    regarding: ObjectReference,
    event: Event,
}

impl Recorder {
    /// One that speaks in the name of a controller.
    pub fn new(client: Client, controller: &'static str) -> Self {
        Self {
            client,
            controller,
            recorders: Arc::default(),
        }
    }

    /// Publishes an Event. Nothing is done about one that is lost, nor about one that was published a moment ago.
    pub async fn publish(&self, regarding: &ObjectReference, event: Event) {
        if let Some(due) = self.due(regarding.clone(), event) {
            due.publish().await;
        }
    }

    /// An Event that somebody else is to publish; nothing where it was a moment ago.
    pub fn due(&self, regarding: ObjectReference, event: Event) -> Option<Due> {
        let recorder = self.recorder(&regarding, &event)?;
        Some(Due {
            recorder,
            regarding,
            event,
        })
    }

    fn recorder(&self, regarding: &ObjectReference, event: &Event) -> Option<events::Recorder> {
        let new = || {
            let reporter = Reporter {
                controller: self.controller.to_owned(),
                instance: None,
            };
            events::Recorder::new(self.client.clone(), reporter)
        };
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        let type_ = match event.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let (kind, name) = (regarding.kind.as_deref(), regarding.name.as_deref());
        // Whatever its version is.
        let object = [
            kind,
            regarding.namespace.as_deref(),
            name,
            regarding.uid.as_deref(),
        ];
        let said = [type_, event.action, event.reason, &event.note];
        let parts = object.map(Option::unwrap_or_default).into_iter().chain(said);
        let key = parts.collect::<Vec<_>>().join("\n");
        recorders.of(key, Instant::now(), new).cloned()
    }
}

impl Due {
    /// What is to be said.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Of what.
    pub fn regarding(&self) -> &ObjectReference {
        &self.regarding
    }

    /// Writes it; nothing is done about it if it is lost.
    pub async fn publish(self) {
        let event = events::Event {
            type_: self.event.type_,
            action: self.event.action.to_owned(),
            reason: self.event.reason.to_owned(),
            note: Some(self.event.note),
            secondary: None,
        };
        let written = self.recorder.publish(&event, &self.regarding);
        let written = tokio::time::timeout(DEADLINE, written).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::debug!(?written, "event not published");
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    /// What an API server gets to see of these notes on one object.
    async fn seen(notes: &[&str]) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let api_server = {
            let seen = seen.clone();
            move |request: Request<Body>| {
                let seen = seen.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect_bytes().await?;
                    let event: Value = serde_json::from_slice(&body).expect("an Event");
                    let note = event["note"].as_str().unwrap_or_default();
                    assert_eq!(head.method, Method::POST, "{event}");
                    seen.lock().expect("not poisoned").push(note.to_owned());
                    Ok::<_, kube::Error>(Response::new(Body::from(body.to_vec())))
                }
            }
        };
        let client = Client::new(tower::service_fn(api_server), "default");
        let recorder = Recorder::new(client, "rayward-autoscaler");
        let regarding = ObjectReference {
            name: Some("demo".to_owned()),
            namespace: Some("team".to_owned()),
            ..ObjectReference::default()
        };
        for note in notes {
            let event = Event::normal("ScaleUp", "ScaledUp", *note);
            recorder.clone().publish(&regarding, event).await;
        }
        seen.lock().expect("not poisoned").clone()
    }

    #[tokio::test]
    async fn what_differs_only_in_its_note_is_an_event_of_its_own() {
        let notes = ["cpu: 0 -> 2", "cpu: 0 -> 5", "cpu: 0 -> 2"];
        // The last is known already.
        assert_eq!(seen(&notes).await, ["cpu: 0 -> 2", "cpu: 0 -> 5"]);
    }

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes() {
        let event = Event::warning("Ask", "Held", "é".repeat(NOTE_BYTES_MAX) + "x");
        assert_eq!(event.note().len(), NOTE_BYTES_MAX);
        // Not within a character.
        let event = Event::warning("Ask", "Held", format!("x{}", "é".repeat(NOTE_BYTES_MAX)));
        assert_eq!(event.note().len(), NOTE_BYTES_MAX - 1);
    }
}
