//! What was used not long ago, by note. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An Event that repeats within so long is one with a count, for kube's recorder as for client-go's. What was not said for longer begins anew.
const WINDOW: Duration = Duration::from_mins(6);
/// Of very many notes at once the oldest may begin anew before its time.
const NOTES_MAX: usize = 1000;

pub(crate) struct Recent<T>(BTreeMap<String, (Instant, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Recent<T> {
    /// What there is for this note, or something new.
    pub(crate) fn of(&mut self, note: &str, now: Instant, new: impl FnOnce() -> T) -> &T {
        self.0
            .retain(|_, (used, _)| now.saturating_duration_since(*used) < WINDOW);
        if self.0.len() >= NOTES_MAX && !self.0.contains_key(note) {
            let oldest = self.0.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(note, _)| note.clone()) {
                self.0.remove(&oldest);
            }
        }
        let (used, recent) = self.0.entry(note.to_owned()).or_insert_with(|| (now, new()));
        *used = now;
        recent
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
        let mut of = |note: &str, after: Duration| {
            made += 1;
            *recent.of(note, start + after, || made)
        };
        let minute = Duration::from_mins(1);
        assert_eq!(of("a", 0 * minute), 1);
        assert_eq!(of("b", 1 * minute), 2);
        // Each time it is said anew.
        assert_eq!(of("a", 5 * minute), 1);
        assert_eq!(of("a", 10 * minute), 1);
        assert_eq!(of("b", 10 * minute), 5);
        assert_eq!(of("a", 16 * minute), 6);
    }

    #[test]
    fn of_very_many_the_oldest_goes() {
        let mut recent = Recent::default();
        let start = Instant::now();
        for second in 0..=u64::try_from(NOTES_MAX).expect("it is small") {
            let now = start + Duration::from_millis(second);
            recent.of(&second.to_string(), now, || second);
            recent.of("0", now, || second);
        }
        assert_eq!(recent.0.len(), NOTES_MAX);
        assert!(recent.0.contains_key("0"), "it was used all the time");
        assert!(!recent.0.contains_key("1"));
        assert!(recent.0.contains_key("2"));
    }
}
