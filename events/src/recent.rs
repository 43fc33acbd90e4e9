//! What was said not long ago, and of what. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An Event that repeats within so long is one with a count, for kube's recorder as for client-go's. What was not said for longer begins anew.
const WINDOW: Duration = Duration::from_mins(6);
/// How often one that repeats is written. Whatever somebody does a thousand times a second, the API server is not asked a thousand times a second.
const PERIOD: Duration = Duration::from_secs(10);
/// Of very many at once the oldest may begin anew before its time.
const EVENTS_MAX: usize = 1000;

pub(crate) struct Recent<T>(BTreeMap<String, Said<T>>);

struct Said<T> {
    /// The last time.
    at: Instant,
    /// The last time that it was written.
    written: Instant,
    by: T,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Recent<T> {
    /// Who has said this, or somebody new; nobody where it was written a moment ago.
    pub(crate) fn of(&mut self, event: String, now: Instant, new: impl FnOnce() -> T) -> Option<&T> {
        let window = |said: &Said<T>| now.saturating_duration_since(said.at) < WINDOW;
        if !self.0.get(&event).is_some_and(window) {
            self.0.retain(|_, said| window(said));
            if self.0.len() >= EVENTS_MAX {
                let oldest = self.0.iter().min_by_key(|(_, said)| said.at);
                if let Some(oldest) = oldest.map(|(event, _)| event.clone()) {
                    self.0.remove(&oldest);
                }
            }
            let (at, written, by) = (now, now, new());
            return Some(&self.0.entry(event).or_insert(Said { at, written, by }).by);
        }
        let said = self.0.get_mut(&event)?;
        said.at = now;
        if now.saturating_duration_since(said.written) < PERIOD {
            return None;
        }
        said.written = now;
        Some(&said.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_for_long_is_forgotten() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let mut made = 0;
        let mut of = |event: &str, after: Duration| {
            made += 1;
            recent.of(event.to_owned(), start + after, || made).copied()
        };
        let minute = Duration::from_mins(1);
        assert_eq!(of("a", 0 * minute), Some(1));
        assert_eq!(of("b", 1 * minute), Some(2));
        // Each time it is said anew.
        assert_eq!(of("a", 5 * minute), Some(1));
        assert_eq!(of("a", 10 * minute), Some(1));
        assert_eq!(of("b", 10 * minute), Some(5));
        assert_eq!(of("a", 16 * minute), Some(6));
    }

    #[test]
    fn what_is_said_all_the_time_is_written_now_and_then() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let mut said = |millisecond| {
            recent
                .of("a".to_owned(), start + Duration::from_millis(millisecond), || ())
                .is_some()
        };
        let written: Vec<u64> = (0..25_000).filter(|millisecond| said(*millisecond)).collect();
        assert_eq!(written, [0, 10_000, 20_000]);
    }

    #[test]
    fn of_very_many_the_oldest_goes() {
        let mut recent = Recent::default();
        let start = Instant::now();
        for second in 0..=u64::try_from(EVENTS_MAX).expect("it is small") {
            let now = start + Duration::from_millis(second);
            recent.of(second.to_string(), now, || second);
            recent.of("0".to_owned(), now, || second);
        }
        assert_eq!(recent.0.len(), EVENTS_MAX);
        assert!(recent.0.contains_key("0"), "it was said all the time");
        assert!(!recent.0.contains_key("1"));
        assert!(recent.0.contains_key("2"));
    }
}
