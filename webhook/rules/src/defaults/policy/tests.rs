//! What policies fill in, what authors keep, and that a policy which changes changes nothing that is there.

use proptest::prelude::*;
use ray::fixture::{Sample, cluster, cron_job, job, service};
use serde_json::{Value, json};

use crate::edit::apply;
use crate::policy::NamedPolicy;
use crate::tests::properties::{keeps, objects, said};
use crate::tests::{kind_of, request, yaml};
use crate::{Edit, Facts, Operation, Operator, Policies, check, defaults, uninject};

const HEAD: &str = "/headGroupSpec/template/spec/containers/0";
const WORKER: &str = "/template/spec/containers/0";

fn under(policy: &str) -> Facts {
    let policy = NamedPolicy::read("guardrails", &yaml(policy)).expect("nothing is wrong with it");
    Facts {
        policies: Policies::new([policy]).into(),
        ..Facts::default()
    }
}

fn created(object: &Value, facts: &Facts) -> Value {
    let edits = defaults(&request(Operation::Create, kind_of(object), object, None), facts);
    apply(&edits, object)
}

fn updated(object: &Value, old: &Value, facts: &Facts) -> Value {
    let request = request(Operation::Update, kind_of(object), object, Some(old));
    apply(&defaults(&request, facts), object)
}

/// What `kubectl apply` of a manifest makes of what is stored: lists and values are the author's, annotations of others stay.
fn applied(manifest: &Value, stored: &Value) -> Value {
    let mut sent = manifest.clone();
    sent["metadata"]["annotations"] = stored["metadata"]["annotations"].clone();
    sent
}

/// What is filled into a new object: place and value, a line each.
fn filled(sample: Sample, policy: &str) -> String {
    filled_with(&sample.build(), &under(policy))
}

fn filled_with(object: &Value, facts: &Facts) -> String {
    let edits = defaults(&request(Operation::Create, kind_of(object), object, None), facts);
    let line = |edit: &Edit| match edit {
        Edit::Set { path, value } if !path.to_string().contains("/rayward.dev~1injected") => {
            Some(format!("{}: {value}\n", path.field()))
        }
        _ => None,
    };
    edits.iter().filter_map(line).collect()
}

/// Without images, and without anything that would go without saying.
fn bare() -> Sample {
    cluster("demo")
        .group("gpu")
        .set_cluster(&format!("{HEAD}/image"), Value::Null)
        .set_group(&format!("{WORKER}/image"), Value::Null)
}

#[test]
fn a_bare_cluster_is_made_complete() {
    let bare = bare()
        .autoscaled()
        .set_cluster("/rayVersion", Value::Null)
        .set_cluster(&format!("{HEAD}/resources"), Value::Null)
        .set_group(&format!("{WORKER}/resources"), Value::Null);
    let policy = "
        images:
          rayVersion: 2.59.0
          python: '3.11'
          pullPolicy: IfNotPresent
          templates:
          - {name: ours, image: 'registry.example.com/ray:{version}-py{python}{accelerator}{architecture}'}
        accelerators:
        - {kind: NVIDIA, given: {groups: ['gpu*'], amount: 1}}
        head: {resources: {limits: {cpu: 2, memory: 8Gi}}, serviceAccountName: ray-head, readinessProbe: {tcpSocket: {port: 8265}}}
        workers: {resources: {limits: {memory: 16Gi}, requests: {cpu: 4, memory: 16Gi}}, priorityClassName: batch, terminationGracePeriodSeconds: 120}
        autoscaler: {mode: Central, idleTimeoutSeconds: 300, upscalingMode: Conservative}
        options: {gcsFaultTolerance: {redisAddress: 'redis:6379', redisPassword: {secret: redis, key: password}}}";
    insta::assert_snapshot!(filled(bare, policy), @r#"
    metadata.annotations[rayward.dev/autoscaler]: "central"
    spec.autoscalerOptions.idleTimeoutSeconds: 300
    spec.autoscalerOptions.upscalingMode: "Conservative"
    spec.autoscalerOptions.version: "v2"
    spec.gcsFaultToleranceOptions: {"redisAddress":"redis:6379","redisPassword":{"valueFrom":{"secretKeyRef":{"key":"password","name":"redis"}}}}
    spec.headGroupSpec.rayStartParams[num-cpus]: "0"
    spec.headGroupSpec.template.spec.containers[0].image: "registry.example.com/ray:2.59.0-py311"
    spec.headGroupSpec.template.spec.containers[0].imagePullPolicy: "IfNotPresent"
    spec.headGroupSpec.template.spec.containers[0].readinessProbe: {"tcpSocket":{"port":8265}}
    spec.headGroupSpec.template.spec.containers[0].resources.limits.cpu: 2
    spec.headGroupSpec.template.spec.containers[0].resources.limits.memory: "8Gi"
    spec.headGroupSpec.template.spec.serviceAccountName: "ray-head"
    spec.rayVersion: "2.59.0"
    spec.workerGroupSpecs[0].template.spec.containers[0].image: "registry.example.com/ray:2.59.0-py311-gpu"
    spec.workerGroupSpecs[0].template.spec.containers[0].imagePullPolicy: "IfNotPresent"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits.memory: "16Gi"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits[nvidia.com/gpu]: "1"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests.cpu: 4
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests.memory: "16Gi"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/gpu]: "1"
    spec.workerGroupSpecs[0].template.spec.priorityClassName: "batch"
    spec.workerGroupSpecs[0].template.spec.terminationGracePeriodSeconds: 120
    "#);
}

#[test]
fn each_container_gets_the_first_image_that_fits_it() {
    let policy = "
        images:
          python: '3.12'
          templates:
          - {name: scaler, image: 'r/scaler:1', containers: [Autoscaler]}
          - {name: submits, image: 'r/submit:{version}', containers: [Submitter]}
          - {name: tpus, image: 'r/ray-tpu:{version}', accelerator: TPU}
          - {name: old, image: 'r/old-ray:{version}-py{python}', rayBefore: 2.50.0}
          - {name: arm, image: 'r/ray:{version}{architecture}', architecture: arm64}
          - {name: plain, image: 'r/ray:{version}-py{python}{accelerator}'}";
    let group = |sample: Sample, name: &str| {
        sample
            .group(name)
            .set_group(&format!("{WORKER}/image"), Value::Null)
    };
    let cluster = group(bare().limit("nvidia.com/mig-1g.5gb", "1"), "arm").set_group(
        "/template/spec/nodeSelector",
        json!({"kubernetes.io/arch": "arm64"}),
    );
    let cluster = group(cluster, "tpu").limit("google.com/tpu", "4");
    let images = |sample: Sample| {
        let all = filled(sample, policy);
        let lines = all.lines().filter(|line| line.contains("image"));
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(images(cluster.clone().autoscaled()), @r#"
    spec.autoscalerOptions.image: "r/scaler:1"
    spec.headGroupSpec.template.spec.containers[0].image: "r/ray:2.60.0-py312"
    spec.workerGroupSpecs[0].template.spec.containers[0].image: "r/ray:2.60.0-py312-gpu"
    spec.workerGroupSpecs[1].template.spec.containers[0].image: "r/ray:2.60.0-aarch64"
    spec.workerGroupSpecs[2].template.spec.containers[0].image: "r/ray-tpu:2.60.0"
    "#);
    insta::assert_snapshot!(images(cluster.set_cluster("/rayVersion", json!("2.49.1"))), @r#"
    spec.headGroupSpec.template.spec.containers[0].image: "r/old-ray:2.49.1-py312"
    spec.workerGroupSpecs[0].template.spec.containers[0].image: "r/old-ray:2.49.1-py312"
    spec.workerGroupSpecs[1].template.spec.containers[0].image: "r/old-ray:2.49.1-py312"
    spec.workerGroupSpecs[2].template.spec.containers[0].image: "r/ray-tpu:2.49.1"
    "#);
    // However a container comes to ask for two kinds, it is the same one tomorrow.
    let both = json!({"limits": {"nvidia.com/gpu": 1}, "requests": {"google.com/tpu": 1}});
    let both = bare().set_group(&format!("{WORKER}/resources"), both);
    insta::assert_snapshot!(images(both), @r#"
    spec.headGroupSpec.template.spec.containers[0].image: "r/ray:2.60.0-py312"
    spec.workerGroupSpecs[0].template.spec.containers[0].image: "r/ray:2.60.0-py312-gpu"
    "#);
    let submits = job("demo").set(
        "/spec/submitterPodTemplate",
        json!({"spec": {"containers": [{"name": "submit"}]}}),
    );
    insta::assert_snapshot!(images(submits), @r#"spec.submitterPodTemplate.spec.containers[0].image: "r/submit:2.60.0""#);
}

#[test]
fn workers_run_the_image_that_the_author_gave_the_head() {
    let policy = "images: {templates: [{name: ours, image: 'r.example/ray:{version}'}]}";
    let with = |image: &str| bare().set_cluster(&format!("{HEAD}/image"), json!(image));
    let worker = |image| filled(with(image), policy);
    insta::assert_snapshot!(worker("example.org/team/model:7"), @r#"spec.workerGroupSpecs[0].template.spec.containers[0].image: "example.org/team/model:7""#);
    // The same thing from elsewhere, or another version of ours, works together with ours.
    insta::assert_snapshot!(worker("rayproject/ray:2.60.0"), @r#"spec.workerGroupSpecs[0].template.spec.containers[0].image: "r.example/ray:2.60.0""#);
    insta::assert_snapshot!(worker("r.example/ray:2.60.0-debug"), @r#"spec.workerGroupSpecs[0].template.spec.containers[0].image: "r.example/ray:2.60.0""#);
}

#[test]
fn authors_have_the_last_word_on_each_resource() {
    let policy = "workers: {resources: {limits: {cpu: 8, memory: 32Gi, nvidia.com/gpu: 1}, requests: {cpu: 4, memory: 16Gi}}}";
    let says = |resources: Value| {
        let sample = cluster("demo").group("cpu");
        filled(
            sample.set_group(&format!("{WORKER}/resources"), resources),
            policy,
        )
    };
    insta::assert_snapshot!(says(json!({"requests": {"cpu": 2}, "limits": {"nvidia.com/gpu": 0}})), @r#"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits.memory: "32Gi"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests.memory: "16Gi"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/gpu]: 0
    "#);
    insta::assert_snapshot!(says(json!({"limits": {"cpu": 2, "memory": "4Gi"}})), @r"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits[nvidia.com/gpu]: 1
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/gpu]: 1
    ");
}

#[test]
fn accelerators_are_given_to_those_who_ask_for_none() {
    let policy = "accelerators: [{kind: NVIDIA, given: {groups: ['gpu*'], resource: nvidia.com/mig-1g.10gb, amount: 2}}]";
    let gpu = |name: &str| cluster("demo").group(name);
    insta::assert_snapshot!(filled(gpu("gpu-small"), policy), @r#"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits[nvidia.com/mig-1g.10gb]: "2"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/mig-1g.10gb]: "2"
    "#);
    insta::assert_snapshot!(filled(gpu("gpu").set_group("/rayStartParams/num-gpus", json!("4")), policy), @r#"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits[nvidia.com/mig-1g.10gb]: "4"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/mig-1g.10gb]: "4"
    "#);
    for left_alone in [
        gpu("cpu"),
        gpu("gpu").limit("amd.com/gpu", "1"),
        gpu("gpu").set_group("/rayStartParams/num-gpus", json!("0")),
        gpu("gpu").set_group("/resources", json!({"memory": "8Gi"})),
    ] {
        let all = filled(left_alone, policy);
        assert!(!all.contains("nvidia"), "{all}");
    }
}

/// An amount that a container states, or that is for all workers, stands behind its own and its accelerator's.
#[test]
fn what_goes_with_an_accelerator_is_given_to_those_who_ask_for_one() {
    let policy = "accelerators: [{kind: NVIDIA, given: {groups: [given], amount: 8},
        resources: {limits: {vpc.amazonaws.com/efa: 4, hugepages-2Mi: 5Gi}, requests: {hugepages-2Mi: 5Gi}}}]
workers: {resources: {limits: {vpc.amazonaws.com/efa: 1}}}";
    let groups = cluster("demo")
        .group("asks")
        .limit("nvidia.com/gpu", "8")
        .limit("hugepages-2Mi", "1Gi")
        .group("given")
        .group("cpu");
    insta::assert_snapshot!(filled(groups, policy), @r#"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits[vpc.amazonaws.com/efa]: 4
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[nvidia.com/gpu]: "8"
    spec.workerGroupSpecs[0].template.spec.containers[0].resources.requests[vpc.amazonaws.com/efa]: 4
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.limits[hugepages-2Mi]: "5Gi"
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.limits[nvidia.com/gpu]: "8"
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.limits[vpc.amazonaws.com/efa]: 4
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.requests[hugepages-2Mi]: "5Gi"
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.requests[nvidia.com/gpu]: "8"
    spec.workerGroupSpecs[1].template.spec.containers[0].resources.requests[vpc.amazonaws.com/efa]: 4
    spec.workerGroupSpecs[2].template.spec.containers[0].resources.limits[vpc.amazonaws.com/efa]: 1
    spec.workerGroupSpecs[2].template.spec.containers[0].resources.requests[vpc.amazonaws.com/efa]: 1
    "#);
}

#[test]
fn only_what_scales_is_told_how() {
    let policy = "autoscaler: {mode: Ray, version: v1, image: 'r/scaler:1', resources: {limits: {cpu: 1}}}";
    let scales = |sample: Sample| {
        sample
            .autoscaled()
            .set_cluster("/headGroupSpec/rayStartParams/num-cpus", json!("0"))
    };
    insta::assert_snapshot!(filled(scales(service("demo")), policy), @r#"
    metadata.annotations[rayward.dev/autoscaler]: "ray"
    spec.rayClusterConfig.autoscalerOptions.image: "r/scaler:1"
    spec.rayClusterConfig.autoscalerOptions.resources.limits.cpu: 1
    spec.rayClusterConfig.autoscalerOptions.version: "v1"
    "#);
    insta::assert_snapshot!(filled(scales(cron_job("demo")), policy), @r#"
    spec.jobTemplate.rayClusterSpec.autoscalerOptions.image: "r/scaler:1"
    spec.jobTemplate.rayClusterSpec.autoscalerOptions.resources.limits.cpu: 1
    spec.jobTemplate.rayClusterSpec.autoscalerOptions.version: "v1"
    "#);
    let own = json!({"version": "v2", "image": "mine", "resources": {"limits": {"memory": "1Gi"}}});
    let chosen = scales(cluster("demo"))
        .set_cluster("/autoscalerOptions", own)
        .set(
            "/metadata/annotations",
            json!({"rayward.dev/autoscaler": "central"}),
        );
    assert_eq!(filled(chosen, policy), "");
    assert_eq!(filled(cluster("demo"), policy), "");
}

#[test]
fn options_are_only_there_where_the_operator_has_them() {
    let policy = "
        options:
          tokenAuthentication: true
          tls: true
          queueName: team-a
          labels: {team: a}
          annotations: {example.com/cost-centre: '7'}";
    let with = |operator, gates: &str| Facts {
        operator: Some(operator),
        gates: gates.parse().expect("gates"),
        ..under(policy)
    };
    let demo = cluster("demo").build();
    insta::assert_snapshot!(filled_with(&demo, &with(Operator::V1_7, "RayClusterMTLS=true")), @r#"
    metadata.annotations[example.com/cost-centre]: "7"
    metadata.labels[kueue.x-k8s.io/queue-name]: "team-a"
    metadata.labels.team: "a"
    spec.authOptions.mode: "token"
    spec.tlsOptions.enabled: true
    "#);
    insta::assert_snapshot!(filled_with(&demo, &with(Operator::V1_4, "")), @r#"
    metadata.annotations[example.com/cost-centre]: "7"
    metadata.labels[kueue.x-k8s.io/queue-name]: "team-a"
    metadata.labels.team: "a"
    "#);
    // Kueue does not take these.
    for sample in [cluster("demo").autoscaled(), job("demo"), cron_job("demo")] {
        let all = filled(sample, policy);
        assert!(!all.contains("queue-name"), "{all}");
    }
}

#[test]
fn who_speaks_of_redis_is_left_alone() {
    let policy = "options: {gcsFaultTolerance: {redisAddress: 'redis:6379'}}";
    let env = json!([{"name": "RAY_REDIS_ADDRESS", "value": "own:6379"}]);
    for said in [
        cluster("demo").set_cluster("/gcsFaultToleranceOptions", json!({"redisAddress": "own:6379"})),
        cluster("demo").set("/metadata/annotations", json!({"ray.io/ft-enabled": "false"})),
        cluster("demo").set_cluster(&format!("{HEAD}/env"), env),
    ] {
        assert_eq!(filled(said, policy), "");
    }
}

/// Of two policies and of us; and a later version of us leaves the note about an earlier one as it is.
#[test]
fn who_gave_what_is_noted() {
    let policies = [
        (
            "sizes",
            "{workers: {resources: {limits: {memory: 4Gi}}}, options: {labels: {team: a}}}",
        ),
        (
            "house",
            "{priority: -1, workers: {resources: {limits: {cpu: 2, memory: 8Gi}}}, images: {pullPolicy: Always}}",
        ),
    ];
    let policies = policies.map(|(name, spec)| NamedPolicy::read(name, &yaml(spec)).expect("a policy"));
    let facts = Facts {
        policies: Policies::new(policies).into(),
        ..Facts::default()
    };
    let givers = |object: &Value| {
        let note = &object["metadata"]["annotations"]["rayward.dev/injected-by"];
        let note = note.as_str().expect("a note").to_owned();
        note.replace(env!("CARGO_PKG_VERSION"), "now")
            .replace("/template/spec/containers/0", "..")
    };
    let manifest = bare().set_group(&format!("{WORKER}/resources"), Value::Null);
    let written = manifest.clone().build();
    let mut stored = created(&written, &facts);
    insta::assert_snapshot!(givers(&stored), @r#"{"now":{"house":["/spec/headGroupSpec../imagePullPolicy","/spec/workerGroupSpecs/0../imagePullPolicy","/spec/workerGroupSpecs/0../resources/limits/cpu"],"rayward":["/spec/headGroupSpec../image","/spec/workerGroupSpecs/0../image"],"sizes":["/metadata/labels/team","/spec/workerGroupSpecs/0../resources/limits/memory"]}}"#);
    let note = &mut stored["metadata"]["annotations"]["rayward.dev/injected-by"];
    *note = note
        .as_str()
        .expect("a note")
        .replace(env!("CARGO_PKG_VERSION"), "before")
        .into();
    let again = applied(&written, &stored);
    assert_eq!(givers(&updated(&again, &stored, &facts)), givers(&stored));
    let more = manifest
        .group("more")
        .set_group(&format!("{WORKER}/image"), Value::Null);
    insta::assert_snapshot!(givers(&updated(&applied(&more.build(), &stored), &stored, &facts)), @r#"{"now":{"house":["/spec/workerGroupSpecs/1../imagePullPolicy"],"rayward":["/spec/workerGroupSpecs/1../image"]},"before":{"house":["/spec/headGroupSpec../imagePullPolicy","/spec/workerGroupSpecs/0../imagePullPolicy","/spec/workerGroupSpecs/0../resources/limits/cpu"],"rayward":["/spec/headGroupSpec../image","/spec/workerGroupSpecs/0../image"],"sizes":["/metadata/labels/team","/spec/workerGroupSpecs/0../resources/limits/memory"]}}"#);
    // From before there was such a note.
    let annotations = stored["metadata"]["annotations"].as_object_mut();
    annotations
        .expect("annotations")
        .remove("rayward.dev/injected-by");
    let again = applied(&written, &stored);
    assert_eq!(said(&updated(&again, &stored, &facts)), said(&stored));
}

const BEFORE: &str = "
    images:
      templates: [{name: ours, image: 'r/ray:{version}{accelerator}'}]
    accelerators: [{kind: NVIDIA, given: {groups: ['gpu*'], amount: 1}}]
    workers: {resources: {requests: {ephemeral-storage: 2}}, priorityClassName: batch}
    options: {labels: {team: a}, gcsFaultTolerance: {redisAddress: 'redis:6379'}}
    autoscaler: {mode: Sidecar, idleTimeoutSeconds: 60}";
const AFTER: &str = "
    images:
      templates: [{name: ours, image: 'other/ray:{version}{accelerator}'}]
    accelerators: [{kind: NVIDIA, given: {groups: ['gpu*'], resource: nvidia.com/mig-1g.5gb, amount: 2}}]
    workers: {resources: {limits: {memory: 32Gi}, requests: {ephemeral-storage: 8}}, serviceAccountName: workers}
    options: {labels: {team: b, stage: prod}, tokenAuthentication: true}
    autoscaler: {mode: Ray, upscalingMode: Conservative}";

#[test]
fn a_policy_that_changes_changes_nothing_that_is_there() {
    for sample in [cluster("demo"), service("demo"), job("demo")] {
        let manifest = sample
            .autoscaled()
            .group("gpu")
            .group("cpu")
            .set_cluster(&format!("{HEAD}/image"), Value::Null)
            .set_group(&format!("{WORKER}/image"), Value::Null)
            .build();
        let mut stored = created(&manifest, &under(BEFORE));
        // The operator writes amounts as text.
        let groups = kind_of(&stored).cluster_path().key("workerGroupSpecs");
        let groups = groups.resolve_mut(&mut stored).and_then(Value::as_array_mut);
        let resources = &mut groups.expect("groups")[1]["template"]["spec"]["containers"][0]["resources"];
        let written = std::mem::replace(&mut resources["requests"]["ephemeral-storage"], json!("2"));
        assert_eq!(written, 2);
        let sent = applied(&manifest, &stored);
        // The note may follow what the operator has written.
        let kept = |object: &Value| (said(&object["spec"]), object["metadata"]["labels"].clone());
        for policy in [BEFORE, AFTER, "{}"] {
            assert_eq!(
                kept(&updated(&sent, &stored, &under(policy))),
                kept(&stored),
                "{policy}"
            );
        }
        assert_eq!(kept(&updated(&sent, &stored, &Facts::default())), kept(&stored));
    }
}

/// Server-side apply takes what its author does not say any more, labels included, even where nothing else has been filled in.
#[test]
fn labels_come_back_by_themselves() {
    let facts = under("options: {queueName: team-a, labels: {team: a}}");
    let complete = cluster("demo").build();
    let stored = created(&complete, &facts);
    assert_eq!(
        stored["spec"], complete["spec"],
        "nothing but labels is filled in"
    );
    for sent in [complete.clone(), applied(&complete, &stored)] {
        assert_eq!(updated(&sent, &stored, &facts), stored);
    }
    let mut leaving = complete.clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
    assert_eq!(updated(&leaving, &stored, &facts), leaving);
}

#[test]
fn what_is_new_is_for_the_policy_of_today() {
    let before = bare();
    let stored = created(&before.clone().build(), &under(BEFORE));
    let image = |object: &Value, group: usize| {
        object["spec"]["workerGroupSpecs"][group]["template"]["spec"]["containers"][0]["image"].clone()
    };
    // A group more, in front of the other.
    let more = before
        .clone()
        .group("more")
        .set_group(&format!("{WORKER}/image"), Value::Null);
    let mut more = more.build();
    let groups = more["spec"]["workerGroupSpecs"].as_array_mut().expect("groups");
    groups.reverse();
    let after = updated(&applied(&more, &stored), &stored, &under(AFTER));
    assert_eq!(
        (image(&after, 0), image(&after, 1)),
        (json!("other/ray:2.60.0"), json!("r/ray:2.60.0-gpu"))
    );
    // The version from which the images follow.
    let newer = before.set_cluster("/rayVersion", json!("2.61.0")).build();
    let after = updated(&applied(&newer, &stored), &stored, &under(AFTER));
    assert_eq!(image(&after, 0), "other/ray:2.61.0-gpu");
}

#[test]
fn who_asks_for_too_much_is_told_by_whom() {
    let greedy = cluster("demo")
        .group("gpu")
        .limit("nvidia.com/gpu", "8")
        .set_group(&format!("{WORKER}/image"), json!("quay.io/ray:2.60.0-gpu"))
        .build();
    let facts = under(
        "
        images: {allowed: [{repository: 'docker.io/rayproject/*'}]}
        accelerators: [{kind: NVIDIA, maxPerPod: 4, maxPerGroup: 8, maxPerCluster: 16}]
        replicas: {maxPerGroup: 4}",
    );
    let found = check(
        &request(Operation::Create, kind_of(&greedy), &greedy, None),
        &facts,
    );
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @r#"
    RW-A106 spec.workerGroupSpecs: the cluster may have 80 NVIDIA accelerators, and the policy guardrails allows 16 (lower maxReplicas of its groups)
    RW-A105 spec.workerGroupSpecs[0].maxReplicas: group "gpu" may have 80 NVIDIA accelerators, and the policy guardrails allows 8 (with 8 to a replica let maxReplicas be 1 at most)
    RW-A107 spec.workerGroupSpecs[0].maxReplicas: group "gpu" may have 10 replicas, and the policy guardrails allows 4 (let it be 4 at most)
    RW-A101 spec.workerGroupSpecs[0].template.spec.containers[0].image: quay.io/ray is not a repository that the policy guardrails takes images from (take one from docker.io/rayproject/*)
    RW-A104 spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: a pod may have 8 NVIDIA accelerators, and the policy guardrails allows 4 (ask for 4 at most)
    "#);
}

#[test]
fn mistakes_in_policies_are_told_with_their_place() {
    let policy = yaml(
        "
        images:
          rayVersion: newest
          templates: [{name: ours, image: 'r/ray:{vresion}', accelerator: GPU, rayFrom: x}]
        accelerators: [{kind: GPU}, {kind: AMD, given: {groups: [a], resource: nvidia.com/gpu, amount: 1}}]
        head: {resources: {limits: {cpu: 1, memory: 4GB}, requests: {cpu: 2}}, serviceAccountName: Ray}
        autoscaler: {resources: {limits: {cpu: [1]}}}
        options: {queueName: '-', labels: {'a b': c}, annotations: {rayward.dev/injected: '{}'}}",
    );
    let problems = NamedPolicy::read("guardrails", &policy).expect_err("much is wrong with it");
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"), @r#"
    spec.accelerators[0].kind: `GPU` is no kind of accelerator (write one of NVIDIA, AMD, Intel, Gaudi, Neuron, TPU, Ascend)
    spec.accelerators[1].given.resource: `nvidia.com/gpu` is no name of accelerators of the kind AMD (write amd.com/gpu, or leave it out)
    spec.autoscaler.resources.limits.cpu: [1] is no amount (write a number such as 2 or 500m, or 4Gi)
    spec.head.resources.limits.memory: "4GB" is no amount (write a number such as 2 or 500m, or 4Gi)
    spec.head.resources.requests.cpu: 2 is above the limit (raise the limit or ask for less)
    spec.head.serviceAccountName: nothing can be called `Ray` (write lower-case letters, digits, hyphens and dots, with a letter or a digit at both ends)
    spec.images.rayVersion: `newest` is not a version: write it as 2.60.0 (write its numbers with points between them)
    spec.images.templates[0].accelerator: `GPU` is no kind of accelerator (write one of NVIDIA, AMD, Intel, Gaudi, Neuron, TPU, Ascend, or None)
    spec.images.templates[0].image: `{vresion}` stands for nothing (there are {version}, {python}, {accelerator}, {architecture})
    spec.images.templates[0].rayFrom: `x` is not a version: write it as 2.60.0 (write its numbers with points between them)
    spec.options.annotations[rayward.dev/injected]: `rayward.dev/injected` is not a policy's to give (leave it out; the mode of the autoscaler has a field of its own)
    spec.options.labels[a b]: nothing can be called `a b` (write a name, or a domain and a name as in example.com/team)
    spec.options.queueName: no label can have the value `-` (write at most 63 letters, digits, hyphens, underscores and dots, with a letter or a digit at both ends)
    "#);
}

/// Any of these, together.
fn policies() -> impl Strategy<Value = Facts> {
    let topics = [
        "images: {rayVersion: 2.59.0, python: '3.11', pullPolicy: Always}",
        "images: {templates: [{name: ours, image: 'r/ray:{version}-py{python}{accelerator}'}]}",
        "images: {templates: [{name: fixed, image: 'rayproject/ray:2.60.0-py312'}]}",
        "images: {templates: [{name: scaler, image: 'r/scaler:{version}', containers: [Autoscaler]}]}",
        "images: {templates: [{name: tpus, image: 'r/tpu', accelerator: TPU, containers: [Workers]}]}",
        "accelerators: [{kind: NVIDIA, given: {groups: ['*'], amount: 1}}]",
        "accelerators: [{kind: TPU, given: {groups: [group-0], amount: 4}}]",
        "head: {resources: {limits: {cpu: 2, memory: 8Gi}}, serviceAccountName: head, livenessProbe: {tcpSocket: {port: gcs}, periodSeconds: 9}}",
        "workers: {resources: {limits: {memory: 8Gi}, requests: {cpu: 1, memory: 8Gi}}, priorityClassName: low, terminationGracePeriodSeconds: 0}",
        "autoscaler: {mode: Central, version: v1, idleTimeoutSeconds: 10, image: 'r/scaler'}",
        "autoscaler: {version: v2, upscalingMode: Conservative, resources: {requests: {cpu: 1}}}",
        "options: {gcsFaultTolerance: {redisAddress: 'redis:6379'}, tokenAuthentication: true}",
        "options: {queueName: a, labels: {team: a}, annotations: {b: c}, tls: true}",
    ];
    let named = |(index, topic): (usize, &str)| {
        NamedPolicy::read(format!("policy-{index}"), &yaml(topic)).expect("nothing is wrong with it")
    };
    let all: Vec<NamedPolicy> = topics.into_iter().enumerate().map(named).collect();
    let len = all.len();
    prop::sample::subsequence(all, 0..len).prop_map(|some| Facts {
        gates: "RayClusterMTLS=true".parse().expect("gates"),
        policies: Policies::new(some).into(),
        ..Facts::default()
    })
}

proptest! {
    #[test]
    fn filled_in_once_is_filled_in_for_good(object in objects(), facts in policies()) {
        let once = created(&object, &facts);
        prop_assert_eq!(created(&once, &facts), once);
    }

    #[test]
    fn authors_have_their_way(object in objects(), facts in policies()) {
        prop_assert!(keeps(&object, &created(&object, &facts)));
    }

    #[test]
    fn what_we_filled_in_can_be_taken_out(object in objects(), facts in policies()) {
        prop_assert_eq!(said(&uninject(&created(&object, &facts))), said(&uninject(&object)));
    }

    /// Whatever the policy was when the object was made, and whatever it is when it is applied once more.
    #[test]
    fn applying_the_same_again_changes_nothing(object in objects(), before in policies(), after in policies()) {
        let stored = created(&object, &before);
        let sent = applied(&object, &stored);
        prop_assert_eq!(said(&updated(&sent, &stored, &after)), said(&stored));
        // Nor does sending back what is stored.
        let mut same = stored.clone();
        same["spec"]["suspend"] = json!(true);
        prop_assert_eq!(updated(&same, &stored, &after), same);
    }
}
