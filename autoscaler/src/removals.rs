//! What was taken away of the groups of a cluster, where a policy counts it. It is kept in an annotation of the RayCluster, which the patch that takes
//! something away writes: so it is known to whoever looks next, and nothing goes that is not written down.
//!
//! `rayward.dev/removed` is `{"cpu":{"2026-11-30T18:00:00Z":2}}`. An operator that writes the annotations of a cluster anew, as KubeRay's does when a
//! RayService gets more groups, takes it away; then nothing has gone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use planner::signal::Removals;
use ray::keys;
use ray::object::Metadata;

/// Replicas by time, by group. So few that no sum of them overflows, whoever wrote them.
type Written = BTreeMap<String, BTreeMap<Timestamp, u32>>;

/// What was taken away, by group; nothing where it cannot be read.
pub(crate) fn read(cluster: &Metadata) -> Option<BTreeMap<String, Removals>> {
    let Some(text) = cluster.annotations.get(keys::REMOVED) else {
        return Some(BTreeMap::new());
    };
    let written: Written = serde_json::from_str(text).ok()?;
    let groups = written.into_iter().map(|(group, removals)| {
        let list = removals.into_iter().map(|(at, replicas)| {
            let at = u64::try_from(at.as_millisecond()).unwrap_or(0);
            (at, replicas.into())
        });
        let removals = Removals {
            list: list.collect(),
            unknown: false,
        };
        (group, removals)
    });
    Some(groups.collect())
}

/// What was taken away of a group.
pub(crate) fn of_group(all: Option<&BTreeMap<String, Removals>>, group: &str) -> Removals {
    match all {
        Some(all) => all.get(group).cloned().unwrap_or_default(),
        None => Removals {
            list: Vec::new(),
            unknown: true,
        },
    }
}

/// What is to be written, in full seconds: those are read by people.
pub(crate) fn written(all: &BTreeMap<String, Removals>) -> String {
    let groups = all.iter().map(|(group, removals)| {
        let mut by_time = BTreeMap::new();
        for (at, replicas) in &removals.list {
            let seconds = i64::try_from(at.div_ceil(1000)).unwrap_or(i64::MAX);
            let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
            let replicas = u32::try_from(*replicas).unwrap_or(u32::MAX);
            let sum: &mut u32 = by_time.entry(at).or_default();
            *sum = sum.saturating_add(replicas);
        }
        (group.clone(), by_time)
    });
    let written: Written = groups.collect();
    serde_json::to_string(&written).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(text: &str) -> Metadata {
        Metadata {
            annotations: [(keys::REMOVED.to_owned(), text.to_owned())].into(),
            ..Metadata::default()
        }
    }

    #[test]
    fn what_is_written_is_read_and_counts_no_shorter() {
        let removals = Removals {
            list: vec![(1_000, 1), (1_001, 1), (1_999, 2)],
            unknown: false,
        };
        let text = written(&[("cpu".to_owned(), removals)].into());
        assert_eq!(
            text,
            r#"{"cpu":{"1970-01-01T00:00:01Z":1,"1970-01-01T00:00:02Z":3}}"#
        );
        let read = read(&annotated(&text)).expect("it is legible");
        assert_eq!(of_group(Some(&read), "cpu").list, [(1_000, 1), (2_000, 3)]);
        assert_eq!(of_group(Some(&read), "gpu"), Removals::default());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        for text in [
            "",
            "[]",
            r#"{"cpu":{"yesterday":1}}"#,
            r#"{"cpu":{"1970-01-01T00:00:01Z":5000000000}}"#,
        ] {
            assert_eq!(read(&annotated(text)), None, "{text}");
        }
        assert!(of_group(None, "cpu").unknown);
        assert_eq!(read(&Metadata::default()), Some(BTreeMap::new()));
    }
}
