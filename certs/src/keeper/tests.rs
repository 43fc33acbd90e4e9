//! Keepers against a small API server in memory: enough of it to create, replace and apply with resource versions.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};

use super::{Keeper, KeeperError, Source};
use crate::authority::Authority;
use crate::certificate::Bundle;
use crate::files::Files;
use crate::store::Store;
use crate::webhooks::{BundleOnly, Configurations};

const NAME: &str = "rayward.rayward-system.svc";
const SECRET: &str = "/api/v1/namespaces/rayward-system/secrets/certs";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/rayward";

#[tokio::test]
async fn replicas_that_start_together_agree() {
    let api = ApiServer::with_configurations();
    let (mut one, mut two) = (built_in(&api), built_in(&api));
    let (first, second) = tokio::join!(one.pass(now()), two.pass(now()));
    first.expect("passed");
    second.expect("passed");

    settle(&mut [&mut one, &mut two], now()).await;
    for keeper in [&one, &two] {
        assert_eq!(keeper.status().borrow().distrust, None);
        assert_eq!(api.bundles()[0].iter().count(), 1, "one of them won");
    }
}

#[tokio::test]
async fn what_others_change_is_put_right_and_nothing_else_is_touched() {
    let api = ApiServer::with_configurations();
    let mut keeper = built_in(&api);
    settle(&mut [&mut keeper], now()).await;
    let before = api.get(VALIDATING);

    api.edit(VALIDATING, |it| {
        it["webhooks"][0]["clientConfig"]["caBundle"] = json!("bm9uc2Vuc2U=");
    });
    settle(&mut [&mut keeper], now()).await;

    let after = api.get(VALIDATING);
    assert_eq!(after["webhooks"], before["webhooks"]);
    let writes = api.writes();
    settle(&mut [&mut keeper], now()).await;
    assert_eq!(
        api.writes(),
        writes,
        "nothing is written where nothing has changed"
    );
}

#[tokio::test]
async fn a_deleted_secret_means_new_authorities_and_no_interruption() {
    let api = ApiServer::with_configurations();
    let (mut one, mut two) = (built_in(&api), built_in(&api));
    settle(&mut [&mut one, &mut two], now()).await;
    let old = one.resolver().serving().expect("a certificate");

    api.delete(SECRET);
    settle(&mut [&mut one, &mut two], now()).await;
    assert_eq!(one.status().borrow().distrust, None);
    assert_eq!(
        one.resolver().serving().expect("a certificate").cert,
        old.cert,
        "not everybody may know the new one"
    );

    settle(&mut [&mut one, &mut two], now() + Duration::from_mins(2)).await;
    assert_eq!(one.status().borrow().distrust, None);
    assert_ne!(one.resolver().serving().expect("a certificate").cert, old.cert);
}

#[tokio::test]
async fn without_the_api_server_everything_stays_as_it_is() {
    let api = ApiServer::with_configurations();
    let mut keeper = built_in(&api);
    settle(&mut [&mut keeper], now()).await;

    api.fail(StatusCode::SERVICE_UNAVAILABLE);
    let error = keeper
        .pass(now() + Duration::from_hours(24 * 30))
        .await
        .expect_err("nobody answers");
    keeper.blame(&error);
    assert_eq!(keeper.status().borrow().distrust, None);
    assert!(keeper.resolver().serving().is_some());
}

#[tokio::test]
async fn who_is_not_ready_says_why() {
    let api = ApiServer::default();
    let mut keeper = built_in(&api);
    settle(&mut [&mut keeper], now()).await;
    assert_eq!(distrust(&keeper), "there is no webhook configuration `rayward`");

    api.put(
        SECRET,
        json!({"kind": "Secret", "metadata": {"name": "certs"}, "data": {"tls.crt": "bm9uc2Vuc2U="}}),
    );
    let mut keeper = built_in(&api);
    let error = keeper
        .pass(now())
        .await
        .expect_err("the Secret is somebody else's");
    keeper.blame(&error);
    assert_eq!(
        distrust(&keeper),
        "Secret rayward-system/certs does not hold our certificates (it has no state.json): delete it to start anew, \
         or name another one"
    );
}

#[tokio::test]
async fn files_are_followed_through_the_swap_of_a_mounted_secret() {
    let api = ApiServer::with_configurations();
    let folder = tempfile::tempdir().expect("a folder");
    let mount = |generation: &str| {
        let authority = Authority::generate(now(), Duration::from_hours(24)).expect("issued");
        write_files(&folder.path().join(generation), &authority);
        let data = folder.path().join("..data");
        let _ = std::fs::remove_file(&data);
        symlink(generation, &data).expect("linked");
        authority.certificate().clone()
    };
    let first = mount("..1");
    let file = |name: &str| folder.path().join("..data").join(name);
    let files = Files {
        certificate: file("tls.crt"),
        key: file("tls.key"),
        authority: Some(file("ca.crt")),
    };
    let mut keeper = keeper(&api, Source::Brought(files));
    settle(&mut [&mut keeper], now()).await;
    assert_eq!(keeper.status().borrow().distrust, None);
    let old = keeper.resolver().serving().expect("a certificate");

    // A new authority with the new certificate is the worst case: the API servers have to learn of it first.
    let second = mount("..2");
    settle(&mut [&mut keeper], now()).await;
    assert_eq!(keeper.resolver().serving().expect("a certificate").cert, old.cert);
    assert!(
        api.bundles()
            .iter()
            .all(|bundle| bundle.contains(&first) && bundle.contains(&second))
    );

    settle(&mut [&mut keeper], now() + Duration::from_mins(2)).await;
    assert_ne!(keeper.resolver().serving().expect("a certificate").cert, old.cert);
    assert_eq!(keeper.status().borrow().distrust, None);

    // Caught between two writes, a certificate and a key that do not belong together change nothing.
    std::fs::copy(
        folder.path().join("..1/tls.key"),
        folder.path().join("..2/tls.key"),
    )
    .expect("copied");
    let serving = keeper.resolver().serving().expect("a certificate");
    assert!(matches!(keeper.pass(now()).await, Err(KeeperError::Files(_))));
    assert_eq!(
        keeper.resolver().serving().expect("a certificate").cert,
        serving.cert
    );
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn built_in(api: &ApiServer) -> Keeper {
    let store = Store::new(api.client(), "rayward-system", "certs");
    keeper(api, Source::built_in(store, vec![NAME.to_owned()]))
}

fn keeper(api: &ApiServer, source: Source) -> Keeper {
    let name = ServerName::try_from(NAME).expect("a name");
    Keeper::new(
        source,
        Configurations::new(api.client(), "rayward"),
        Box::new(BundleOnly),
        name,
    )
}

/// Passes until all is quiet.
async fn settle(keepers: &mut [&mut Keeper], now: Timestamp) {
    for _ in 0..4 {
        for keeper in &mut *keepers {
            keeper.pass(now).await.expect("passed");
        }
    }
}

fn distrust(keeper: &Keeper) -> String {
    keeper.status().borrow().distrust.clone().expect("not ready")
}

fn write_files(folder: &Path, authority: &Authority) {
    let (certificate, key) = authority
        .sign(&[NAME.to_owned()], now(), Duration::from_hours(1))
        .expect("signed");
    let (certificate, key) = (certificate.to_pem(), key.serialize_pem());
    std::fs::create_dir(folder).expect("made");
    for (name, content) in [
        ("tls.crt", certificate),
        ("tls.key", key),
        ("ca.crt", authority.certificate().to_pem()),
    ] {
        std::fs::write(folder.join(name), content).expect("written");
    }
}

/// Objects by path.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    objects: BTreeMap<String, Value>,
    version: u64,
    failing: Option<StatusCode>,
}

impl ApiServer {
    fn with_configurations() -> Self {
        let api = Self::default();
        for kind in ["Mutating", "Validating"] {
            let path = VALIDATING.replace("validating", &kind.to_lowercase());
            let webhook = |name: &str| json!({"name": name, "clientConfig": {"service": {"name": "rayward"}}, "sideEffects": "None"});
            let webhooks = [webhook("one.rayward.dev"), webhook("two.rayward.dev")];
            api.put(&path, json!({"kind": format!("{kind}WebhookConfiguration"), "apiVersion": "admissionregistration.k8s.io/v1",
                "metadata": {"name": "rayward"}, "webhooks": webhooks}));
        }
        api
    }

    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = api.answer(&head.method, head.uri.path(), body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, kube::Error>(
                    Response::builder()
                        .status(status)
                        .body(answer)
                        .expect("a response"),
                )
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        let failing = self.0.lock().expect("not poisoned").failing;
        if let Some(status) = failing {
            return failure(status);
        }
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let path = if *method == Method::POST {
            format!("{path}/{name}")
        } else {
            path.to_owned()
        };
        let existing = self.0.lock().expect("not poisoned").objects.get(&path).cloned();
        let expected = &body["metadata"]["resourceVersion"];
        match (method.as_str(), existing) {
            ("GET", Some(existing)) => (StatusCode::OK, existing),
            ("GET" | "PUT", None) => failure(StatusCode::NOT_FOUND),
            ("POST", Some(_)) => failure(StatusCode::CONFLICT),
            (_, Some(existing))
                if !expected.is_null() && *expected != existing["metadata"]["resourceVersion"] =>
            {
                failure(StatusCode::CONFLICT)
            }
            ("PATCH", existing) => (
                StatusCode::OK,
                self.put(&path, applied(existing.unwrap_or_default(), body)),
            ),
            _ => (StatusCode::OK, self.put(&path, body)),
        }
    }

    fn put(&self, path: &str, mut object: Value) -> Value {
        let mut world = self.0.lock().expect("not poisoned");
        let unchanged = world.objects.get(path).is_some_and(|existing| {
            object["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"].clone();
            *existing == object
        });
        if !unchanged {
            world.version += 1;
            object["metadata"]["resourceVersion"] = json!(world.version.to_string());
            world.objects.insert(path.to_owned(), object.clone());
        }
        object
    }

    fn get(&self, path: &str) -> Value {
        self.0.lock().expect("not poisoned").objects[path].clone()
    }

    fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(path);
        edit(&mut object);
        self.put(path, object);
    }

    fn delete(&self, path: &str) {
        self.0.lock().expect("not poisoned").objects.remove(path);
    }

    fn fail(&self, status: StatusCode) {
        self.0.lock().expect("not poisoned").failing = Some(status);
    }

    fn writes(&self) -> u64 {
        self.0.lock().expect("not poisoned").version
    }

    /// What the API server trusts when it calls each webhook.
    fn bundles(&self) -> Vec<Bundle> {
        let paths = [
            VALIDATING.replace("validating", "mutating"),
            VALIDATING.to_owned(),
        ];
        let configurations = paths.iter().map(|path| self.get(path));
        let webhooks = configurations.flat_map(|it| it["webhooks"].as_array().cloned().unwrap_or_default());
        let bundles = webhooks.map(|webhook| webhook["clientConfig"]["caBundle"].clone());
        bundles
            .map(|bundle| serde_json::from_value(bundle).expect("base64"))
            .map(|k8s_openapi::ByteString(pem)| Bundle::from_pem(&pem))
            .collect()
    }
}

fn failure(status: StatusCode) -> (StatusCode, Value) {
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    (
        status,
        json!({"status": "Failure", "code": status.as_u16(), "reason": reason, "message": reason}),
    )
}

/// Server-side apply as far as we use it: objects are merged, lists of named things by name.
fn applied(live: Value, applied: Value) -> Value {
    match (live, applied) {
        (Value::Object(mut live), Value::Object(wish)) => {
            for (key, wish) in wish {
                let merged = self::applied(live.remove(&key).unwrap_or_default(), wish);
                live.insert(key, merged);
            }
            Value::Object(live)
        }
        (Value::Array(mut live), Value::Array(wish)) => {
            for wish in wish {
                match live.iter_mut().find(|item| item["name"] == wish["name"]) {
                    Some(item) => *item = self::applied(item.take(), wish),
                    None => live.push(wish),
                }
            }
            Value::Array(live)
        }
        (_, wish) => wish,
    }
}
