//! What is filled in, shown as the patch that the API server gets, and what is left alone.

use ray::fixture::{Sample, cluster, cron_job, job, sample, service};
use ray::keys;
use ray::object::Kind;
use serde_json::{Value, json};

use super::{defaults, uninject};
use crate::tests::{created, kind_of, patch, refusal, request, updated, yaml};
use crate::{Facts, Operation};

#[test]
fn a_bare_cluster_is_filled_in() {
    let bare = yaml(include_str!("../../../../tests/fixtures/bare-cluster.yaml"));
    let edits = defaults(
        &request(Operation::Create, Kind::Cluster, &bare, None),
        &Facts::default(),
    );
    insta::assert_snapshot!(patch(&bare, &edits), @r#"
    {"op":"add","path":"/spec/autoscalerOptions/version","value":"v2"}
    {"op":"add","path":"/spec/headGroupSpec/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"/spec/autoscalerOptions/version\":\"v2\",\"/spec/headGroupSpec/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\"}"}}
    {"op":"add","path":"/metadata/annotations/rayward.dev~1injected-by","value":"{\"0.1.0\":{\"rayward\":[\"/spec/autoscalerOptions/version\",\"/spec/headGroupSpec/template/spec/containers/0/image\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\"]}}"}
    "#);
    assert_eq!(refusal(&created(&bare)), "allowed");
}

#[test]
fn gpus_get_an_image_with_cuda_and_a_limit() {
    let head = "/headGroupSpec/template/spec/containers/0/image";
    let worker = "/template/spec/containers/0";
    let object = cluster("demo")
        .group("gpu")
        .set_cluster("/rayVersion", Value::Null)
        .set_cluster(head, json!("registry.example:5000/rayproject/ray:2.59.0-py311"))
        .set_group(&format!("{worker}/image"), Value::Null)
        .set_group(
            &format!("{worker}/resources"),
            json!({"requests": {"nvidia.com/gpu": 2}}),
        )
        .build();
    let edits = defaults(
        &request(Operation::Create, Kind::Cluster, &object, None),
        &Facts::default(),
    );
    insta::assert_snapshot!(patch(&object, &edits), @r#"
    {"op":"add","path":"/spec/rayVersion","value":"2.59.0"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/image","value":"registry.example:5000/rayproject/ray:2.59.0-py311-gpu"}
    {"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits","value":{"nvidia.com/gpu":2}}
    {"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"/spec/rayVersion\":\"2.59.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"registry.example:5000/rayproject/ray:2.59.0-py311-gpu\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/nvidia.com~1gpu\":2}"}}
    {"op":"add","path":"/metadata/annotations/rayward.dev~1injected-by","value":"{\"0.1.0\":{\"rayward\":[\"/spec/rayVersion\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/nvidia.com~1gpu\"]}}"}
    "#);
}

#[test]
fn an_image_of_ones_own_is_taken_for_the_workers_too() {
    let object = cluster("demo")
        .set_cluster(
            "/headGroupSpec/template/spec/containers/0/image",
            json!("example.org/team/model:7"),
        )
        .group("gpu")
        .limit("nvidia.com/gpu", "1")
        .set_group("/template/spec/containers/0/image", json!(""))
        .build();
    let filled = created(&object);
    assert_eq!(
        filled["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["image"],
        "example.org/team/model:7"
    );
}

#[test]
fn a_changed_version_changes_what_was_derived_from_it() {
    let manifest = |version: &str| {
        let image = "/headGroupSpec/template/spec/containers/0/image";
        cluster("demo")
            .set_cluster("/rayVersion", json!(version))
            .set_cluster(image, Value::Null)
            .build()
    };
    let image = |object: &Value| {
        object["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let stored = created(&manifest("2.59.0"));
    assert_eq!(
        image(&updated(&manifest("2.60.0"), &stored)),
        "rayproject/ray:2.60.0"
    );
    // Stored before anybody filled anything in: to begin now would replace a running cluster.
    let untouched = manifest("2.59.0");
    assert_eq!(image(&updated(&manifest("2.60.0"), &untouched)), Value::Null);
}

/// What is filled into a new object: place and value, a line each.
fn filled(sample: Sample) -> String {
    let object = sample.build();
    let edits = defaults(
        &request(Operation::Create, kind_of(&object), &object, None),
        &Facts::default(),
    );
    let line = |edit: &crate::Edit| match edit {
        crate::Edit::Set { path, value } if !path.to_string().contains("/rayward.dev~1injected") => {
            Some(format!("{}: {value}\n", path.field()))
        }
        _ => None,
    };
    edits.iter().filter_map(line).collect()
}

const HEAD: &str = "/headGroupSpec/template/spec/containers/0";
const WORKER: &str = "/template/spec/containers/0";

#[test]
fn a_cluster_that_scales_keeps_tasks_off_its_head_and_says_its_autoscaler() {
    let scaled = cluster("demo").autoscaled().group("cpu");
    insta::assert_snapshot!(filled(scaled.clone()), @r#"
    spec.autoscalerOptions.version: "v2"
    spec.headGroupSpec.rayStartParams[num-cpus]: "0"
    "#);
    let cpus = "/headGroupSpec/rayStartParams/num-cpus";
    let scaled = scaled.set_cluster(cpus, json!("1"));
    for chosen in [
        scaled
            .clone()
            .set_cluster("/autoscalerOptions/version", json!("v1")),
        scaled.clone().set_cluster(
            &format!("{HEAD}/env"),
            json!([{"name": keys::ENV_ENABLE_AUTOSCALER_V2, "value": "0"}]),
        ),
        scaled
            .clone()
            .set_group("/template/spec/restartPolicy", json!("Always")),
        scaled.clone().set_cluster("/rayVersion", json!("2.46.0")),
        scaled
            .clone()
            .set_cluster(&format!("{HEAD}/image"), json!("rayproject/ray:2.46.0")),
        scaled.clone().set("/apiVersion", json!("ray.io/v1alpha1")),
        scaled
            .set_cluster("/enableInTreeAutoscaling", json!(false))
            .set_cluster(cpus, Value::Null),
        cluster("demo")
            .autoscaled()
            .set_cluster("/headGroupSpec/resources", json!({"cpu": "1"}))
            .set_cluster("/autoscalerOptions/version", json!("v2"))
            .group("cpu"),
    ] {
        assert_eq!(filled(chosen), "");
    }
}

#[test]
fn memory_that_is_asked_for_is_the_limit() {
    let asks = |resources: Value| {
        cluster("demo")
            .group("cpu")
            .set_group(&format!("{WORKER}/resources"), resources)
    };
    let request = json!({"requests": {"cpu": "1", "memory": "4Gi"}});
    assert_eq!(
        filled(asks(request.clone())),
        "spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits.memory: \"4Gi\"\n"
    );
    for told in [
        asks(json!({"requests": {"memory": "4Gi"}, "limits": {"memory": "8Gi"}})),
        asks(json!({"requests": {"memory": "4GB"}})),
        asks(json!({"requests": {"memory": "256Mi"}})),
        asks(json!({"limits": {"cpu": "1", "memory": "4Gi"}})),
        asks(request.clone()).set_group("/rayStartParams/memory", json!("8000000000")),
        asks(request).set_group("/resources", json!({"memory": "8Gi"})),
    ] {
        assert_eq!(filled(told), "");
    }
}

#[test]
fn gpus_are_told_where_the_operator_stops_reading() {
    let gpu = |resources: &str| {
        cluster("demo")
            .group("gpu")
            .set_group(&format!("{WORKER}/image"), json!("rayproject/ray:2.60.0-gpu"))
            .set_group(
                &format!("{WORKER}/resources/requests"),
                json!({"nvidia.com/gpu": "2"}),
            )
            .limit("nvidia.com/gpu", "2")
            .set_group("/rayStartParams/resources", json!(resources))
    };
    assert_eq!(
        filled(gpu(r#""{\"Custom\": 4}""#)),
        "spec.workerGroupSpecs[0].rayStartParams[num-gpus]: \"2\"\n"
    );
    assert_eq!(filled(gpu(r#"'{"Custom": 4}'"#)), "");
    assert_eq!(filled(gpu("Custom=4")), "");
}

#[test]
fn authentication_that_is_asked_for_is_switched_on() {
    let asks = |options: Value| cluster("demo").set_cluster("/authOptions", options);
    assert_eq!(filled(asks(json!({}))), "spec.authOptions.mode: \"token\"\n");
    assert_eq!(filled(asks(json!({"mode": "disabled"}))), "");
    assert_eq!(
        filled(asks(json!({})).set_cluster("/rayVersion", json!("2.51.0"))),
        ""
    );
}

#[test]
fn what_the_operator_looks_for_is_listed_beside_other_ports() {
    let ports = format!("{HEAD}/ports");
    let lists = |sample: Sample, list: Value| sample.set_cluster(&ports, list);
    let gcs = json!([{"name": "gcs-server", "containerPort": 6379}]);
    insta::assert_snapshot!(filled(lists(service("demo"), gcs.clone())), @r#"
    spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].ports[1]: {"containerPort":8265,"name":"dashboard","protocol":"TCP"}
    spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].ports[2]: {"containerPort":8000,"name":"serve","protocol":"TCP"}
    "#);
    for made in [job("demo"), cron_job("demo"), service("demo")] {
        let object = lists(made, gcs.clone()).build();
        assert_eq!(refusal(&created(&object)), "allowed");
        assert_eq!(uninject(&created(&object)), object);
    }
    for left_alone in [
        lists(cluster("demo"), gcs.clone()),
        lists(job("demo"), json!([])),
        lists(job("demo"), json!([{"name": "ui", "containerPort": 8265}])),
        lists(job("demo"), gcs).set_cluster("/headGroupSpec/serviceType", json!("LoadBalancer")),
        lists(
            service("demo"),
            json!([{"name": "dashboard", "containerPort": 8265}, {"name": "serve-api", "containerPort": 9000}]),
        ),
    ] {
        assert_eq!(filled(left_alone), "");
    }
}

#[test]
fn submitters_run_the_image_of_the_head() {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "submitter"}]}});
    let submits = job("demo").set("/spec/submitterPodTemplate", template);
    assert_eq!(
        filled(submits.clone()),
        "spec.submitterPodTemplate.spec.containers[0].image: \"rayproject/ray:2.60.0\"\n"
    );
    let image = "/spec/submitterPodTemplate/spec/containers/0/image";
    assert_eq!(filled(submits.set(image, json!("example.org/own"))), "");
}

/// The operator writes down what the job or service says, hashes that, and may compare it with what is stored.
#[test]
fn what_the_operator_makes_stays_as_it_wrote_it() {
    let label = format!(
        "/metadata/labels/{}",
        keys::ORIGINATED_FROM_KIND.replace('/', "~1")
    );
    for parent in [Kind::Job, Kind::Service] {
        let sparse = |kind| {
            sample(kind, "demo")
                .autoscaled()
                .group("cpu")
                .set_cluster(&format!("{HEAD}/image"), Value::Null)
        };
        let parents = created(&sparse(parent).build());
        assert_ne!(parents, sparse(parent).build());
        // It takes over the annotations, too.
        let child = sample(Kind::Cluster, "demo-x")
            .set(
                "/spec",
                parent
                    .cluster_path()
                    .resolve(&parents)
                    .expect("a cluster")
                    .clone(),
            )
            .set(
                "/metadata/annotations",
                parents["metadata"]["annotations"].clone(),
            )
            .set(&label, json!(parent.name()));
        assert_eq!(filled(child.clone()), "");
        let left_out = sparse(Kind::Cluster).set(&label, json!(parent.name()));
        assert_eq!(filled(left_out.clone()), "");
        let (new, old) = (left_out.build(), child.build());
        assert_eq!(updated(&new, &old), new);
    }
}
