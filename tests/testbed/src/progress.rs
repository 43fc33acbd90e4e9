//! What happens while a world comes up, for whoever shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Something happened to a part that is being made or started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being made or started, such as `etcd` or `Ray 2.60.0`.
    pub part: String,
    /// What happened to it.
    pub event: Event,
}

/// The life of a part until it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is being built or downloaded; the last line of its builder.
    Making(String),
    /// It was built or downloaded, in this time.
    Made(Duration),
    /// Its process runs and says that it is ready, this long after it was started.
    Up(Duration),
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.event {
            Event::Making(line) => write!(formatter, "{}: {line}", self.part),
            Event::Made(time) => write!(formatter, "{} made in {:.1} s", self.part, time.as_secs_f64()),
            Event::Up(time) => write!(formatter, "{} up in {:.1} s", self.part, time.as_secs_f64()),
        }
    }
}

/// Who gets to know.
#[derive(Clone)]
pub(crate) struct Audience(Arc<dyn Fn(Progress) + Send + Sync>);

impl Audience {
    pub(crate) fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn tell(&self, part: &str, event: Event) {
        (self.0)(Progress {
            part: part.to_owned(),
            event,
        });
    }
}

/// A listener that writes plain lines to standard error: a line when making begins, one every so often while it lasts, one at its end.
pub fn print_lines() -> impl Fn(Progress) + Send + Sync + 'static {
    /// Builders talk a lot.
    const QUIET: Duration = Duration::from_secs(20);
    let spoke = Mutex::new(HashMap::<String, Instant>::new());
    move |progress| {
        if matches!(progress.event, Event::Making(_)) {
            let mut spoke = spoke.lock().expect("nobody panics with it");
            if spoke
                .get(&progress.part)
                .is_some_and(|last| last.elapsed() < QUIET)
            {
                return;
            }
            spoke.insert(progress.part.clone(), Instant::now());
        }
        eprintln!("testbed: {progress}");
    }
}
