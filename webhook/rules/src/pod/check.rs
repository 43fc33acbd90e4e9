//! What is wrong with a pod in the end, after everybody has had a hand in it.

use ray::keys;
use ray::path::Pointer;

use super::tpu::{self, Place, Worker};
use super::{Request, completed};
use crate::edit::Edit;
use crate::facts::Operators;
use crate::finding::{Finding, Findings};
use crate::policy::OURSELVES;
use crate::rule::{Action, Check, Example, Rule, Source};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-P501",
        summary: "nothing says which host of its TPU slice a worker is",
        action: Action::Deny,
        kinds: &[],
        why: "Without a number and the names of the others, the hosts of a slice never come together: every program that uses the TPUs \
            hangs when it starts.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/containers/0/env: null, /metadata/labels/ray.io~1replica-host-index: null, \
                /metadata/labels/ray.io~1worker-group-replica-index: null, /spec/nodeSelector/cloud.google.com~1gke-tpu-topology: 2x2x2}",
            passes: "{/spec/containers/0/env: null, /metadata/labels/ray.io~1replica-host-index: null, \
                /metadata/labels/ray.io~1worker-group-replica-index: null, /spec/nodeSelector/cloud.google.com~1gke-tpu-topology: 2x2x1}",
        },
        check: Check::Pod(host_is_known),
    },
    Rule {
        code: "RW-P502",
        summary: "the hosts of a TPU slice do not find this one",
        action: Action::Warn,
        kinds: &[],
        why: "The other hosts look for it under a name made of its group, its replica and its host; with a name of its own, which all pods of \
            the group share, it is not there.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/containers/0/env: null, /spec/hostname: me}",
            passes: "{/spec/containers/0/env: null, /spec/hostname: tpu-0-1}",
        },
        check: Check::Pod(host_is_found),
    },
    Rule {
        code: "RW-P503",
        summary: "a TPU slice is not one of those that are to work together",
        action: Action::Warn,
        kinds: &[],
        why: "Slices come together under the address of one of them, each with a number below MEGASCALE_NUM_SLICES; one that knows no address \
            waits for ever, and one with a higher number is sent away.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/containers/0/env: [{name: MEGASCALE_NUM_SLICES, value: '2'}, \
                {name: MEGASCALE_COORDINATOR_ADDRESS, value: tpu-0-0.demo-headless}], \
                /metadata/labels/ray.io~1worker-group-replica-index: '2'}",
            passes: "{/spec/containers/0/env: [{name: MEGASCALE_NUM_SLICES, value: '2'}, \
                {name: MEGASCALE_COORDINATOR_ADDRESS, value: tpu-0-0.demo-headless}], \
                /metadata/labels/ray.io~1worker-group-replica-index: '1'}",
        },
        check: Check::Pod(slice_is_one_of_several),
    },
    Rule {
        code: "RW-P504",
        summary: "what Rayward puts into a pod is not there in the end",
        action: Action::Warn,
        kinds: &[],
        why: "Another admission webhook has taken it out again, or ours was not asked when the pod was made; what it was for does not happen.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/containers/0/env: null",
            passes: "/spec/containers/0/env/0/value: '7'",
        },
        check: Check::Pod(nothing_is_missing),
    },
];

/// Everything that is wrong with a pod of Ray's, in the order of the rules.
pub fn check(request: &Request<'_>) -> Vec<Finding> {
    let looked = RULES.iter().map(|rule| {
        Findings::of(rule, |findings| {
            if let Check::Pod(check) = rule.check {
                check(request, findings);
            }
        })
    });
    looked.flatten().collect()
}

fn host_is_known(request: &Request<'_>, findings: &mut Findings) {
    let pod = request.pod;
    let Some(worker) = Worker::read(pod) else { return };
    if worker.says(pod, tpu::WORKER_ID) && worker.says(pod, tpu::WORKER_HOSTNAMES) {
        return;
    }
    let label = |key| Pointer::root().key("metadata").key("labels").key(key);
    match worker.place {
        Place::NotSaid {
            hosts,
            perhaps_shared,
        } if worker.replica.is_some() && !perhaps_shared => findings
            .at(label(keys::HOST_INDEX))
            .problem(format!(
                "the slice has {hosts} hosts, but KubeRay makes one pod of each replica"
            ))
            .hint(format!("set numOfHosts of the group to {hosts}")),
        Place::NotSaid {
            hosts,
            perhaps_shared,
        } => {
            let draft = findings.at(label(keys::HOST_INDEX)).problem(format!(
                "the slice has {hosts} hosts, and nothing says which one this is"
            ));
            let draft = if perhaps_shared {
                draft.only(Action::Warn)
            } else {
                draft
            };
            draft.hint(format!(
                "KubeRay 1.6 does, or 1.5 with the feature gate RayMultiHostIndexing; or set {} and {}",
                tpu::WORKER_ID,
                tpu::WORKER_HOSTNAMES
            ));
        }
        Place::NoTopology => findings
            .at(Pointer::root()
                .key("spec")
                .key("nodeSelector")
                .key(keys::TPU_TOPOLOGY))
            .problem("it is one host of a slice, and nothing says of how many")
            .only(Action::Warn)
            .hint(format!("select the topology, or set {}", tpu::WORKER_HOSTNAMES)),
        Place::Alone | Place::Host { .. } => {}
    }
}

fn host_is_found(request: &Request<'_>, findings: &mut Findings) {
    let pod = request.pod;
    let Some(worker) = Worker::read(pod) else { return };
    if worker.says(pod, tpu::WORKER_HOSTNAMES) {
        return;
    }
    for (field, name) in worker.names() {
        match pod["spec"][field].as_str() {
            Some(own) if own != name => findings
                .at(Pointer::root().key("spec").key(field))
                .problem(format!(
                    "it is `{own}`, but the other hosts know this one by `{name}`"
                ))
                .hint(format!("leave {field} out, or set {}", tpu::WORKER_HOSTNAMES)),
            _ => {}
        }
    }
}

fn slice_is_one_of_several(request: &Request<'_>, findings: &mut Findings) {
    let pod = request.pod;
    let Some(worker) = Worker::read(pod) else { return };
    for container in &worker.containers {
        let Some(slices) = tpu::variable(pod, *container, tpu::NUMBER_OF_SLICES) else {
            continue;
        };
        let env = Pointer::root()
            .key("spec")
            .key("containers")
            .index(*container)
            .key("env");
        if !worker.says(pod, tpu::COORDINATOR) {
            findings
                .at(env.clone())
                .problem(format!(
                    "{} is not set, and this slice has no name to make it of",
                    tpu::COORDINATOR
                ))
                .hint("set it to the address of a host of the first slice");
        }
        let slices = slices["value"].as_str().and_then(|text| text.parse::<u32>().ok());
        if let (Some(slices), Some(replica)) = (slices, worker.replica)
            && replica >= slices
            && tpu::own_slice_id(pod, *container).is_none_or(|own| own == replica)
        {
            findings
                .at(env)
                .problem(format!(
                    "there are to be {slices} slices, and this is number {replica}, counted from 0"
                ))
                .hint(format!(
                    "let the group have as many replicas as {} says",
                    tpu::NUMBER_OF_SLICES
                ));
        }
    }
}

/// What is done twice changes nothing the second time, so what would still change is missing.
fn nothing_is_missing(request: &Request<'_>, findings: &mut Findings) {
    let hint = "see whether Rayward was asked when the Pod was made, and which webhook came after it";
    let pod = completed(request);
    for (author, places) in pod.put_in {
        for place in places {
            let problem = if author == OURSELVES {
                "Rayward puts this in, and it is not there".to_owned()
            } else {
                format!("the policy {author} puts this in, and it is not there")
            };
            findings.at(place).problem(problem).hint(hint);
        }
    }
    for edit in pod.edits {
        if let Edit::Remove { path, .. } = edit {
            findings
                .at(path)
                .problem("Rayward takes this out, and it is there")
                .hint(hint);
        }
    }
}
