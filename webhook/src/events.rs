//! What a policy only wants noted about an object, as Events on that object. They are written after the answer, by and by: nobody's write waits
//! for them, and of very many some are lost, and counted.

use ::events::{Due, Event, Recorder};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use ray::object::Kind;
use rules::{Action, Finding};
use tokio::sync::mpsc;

use crate::review::Review;

/// So many wait to be written.
const WAITING_MAX: usize = 256;

/// Where Events are handed in.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    waiting: mpsc::Sender<Due>,
    lost: Counter,
}

impl Events {
    /// Where Events are handed in, and from where they are taken to be written. Lost ones are counted in `registry`.
    pub fn new(client: Client, registry: &mut Registry) -> (Self, mpsc::Receiver<Due>) {
        let recorder = Recorder::new(client, "rayward-webhook");
        let (waiting, due) = mpsc::channel(WAITING_MAX);
        let lost = Counter::default();
        registry.sub_registry_with_prefix("rayward_webhook").register(
            "events_lost",
            "Events about objects that were not written, because of too many others",
            lost.clone(),
        );
        let events = Self {
            recorder,
            waiting,
            lost,
        };
        (events, due)
    }

    /// Hands in what is to be noted about the object of a review. Nothing comes of a dry run.
    pub fn note(&self, review: &Review, kind: Kind, findings: &[Finding]) {
        if review.dry_run {
            return;
        }
        if let Some(event) = noted(findings)
            && let Some(due) = self.recorder.due(reference(review, kind), event)
            && self.waiting.try_send(due).is_err()
        {
            self.lost.inc();
        }
    }
}

fn noted(findings: &[Finding]) -> Option<Event> {
    let noted = findings.iter().filter(|finding| finding.action == Action::Audit);
    let told: Vec<String> = noted.map(ToString::to_string).collect();
    (!told.is_empty()).then(|| Event::warning("Admit", "PolicyViolation", told.join("\n")))
}

fn reference(review: &Review, kind: Kind) -> ObjectReference {
    let text = |field: &str| review.object["metadata"][field].as_str().map(str::to_owned);
    ObjectReference {
        api_version: Some(format!("{}/{}", review.kind.group, review.kind.version)),
        kind: Some(kind.name().to_owned()),
        namespace: Some(review.namespace.clone()),
        name: text("name"),
        uid: text("uid"),
        ..ObjectReference::default()
    }
}

/// Writes what is handed in, for as long as it is polled.
pub async fn write(mut waiting: mpsc::Receiver<Due>) {
    while let Some(due) = waiting.recv().await {
        due.publish().await;
    }
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    fn events() -> (Events, mpsc::Receiver<Due>) {
        let nobody = |_: http::Request<Body>| async { Err::<http::Response<Body>, _>("nobody is asked") };
        Events::new(
            Client::new(tower::service_fn(nobody), "default"),
            &mut Registry::default(),
        )
    }

    fn review(dry_run: bool) -> Review {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": {"group": "ray.io", "version": "v1", "kind": "RayJob"},
                "operation": "CREATE",
                "namespace": "team",
                "dryRun": dry_run,
                "object": {"metadata": {"name": "train", "uid": "2"}},
            },
        });
        Review::decode(review.to_string().as_bytes()).expect("it is a review")
    }

    fn finding(action: Action) -> Finding {
        Finding {
            code: "RW-G005".into(),
            path: ray::path::Pointer::root().key("spec"),
            problem: "it is wrong".to_owned(),
            hint: "correct it".to_owned(),
            action,
            excused: false,
            policy: None,
        }
    }

    #[tokio::test]
    async fn what_is_to_be_noted_is_handed_in_unless_nothing_is_stored() {
        let (events, mut waiting) = events();
        let both = [finding(Action::Warn), finding(Action::Audit)];
        events.note(&review(true), Kind::Job, &both);
        events.note(&review(false), Kind::Job, &both[..1]);
        assert!(waiting.try_recv().is_err());
        events.note(&review(false), Kind::Job, &both);
        let due = waiting.try_recv().expect("one was handed in");
        assert_eq!(due.event().note(), "RW-G005 spec: it is wrong (correct it)");
        let about = due.regarding();
        events.note(&review(false), Kind::Job, &both);
        assert!(waiting.try_recv().is_err(), "it was a moment ago");
        assert_eq!(
            (about.kind.as_deref(), about.name.as_deref(), about.uid.as_deref()),
            (Some("RayJob"), Some("train"), Some("2"))
        );
    }

    #[tokio::test]
    async fn of_too_many_some_are_lost_and_counted() {
        let (events, _waiting) = events();
        for number in 0..WAITING_MAX + 3 {
            let finding = Finding {
                problem: number.to_string(),
                ..finding(Action::Audit)
            };
            events.note(&review(false), Kind::Job, &[finding]);
        }
        assert_eq!(events.lost.get(), 3);
    }
}
