//! One cluster, and several replicas that share it by Leases, or the autoscaler in its head. Whatever happens to them: never two that may write at one time, no
//! write by one that may not or on what is not so any more, none by a shadow, and somebody holds the cluster soon after all is well again.

mod replica;
mod world;

use planner::Decision;
use ray::autoscaler_mode::AutoscalerMode;
use serde_json::{Value, json};

use super::{QUIET_TICKS, SETTLED_AFTER_TICKS, random, ticks};
use crate::adoption::Sidecar;
use crate::simulation::Scenario;
use replica::Doing;
use world::{HANDED_OVER_MILLISECONDS, Lived, Rash, Request, Trouble, What, World};

/// In the time of the tests.
const TICKS: u64 = 15_000;
/// Seeds that have shown what was wrong: a place that was taken, and a node that was back.
const KEPT: [u64; 2] = [1382, 1399];

/// What these replicas are put through instead.
const NOT_HERE: [&str; 3] = ["freeze", "restart", "headRestart"];

fn world(scenario: &Value, seed: u64) -> Result<World, String> {
    let scenario: Scenario = serde_json::from_value(scenario.clone()).map_err(|error| error.to_string())?;
    World::new(&scenario, seed)
}

/// A scenario at random, of which replicas come to know.
fn scenario(seed: u64) -> Value {
    let mut scenario = random(seed);
    let faults = scenario["faults"].as_object_mut().expect("faults");
    faults.retain(|fault, _| !NOT_HERE.contains(&fault.as_str()));
    if seed.is_multiple_of(2) {
        // So that there is always something to write.
        let (every, shape) = (7 + seed % 9, json!({ "resources": { "CPU": 1 }, "count": 4 }));
        let demand = scenario["demand"].as_array_mut().expect("steps");
        demand.push(json!({ "everySeconds": every, "runSeconds": 1, "requests": [shape] }));
    }
    scenario
}

/// Runs a world with its troubles, then without, and checks it all the way.
fn check(seed: u64, rash: Option<Rash>, lived: &mut Lived) -> Result<(), String> {
    let scenario = scenario(seed);
    let mut world = world(&scenario, seed)?;
    world.rash = rash;
    world.lived = lived.clone();
    let mut often = |most: f64| {
        if world.random.bool() {
            most * world.random.f64()
        } else {
            0.0
        }
    };
    world.trouble = Trouble {
        stopped: often(0.01),
        slow: often(0.01),
        killed: often(0.003),
        released: often(0.01),
        lease_deleted: often(0.005),
        head: often(0.003),
        mode: often(0.003),
    };
    for _ in 0..world.random.u64(1..=3) {
        world.come();
    }
    for _ in 0..scenario["seconds"].as_u64().expect("a number") {
        world.second()?;
    }
    world.calm_down();
    world.set_mode(AutoscalerMode::Central);
    if world.simulation.kubernetes.sidecar().is_some() && world.random.bool() {
        world.make_head_anew(None);
    }
    for _ in 0..HANDED_OVER_MILLISECONDS / 1_000 + SETTLED_AFTER_TICKS {
        world.second()?;
    }
    world.simulation.is_settled()?;
    let (settled, written) = (world.simulation.kubernetes.counts(), world.writes());
    for _ in 0..QUIET_TICKS {
        world.second()?;
    }
    if world.simulation.kubernetes.counts() != settled || world.writes() != written {
        return Err(format!("at {} ms: not quiet on constant demand", world.now));
    }
    *lived = world.lived;
    Ok(())
}

impl World {
    fn writes(&self) -> (u64, u64) {
        (self.lived.written, self.lived.written_by_rays_own)
    }

    /// How long it takes until it is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> u64 {
        let begun = self.now;
        while !is_so(self) {
            assert!(self.now < begun + 120_000, "{what} never comes: {:?}", self.lived);
            self.step().expect("the rules hold");
        }
        self.now - begun
    }

    fn owner_name(&self) -> Option<String> {
        self.owner().map(|owner| self.replicas[owner].name.clone())
    }
}

#[test]
fn whatever_becomes_of_replicas_the_rules_hold() {
    let ticks = ticks(TICKS);
    let mut lived = Lived::default();
    for seed in KEPT.into_iter().chain(0..) {
        let checked = check(seed, None, &mut lived);
        checked.unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", scenario(seed)));
        if lived.ticks >= ticks {
            break;
        }
    }
    eprintln!("{lived:?}");
    let Lived {
        written,
        fenced,
        late_and_refused,
        handed_over,
        shadowed,
        written_by_rays_own,
        ..
    } = lived;
    for (what, times, least) in [
        ("written", written, ticks / 200),
        ("fenced", fenced, ticks / 5_000),
        ("late and refused", late_and_refused, ticks / 10_000),
        ("handed over", handed_over, ticks / 500),
        ("shadowed", shadowed, ticks / 1_000),
        ("written by Ray's own", written_by_rays_own, ticks / 1_000),
    ] {
        assert!(
            times >= least.max(1),
            "{what} only {times} times in {ticks} ticks"
        );
    }
}

/// The rules are rules: a replica that forgets one of them is found out.
#[test]
fn whoever_forgets_to_ask_is_found_out() {
    for (rash, sign) in [
        (Rash::Clock, "hold the cluster"),
        (Rash::Tests, "written since it looked"),
        (Rash::Standing, "beside the head's own autoscaler"),
    ] {
        let broken = (0..300).find_map(|seed| check(seed, Some(rash), &mut Lived::default()).err());
        let problem = broken.unwrap_or_else(|| panic!("{rash:?}: one of 300 worlds shows it"));
        assert!(problem.contains(sign), "{rash:?}: {problem}");
    }
}

/// Two replicas and a cluster whose demand comes and goes every few seconds, so that there is always something to write. Nothing goes wrong.
fn story() -> World {
    let limits = json!({ "cpu": 1 });
    let template =
        json!({ "spec": { "containers": [{ "name": "ray", "resources": { "limits": limits } }] } });
    let scenario = json!({
        "scenario": 1, "seconds": 600, "startSeconds": 1,
        "rayCluster": {
            "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": { "name": "demo", "namespace": "default" },
            "spec": {
                "enableInTreeAutoscaling": true,
                "headGroupSpec": { "rayStartParams": { "num-cpus": "0" }, "template": template },
                "workerGroupSpecs": [{
                    "groupName": "small", "replicas": 0, "minReplicas": 0, "maxReplicas": 9, "idleTimeoutSeconds": 3,
                    "rayStartParams": {}, "template": template,
                }],
            },
        },
        "demand": [{ "everySeconds": 9, "runSeconds": 1, "requests": [{ "resources": { "CPU": 1 }, "count": 4 }] }],
    });
    let mut world = world(&scenario, 0).expect("a scenario");
    world.come();
    world.come();
    world.until("an owner", |world| world.owner().is_some());
    world.until("a write", |world| world.lived.written > 0);
    world
}

impl World {
    /// The owner has decided something, and has yet to write it.
    fn until_it_is_about_to_write(&mut self) -> usize {
        let is_about_to = |world: &Self| {
            let owner = world.owner().map(|owner| &world.replicas[owner].doing);
            let grows = |decision: &Decision| decision.to > decision.from;
            matches!(owner, Some(Doing::Drained { intent, .. }) if intent.plan.decisions.iter().any(grows))
        };
        self.until("a decision", is_about_to);
        self.owner().expect("it is about to write")
    }
}

#[test]
fn one_that_is_stopped_before_it_writes_is_kept_from_it_by_the_clock() {
    let mut world = story();
    let owner = world.until_it_is_about_to_write();
    let stopped = world.owner_name();
    world.stop(owner, 30_000);
    let lapses = world.until("the end of its tenure", |world| world.owner().is_none());
    assert!(lapses <= 5_000, "held for {lapses} ms");
    let taken = world.until("another owner", |world| world.owner().is_some());
    assert!(lapses + taken <= 12_000, "taken over after {} ms", lapses + taken);
    assert_ne!(world.owner_name(), stopped);
    let (written, fenced) = (world.lived.written, world.lived.fenced);
    world.until("writes of the other", |world| world.lived.written > written + 1);
    assert_eq!(world.lived.fenced, fenced);
    world.until("the word of the clock", |world| world.lived.fenced > fenced);
}

#[test]
fn a_patch_that_is_under_way_when_the_lease_is_lost_is_refused_by_what_it_tests() {
    let mut world = story();
    let owner = world.until_it_is_about_to_write();
    let is_patch = |request: &Request| matches!(request.what, What::Patch { .. });
    world.until("a patch", |world| world.under_way.iter().any(is_patch));
    let patches = world.under_way.iter_mut().filter(|request| is_patch(request));
    patches.for_each(|patch| patch.arrives += 30_000);
    // The process ends, and what it has sent is under way still.
    world.release(owner);
    let (written, refused) = (world.lived.written, world.lived.late_and_refused);
    world.until("a write of the other", |world| world.lived.written > written);
    world.until("the late patch", |world| world.lived.late_and_refused > refused);
}

#[test]
fn a_cluster_changes_hands_in_seconds() {
    let mut world = story();
    let owner = world.owner().expect("one");
    world.release(owner);
    let released = world.until("another owner", |world| world.owner().is_some());
    assert!(released <= 3_500, "{released} ms after it was released");

    let mut world = story();
    let owner = world.owner().expect("one");
    world.kill(owner);
    let killed = world.until("another owner", |world| world.owner().is_some());
    assert!(killed <= 11_000, "{killed} ms after its owner was killed");
}

#[test]
fn a_head_with_rays_own_autoscaler_is_left_to_it() {
    let mut world = story();
    world.make_head_anew(Some(Sidecar::Ray));
    world.until("a write by Ray's own", |world| {
        world.lived.written_by_rays_own > 0
    });
    let (written, shadowed) = (world.lived.written, world.lived.shadowed);
    world.until("ten more", |world| world.lived.written_by_rays_own > 10);
    assert_eq!(world.lived.written, written);
    assert!(
        world.lived.shadowed > shadowed,
        "we would have done otherwise, if only sooner"
    );
    // The step that moves it.
    world.make_head_anew(None);
    world.until("a write of ours", |world| world.lived.written > written);
    let by_rays_own = world.lived.written_by_rays_own;
    world.until("ten more", |world| world.lived.written > written + 10);
    assert_eq!(world.lived.written_by_rays_own, by_rays_own);
}

#[test]
fn who_is_asked_to_shadow_writes_nothing_from_then_on() {
    let mut world = story();
    world.until_it_is_about_to_write();
    world.set_mode(AutoscalerMode::Shadow);
    let (written, shadowed) = (world.lived.written, world.lived.shadowed);
    world.until("looks", |world| world.lived.shadowed > shadowed + 20);
    assert_eq!(world.writes(), (written, 0));
    world.set_mode(AutoscalerMode::Central);
    world.until("a write", |world| world.lived.written > written);
}
