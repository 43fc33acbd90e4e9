//! The service from outside: by requests to its router, and over real TLS where connections matter.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certs::authority::Authority;
use certs::resolver::Resolver;
use jiff::Timestamp;
use kube::Client;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use ray::fixture::{cluster, tpu_worker};
use ray::keys;
use rules::pod::AutoscalerMode;
use rules::policy::NamedPolicy;
use rules::{Facts, Policies};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt;

use super::*;
use crate::clusters::Clusters;
use crate::connection::Doorman;
use crate::events::Events;
use crate::policy::watch::Namespaces;
use crate::usage::Ledger;

// === what is answered ===

#[tokio::test]
async fn defaults_come_as_a_patch() {
    let bare = cluster("demo")
        .set(
            "/spec/headGroupSpec/template/spec/containers/0/image",
            Value::Null,
        )
        .build();
    let answer = ask("mutate-ray", &review("RayCluster", &bare)).await;
    assert_eq!(answer["allowed"], true);
    assert_eq!(answer["uid"], "705ab4f5");
    let mut defaulted = bare;
    json_patch::patch(&mut defaulted, &patch_of(&answer)).expect("it fits");
    assert_eq!(
        defaulted["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"],
        "rayproject/ray:2.60.0"
    );

    let again = ask("mutate-ray", &review("RayCluster", &defaulted)).await;
    assert_eq!(again, json!({"uid": "705ab4f5", "allowed": true}));
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let broken = cluster("demo").group("a").bounds(4, 2).group("a").build();
    let answer = ask("validate-ray", &review("RayCluster", &broken)).await;
    assert_eq!(answer["allowed"], false);
    let causes = answer["status"]["details"]["causes"].as_array().expect("causes");
    let reasons: Vec<&str> = causes
        .iter()
        .filter_map(|cause| cause["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["RW-C009", "RW-M009"]);
}

#[tokio::test]
async fn a_head_loses_its_autoscaler_where_we_scale() {
    let head = ask("mutate-pod", &pod_review(&pod("head"))).await;
    assert_eq!(head["patchType"], "JSONPatch");
    let worker = ask("mutate-pod", &pod_review(&pod("worker"))).await;
    assert_eq!(worker, json!({"uid": "705ab4f5", "allowed": true}));
}

#[tokio::test]
async fn a_host_of_a_tpu_slice_that_nobody_numbers_is_refused() {
    let numbered = tpu_worker("demo", "tpu");
    let mut unnumbered = numbered.clone();
    for label in [keys::HOST_INDEX, keys::REPLICA_INDEX, keys::REPLICA_NAME] {
        let labels = unnumbered["metadata"]["labels"].as_object_mut();
        labels.expect("labels").remove(label).expect("it was numbered");
    }
    let mut answers = Vec::new();
    for mut pod in [numbered, unnumbered] {
        let mutated = ask("mutate-pod", &pod_review(&pod)).await;
        json_patch::patch(&mut pod, &patch_of(&mutated)).expect("it fits");
        answers.push(ask("validate-pod", &pod_review(&pod)).await);
    }
    assert_eq!(answers[0], json!({"uid": "705ab4f5", "allowed": true}));
    assert_eq!(answers[1]["allowed"], false);
    insta::assert_snapshot!(answers[1]["status"]["message"].as_str().expect("it is refused"), @"RW-P501 metadata.labels[ray.io/replica-host-index]: the slice has 2 hosts, and nothing says which one this is (KubeRay 1.6 does, or 1.5 with the feature gate RayMultiHostIndexing; or set TPU_WORKER_ID and TPU_WORKER_HOSTNAMES)");
}

#[tokio::test]
async fn a_policy_is_refused_with_everything_that_is_wrong_with_it() {
    let policy = json!({"spec": {"priority": "high", "rules": [{"code": "RW-C0099", "action": "Deny"}]}});
    let mut asked = review("RayAdmissionPolicy", &policy);
    asked["request"]["kind"] =
        json!({"group": "rayward.dev", "version": "v1alpha1", "kind": "RayAdmissionPolicy"});
    let refused = ask("validate-policy", &asked).await;
    insta::assert_snapshot!(refused["status"]["message"].as_str().expect("it is refused"), @r#"
    2 problems:
      RW-A001 spec.priority: expected a whole number of 32 bits, found the string "high" (`kubectl explain rayadmissionpolicies --recursive` shows what every field takes)
      RW-A001 spec.rules[0].code: no rule has the code `RW-C0099` (perhaps RW-C009 is meant; `rayward-webhook rules` lists all)
    "#);
    // It was so before.
    asked["request"]["operation"] = json!("UPDATE");
    asked["request"]["oldObject"] = policy;
    assert_eq!(ask("validate-policy", &asked).await["allowed"], true);
}

#[tokio::test]
async fn what_we_do_not_know_passes_untouched() {
    let untouched = json!({"uid": "705ab4f5", "allowed": true});
    let unknown = json!({"spec": {"workerGroupSpecs": 7}});
    for endpoint in Endpoint::ALL {
        assert_eq!(
            ask(endpoint.name(), &review("RayThing", &unknown)).await,
            untouched
        );
        assert_eq!(
            ask(endpoint.name(), &review("RayCluster", &Value::Null)).await,
            untouched
        );
    }
}

// === what guards it ===

#[tokio::test]
async fn what_is_too_large_or_no_review_is_sent_back() {
    let router = sample_router();
    let send = async |body: Vec<u8>| {
        let response = router
            .clone()
            .oneshot(post_to("/validate-ray?timeout=3s", body))
            .await
            .expect("answered");
        (response.status(), text(response).await)
    };
    let (status, reason) = send(b"{}".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    insta::assert_snapshot!(reason, @r#"read the AdmissionReview: expected AdmissionReview of admission.k8s.io/v1, found "" of """#);
    let (status, _) = send(vec![b' '; BODY_BYTES_MAX]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "as large as it may be");
    let (status, _) = send(vec![b' '; BODY_BYTES_MAX + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_panic_is_the_end_of_one_request_only() {
    let router = guarded(
        Router::new()
            .route(
                "/panic",
                post(async || -> &'static str { panic!("a fault of ours") }),
            )
            .route("/fine", post("fine")),
        metrics().0,
    );
    for (path, status) in [("/panic", 500), ("/fine", 200), ("/panic", 500), ("/fine", 200)] {
        let response = router
            .clone()
            .oneshot(post_to(path, Vec::new()))
            .await
            .expect("answered");
        assert_eq!(response.status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_before_the_api_server_gives_up() {
    let begun = Arc::new(AtomicUsize::new(0));
    let never = {
        let begun = begun.clone();
        async move || {
            begun.fetch_add(1, Ordering::Relaxed);
            pending::<&str>().await
        }
    };
    let router = guarded(Router::new().route("/never", post(never)), metrics().0);
    let ask = async || {
        let started = Instant::now();
        let request = post_to("/never?timeout=2s", Vec::new());
        let response = router.clone().oneshot(request).await.expect("answered");
        (response.status(), started.elapsed())
    };
    assert_eq!(
        ask().await,
        (StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(1900))
    );

    // All places are taken by requests that have ten seconds: who comes now is sent away after half of his two.
    begun.store(0, Ordering::Relaxed);
    for _ in 0..REVIEWS_MAX {
        tokio::spawn(router.clone().oneshot(post_to("/never", Vec::new())));
    }
    while begun.load(Ordering::Relaxed) < REVIEWS_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        ask().await,
        (StatusCode::TOO_MANY_REQUESTS, Duration::from_millis(950))
    );
}

#[tokio::test]
async fn everything_is_counted_by_closed_sets() {
    let (metrics, registry) = metrics();
    let router = router(admission(), metrics);
    let broken = cluster("demo").group("a").bounds(4, 2).build();
    for (path, body) in [
        ("/validate-ray", review("RayCluster", &broken).to_string()),
        ("/validate-ray", "{".to_owned()),
        ("/mutate-ray", review("RayThing", &json!({})).to_string()),
        ("/favicon.ico", String::new()),
    ] {
        router
            .clone()
            .oneshot(post_to(path, body.into_bytes()))
            .await
            .expect("answered");
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("encoded");
    let mut counted: Vec<&str> = text.lines().filter(|line| line.contains("_total{")).collect();
    counted.sort_unstable();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    rayward_webhook_findings_total{code="RW-C009",action="deny"} 1
    rayward_webhook_requests_total{endpoint="mutate-ray",kind="other",operation="create",outcome="allowed"} 1
    rayward_webhook_requests_total{endpoint="other",kind="other",operation="other",outcome="other"} 1
    rayward_webhook_requests_total{endpoint="validate-ray",kind="RayCluster",operation="create",outcome="denied"} 1
    rayward_webhook_requests_total{endpoint="validate-ray",kind="other",operation="other",outcome="malformed"} 1
    "#);
}

#[tokio::test]
async fn the_audit_log_and_the_metrics_have_what_nobody_is_told() {
    let policy = |name: &str, spec| NamedPolicy::read(name, &spec).expect("nothing is wrong with it");
    let admission = admission();
    admission.facts.store(Arc::new(Facts {
        policies: Arc::new(Policies::new([
            policy(
                "quiet",
                json!({"rules": [{"code": "RW-C009", "action": "Audit"}]}),
            ),
            policy("house", json!({"images": {"pullPolicy": "IfNotPresent"}})),
        ])),
        ..Facts::default()
    }));
    let (metrics, registry) = metrics();
    let router = router(admission, metrics);
    let mut audit = Vec::new();
    let broken = cluster("demo").group("a").bounds(4, 2).build();
    for (path, body) in [
        ("/mutate-ray", review("RayCluster", &broken)),
        ("/validate-ray", review("RayCluster", &broken)),
        ("/mutate-pod", pod_review(&pod("head"))),
        ("/validate-pod", pod_review(&pod("worker"))),
    ] {
        let request = post_to(path, body.to_string().into_bytes());
        let response = router.clone().oneshot(request).await.expect("answered");
        let answer: Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(answer["response"]["allowed"], true, "{answer:#}");
        assert_eq!(answer["response"]["warnings"], Value::Null, "{answer:#}");
        audit.push(format!("{path} {}", answer["response"]["auditAnnotations"]));
    }
    insta::assert_snapshot!(audit.join("\n"), @r#"
    /mutate-ray {"policies":"house, quiet"}
    /validate-ray {"findings":"Audit RW-C009 /spec/workerGroupSpecs/0/minReplicas","policies":"house, quiet"}
    /mutate-pod {"policies":"house, quiet"}
    /validate-pod {"policies":"house, quiet"}
    "#);
    let mut counted = String::new();
    encode(&mut counted, &registry).expect("encoded");
    let findings = counted.lines().filter(|line| line.contains("findings_total{"));
    insta::assert_snapshot!(findings.collect::<String>(), @r#"rayward_webhook_findings_total{code="RW-C009",action="audit"} 1"#);
}

// === what is large ===

#[tokio::test]
async fn large_objects_are_answered_over_tls() {
    const MANY: usize = 20_000;
    let mut world = World::start(sample_router());
    world.issue();
    let mut open = world.connect().await.expect("connected");
    let mut ask = async |object: &Value| {
        let review = review("RayCluster", object).to_string();
        assert!(review.len() < BODY_BYTES_MAX, "{} bytes", review.len());
        let heard = open.post("/validate-ray", &review).await;
        assert_eq!(heard.status, 200, "{}", heard.body);
        assert!(
            heard.body.len() < 200_000,
            "the answer has {} bytes",
            heard.body.len()
        );
        let answer: Value = serde_json::from_str(&heard.body).expect("JSON");
        answer["response"].clone()
    };
    let head = "/headGroupSpec/template/spec/containers/0";
    let groups = |group: fn(usize) -> Value| {
        let groups: Vec<Value> = (0..MANY).map(group).collect();
        cluster("demo")
            .set_cluster("/workerGroupSpecs", json!(groups))
            .build()
    };
    let env = |variable: fn(usize) -> Value| {
        let variables: Vec<Value> = (0..MANY).map(variable).collect();
        cluster("demo")
            .set_cluster(&format!("{head}/env"), json!(variables))
            .build()
    };

    let annotated = cluster("demo").set("/metadata/annotations/note", json!("x".repeat(7 << 20)));
    assert_eq!(ask(&annotated.build()).await["allowed"], true);
    assert_eq!(
        ask(&env(|number| json!({"name": format!("V{number}"), "value": "x"}))).await["allowed"],
        true
    );
    // Nothing but mistakes: the first are told, and how many more there are.
    for broken in [
        groups(|number| json!({"groupName": format!("g{number}")})),
        groups(|_| json!({"groupName": "g"})),
        groups(|number| json!(number)),
        env(|number| json!({"name": "V", "value": number})),
    ] {
        let answer = ask(&broken).await;
        assert_eq!(answer["allowed"], false);
        let message = answer["status"]["message"].as_str().expect("a message");
        assert!(message.contains(" more"), "{message}");
    }
}

/// Before memory is spent on it. Where the policy of the webhook is to fail, as it is for rules, the reason is what `kubectl` shows.
#[tokio::test]
async fn what_is_nested_too_deep_or_made_of_too_much_is_sent_back() {
    let mut world = World::start(sample_router());
    world.issue();
    let mut open = world.connect().await.expect("connected");
    let mut ask = async |spec: &str| {
        let review = review("RayCluster", &json!({"spec": "HERE"})).to_string();
        let heard = open
            .post("/validate-ray", &review.replace("\"HERE\"", spec))
            .await;
        assert_eq!(heard.status, 400);
        heard.body
    };
    for depth in [200, 5_000, 50_000] {
        let deep = ask(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(deep, @"read the AdmissionReview: recursion limit exceeded at line 1 column 308");
        }
    }
    insta::assert_snapshot!(ask(&format!("[{}0]", "0,".repeat(3 << 20))).await, @"read the AdmissionReview: it has more than 100000 values");
    insta::assert_snapshot!(ask(&"[".repeat(7 << 20)).await, @"read the AdmissionReview: it has more than 100000 values");
}

// === connections ===

#[tokio::test]
async fn a_new_certificate_is_served_without_closing_a_connection() {
    let mut world = World::start(Router::new().route("/", get("hello")));
    let old = world.issue();
    let mut open = world.connect().await.expect("connected");
    assert_eq!(open.get("/").await.status, 200);

    let new = world.issue();
    assert_eq!(open.get("/").await.status, 200, "what is open stays open");
    assert_eq!(open.certificate(), old);
    let mut next = world.connect().await.expect("connected");
    assert_eq!(next.get("/").await.status, 200);
    assert_eq!(next.certificate(), new);
}

#[tokio::test]
async fn a_stop_loses_no_call() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        async move || {
            begun.notify_one();
            go_on.notified().await;
            "done"
        }
    };
    let routes = Router::new().route("/", get("hello")).route("/slow", get(slow));
    let mut world = World::start(guarded(routes, metrics().0));
    world.issue();
    let mut kept = world.connect().await.expect("connected");
    assert!(!kept.get("/").await.closes);

    world.leaving.send_replace(true);
    assert!(kept.get("/").await.closes, "take another connection, please");
    assert!(world.connect().await.expect("still there").get("/").await.closes);

    let mut last = world.connect().await.expect("still there");
    let last = tokio::spawn(async move { last.get("/slow").await });
    begun.notified().await;
    world
        .leave
        .take()
        .expect("not left yet")
        .send(())
        .expect("it listens");
    while world.connect().await.is_some() {
        tokio::task::yield_now().await;
    }
    assert!(!world.server.is_finished());
    go_on.notify_one();
    assert_eq!(
        last.await.expect("answered").status,
        200,
        "what was begun is finished"
    );
    world.server.await.expect("no panic").expect("stopped");
}

#[tokio::test]
async fn who_does_not_finish_a_header_is_hung_up_on() {
    let mut world = World::start(Router::new().route("/", get("hello")));
    world.issue();
    let mut open = world.connect().await.expect("connected");
    assert_eq!(open.get("/").await.status, 200);
    // From here on the clock jumps to whatever is waited for next.
    tokio::time::pause();
    let started = Instant::now();
    open.0.write_all(b"GET / HTTP/1.1\r\nHost:").await.expect("sent");
    let _ = open.0.read_to_end(&mut Vec::new()).await;
    assert!(
        started.elapsed() > Duration::from_secs(90),
        "API servers are silent for that long themselves"
    );
}

// === the world around it ===

fn review(kind: &str, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"group": "ray.io", "version": "v1", "kind": kind},
            "name": "demo",
            "namespace": "team",
            "operation": "CREATE",
            "object": object,
        },
    })
}

/// A head or a worker as the operator makes it.
fn pod(node_type: &str) -> Value {
    json!({
        "metadata": {"generateName": "demo-", "labels": {keys::CLUSTER: "demo", keys::NODE_TYPE: node_type}},
        "spec": {"containers": [{"name": "ray"}, {"name": keys::AUTOSCALER_CONTAINER}]},
    })
}

fn pod_review(pod: &Value) -> Value {
    let mut review = review("Pod", pod);
    review["request"]["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
    review
}

async fn ask(endpoint: &str, review: &Value) -> Value {
    let request = post_to(
        &format!("/{endpoint}?timeout=2s"),
        review.to_string().into_bytes(),
    );
    let response = sample_router().oneshot(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&text(response).await).expect("JSON");
    answer["response"].clone()
}

/// What an answer changes.
fn patch_of(answer: &Value) -> json_patch::Patch {
    let patch = answer["patch"].as_str().expect("a patch");
    serde_json::from_slice(&STANDARD.decode(patch).expect("base64")).expect("a patch")
}

fn post_to(path: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("a request")
}

async fn text(response: Response<Body>) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

fn sample_router() -> Router {
    router(admission(), metrics().0)
}

/// No cluster is known, so every head is in central mode.
fn admission() -> Admission {
    let gone = |_: Request<kube::client::Body>| async {
        let body = json!({"status": "Failure", "reason": "NotFound", "code": 404}).to_string();
        let response = Response::builder()
            .status(404)
            .body(kube::client::Body::from(body.into_bytes()));
        Ok::<_, kube::Error>(response.expect("a response"))
    };
    let client = Client::new(tower::service_fn(gone), "default");
    let (namespaces, _not_polled) = Namespaces::watch(client.clone());
    let (clusters, _not_polled) = Clusters::watch(client.clone(), AutoscalerMode::Central);
    let (events, _not_written) = Events::new(client, &mut Registry::default());
    Admission {
        facts: Arc::new(ArcSwap::from_pointee(Facts::default())),
        clusters,
        ledger: Ledger::default(),
        namespaces,
        events,
    }
}

fn metrics() -> (Arc<Metrics>, Registry) {
    let mut registry = Registry::default();
    let (_, certificates) = watch::channel(certs::keeper::Status::default());
    (Arc::new(Metrics::register(&mut registry, certificates)), registry)
}

/// A listener with a router behind it, and a client that trusts its authority.
struct World {
    authority: Authority,
    resolver: Arc<Resolver>,
    address: std::net::SocketAddr,
    leaving: watch::Sender<bool>,
    leave: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

impl World {
    fn start(router: Router) -> Self {
        let authority = Authority::generate(Timestamp::now(), Duration::from_hours(1)).expect("issued");
        let resolver = Arc::new(Resolver::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (leaving, watched) = watch::channel(false);
        let (leave, told) = oneshot::channel();
        let tls = Arc::new(resolver.server_config(&["http/1.1"]));
        let told = async {
            let _ = told.await;
        };
        let server = tokio::spawn(serve(listener, tls, Doorman::new(watched), router, told));
        Self {
            authority,
            resolver,
            address,
            leaving,
            leave: Some(leave),
            server,
        }
    }

    /// Serves a new certificate.
    fn issue(&mut self) -> CertificateDer<'static> {
        let names = ["localhost".to_owned()];
        let leaf = self
            .authority
            .issue(&names, Timestamp::now(), Duration::from_mins(30))
            .expect("issued");
        self.resolver.swap(leaf.key().clone());
        leaf.certificate().der().clone()
    }

    /// A new connection; none when nobody listens.
    async fn connect(&self) -> Option<Connected> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.certificate().der().clone())
            .expect("an authority");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
        let config = config
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(self.address).await.ok()?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .ok()
            .map(Connected)
    }
}

/// A connection, spoken to by hand so that one sees what happens to it.
struct Connected(TlsStream<TcpStream>);

struct Heard {
    status: u16,
    closes: bool,
    body: String,
}

impl Connected {
    async fn get(&mut self, path: &str) -> Heard {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await
    }

    async fn post(&mut self, path: &str, body: &str) -> Heard {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn send(&mut self, request: &str) -> Heard {
        self.0.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.0.read_exact(&mut body).await.expect("a body");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        Heard {
            status,
            closes: head.contains("connection: close"),
            body: String::from_utf8(body).expect("text"),
        }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let (_, tls) = self.0.get_ref();
        tls.peer_certificates().expect("one was shown")[0]
            .clone()
            .into_owned()
    }
}
