//! TPU slices on Google Kubernetes Engine: whether the selectors of a group, its hosts and its chips describe one that exists. GKE's own
//! webhook asks some of this of RayClusters when they are created; nobody asks it of jobs and services, or of updates.

use std::collections::BTreeMap;

use ray::cluster::{NodeGroup, WorkerGroup};
use ray::keys;
use ray::object::Kind;
use ray::path::Pointer;
use ray::tpu::{CHIPS_OF_ONE_OF_SEVERAL, Generation, Topology};

use super::resources::{limits, quantity, requests};
use crate::facts::{Gate, GateState, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source};

const WHY_NO_NODE: &str = "No node has such labels, so every pod of the group waits for ever.";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P110",
        summary: "a TPU group does not select the kind of TPU and the topology",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "GKE finds and makes TPU nodes by these selectors, and Ray names the slice after them.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice}}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x2}}",
        },
        check: Check::Workers(slice_is_selected),
    },
    Rule {
        code: "RW-P111",
        summary: "a TPU topology is none, or none of its kind of TPU",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: WHY_NO_NODE,
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v4-podslice, \
                cloud.google.com/gke-tpu-topology: 2x2}}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v4-podslice, \
                cloud.google.com/gke-tpu-topology: 2x2x1}}",
        },
        check: Check::Workers(topology_exists),
    },
    Rule {
        code: "RW-P112",
        summary: "the hosts of a TPU group do not make up its topology",
        action: Action::Deny,
        kinds: &Kind::ALL,
        why: "The chips of a slice start together: with a host too few they wait for it for ever, and one too many finds no node.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 4x4}, /spec/workerGroupSpecs/0/numOfHosts: 2}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 4x4}, /spec/workerGroupSpecs/0/numOfHosts: 4}",
        },
        check: Check::Workers(hosts_make_up_the_topology),
    },
    Rule {
        code: "RW-P113",
        summary: "no machine with this kind of TPU has so many chips",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "A container gets all the chips of its machine or none, so the pods of the group wait for ever.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 8, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 4x4}, /spec/workerGroupSpecs/0/numOfHosts: 2}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 8, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x4}}",
        },
        check: Check::Workers(machines_have_the_chips),
    },
    Rule {
        code: "RW-P114",
        summary: "a group of TPU slices does not have as many as are to work together",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "With MEGASCALE_NUM_SLICES the slices of a group wait until there are so many, and turn away one too many.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x2}, /spec/workerGroupSpecs/0/maxReplicas: 3, \
                /spec/workerGroupSpecs/0/template/spec/containers/0/env: [{name: MEGASCALE_NUM_SLICES, value: '2'}]}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x2}, /spec/workerGroupSpecs/0/maxReplicas: 2, \
                /spec/workerGroupSpecs/0/template/spec/containers/0/env: [{name: MEGASCALE_NUM_SLICES, value: '2'}]}",
        },
        check: Check::Workers(as_many_slices_as_work_together),
    },
    Rule {
        code: "RW-P115",
        summary: "the hosts of a TPU slice are not numbered",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Each host of a slice has to know which one it is. Rayward tells it what KubeRay says, and this KubeRay does not say it.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: Some(GateState {
            gate: Gate::MultiHostIndexing,
            on: false,
        }),
        example: Example {
            fires: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x4}, /spec/workerGroupSpecs/0/numOfHosts: 2}",
            passes: "{/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/google.com~1tpu: 4, \
                /spec/workerGroupSpecs/0/template/spec/nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice, \
                cloud.google.com/gke-tpu-topology: 2x2}, /spec/workerGroupSpecs/0/numOfHosts: 1}",
        },
        check: Check::Workers(hosts_are_numbered),
    },
];

/// What a group with TPUs says of its slice.
struct Slice<'a> {
    /// Chips of a pod.
    chips: i64,
    accelerator: Option<&'a str>,
    topology: Option<&'a str>,
    selector: Pointer,
}

impl<'a> Slice<'a> {
    fn of(group: &'a WorkerGroup) -> Option<Self> {
        let pod = group.template.spec.as_ref()?;
        let chips = pod.containers.iter().filter_map(|container| {
            let limit = limits(container)
                .chain(requests(container))
                .find(|(name, _)| *name == keys::TPU)?;
            Some(quantity(limit.1)?.ceil())
        });
        let selected = |key| pod.node_selector.as_ref().and_then(|selector| selector.get(key));
        let chips = chips.fold(0, i64::saturating_add);
        (chips > 0).then(|| Self {
            chips,
            accelerator: selected(keys::TPU_ACCELERATOR).map(String::as_str),
            topology: selected(keys::TPU_TOPOLOGY).map(String::as_str),
            selector: group.pod_path().key("nodeSelector"),
        })
    }

    fn parsed_topology(&self) -> Option<Topology> {
        self.topology?.parse().ok()
    }

    fn generation(&self) -> Option<&'static Generation> {
        Generation::of(self.accelerator?)
    }
}

/// Where nodes are chosen by affinity, or by a compute class, nothing can be said.
fn slice_is_selected(group: &WorkerGroup, findings: &mut Findings) {
    const COMPUTE_CLASS: &str = "cloud.google.com/compute-class";
    let Some(slice) = Slice::of(group) else { return };
    let pod = group.template.spec.as_ref();
    let by_affinity = pod.is_some_and(|pod| {
        pod.affinity
            .as_ref()
            .is_some_and(|affinity| affinity.node_affinity.is_some())
    });
    let selector: Option<&BTreeMap<_, _>> = pod.and_then(|pod| pod.node_selector.as_ref());
    if by_affinity || selector.is_some_and(|selector| selector.contains_key(COMPUTE_CLASS)) {
        return;
    }
    let missing = match (slice.accelerator, slice.topology) {
        (None, _) => keys::TPU_ACCELERATOR,
        (_, None) => keys::TPU_TOPOLOGY,
        _ => return,
    };
    findings
        .at(slice.selector)
        .problem(format!(
            "group \"{}\" has TPUs and does not select {missing}",
            group.name
        ))
        .hint("select the kind of TPU and the topology, such as tpu-v6e-slice and 4x4");
}

fn topology_exists(group: &WorkerGroup, findings: &mut Findings) {
    let Some(slice) = Slice::of(group) else { return };
    let Some(text) = slice.topology else { return };
    let place = slice.selector.key(keys::TPU_TOPOLOGY);
    match (text.parse::<Topology>(), slice.generation()) {
        (Err(error), _) => findings
            .at(place)
            .problem(error.to_string())
            .hint("copy it from the node pool"),
        (Ok(topology), Some(generation)) if topology.sides() != generation.sides => findings
            .at(place)
            .problem(format!(
                "{} has topologies of {} numbers, and {topology} has {}",
                generation.accelerator,
                generation.sides,
                topology.sides()
            ))
            .hint(format!(
                "write it as {}",
                if generation.sides == 3 { "2x2x1" } else { "2x4" }
            )),
        _ => {}
    }
}

/// A machine by itself may be shared by pods that ask for some of its chips each.
fn hosts_make_up_the_topology(group: &WorkerGroup, findings: &mut Findings) {
    let Some(slice) = Slice::of(group) else { return };
    let Some(topology) = slice.parsed_topology() else {
        return;
    };
    let hosts = i64::from(group.hosts());
    let (has, wants) = (
        i128::from(hosts) * i128::from(slice.chips),
        i128::from(topology.chips()),
    );
    if has == wants {
        return;
    }
    let draft = findings.at(group.path.key("numOfHosts")).problem(format!(
        "{hosts} x {} chips make {has}, but topology {topology} has {wants}",
        slice.chips
    ));
    let one_machine = topology.chips() <= 8 && hosts == 1 && has < wants;
    let draft = if one_machine {
        draft.only(Action::Warn)
    } else {
        draft
    };
    match u64::try_from(slice.chips).map(|chips| (topology.chips() / chips, topology.chips() % chips)) {
        Ok((hosts, 0)) => draft.hint(format!("set numOfHosts to {hosts}, or select another topology")),
        _ => draft.hint("ask for the chips of a whole machine, and let numOfHosts be the chips of the topology divided by that"),
    }
}

fn machines_have_the_chips(group: &WorkerGroup, findings: &mut Findings) {
    let Some(slice) = Slice::of(group) else { return };
    let (Some(topology), Some(generation)) = (slice.parsed_topology(), slice.generation()) else {
        return;
    };
    let several = group.hosts() > 1;
    let sizes = if several {
        &[CHIPS_OF_ONE_OF_SEVERAL][..]
    } else {
        generation.chips_of_single_host
    };
    if !sizes.contains(&slice.chips) {
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        findings
            .at(group
                .ray_container_path()
                .key("resources")
                .key("limits")
                .key(keys::TPU))
            .problem(format!(
                "no machine of {} for topology {topology} has {} chips",
                generation.accelerator, slice.chips
            ))
            .hint(format!("ask for {}", sizes.join(" or ")));
    }
}

/// A slice that says itself which one it is may be among those of another group.
fn as_many_slices_as_work_together(group: &WorkerGroup, findings: &mut Findings) {
    let (Some(_), Some(ray)) = (Slice::of(group), group.ray_container()) else {
        return;
    };
    let variable = |name| ray.env.iter().flatten().find(|variable| variable.name == name);
    let slices = variable("MEGASCALE_NUM_SLICES")
        .and_then(|slices| slices.value.as_ref())
        .and_then(|slices| slices.parse::<i32>().ok());
    let (Some(slices), Some(most)) = (slices, group.max_replicas) else {
        return;
    };
    if most != slices && variable("MEGASCALE_SLICE_ID").is_none() {
        findings
            .at(group.path.key("maxReplicas"))
            .problem(format!(
                "there may be {most} slices, but {slices} are to work together"
            ))
            .hint(format!("set it to {slices}, or change MEGASCALE_NUM_SLICES"));
    }
}

fn hosts_are_numbered(group: &WorkerGroup, findings: &mut Findings) {
    if Slice::of(group).is_some() && group.hosts() > 1 {
        findings
            .at(group.path.key("numOfHosts"))
            .problem("nothing tells the hosts of a slice apart")
            .hint("switch on RayMultiHostIndexing in KubeRay 1.5, or use 1.6, where it is on");
    }
}
