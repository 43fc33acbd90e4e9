//! Shares are fair and move as little as they can; and a small world of replicas in which no two ever hold one cluster.

use proptest::prelude::*;

use super::*;

const CLUSTERS: usize = 2000;

fn members(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn owners(members: &BTreeSet<String>) -> Vec<&str> {
    let clusters = (0..CLUSTERS).map(|index| format!("cluster-{index}"));
    clusters
        .map(|name| owner(members, "team", &name).expect("there is a member").as_str())
        .collect()
}

#[test]
fn shares_are_fair() {
    let members = members(&[
        "rayward-7d4f-x7k2p-00c0ffee",
        "rayward-7d4f-q9zlm-0badf00d",
        "rayward-7d4f-b2b2b-12345678",
    ]);
    let owners = owners(&members);
    for member in &members {
        let share = owners.iter().filter(|owner| *owner == member).count();
        assert!((600..734).contains(&share), "{member} has {share} of {CLUSTERS}");
    }
}

#[test]
fn only_the_share_of_who_comes_or_goes_changes_hands() {
    let (before, after) = (members(&["a", "b", "c"]), members(&["a", "b", "c", "d"]));
    for (before, after) in owners(&before).into_iter().zip(owners(&after)) {
        assert!(before == after || after == "d", "from {before} to {after}");
    }
}

/// Whoever this is changed for: replicas of different versions must agree.
#[test]
fn the_score_is_for_ever() {
    assert_eq!(score("a", "team", "demo"), 11_136_852_101_265_525_210);
}

fn sighted(replica: &str, mark: &str) -> Sighted {
    Sighted {
        replica: replica.to_owned(),
        uid: String::new(),
        mark: mark.to_owned(),
        released: false,
    }
}

#[test]
fn one_that_comes_waits_and_then_acts_for_as_long_as_it_renews() {
    let start = Instant::now();
    let mut membership = Membership::new("b".to_owned());
    let tenure = membership.look(vec![sighted("a", "1"), sighted("b", "1")], start, start);
    assert_eq!(tenure.members, members(&["a", "b"]));
    assert!(!tenure.holds(start));
    let mut last = tenure;
    for turn in 1..=4 {
        let now = start + PERIOD * turn;
        last = membership.look(vec![sighted("a", &turn.to_string())], now, now);
        assert_eq!(last.holds(now), now >= start + LEASE);
    }
    let sent = start + LEASE;
    assert!(last.holds(sent + TENURE / 2));
    assert!(!last.holds(sent + TENURE));
    // It was stopped for so long that the others may share its clusters.
    let now = sent + LEASE;
    let again = membership.look(vec![sighted("a", "9")], now, now);
    assert!(!again.holds(now));
}

#[test]
fn released_is_believed_at_once_and_deleted_is_not() {
    let start = Instant::now();
    let mut membership = Membership::new("a".to_owned());
    let first = membership.look(vec![sighted("b", "1"), sighted("c", "1")], start, start);
    assert_eq!(first.members.len(), 3);
    let later = start + PERIOD;
    let released = Sighted {
        released: true,
        ..sighted("b", "2")
    };
    let tenure = membership.look(vec![released], later, later);
    assert_eq!(tenure.members, members(&["a", "c"]));
    // It may have been renewed until it was seen to be away.
    let tenure = membership.look(Vec::new(), start + LEASE, start + LEASE);
    assert_eq!(tenure.members, members(&["a", "c"]));
    let tenure = membership.look(Vec::new(), later + LEASE, later + LEASE);
    assert_eq!(tenure.members, members(&["a"]));
}

#[test]
fn one_whose_lease_was_made_anew_waits_until_others_must_have_seen_it() {
    let start = Instant::now();
    let mut membership = Membership::new("b".to_owned());
    let made = |uid: &str| Sighted {
        uid: uid.to_owned(),
        ..sighted("b", "1")
    };
    membership.look(vec![made("first")], start, start);
    // Somebody deleted it, perhaps before anybody saw it.
    let anew = start + 3 * PERIOD;
    membership.look(vec![made("second")], anew, anew);
    let mut last = start;
    for turn in 1..=4 {
        last = anew + PERIOD * turn;
        let tenure = membership.look(vec![made("second")], last, last);
        assert_eq!(tenure.holds(last), last >= anew + LEASE);
    }
    assert!(
        membership.look(Vec::new(), last, last).holds(last),
        "not seen is not made anew"
    );
}

/// Replicas that renew, are stopped, resumed, killed and made anew in any order, with requests that take their time.
#[derive(Default)]
struct World {
    milliseconds: u64,
    /// As the API server has them; released ones too.
    leases: BTreeMap<String, Sighted>,
    replicas: BTreeMap<String, Replica>,
    made: u64,
    /// Marks never come twice.
    written: u64,
}

struct Replica {
    membership: Membership,
    tenure: Option<Tenure>,
    /// Sent, and how far it has come.
    renewal: Option<(u64, Renewal)>,
    stopped: bool,
}

enum Renewal {
    Sent,
    Landed,
    Listed(Vec<Sighted>),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    /// The next thing that this one does: send, land, list, hear.
    Advance(usize),
    Stop(usize),
    Resume(usize),
    Kill(usize),
    Release(usize),
    Come,
    DeleteLease(usize),
}

impl World {
    fn step(&mut self, start: Instant, step: Step) {
        let now = start + Duration::from_millis(self.milliseconds);
        let of = |index: usize, world: &Self| {
            let names: Vec<_> = world.replicas.keys().cloned().collect();
            names.get(index % names.len().max(1)).cloned()
        };
        match step {
            Step::Wait(milliseconds) => self.milliseconds += milliseconds,
            Step::Come if self.replicas.len() < 4 => {
                self.made += 1;
                let name = format!("replica-{}", self.made);
                let replica = Replica {
                    membership: Membership::new(name.clone()),
                    tenure: None,
                    renewal: None,
                    stopped: false,
                };
                self.replicas.insert(name, replica);
            }
            Step::Come => {}
            Step::Advance(index) => {
                if let Some(name) = of(index, self) {
                    self.advance(&name, start, now);
                }
            }
            Step::Stop(index) | Step::Resume(index) => {
                if let Some(replica) = of(index, self).and_then(|name| self.replicas.get_mut(&name)) {
                    replica.stopped = matches!(step, Step::Stop(_));
                }
            }
            Step::Kill(index) => {
                if let Some(name) = of(index, self) {
                    self.replicas.remove(&name);
                }
            }
            Step::Release(index) => {
                if let Some(name) = of(index, self)
                    && !self.replicas[&name].stopped
                {
                    self.replicas.remove(&name);
                    self.write(&name, true);
                }
            }
            Step::DeleteLease(index) => {
                if let Some(name) = of(index, self) {
                    self.leases.remove(&name);
                }
            }
        }
    }

    fn write(&mut self, name: &str, released: bool) {
        self.written += 1;
        let mark = self.written.to_string();
        let before = self.leases.get(name);
        let lease = Sighted {
            uid: before.map_or_else(|| mark.clone(), |before| before.uid.clone()),
            mark,
            released,
            ..sighted(name, "")
        };
        self.leases.insert(name.to_owned(), lease);
    }

    fn advance(&mut self, name: &str, start: Instant, now: Instant) {
        let replica = self.replicas.get_mut(name).expect("it is there");
        match replica.renewal.take() {
            // What was sent arrives whether or not its sender still runs.
            Some((sent, Renewal::Sent)) => {
                replica.renewal = Some((sent, Renewal::Landed));
                self.write(name, false);
            }
            Some((sent, Renewal::Landed)) if !replica.stopped => {
                let listed = self.leases.values().cloned();
                replica.renewal = Some((sent, Renewal::Listed(listed.collect())));
            }
            Some((sent, Renewal::Listed(listed))) if !replica.stopped => {
                let sent = start + Duration::from_millis(sent);
                replica.tenure = Some(replica.membership.look(listed, sent, now));
            }
            None if !replica.stopped => replica.renewal = Some((self.milliseconds, Renewal::Sent)),
            stopped => replica.renewal = stopped,
        }
    }

    /// Stopped ones count: they may run again any moment, and ask the clock only then.
    fn holders(&self, now: Instant, cluster: &str) -> Vec<&String> {
        let holds = |replica: &Replica| {
            let tenure = replica.tenure.as_ref();
            tenure.is_some_and(|tenure| tenure.holds(now) && tenure.assigns("team", cluster))
        };
        let replicas = self.replicas.iter().filter(|(_, replica)| holds(replica));
        replicas.map(|(name, _)| name).collect()
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..1500).prop_map(Step::Wait),
        1 => (4000_u64..12_000).prop_map(Step::Wait),
        20 => (0_usize..4).prop_map(Step::Advance),
        1 => (0_usize..4).prop_map(Step::Stop),
        1 => (0_usize..4).prop_map(Step::Resume),
        1 => (0_usize..4).prop_map(Step::Kill),
        1 => (0_usize..4).prop_map(Step::Release),
        2 => Just(Step::Come),
        1 => (0_usize..4).prop_map(Step::DeleteLease),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_two_ever_hold_one_cluster(steps in prop::collection::vec(step(), 0..200)) {
        let start = Instant::now();
        let mut world = World::default();
        for step in steps {
            world.step(start, step);
            let now = start + Duration::from_millis(world.milliseconds);
            for cluster in ["a", "b", "c", "d"] {
                let holders = world.holders(now, cluster);
                prop_assert!(holders.len() <= 1, "{cluster}: {holders:?}");
            }
        }
    }

    /// Whatever happened, once all is quiet each cluster is somebody's.
    #[test]
    fn in_the_end_each_cluster_is_somebodys(steps in prop::collection::vec(step(), 0..100)) {
        let start = Instant::now();
        let mut world = World::default();
        for step in steps.into_iter().chain([Step::Come]) {
            world.step(start, step);
        }
        for replica in world.replicas.values_mut() {
            replica.stopped = false;
        }
        let seconds_to_settle = 2 * LEASE.as_secs() + 4;
        for _ in 0..seconds_to_settle {
            world.milliseconds += 1000;
            for index in (0..world.replicas.len()).flat_map(|index| [index; 4]) {
                world.step(start, Step::Advance(index));
            }
        }
        let now = start + Duration::from_millis(world.milliseconds);
        for cluster in ["a", "b", "c", "d"] {
            prop_assert_eq!(world.holders(now, cluster).len(), 1, "{}", cluster);
        }
    }
}
