//! Where we would have decided otherwise than whoever writes a cluster that we only shadow. Pure.
//!
//! We see demand sooner than Ray's own autoscaler and are asked more often, so for some seconds we nearly always differ. Only what lasts is told; how
//! long the other took to come to the same is measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::Decision;

/// Ray's own decides every 5 s, and is a pass or two late where it starts or drains nodes first.
const LASTING: Duration = Duration::from_secs(30);

/// How each group differs, since when.
#[derive(Debug, Default)]
pub(crate) struct Differences(BTreeMap<String, Difference>);

/// How one group differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) group: String,
    /// Replicas that we would ask for.
    pub(crate) ours: u64,
    /// Replicas that are asked for.
    pub(crate) theirs: u64,
    pub(crate) since: Instant,
    told: bool,
}

/// What is to be told of a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Differences that have lasted.
    pub(crate) lasting: Vec<Difference>,
    /// Differences that are over: now what is asked for is what we would ask for.
    pub(crate) over: Vec<Difference>,
}

impl Differences {
    /// What a look adds: a group for which we decide nothing is as we would have it.
    pub(crate) fn look(&mut self, decisions: &[Decision], now: Instant) -> News {
        let mut news = News::default();
        let differing = |group: &str| decisions.iter().any(|decision| decision.group == group);
        let over: Vec<String> = self.0.keys().filter(|group| !differing(group)).cloned().collect();
        news.over = over.iter().filter_map(|group| self.0.remove(group)).collect();
        for decision in decisions.iter().filter(|decision| decision.from != decision.to) {
            let difference = self
                .0
                .entry(decision.group.clone())
                .or_insert_with(|| Difference {
                    group: decision.group.clone(),
                    ours: decision.to,
                    theirs: decision.from,
                    since: now,
                    told: false,
                });
            (difference.ours, difference.theirs) = (decision.to, decision.from);
            if !difference.told && now.duration_since(difference.since) >= LASTING {
                difference.told = true;
                news.lasting.push(difference.clone());
            }
        }
        news
    }
}

impl Difference {
    /// Whether it was told while it lasted.
    pub(crate) fn was_told(&self) -> bool {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(from: u64, to: u64) -> Decision {
        Decision {
            group: "small".to_owned(),
            from,
            to,
            launched: BTreeMap::new(),
            terminated: Vec::new(),
            by: None,
        }
    }

    #[test]
    fn what_lasts_is_told_once_and_its_end_too() {
        let mut differences = Differences::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(differences.look(&[decision(0, 2)], start), News::default());
        assert_eq!(differences.look(&[decision(0, 3)], after(29)), News::default());
        let told = differences.look(&[decision(1, 3)], after(30)).lasting;
        assert_eq!((told[0].ours, told[0].theirs), (3, 1));
        assert_eq!(differences.look(&[decision(1, 3)], after(31)), News::default());
        let over = differences.look(&[], after(40)).over;
        assert!(over[0].was_told());
        assert_eq!(over[0].since, start);
        assert_eq!(differences.look(&[], after(41)), News::default());
    }

    #[test]
    fn what_does_not_last_is_only_measured() {
        let mut differences = Differences::default();
        let start = Instant::now();
        differences.look(&[decision(0, 2)], start);
        let over = differences.look(&[], start + Duration::from_secs(4)).over;
        assert!(!over[0].was_told());
    }
}
