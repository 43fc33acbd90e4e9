//! Deployments as KubeRay's manifests, its chart and other people write them, and what a watch makes of them.

use http::Response;
use kube::client::Body;
use rules::Gate;
use serde_json::{Value, json};

use super::*;

fn deployment(labels: &Value, image: &str, args: &[&str]) -> Value {
    json!({
        "metadata": {"name": "kuberay-operator", "namespace": "ray-system", "labels": labels},
        "spec": {"selector": {}, "template": {"spec": {"containers": [
            {"name": "istio-proxy", "image": "istio/proxyv2:1.20.0"},
            {"name": "operator", "image": image, "command": ["/manager"], "args": args},
        ]}}},
    })
}

/// Version and stated gates, `-` where there is no operator.
fn check(deployments: &[Value]) -> String {
    let read =
        |deployment: &Value| serde_json::from_value::<Deployment>(deployment.clone()).expect("a Deployment");
    let deployments: Vec<_> = deployments.iter().map(read).collect();
    let Some(KubeRay { version, gates }) = KubeRay::of_all(deployments.iter()) else {
        return "-".to_owned();
    };
    let version = version.map_or("?".to_owned(), |version| version.to_string());
    let stated = gates.stated.iter().map(|(gate, on)| format!(" {gate}={on}"));
    let rest = if gates.others_are_default { "" } else { " gates ?" };
    stated.fold(version, |text, gate| text + &gate) + rest
}

#[test]
fn operators_tell_their_version_and_gates() {
    let chart = json!({NAME: "kuberay-operator", CHART: "kuberay-operator-1.5.1"});
    let manifests = json!({NAME: "kuberay", COMPONENT: "kuberay-operator"});
    let official = "quay.io/kuberay/operator:v1.6.2";
    for (labels, image, args, told) in [
        (
            &manifests,
            official,
            &["--feature-gates=RayCronJob=true,AsyncJobInfoQuery=false"][..],
            "1.6 RayCronJob=true AsyncJobInfoQuery=false",
        ),
        (
            &chart,
            official,
            &[
                "-feature-gates",
                "RayClusterMTLS=true",
                "--enable-leader-election",
            ],
            "1.6 RayClusterMTLS=true",
        ),
        (
            &chart,
            "mirror.example:5000/kuberay/operator@sha256:ab",
            &[],
            "1.5",
        ),
        (
            &manifests,
            "kuberay/operator:nightly",
            &["--feature-gates=FromTheFuture=true,RayCronJob=true"],
            "? RayCronJob=true",
        ),
        (&manifests, "quay.io/kuberay/operator:v1.9.0-rc.1", &[], "1.7"),
        (
            &json!({NAME: "kuberay", COMPONENT: "kuberay-apiserver"}),
            "quay.io/kuberay/apiserver:v1.6.2",
            &[],
            "-",
        ),
    ] {
        assert_eq!(check(&[deployment(labels, image, args)]), told, "{image}");
    }
}

#[test]
fn several_operators_tell_what_they_agree_on() {
    let labels = json!({NAME: "kuberay-operator"});
    let of = |version: &str, args: &[&str]| deployment(&labels, &format!("kuberay/operator:{version}"), args);
    assert_eq!(check(&[of("v1.6.1", &[]), of("v1.6.2", &[])]), "1.6");
    assert_eq!(check(&[of("v1.5.1", &[]), of("v1.6.2", &[])]), "?");
    assert_eq!(
        check(&[
            of("v1.6.2", &["--feature-gates=RayCronJob=true"]),
            of("v1.6.2", &[])
        ]),
        "1.6 gates ?"
    );
    let mut gone = of("v1.5.1", &[]);
    gone["spec"]["replicas"] = json!(0);
    assert_eq!(check(&[of("v1.6.2", &[]), gone]), "1.6");
}

/// Facts that are kept with these flags and this answer of the API server to a list of Deployments, once `done`.
async fn kept(flags: World, status: u16, list: Value, done: impl Fn(&Facts) -> bool) -> Facts {
    let answer = move |request: http::Request<Body>| {
        let (status, answer) = match request.uri().path() {
            "/version" => (200, version_info()),
            _ => (status, list.clone()),
        };
        let watching = request.uri().query().unwrap_or_default().contains("watch=true");
        async move {
            if watching {
                std::future::pending::<()>().await;
            }
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, kube::Error>(Response::builder().status(status).body(body).expect("a response"))
        }
    };
    let client = Client::new(tower::service_fn(answer), "default");
    let facts = Arc::new(ArcSwap::from_pointee(flags.told()));
    let keeping = tokio::spawn(keep(client, flags, facts.clone()));
    while !done(&facts.load()) {
        tokio::task::yield_now().await;
    }
    keeping.abort();
    Facts::clone(&facts.load())
}

fn version_info() -> Value {
    json!({
        "major": "1", "minor": "36+", "gitVersion": "", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    })
}

const NOTHING_TOLD: World = World {
    kuberay_version: None,
    feature_gates: None,
    kubernetes_version: None,
};

#[tokio::test]
async fn what_is_found_becomes_known_and_what_was_told_stands() {
    let list = json!({
        "metadata": {"resourceVersion": "1"},
        "items": [deployment(&json!({NAME: "kuberay-operator"}), "kuberay/operator:v1.5.1", &[])],
    });
    let found = kept(NOTHING_TOLD, 200, list.clone(), |facts| {
        facts.operator.is_some() && facts.kubernetes.is_some()
    })
    .await;
    assert_eq!(found.operator, Some(Operator::V1_5));
    assert_eq!(found.gate(Gate::DeletionPolicy), Some(false));
    assert_eq!(found.kubernetes, Some((1, 36)));

    let told = World {
        kuberay_version: Some(Operator::V1_7),
        ..NOTHING_TOLD
    };
    let mut gated = list;
    gated["items"][0]["spec"]["template"]["spec"]["containers"][1]["args"] =
        json!(["--feature-gates=RayCronJob=true"]);
    let found = kept(told, 200, gated, |facts| !facts.gates.stated.is_empty()).await;
    assert_eq!(found.operator, Some(Operator::V1_7));
    assert_eq!(found.gate(Gate::CronJob), Some(true));
}

#[tokio::test]
async fn what_may_not_be_read_stays_unknown() {
    let refused = json!({"message": "not for you", "reason": "Forbidden", "code": 403});
    let facts = kept(NOTHING_TOLD, 403, refused, |facts| facts.kubernetes.is_some()).await;
    assert_eq!((facts.operator, facts.gates), (None, Gates::default()));
}

#[tokio::test]
async fn a_version_that_was_told_has_its_default_gates_where_no_operator_is_seen() {
    let told = World {
        kuberay_version: Some(Operator::V1_6),
        ..NOTHING_TOLD
    };
    let none = json!({"metadata": {"resourceVersion": "1"}, "items": []});
    let facts = kept(told, 200, none, |facts| facts.kubernetes.is_some()).await;
    assert_eq!(facts.gate(Gate::DeletionPolicy), Some(true));
    assert_eq!(facts.gate(Gate::CronJob), Some(false));
}
